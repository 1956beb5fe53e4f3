"""The front op for calls that are not plain, FLOP formulas, and the facts of a bug report."""

import math
import operator
import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from torch_conv1d import _C

PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


def conv1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: int | Sequence[int],
    padding: int | Sequence[int] | str,
    dilation: int | Sequence[int],
    groups: int,
    padding_mode: str,
    channels_last: bool,
) -> Tensor:
    """The front op through the dispatcher, for tensor subclasses, modes, symbols and tracing.

    ``_C.conv1d`` calls this with whatever it does not run itself, so wrong types are named here.
    """
    tensors = {"input": input, "weight": weight} | ({} if bias is None else {"bias": bias})
    for name, tensor in tensors.items():
        # What may stand for a tensor: subclasses, symbolic proxies.
        if not hasattr(type(tensor), "__torch_function__"):
            raise _wrong_type(name, "a Tensor", tensor)
    if not isinstance(padding_mode, str):
        raise _wrong_type("padding_mode", "a str", padding_mode)
    if not isinstance(channels_last, bool):
        raise _wrong_type("channels_last", "a bool", channels_last)
    front: Callable[..., Tensor]
    if torch.onnx.is_in_onnx_export() or _is_dtensor(input) or _is_dtensor(weight):
        front = _aten_conv1d
    elif isinstance(padding, str):
        front = torch.ops.torch_conv1d.conv1d.padding
    else:
        front = torch.ops.torch_conv1d.conv1d.default
    return front(
        input,
        weight,
        bias,
        integers("stride", stride),
        padding if isinstance(padding, str) else integers("padding", padding),
        integers("dilation", dilation),
        _integer("groups", groups, "an int"),
        padding_mode=padding_mode,
        channels_last=channels_last,
    )


def _wrong_type(name: str, expected: str, value: object) -> TypeError:
    return TypeError(
        f"conv1d: {name} must be {expected}, got {value!r} of type {type(value).__name__}"
    )


def integers(name: str, value: Any) -> list[int]:
    expected = "an int or a sequence of ints"
    if isinstance(value, (tuple, list)):
        return [_integer(name, element, expected) for element in value]
    return [_integer(name, value, expected)]


def _integer(name: str, value: Any, expected: str) -> int:
    if isinstance(value, (torch.SymInt, torch.fx.Proxy)):
        return value  # type: ignore[return-value]
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool):
        raise _wrong_type(name, expected, value)
    if not -(2**63) <= number < 2**63:
        raise ValueError(f"conv1d: {name} must fit in 64 bits, got {value}")
    return number


def _is_dtensor(tensor: Tensor) -> bool:
    # Nothing is one unless somebody has imported its module, which is a slow import.
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(tensor, module.DTensor)


def _aten_conv1d(
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
    """The front op in torch's own ops, which DTensor can shard and ONNX can express.

    What F.conv1d does not see, or F.pad would take for something else, is refused as by front.cpp.
    """
    for name, value in (("stride", stride), ("dilation", dilation)):
        if len(value) != 1:
            raise RuntimeError(
                f"conv1d: expected {name} to be a single integer value or a list of 1 values "
                f"to match the convolution dimensions, but got {name}={value}"
            )
    if padding_mode not in PADDING_MODES:
        raise ValueError(
            "conv1d: padding_mode must be one of 'zeros', 'reflect', 'replicate' or 'circular', "
            f"but got {padding_mode!r}"
        )
    if input.dim() not in (2, 3) or weight.dim() != 3:
        raise RuntimeError(
            "conv1d: Expected 2D (unbatched) or 3D (batched) input and 3D weight, "
            f"but got input of size {list(input.shape)} and weight of size {list(weight.shape)}"
        )
    if isinstance(padding, str):
        if padding not in ("same", "valid", "causal"):
            raise RuntimeError(
                f"conv1d: Invalid padding string: {padding!r}, expected 'same', 'valid', "
                "'causal', an int or (left, right)"
            )
        if padding == "same" and stride != [1]:
            raise RuntimeError(
                "conv1d: padding='same' is not supported for strided convolutions: "
                f"expected stride 1, got {stride}"
            )
    elif len(padding) not in (1, 2) or min(padding) < 0:
        raise RuntimeError(
            "conv1d: expected padding to be a single integer value, a list of 1 value or of 2 "
            f"(left, right), none negative, but got padding={padding}"
        )
    left, right = sides(padding, dilation[0] * (weight.shape[-1] - 1))
    x = input.transpose(-2, -1) if channels_last else input
    if padding_mode != "zeros" or left != right:
        x = F.pad(x, (left, right), "constant" if padding_mode == "zeros" else padding_mode)
        left = 0
    y = F.conv1d(x, weight, bias, stride, left, dilation, groups)
    return y.transpose(-2, -1).contiguous() if channels_last else y


def sides(padding: Sequence[int] | str, reach: int) -> tuple[int, int]:
    """Legal padding as (left, right); a kernel reaches dilation * (kernel_size - 1) positions."""
    if not isinstance(padding, str):
        return padding[0], padding[-1]
    return {"valid": (0, 0), "same": (reach // 2, reach - reach // 2), "causal": (reach, 0)}[
        padding
    ]


@register_flop_formula(torch.ops.torch_conv1d._conv1d)
def _forward_flops(_x: Any, w: Any, *_: Any, out_shape: Any, **__: Any) -> int:
    return 2 * int(math.prod(out_shape) * math.prod(w[1:]))


@register_flop_formula(torch.ops.torch_conv1d._conv1d_backward)
def _backward_flops(g: Any, _x: Any, w: Any, *arguments: Any, **_: Any) -> int:
    grad_input, grad_weight, _ = arguments[-1]
    return 2 * int(math.prod(g) * math.prod(w[1:]) * (grad_input + grad_weight))


def config() -> str:
    """What the extension was built with and what it uses here, for a bug report."""
    facts = _C.build_info() | {
        "instruction sets": ", ".join(_C.supported_instruction_sets()),
        "active instruction set": _C.active_instruction_set(),
    }
    return "".join(f"{name}: {value}\n" for name, value in facts.items())


_C.set_general_path(conv1d)
