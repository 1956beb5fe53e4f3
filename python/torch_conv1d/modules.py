"""Conv1d, LazyConv1d and convert."""

from typing import Any

import torch
from torch import Tensor, nn

from torch_conv1d.functional import conv1d


class Conv1d(nn.Conv1d):
    __constants__ = [*nn.Conv1d.__constants__, "channels_last"]
    channels_last: bool

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int],
        stride: int | tuple[int] = 1,
        padding: Any = 0,
        dilation: int | tuple[int] = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: Any = "zeros",
        device: Any = None,
        dtype: Any = None,
        *,
        channels_last: bool = False,
    ) -> None:
        pair = isinstance(padding, (tuple, list)) and len(padding) == 2
        super().__init__(
            in_channels, out_channels, kernel_size, stride, 0 if padding == "causal" else padding,
            dilation, groups, bias, padding_mode, device, dtype,
        )
        self.channels_last = channels_last
        if padding == "causal":
            self.padding = padding
            self._reversed_padding_repeated_twice = [self.dilation[0] * (self.kernel_size[0] - 1), 0]
        elif pair:
            self._reversed_padding_repeated_twice = list(padding)

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if torch.jit.is_scripting():
            return torch.ops.torch_conv1d.conv1d(
                input, weight, bias, self.stride, self.padding, self.dilation, self.groups,
                padding_mode=self.padding_mode, channels_last=self.channels_last,
            )
        return conv1d(
            input, weight, bias, self.stride, self.padding, self.dilation, self.groups,
            padding_mode=self.padding_mode, channels_last=self.channels_last,
        )
