"""The second derivative, and forward mode, sum two forwards: of depthwise layers in one pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
import torch.autograd.forward_ad as fwAD
from calls import FMA_SETS, instruction_set_named
from conftest import DTYPES
from numerics import assert_within_budget, expect_forward
from problems import Problem, operands
from torch import Tensor

from torch_conv1d import conv1d

# Rows that are read where they are, but for their ends; in panels; of one vector; at a stride of 2
# and 3; with taps that share loads, or lie outside the source.
PROBLEMS = tuple(
    map(
        Problem.parse,
        """
        n2_ci5_co5_l1000_k4_s1_p3x0_d1_g5
        n1_ci3_co3_l2050_k31_s1_p15_d1_g3
        n2_ci4_co4_l700_k12_s2_p5x6_d1_g4_replicate
        n3_ci2_co2_l130_k3_s1_p64_d64_g2_circular
        n1_ci6_co6_l9000_k5_s3_p2_d2_g6_reflect
        n1_ci1_co1_l64_k1_s1_p0_d1_g1
        n3_ci2_co2_l20_k3_s1_p60x10_d1_g2
        """.split(),
    )
)

Operands = tuple[Tensor, ...]


def make_operands(problem: Problem, dtype: torch.dtype) -> Operands:
    """x, w, their directions u, v and that of the bias, s."""
    x, w, s, _ = operands(problem, dtype)
    return x, w, torch.randn_like(x), torch.randn_like(w), s


def second_derivative(problem: Problem, t: Operands) -> Tensor:
    x, w, u, v, s = t
    x, w = x.detach().requires_grad_(), w.detach().requires_grad_()
    b = torch.zeros_like(s, requires_grad=True)
    y = conv1d(x, w, b, **problem.arguments)
    g = torch.zeros_like(y, requires_grad=True)
    first = torch.autograd.grad(y, (x, w, b), g, create_graph=True)
    return torch.autograd.grad(first, g, (u, v, s))[0]


def tangent(problem: Problem, t: Operands) -> Tensor:
    x, w, u, v, s = t
    with fwAD.dual_level():
        b = fwAD.make_dual(torch.zeros_like(s), s)
        y = conv1d(fwAD.make_dual(x, u), fwAD.make_dual(w, v), b, **problem.arguments)
        found: Tensor = fwAD.unpack_dual(y).tangent
    return found


each_way = pytest.mark.parametrize("derivative", [second_derivative, tangent])


def one_layer(problem: Problem, t: Operands) -> tuple[Problem, Operands]:
    """The layer of twice the input channels whose forward is F(u, w) + F(x, v) + s."""
    x, w, u, v, s = t
    both = replace(problem, c_in=2 * problem.c_in)
    u_x = torch.cat([i.unflatten(1, (problem.groups, -1)) for i in (u, x)], 2).flatten(1, 2)
    return both, (u_x, torch.cat([w, v], 1), s)


@each_way
@pytest.mark.parametrize("problem", PROBLEMS, ids=str)
def test_it_is_one_layer_of_both(
    problem: Problem, derivative: Callable[[Problem, Operands], Tensor], threads: None
) -> None:
    """Whatever the batch, the set and the number of threads; also where x is its own direction."""
    for dtype in DTYPES:
        x, w, u, v, s = make_operands(problem, dtype)
        for t in ((x, w, u, v, s), (x, w, x, w, s)):
            both, (x2, w2, _) = one_layer(problem, t)
            expected = conv1d(x2, w2, s, **both.arguments)
            first = (t[0][:1], w, t[2][:1], *t[3:])
            for name in FMA_SETS:
                with instruction_set_named(name):
                    for count in (1, 2, 3):
                        torch.set_num_threads(count)
                        assert torch.equal(derivative(problem, t), expected), (dtype, name, count)
                    assert torch.equal(derivative(problem, first), expected[:1])


@each_way
@pytest.mark.parametrize(
    "problem",
    [
        *PROBLEMS[:3],
        *map(Problem.parse, ("n2_ci4_co8_l90_k3_s1_p1_d1_g4", "n2_ci9_co4_l90_k3_s1_p1_d1_g1")),
    ],
    ids=str,
)
def test_any_strides_and_layer(
    problem: Problem,
    derivative: Callable[[Problem, Operands], Tensor],
    instruction_set: str,
) -> None:
    """Operands and directions of different strides, channels innermost, several rows a group."""

    def turned(t: Tensor) -> Tensor:
        return t.transpose(1, 2).contiguous().transpose(1, 2)

    for dtype in (torch.float32, torch.float64):
        x, w, u, v, s = make_operands(problem, dtype)
        for a, b in (
            (x, u),
            (x, u[..., :1].expand_as(u)),
            (x, u[:, :1].expand_as(u)),
            (turned(x), u),
            (turned(x), turned(u)),
        ):
            t = (a, w, b, v, s)
            both, operands_of_both = one_layer(problem, t)
            expected = expect_forward(both, *operands_of_both)
            context = (instruction_set, dtype, a.stride(), b.stride())
            assert_within_budget(derivative(problem, t), expected, context=context)
