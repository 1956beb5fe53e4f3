"""Batching rules: a call under ``torch.vmap`` becomes one call of the same op, for each result.

The mapped dimension, of size B, joins a dimension that the op has already:

* the batch, where the other operand is shared;
* the output channels of every group, where the input is shared and the weight (or its gradient)
  is mapped;
* the groups, where both are mapped.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

Result = tuple[Any, Any]  # outputs and their mapped dimensions

_forward = torch.ops.torch_conv1d._conv1d.default
_backward = torch.ops.torch_conv1d._conv1d_backward.default


class Options(NamedTuple):
    """The arguments of the private ops that are not tensors."""

    stride: int
    pad_left: int
    pad_right: int
    dilation: int
    groups: int
    padding_mode: int
    channels_last: bool

    def with_groups(self, factor: int) -> "Options":
        return self._replace(groups=self.groups * factor)


def _mapped_first(tensor: Tensor, dim: int | None, size: int) -> Tensor:
    return tensor.expand(size, *tensor.shape) if dim is None else tensor.movedim(dim, 0)


def _one(tensor: Tensor, dim: int | None) -> Tensor:
    """What one sample sees; for operands of which only the shape matters."""
    return tensor if dim is None else tensor.select(dim, 0)


def _shaped(like: Tensor, *shape: int) -> Tensor:
    """An operand of which only the shape matters."""
    return like.new_empty(()).expand(shape)


# Below, `c` is the position of the channels: 1 in (N, C, L), 0 in a weight or a bias.


def _to_groups(tensor: Tensor, c: int) -> Tensor:
    """(B, ..., C, ...) -> (..., B*C, ...)."""
    return tensor.movedim(0, c).flatten(c, c + 1)


def _from_groups(tensor: Tensor, c: int, size: int) -> Tensor:
    split: Tensor = tensor.unflatten(c, (size, tensor.shape[c] // size))
    return split.movedim(c, 0)


def _to_outputs(tensor: Tensor, c: int, groups: int) -> Tensor:
    """(B, ..., groups*O, ...) -> (..., groups*B*O, ...)."""
    tensor = tensor.unflatten(c + 1, (groups, tensor.shape[c + 1] // groups))
    return tensor.movedim(0, c + 1).flatten(c, c + 2)


def _from_outputs(tensor: Tensor, c: int, groups: int, size: int) -> Tensor:
    tensor = tensor.unflatten(c, (groups, size, tensor.shape[c] // (groups * size)))
    return tensor.movedim(c + 1, 0).flatten(c + 1, c + 2)


def forward(
    info: Any,
    in_dims: Sequence[int | None],
    x: Tensor,
    w: Tensor,
    b: Tensor | None,
    *arguments: Any,
) -> Result:
    size, options = info.batch_size, Options(*arguments)
    x_dim, w_dim, b_dim = in_dims[:3]

    if w_dim is not None:
        w = _mapped_first(w, w_dim, size)
        b = None if b is None else _mapped_first(b, b_dim, size)
        if x_dim is not None:
            x = _to_groups(_mapped_first(x, x_dim, size), 1)
            b = None if b is None else _to_groups(b, 0)
            y = _forward(x, _to_groups(w, 0), b, *options.with_groups(size))
            return _from_groups(y, 1, size), 0
        b = None if b is None else _to_outputs(b, 0, options.groups)
        y = _forward(x, _to_outputs(w, 0, options.groups), b, *options)
        return _from_outputs(y, 1, options.groups, size), 0

    shared_bias = b if b_dim is None else None
    if x_dim is None:
        y = _forward(x, w, shared_bias, *options)
    else:
        x = _mapped_first(x, x_dim, size)
        y = _forward(x.flatten(0, 1), w, shared_bias, *options).unflatten(0, x.shape[:2])
    if b is not None and b_dim is not None:
        y = y + b.movedim(b_dim, 0)[:, None, :, None]
    return y, 0


def backward(
    info: Any, in_dims: Sequence[int | None], g: Tensor, x: Tensor, w: Tensor, *arguments: Any
) -> Result:
    size, options, mask = info.batch_size, Options(*arguments[:-1]), arguments[-1]
    dims = in_dims[:3]
    grad_x, x_dim = _grad_input(size, dims, g, x, w, options) if mask[0] else (None, None)
    grad_w = grad_b = w_dim = None
    if mask[1] or mask[2]:
        (grad_w, grad_b), w_dim = _grad_weight(size, dims, g, x, w, options, mask)
    result_dims = (x_dim, w_dim if mask[1] else None, w_dim if mask[2] else None)
    return (grad_x, grad_w, grad_b), result_dims


def _grad_input(
    size: int, dims: Sequence[int | None], g: Tensor, x: Tensor, w: Tensor, options: Options
) -> tuple[Tensor, int | None]:
    g_dim, x_dim, w_dim = dims
    n, channels, length = _one(x, x_dim).shape
    only = (True, False, False)
    if w_dim is not None:
        g = _to_groups(_mapped_first(g, g_dim, size), 1)
        w = _to_groups(_mapped_first(w, w_dim, size), 0)
        x = _shaped(x, n, size * channels, length)
        grad = _backward(g, x, w, *options.with_groups(size), only)[0]
        return _from_groups(grad, 1, size), 0
    if g_dim is None:
        return _backward(g, _one(x, x_dim), w, *options, only)[0], None
    g = _mapped_first(g, g_dim, size).flatten(0, 1)
    grad = _backward(g, _shaped(x, size * n, channels, length), w, *options, only)[0]
    return grad.unflatten(0, (size, n)), 0


def _grad_weight(
    size: int,
    dims: Sequence[int | None],
    g: Tensor,
    x: Tensor,
    w: Tensor,
    options: Options,
    mask: Sequence[bool],
) -> tuple[list[Tensor | None], int | None]:
    g_dim, x_dim, w_dim = dims
    out_channels, in_channels, kernel_size = _one(w, w_dim).shape
    only = (False, mask[1], mask[2])
    if g_dim is None and x_dim is None:
        return _backward(g, x, _one(w, w_dim), *options, only)[1:], None
    g = _mapped_first(g, g_dim, size)
    w = _shaped(w, size * out_channels, in_channels, kernel_size)
    if x_dim is None:
        grads = _backward(_to_outputs(g, 1, options.groups), x, w, *options, only)[1:]
        split = [t if t is None else _from_outputs(t, 0, options.groups, size) for t in grads]
    else:
        x = _to_groups(_mapped_first(x, x_dim, size), 1)
        grads = _backward(_to_groups(g, 1), x, w, *options.with_groups(size), only)[1:]
        split = [t if t is None else _from_groups(t, 0, size) for t in grads]
    return split, 0


torch.library.register_vmap("torch_conv1d::_conv1d", forward)
torch.library.register_vmap("torch_conv1d::_conv1d_backward", backward)
