"""One call of the package under test, with its three gradients."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from problems import Operands, Problem
from torch import Tensor

from torch_conv1d import _C, conv1d

# Sets that give the same bits. Those that multiply pairs of bfloat16 differ from the others in
# bfloat16, unless sums are direct; all else they share with one of them.
FMA_SETS = [s for s in _C.supported_instruction_sets() if s in ("avx2", "avx512")]
PAIR_SETS = [s for s in _C.supported_instruction_sets() if s.endswith("_bf16")]


class Results(NamedTuple):
    y: Tensor
    grad_x: Tensor
    grad_w: Tensor
    grad_b: Tensor


def leaves(o: Operands) -> tuple[Tensor, Tensor, Tensor]:
    """x, w and b, each requiring its gradient."""
    x, w, b = (t.detach().requires_grad_() for t in (o.x, o.w, o.b))
    return x, w, b


def run(problem: Problem, o: Operands, channels_last: bool = False) -> Results:
    """The results of any operands; they and y and grad_x are logical (N, C, L) tensors."""
    x, w, b = leaves(o)
    y = conv1d(x.mT if channels_last else x, w, b, **problem.arguments, channels_last=channels_last)
    if channels_last:
        y = y.mT
    return Results(y.detach(), *torch.autograd.grad(y, (x, w, b), o.grad_y))


@contextmanager
def instruction_set_named(name: str) -> Iterator[None]:
    _C.set_instruction_set(name)
    try:
        yield
    finally:
        _C.set_instruction_set("")


def assert_same_bits(actual: Results, expected: Results, context: object = "") -> None:
    for name, a, e in zip(Results._fields, actual, expected, strict=True):
        assert torch.equal(a, e), f"{context} {name}: {int((a != e).sum())} of {e.numel()} differ"


def assert_sets_change_no_bit(problem: Problem, o: Operands) -> None:
    every = list(dict.fromkeys([*FMA_SETS, _C.active_instruction_set()]))
    for names in (FMA_SETS, PAIR_SETS) if o.x.dtype is torch.bfloat16 else (every,):
        results = []
        for name in names:
            with instruction_set_named(name):
                results.append(run(problem, o))
        for name, result in zip(names, results, strict=True):
            assert_same_bits(result, results[0], f"{name} and {names[0]}")
