"""conv1d as a function, and as a torch.autograd.Function."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.compiler import is_dynamo_compiling

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
    """Applies a 1-D convolution, as :func:`torch.nn.functional.conv1d` does.

    ``y[n, co, lo] = bias[co] + sum over ci, k of weight[co, ci, k] * x[n, ci, li]`` with
    ``li = lo * stride + k * dilation - left``.

    Args:
        input: of shape ``(N, C_in, L)`` or ``(C_in, L)``; any strides are read without a copy.
        weight: of shape ``(C_out, C_in / groups, K)``.
        bias: of shape ``(C_out,)``.
        stride: the step between two positions of the kernel.
        padding: positions added to both sides, ``(left, right)``, ``'valid'`` (none), ``'same'``
            (as many outputs as inputs, stride 1) or ``'causal'`` (on the left
            ``dilation * (K - 1)``).
        dilation: the step between two taps of the kernel.
        groups: input and output channels are divided into this many groups, convolved one by one.
        padding_mode: what stands at the added positions: ``'zeros'``, ``'reflect'``,
            ``'replicate'`` or ``'circular'``. No padded copy is made.
        channels_last: input and result are of shape ``(N, L, C)`` or ``(L, C)``.

    Returns:
        A contiguous tensor of shape ``(N, C_out, L_out)`` with
        ``L_out = (L + left + right - dilation * (K - 1) - 1) // stride + 1``.

    float32, float64, bfloat16 and float16 (accumulated in float32) run on kernels of this package
    on CPUs, and on CUDA where it was built in, except for layers that torch does better there;
    other dtypes, devices and layouts compute the same in ATen.

    Raises:
        RuntimeError: for shapes, sizes, dtypes and devices that make no convolution.
        ValueError: for an unknown padding mode, or an integer beyond 64 bits.
        TypeError: for arguments of the wrong type.
    """
    # Dynamo traces the one; fake tensors, modes and other tracers are found out by the other.
    front = _ops.conv1d if is_dynamo_compiling() else _C.conv1d
    return front(
        input, weight, bias, stride, padding, dilation, groups, padding_mode, channels_last
    )


class Conv1dFunction(torch.autograd.Function):
    """The same kernels as a Python function: the derivative, to read and to build on.

    ``Conv1dFunction.apply(input, weight, bias, stride, padding, dilation, groups, padding_mode,
    channels_last)`` takes and returns what :func:`conv1d` does, bit for bit. :func:`conv1d` itself
    does not use it: a Python Function costs some 50 us a call, and cannot have both forward mode
    and ``torch.compile``.
    """

    @staticmethod
    def forward(
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
        return conv1d(
            input,
            weight,
            bias,
            stride,
            padding,
            dilation,
            groups,
            padding_mode=padding_mode,
            channels_last=channels_last,
        )

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        input, weight, _, stride, padding, dilation, groups, padding_mode, channels_last = inputs
        # forward has refused what is not legal.
        (stride,), (dilation,) = (
            _ops.integers("stride", stride),
            _ops.integers("dilation", dilation),
        )
        if not isinstance(padding, str):
            padding = _ops.integers("padding", padding)
        left, right = _ops.sides(padding, dilation * (weight.shape[-1] - 1))
        mode = _ops.PADDING_MODES.index(padding_mode)
        ctx.save_for_backward(input, weight)
        ctx.options = (stride, left, right, dilation, groups, mode, channels_last)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        # y = F(x, w) + b is linear in each operand, so its derivatives are sums over the other two:
        # grad_x over the outputs that read a position, grad_w and grad_b over batch and positions.
        # The native op that computes them is differentiable in turn.
        input, weight = ctx.saved_tensors
        *_, channels_last = ctx.options
        grad_x, grad_w, grad_b = torch.ops.torch_conv1d._conv1d_backward(
            _batch_of_rows(grad_output, channels_last),
            _batch_of_rows(input, channels_last),
            weight,
            *ctx.options,
            ctx.needs_input_grad[:3],
        )
        if grad_x is not None:
            grad_x = grad_x.transpose(1, 2) if channels_last else grad_x
            grad_x = grad_x.view(input.shape)
        return grad_x, grad_w, grad_b, None, None, None, None, None, None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *inputs: Any) -> tuple[Tensor, int]:
        options = inputs[3:]

        def one(input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
            return Conv1dFunction.forward(input, weight, bias, *options)

        return torch.vmap(one, in_dims[:3], randomness=info.randomness)(*inputs[:3]), 0


def _batch_of_rows(tensor: Tensor, channels_last: bool) -> Tensor:
    """(N, C, L), (C, L), (N, L, C) or (L, C) -> (N, C, L)."""
    tensor = tensor.transpose(-2, -1) if channels_last else tensor
    return tensor.unsqueeze(0) if tensor.dim() == 2 else tensor
