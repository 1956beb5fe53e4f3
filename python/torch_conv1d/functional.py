"""conv1d as a function, and as a torch.autograd.Function."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from torch_conv1d import _C, _ops


def conv1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] | str = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    *,
    padding_mode: str = "zeros",
    channels_last: bool = False,
) -> Tensor:
    arguments = (input, weight, bias, stride, padding, dilation, groups, padding_mode, channels_last)
    if torch.compiler.is_compiling():
        return _ops.conv1d(*arguments)
    return _C.conv1d(*arguments)
