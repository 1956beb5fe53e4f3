"""The modules Conv1d and LazyConv1d, and convert, which puts them into an existing model."""

from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.compiler import is_dynamo_compiling
from torch.jit import is_scripting  # type: ignore[attr-defined]
from torch.nn.utils import parametrize

from torch_conv1d import _C, _ops

M = TypeVar("M", bound=nn.Module)


class Conv1d(nn.Conv1d):
    """:class:`torch.nn.Conv1d` on kernels of this package: same arguments, same parameters.

    Beyond it, ``padding`` may be ``(left, right)`` or ``'causal'``, with every padding mode, and
    ``channels_last=True`` takes and returns ``(N, L, C)`` or ``(L, C)`` tensors.

    Shapes:
        input ``(N, C_in, L)`` or ``(C_in, L)``; output ``(N, C_out, L_out)`` or ``(C_out, L_out)``,
        see :func:`torch_conv1d.conv1d`, which also lists dtypes and errors.
    """

    __constants__ = [*nn.Conv1d.__constants__, "channels_last"]  # noqa: RUF012 (as in torch)
    channels_last: bool

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int],
        stride: int | tuple[int] = 1,
        padding: int | tuple[int] | tuple[int, int] | str = 0,
        dilation: int | tuple[int] = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
        *,
        channels_last: bool = False,
    ) -> None:
        if isinstance(padding, str) and padding not in ("same", "valid", "causal"):
            raise ValueError(
                f"padding must be an int, (left, right), 'same', 'valid' or 'causal', "
                f"got {padding!r}"
            )
        causal = padding == "causal"
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            0 if causal else padding,  # type: ignore[arg-type]
            dilation,
            groups,
            bias,
            padding_mode,  # type: ignore[arg-type]
            device,
            dtype,
        )
        self.channels_last = channels_last
        if causal:
            self.padding = "causal"
            left = self.dilation[0] * (self.kernel_size[0] - 1)
            self._reversed_padding_repeated_twice = [left, 0]
        elif len(self.padding) == 2:
            self._reversed_padding_repeated_twice = list(self.padding)  # type: ignore[arg-type]

    def extra_repr(self) -> str:
        theirs: str = super().extra_repr()  # type: ignore[no-untyped-call]
        return theirs + (", channels_last=True" if self.channels_last else "")

    def forward(self, input: Tensor) -> Tensor:
        if is_scripting():
            return self._conv_forward(input, self.weight, self.bias)
        else:  # noqa: RET505 (TorchScript compiles what follows an if, but not its else)
            # self.weight goes through nn.Module.__getattr__: half a microsecond for each of the
            # two. A parametrized weight is a property of the class, and not found here.
            p = self._parameters
            weight = p["weight"] if "weight" in p else self.weight  # noqa: SIM401 (slow)
            bias = p["bias"] if "bias" in p else self.bias  # noqa: SIM401
            return self._conv_forward(input, weight, bias)  # type: ignore[arg-type]

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if is_scripting():
            return torch.ops.torch_conv1d.conv1d(  # type: ignore[no-any-return]
                input,
                weight,
                bias,
                self.stride,
                self.padding,
                self.dilation,
                self.groups,
                padding_mode=self.padding_mode,
                channels_last=self.channels_last,
            )
        # As functional.conv1d, without its frame.
        front = _ops.conv1d if is_dynamo_compiling() else _C.conv1d
        return front(
            input,
            weight,
            bias,
            self.stride,
            self.padding,
            self.dilation,
            self.groups,
            self.padding_mode,
            self.channels_last,
        )


class LazyConv1d(nn.LazyConv1d, Conv1d):  # type: ignore[misc]
    """A :class:`Conv1d` that takes ``in_channels`` from its first input."""

    cls_to_become = Conv1d

    def __init__(self, *args: Any, channels_last: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.channels_last = channels_last

    def _get_in_channels(self, input: Tensor) -> int:
        return super()._get_in_channels(input.transpose(-2, -1) if self.channels_last else input)


def convert(module: M) -> M:
    """Turns every :class:`torch.nn.Conv1d` in ``module``, itself included, into a :class:`Conv1d`.

    In place, and only the class changes: parameters, buffers, hooks, parametrizations and the
    training flag are the objects they were. Subclasses of others are left alone, for they may
    have changed anything.

    Returns:
        ``module``.

    Raises:
        TypeError: if ``module`` is not a module.
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"convert: module must be a torch.nn.Module, got {type(module).__name__}")
    for child in module.modules():
        cls = _replacement(child)
        if cls is not None:
            child.__class__ = cls
            child.channels_last = False  # type: ignore[assignment]
    return module


def _replacement(module: nn.Module) -> type[Conv1d] | None:
    cls = type(module)
    if cls is nn.Conv1d:
        return Conv1d
    if cls is nn.LazyConv1d:
        return LazyConv1d
    if parametrize.is_parametrized(module) and cls.__bases__ == (nn.Conv1d,):
        # register_parametrization made this class for this module alone, with the parametrized
        # tensors as properties.
        members = {k: v for k, v in vars(cls).items() if k not in ("__dict__", "__weakref__")}
        return type(cls.__name__, (Conv1d,), members)
    return None
