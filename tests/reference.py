"""What conv1d means, in float64 on the CPU: one sum per tap, and padding modes as an index map.

test_reference.py checks these against plain loops and against torch.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from problems import Problem
from torch import Tensor


def source_positions(p: Problem) -> Tensor:
    """(L_out, K): the position of x that tap k of output lo reads; -1 where it reads a zero."""
    lo, k = torch.arange(p.l_out)[:, None], torch.arange(p.kernel_size)
    li = lo * p.stride + k * p.dilation - p.pad_left
    if p.padding_mode == "reflect":
        last = p.l_in - 1
        return last - (last - li.abs()).abs()
    if p.padding_mode == "replicate":
        return li.clamp(0, p.l_in - 1)
    if p.padding_mode == "circular":
        return li % p.l_in
    return torch.where((li >= 0) & (li < p.l_in), li, -1)


def _grouped(t: Tensor, groups: int, dim: int) -> Tensor:
    grouped: Tensor = t.cpu().double().unflatten(dim, (groups, t.shape[dim] // groups))
    return grouped


def _rows(p: Problem, x: Tensor, positions: Tensor) -> Tensor:
    """(N, groups, C_in / groups, L_out): x at `positions`."""
    padded = F.pad(_grouped(x, p.groups, 1), (0, 1))
    rows: Tensor = padded.index_select(-1, positions % (p.l_in + 1))  # the last position is a zero
    return rows


def forward(p: Problem, x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
    y = torch.zeros(p.n, p.groups, p.c_out // p.groups, p.l_out, dtype=torch.float64)
    weights = _grouped(w, p.groups, 0)
    for k, positions in enumerate(source_positions(p).unbind(1)):
        y += torch.einsum("goi,ngil->ngol", weights[..., k], _rows(p, x, positions))
    y = y.flatten(1, 2)
    return y if b is None else y + b.cpu().double()[:, None]


def grad_input(p: Problem, grad_y: Tensor, w: Tensor) -> Tensor:
    grad_x = torch.zeros(p.n, p.groups, p.c_in // p.groups, p.l_in + 1, dtype=torch.float64)
    weights = _grouped(w, p.groups, 0)
    for k, positions in enumerate(source_positions(p).unbind(1)):
        share = torch.einsum("goi,ngol->ngil", weights[..., k], _grouped(grad_y, p.groups, 1))
        grad_x.index_add_(
            -1, positions % (p.l_in + 1), share
        )  # the last position collects padded zeros
    return grad_x[..., : p.l_in].flatten(1, 2)


def grad_weight(p: Problem, grad_y: Tensor, x: Tensor) -> Tensor:
    taps = [
        torch.einsum("ngol,ngil->goi", _grouped(grad_y, p.groups, 1), _rows(p, x, positions))
        for positions in source_positions(p).unbind(1)
    ]
    return torch.stack(taps, -1).flatten(0, 1)


def grad_bias(grad_y: Tensor) -> Tensor:
    return grad_y.cpu().double().sum((0, 2))


def torch_conv1d(p: Problem, x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
    """The same call as users of torch write it: an explicit copy for padding, then F.conv1d."""
    mode: dict[str, Any] = {"mode": "constant" if p.padding_mode == "zeros" else p.padding_mode}
    padded = F.pad(x, (p.pad_left, p.pad_right), **mode)
    return F.conv1d(padded, w, b, p.stride, 0, p.dilation, p.groups)
