"""The three gradients of conv1d: the float64 reference, and what users of torch would have got."""

from __future__ import annotations

import pytest
import reference
import torch
from calls import instruction_set_named, leaves, run
from conftest import DTYPES
from hypothesis import given, settings
from hypothesis import strategies as st
from numerics import assert_within_budget, expect_results
from problems import CORPUS, Problem, each_device, operands, problems

from torch_conv1d import _C, conv1d


def check(problem: Problem, dtype: torch.dtype) -> None:
    o = operands(problem, dtype)
    for actual, expected in zip(run(problem, o), expect_results(problem, o), strict=True):
        assert actual.dtype == dtype
        assert_within_budget(actual, expected, context=dtype)


@each_device
@pytest.mark.parametrize("problem", CORPUS, ids=str)
def test_results_are_the_reference(problem: Problem, dtype: torch.dtype) -> None:
    check(problem, dtype)


@settings(max_examples=500, deadline=None, derandomize=True)
@given(
    problem=problems(),
    dtype=st.sampled_from(DTYPES),
    name=st.sampled_from(_C.supported_instruction_sets()),
)
def test_results_of_any_problem_are_the_reference(
    problem: Problem, dtype: torch.dtype, name: str
) -> None:
    with instruction_set_named(name):
        check(problem, dtype)


@each_device
@pytest.mark.parametrize("problem", CORPUS, ids=str)
def test_gradients_are_torch(problem: Problem) -> None:
    for dtype in (torch.float32, torch.float64):
        o = operands(problem, dtype)
        x, w, b = leaves(o)
        y = reference.torch_conv1d(problem, x, w, b)
        theirs = (y.detach(), *torch.autograd.grad(y, (x, w, b), o.grad_y))
        ours = run(problem, o)
        for actual, other, expected in zip(ours, theirs, expect_results(problem, o), strict=True):
            assert (actual.device, actual.dtype) == (other.device, other.dtype)
            assert_within_budget(actual, expected, other=other, context=dtype)


@each_device
def test_gradients_accumulate_into_grad() -> None:
    problem = Problem.parse("n2_ci3_co4_l17_k3_s2_p1_d1_g1")
    o = operands(problem)
    x, w, b = leaves(o)
    for _ in range(2):
        conv1d(x, w, b, **problem.arguments).backward(o.grad_y)
    for leaf, once in zip((x, w, b), run(problem, o)[1:], strict=True):
        assert leaf.grad is not None
        assert torch.equal(leaf.grad, 2 * once)


@each_device
@pytest.mark.parametrize("channels_last", [False, True])
def test_gradients_of_an_unbatched_input(channels_last: bool) -> None:
    problem = Problem.parse("n1_ci6_co4_l23_k4_s2_p3x1_d2_g2_reflect")
    o = operands(problem)
    x, w, b = leaves(o)
    unbatched = x[0].mT if channels_last else x[0]
    y = conv1d(unbatched, w, b, **problem.arguments, channels_last=channels_last)
    grad_y = o.grad_y[0].mT if channels_last else o.grad_y[0]
    gradients = torch.autograd.grad(y, (x, w, b), grad_y)
    for actual, expected in zip(gradients, run(problem, o)[1:], strict=True):
        assert torch.equal(actual, expected)
