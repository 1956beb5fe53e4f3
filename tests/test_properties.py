"""Identities that conv1d obeys whatever its implementation is.

Operands are small integers, so every direct sum is exact and every identity holds bit for bit,
derivatives included.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from hypothesis import given, settings
from problems import Problem, problems
from torch import Tensor

from torch_conv1d import conv1d, set_algorithm

Function = Callable[[Tensor, Tensor, Tensor], Tensor]


def any_problem(test: Callable[[Problem], None]) -> Callable[[], None]:
    return settings(max_examples=60, deadline=None, derandomize=True)(
        given(problem=problems())(test)
    )


def integers(*shape: int) -> Tensor:
    return torch.randint(-4, 5, shape, generator=torch.Generator().manual_seed(sum(shape))).double()


def operands(p: Problem) -> tuple[Tensor, Tensor, Tensor]:
    return integers(*p.input_shape), integers(*p.weight_shape), integers(p.c_out)


def assert_same_function(p: Problem, one: Function, other: Function) -> None:
    """Equal results and gradients of direct sums: exact for these integers, in float32 too."""
    for dtype in (torch.float64, torch.float32):
        values = []
        with set_algorithm("direct"):
            for function in (one, other):
                leaves = tuple(t.to(dtype).requires_grad_() for t in operands(p))
                y = function(*leaves)
                grad_y = integers(*y.shape).to(dtype)
                values.append((y, *torch.autograd.grad(y, leaves, grad_y)))
        for name, a, b in zip(("y", "grad_x", "grad_w", "grad_b"), *values, strict=True):
            assert torch.equal(a, b), f"{name} of {p}, {dtype}"


def simply(p: Problem, **changes: object) -> Function:
    """The conv1d of a problem, with changed arguments."""
    arguments = {**p.arguments, **changes}
    return lambda x, w, b: conv1d(x, w, b, **arguments)


@any_problem
def test_one_trilinear_form(problem: Problem) -> None:
    x, w = (t.requires_grad_() for t in operands(problem)[:2])
    y = conv1d(x, w, **problem.arguments)
    grad_y = integers(*y.shape)
    grad_x, grad_w = torch.autograd.grad(y, (x, w), grad_y)
    form = (y * grad_y).sum()
    assert torch.equal(form, (x * grad_x).sum())
    assert torch.equal(form, (w * grad_w).sum())


@any_problem
def test_linear_in_input_and_in_weight(problem: Problem) -> None:
    x, w, b = operands(problem)
    other_x, other_w = x.roll(1, -1) + 1, w.roll(1, 0) - 1
    y = conv1d(x, w, **problem.arguments)
    assert torch.equal(
        conv1d(x + 3 * other_x, w, b, **problem.arguments),
        y + 3 * conv1d(other_x, w, **problem.arguments) + b[:, None],
    )
    assert torch.equal(
        conv1d(x, w + 3 * other_w, b, **problem.arguments),
        y + 3 * conv1d(x, other_w, **problem.arguments) + b[:, None],
    )


@any_problem
def test_a_later_window_gives_later_outputs(problem: Problem) -> None:
    x, w, b = operands(problem)
    x = F.pad(x, (problem.span, 2 * problem.stride))
    unpadded = simply(problem, padding=0)
    y = unpadded(x, w, b)
    for shift in range(min(3, y.shape[-1])):
        shifted = unpadded(x[..., shift * problem.stride :], w, b)
        assert torch.equal(shifted, y[..., shift:])


@any_problem
def test_groups_are_a_concatenation(problem: Problem) -> None:
    def one_by_one(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        parts = zip(*(t.chunk(problem.groups, d) for t, d in ((x, 1), (w, 0), (b, 0))), strict=True)
        return torch.cat([simply(problem, groups=1)(*part) for part in parts], 1)

    assert_same_function(problem, simply(problem), one_by_one)


@any_problem
def test_groups_are_a_block_diagonal_weight(problem: Problem) -> None:
    def dense(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        taps = [torch.block_diag(*tap.chunk(problem.groups)) for tap in w.unbind(-1)]
        return simply(problem, groups=1)(x, torch.stack(taps, -1), b)

    assert_same_function(problem, simply(problem), dense)


@any_problem
def test_dilation_is_a_kernel_stuffed_with_zeros(problem: Problem) -> None:
    def stuffed(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        taps = F.pad(w[..., None], (0, problem.dilation - 1)).flatten(-2)[..., : problem.span]
        return simply(problem, dilation=1)(x, taps, b)

    assert_same_function(problem, simply(problem), stuffed)


@any_problem
def test_stride_is_subsampling(problem: Problem) -> None:
    def subsampled(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        return simply(problem, stride=1)(x, w, b)[..., :: problem.stride]

    assert_same_function(problem, simply(problem), subsampled)


@any_problem
def test_padding_is_explicit_padding(problem: Problem) -> None:
    def padded(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        mode = "constant" if problem.padding_mode == "zeros" else problem.padding_mode
        explicit = F.pad(x, (problem.pad_left, problem.pad_right), mode)
        return simply(problem, padding=0)(explicit, w, b)

    assert_same_function(problem, simply(problem), padded)


@any_problem
def test_a_kernel_of_one_tap_is_a_matrix_product(problem: Problem) -> None:
    def product(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        return w[:, :, 0] @ x + b[:, None]

    one_tap = Problem(problem.n, problem.c_in, problem.c_out, problem.l_in, kernel_size=1)
    assert_same_function(one_tap, simply(one_tap), product)


@any_problem
def test_a_sum_of_taps(problem: Problem) -> None:
    def tap_by_tap(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        only = torch.eye(problem.kernel_size, dtype=w.dtype)
        parts = [simply(problem)(x, w * tap, torch.zeros_like(b)) for tap in only]
        return torch.stack(parts).sum(0) + b[:, None]

    assert_same_function(problem, simply(problem), tap_by_tap)


@any_problem
def test_batch_and_output_channels_may_be_permuted(problem: Problem) -> None:
    samples = torch.arange(problem.n).flip(0)
    within = torch.arange(problem.c_out).view(problem.groups, -1).flip(1).flatten()

    def permuted(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        return simply(problem)(x[samples], w[within], b[within])[samples][:, within]

    assert_same_function(problem, simply(problem), permuted)


@any_problem
def test_time_may_be_reversed(problem: Problem) -> None:
    padded = problem.l_in + problem.pad_left + problem.pad_right
    unread = (padded - problem.span) % problem.stride

    def reversed_in_time(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        mode = "constant" if problem.padding_mode == "zeros" else problem.padding_mode
        explicit = F.pad(x, (problem.pad_left, problem.pad_right), mode)[..., : padded - unread]
        return simply(problem, padding=0)(explicit.flip(-1), w.flip(-1), b).flip(-1)

    assert_same_function(problem, simply(problem), reversed_in_time)
