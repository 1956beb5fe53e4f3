"""The three gradients of conv1d: the float64 reference, and what users of torch would have got."""

from __future__ import annotations

import pytest
import reference
import torch
from conftest import DTYPES
from hypothesis import given, settings
from hypothesis import strategies as st
from numerics import assert_within_budget, expect_gradients
from problems import CORPUS, Operands, Problem, operands, problems
from torch import Tensor

from torch_conv1d import conv1d


def gradients(problem: Problem, o: Operands) -> tuple[Tensor, ...]:
    leaves = tuple(t.detach().requires_grad_() for t in (o.x, o.w, o.b))
    y = conv1d(*leaves, **problem.arguments)
    return torch.autograd.grad(y, leaves, o.grad_y)


def check(problem: Problem, dtype: torch.dtype) -> None:
    o = operands(problem, dtype)
    for actual, expected in zip(gradients(problem, o), expect_gradients(problem, o), strict=True):
        assert actual.dtype == dtype
        assert_within_budget(actual, expected, context=dtype)


@pytest.mark.parametrize("problem", CORPUS, ids=str)
def test_gradients_are_the_reference(problem: Problem, dtype: torch.dtype) -> None:
    check(problem, dtype)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(problem=problems(), dtype=st.sampled_from(DTYPES))
def test_gradients_of_any_problem_are_the_reference(problem: Problem, dtype: torch.dtype) -> None:
    check(problem, dtype)


@pytest.mark.parametrize("problem", CORPUS, ids=str)
def test_gradients_are_torch(problem: Problem, device: torch.device) -> None:
    for dtype in (torch.float32, torch.float64):
        o = operands(problem, dtype)
        on_device = Operands(*(t.to(device) for t in o))
        leaves = tuple(t.detach().requires_grad_() for t in on_device[:3])
        theirs = torch.autograd.grad(
            reference.torch_conv1d(problem, *leaves), leaves, on_device.grad_y
        )
        ours = gradients(problem, on_device)
        for actual, other, expected in zip(ours, theirs, expect_gradients(problem, o), strict=True):
            assert (actual.device, actual.dtype) == (other.device, other.dtype)
            assert_within_budget(actual, expected, other=other.cpu(), context=dtype)


def test_gradients_accumulate_into_grad() -> None:
    problem = Problem.parse("n2_ci3_co4_l17_k3_s2_p1_d1_g1")
    o = operands(problem)
    leaves = tuple(t.requires_grad_() for t in (o.x, o.w, o.b))
    for _ in range(2):
        conv1d(*leaves, **problem.arguments).backward(o.grad_y)
    for leaf, once in zip(leaves, gradients(problem, o), strict=True):
        assert leaf.grad is not None
        assert torch.equal(leaf.grad, 2 * once)


@pytest.mark.parametrize("channels_last", [False, True])
def test_gradients_of_an_unbatched_input(channels_last: bool) -> None:
    problem = Problem.parse("n1_ci6_co4_l23_k4_s2_p3x1_d2_g2_reflect")
    o = operands(problem)
    x, grad_y = (t[0].mT if channels_last else t[0] for t in (o.x, o.grad_y))
    leaves = tuple(t.detach().contiguous().requires_grad_() for t in (x, o.w, o.b))
    y = conv1d(*leaves, **problem.arguments, channels_last=channels_last)
    grad_x, grad_w, grad_b = torch.autograd.grad(y, leaves, grad_y)
    if channels_last:
        grad_x = grad_x.mT
    batched = gradients(problem, o)
    for actual, expected in zip((grad_x[None], grad_w, grad_b), batched, strict=True):
        assert torch.equal(actual, expected)
