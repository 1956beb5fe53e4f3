"""The reference of the tests is right: it is the loops of the definition, and it is torch."""

from __future__ import annotations

import itertools

import pytest
import reference
import torch
from calls import leaves
from numerics import Expected, assert_within_budget, expect_forward, expect_results
from problems import CORPUS, PADDING_MODES, Problem, legal_problem, operands

SMALL = [
    legal_problem(2, (2, 3, 2), l_in, 3, stride, padding, 2, mode)
    for mode, l_in, stride, padding in itertools.product(
        PADDING_MODES, (1, 4, 9), (1, 3), ((0, 0), (5, 1), (2, 9))
    )
]


def padded_position(li: int, length: int, mode: str) -> int | None:
    """Where a position outside of [0, length) is read, found step by step."""
    while not 0 <= li < length:
        if mode == "zeros":
            return None
        if mode == "replicate":
            li += 1 if li < 0 else -1
        elif mode == "circular":
            li += length if li < 0 else -length
        else:
            li = -li if li < 0 else 2 * (length - 1) - li
    return li


@pytest.mark.parametrize("problem", SMALL, ids=str)
def test_taps_are_the_loops_of_the_definition(problem: Problem) -> None:
    p, o = problem, operands(problem)
    y = o.b[:, None].expand(p.output_shape).clone()
    grad_x, grad_w = torch.zeros_like(o.x), torch.zeros_like(o.w)
    ci_per_group, co_per_group = p.c_in // p.groups, p.c_out // p.groups
    loops = (p.n, p.c_out, ci_per_group, p.kernel_size, p.l_out)
    for n, co, c, k, lo in itertools.product(*map(range, loops)):
        ci = co // co_per_group * ci_per_group + c
        li = padded_position(lo * p.stride + k * p.dilation - p.pad_left, p.l_in, p.padding_mode)
        if li is not None:
            y[n, co, lo] += o.w[co, c, k] * o.x[n, ci, li]
            grad_x[n, ci, li] += o.w[co, c, k] * o.grad_y[n, co, lo]
            grad_w[co, c, k] += o.x[n, ci, li] * o.grad_y[n, co, lo]
    for actual, expected in zip((y, grad_x, grad_w), expect_results(p, o), strict=False):
        assert_within_budget(actual, expected)


@pytest.mark.parametrize("problem", CORPUS, ids=str)
def test_reference_is_torch(problem: Problem) -> None:
    p, o = problem, operands(problem)
    x, w, b = leaves(o)
    y = reference.torch_conv1d(p, x, w, b)
    results = (y, *torch.autograd.grad(y, (x, w, b), o.grad_y))
    for actual, expected in zip(results, expect_results(p, o), strict=True):
        assert_within_budget(actual, expected)


def test_the_budget_catches_one_wrong_tap() -> None:
    problem = Problem.parse("n1_ci64_co2_l40_k31_s1_p15_d1_g1")
    o = operands(problem, torch.bfloat16)
    expected = expect_forward(problem, o.x, o.w)
    assert_within_budget(expected.value.bfloat16(), expected)
    w = o.w.clone()
    w[1, 5, 30] = 0
    with pytest.raises(AssertionError, match="elements are wrong"):
        assert_within_budget(reference.forward(problem, o.x, w).bfloat16(), expected)


def test_the_budget_catches_sums_in_the_narrow_type() -> None:
    problem = Problem.parse("n1_ci64_co2_l40_k31_s1_p15_d1_g1")
    o = operands(problem, torch.bfloat16)
    halves = [
        reference.forward(problem, o.x * keep, o.w).bfloat16()
        for keep in (torch.arange(64)[:, None] % 2 == parity for parity in (0, 1))
    ]
    with pytest.raises(AssertionError, match="elements are wrong"):
        assert_within_budget(halves[0] + halves[1], expect_forward(problem, o.x, o.w))


def test_an_output_of_nothing_but_zeros_has_no_budget() -> None:
    expected = Expected("forward", torch.zeros(1), torch.zeros(1), terms=9)
    with pytest.raises(AssertionError, match="elements are wrong"):
        assert_within_budget(torch.full((1,), 1e-30), expected)
