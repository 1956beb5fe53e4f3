"""What the native ops need from Python: a general entry, vmap rules and FLOP formulas."""

import operator
import sys
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from torch_conv1d import _C

_op = torch.ops.torch_conv1d

_POSITIVE_FORMS = {"stride": "an int or a sequence of one int", "dilation": "an int or a sequence of one int"}


def conv1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] | str = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    padding_mode: str = "zeros",
    channels_last: bool = False,
) -> Tensor:
    """The front op for every call that `_C.conv1d` does not take: tensor subclasses, modes, symbols, tracing."""
    for name, tensor in (("input", input), ("weight", weight), ("bias", bias)):
        if not hasattr(type(tensor), "__torch_function__") and (name != "bias" or tensor is not None):
            raise TypeError(f"conv1d: {name} must be a Tensor, got {type(tensor).__name__}")
    for name, value, kind in (("padding_mode", padding_mode, str), ("channels_last", channels_last, bool)):
        if not isinstance(value, kind):
            raise TypeError(f"conv1d: {name} must be a {kind.__name__}, got {value!r}")
    strides = _integers("stride", stride)
    paddings = padding if isinstance(padding, str) else _integers("padding", padding)
    dilations = _integers("dilation", dilation)
    groups = _integer("groups", groups)
    front = _composite if torch.onnx.is_in_onnx_export() or _is_dtensor(input, weight) else _op.conv1d
    result: Tensor = front(
        input, weight, bias, strides, paddings, dilations, groups,
        padding_mode=padding_mode, channels_last=channels_last,
    )
    return result


def _integer(name: str, value: Any) -> Any:
    if isinstance(value, torch.SymInt):
        return value
    if not isinstance(value, bool):
        try:
            return operator.index(value)
        except TypeError:
            pass
    raise TypeError(f"conv1d: {name} must be made of ints, got {value!r}")


def _integers(name: str, value: Any) -> list[Any]:
    if isinstance(value, (tuple, list)):
        return [_integer(name, element) for element in value]
    return [_integer(name, value)]


def _is_dtensor(*tensors: Tensor) -> bool:
    # Its module is only asked for if somebody else has imported it.
    distributed = sys.modules.get("torch.distributed.tensor")
    return distributed is not None and any(isinstance(t, distributed.DTensor) for t in tensors)


def _composite(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: list[int],
    padding: list[int] | str,
    dilation: list[int],
    groups: int,
    *,
    padding_mode: str,
    channels_last: bool,
) -> Tensor:
    """The front op in torch's own functions, which DTensor can shard and ONNX can translate."""
    total = dilation[0] * (weight.shape[-1] - 1)
    if isinstance(padding, str):
        named = {"same": [total // 2, total - total // 2], "valid": [0, 0], "causal": [total, 0]}
        padding = named[padding]
    x = input.transpose(-2, -1) if channels_last else input
    left, right = padding[0], padding[-1]
    if left != right or padding_mode != "zeros":
        x = F.pad(x, (left, right), "constant" if padding_mode == "zeros" else padding_mode)
        left = 0
    y = F.conv1d(x, weight, bias, stride, left, dilation, groups)
    return y.transpose(-2, -1).contiguous() if channels_last else y
