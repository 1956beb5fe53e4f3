"""What every way to compute promises: results close to exact ones, in bits that hang on nothing."""

from __future__ import annotations

import torch
from calls import assert_same_bits, assert_sets_change_no_bit, run
from conftest import DTYPES
from numerics import assert_within_budget, expect_results
from problems import Operands, Problem, operands


def assert_exact_but_for_rounding(problem: Problem, context: str) -> None:
    """In every dtype and in both layouts."""
    for dtype in DTYPES:
        o = operands(problem, dtype)
        exact = expect_results(problem, o)
        for channels_last in (False, True):
            for a, e in zip(run(problem, o, channels_last), exact, strict=True):
                assert_within_budget(a, e, context=(context, dtype, channels_last))


def assert_batch_layout_and_threads_change_no_bit(problem: Problem, o: Operands) -> None:
    """Alone or in a batch, in both layouts, by any threads.

    Leaves another number of threads behind: for tests with the fixture `threads`.
    """
    torch.set_num_threads(1)
    whole = run(problem, o)
    part = run(problem, Operands(o.x[:1], o.w, o.b, o.grad_y[:1]))
    assert torch.equal(part.y, whole.y[:1])
    assert torch.equal(part.grad_x, whole.grad_x[:1])
    assert_same_bits(run(problem, o, channels_last=True), whole, "channels_last")
    for count in (2, 3, 7):
        torch.set_num_threads(count)
        assert_same_bits(run(problem, o), whole, f"{count} threads")


def assert_same_bits_everywhere(problem: Problem, dtype: torch.dtype) -> None:
    """The same, and on every set of instructions that shares them."""
    o = operands(problem, dtype)
    assert_batch_layout_and_threads_change_no_bit(problem, o)
    assert_sets_change_no_bit(problem, o)
