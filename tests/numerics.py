"""How far a result may be from the exact one. Every tolerance of the tests comes from error_budget.

A sum of T products makes T roundings, each at most half an epsilon of the partial sum it ends in.
With operands of random sign a partial sum is about as large as ``scale``, the root of the sum of
the squared products, or smaller, and the roundings are independent, so the error is a random walk
of size epsilon * sqrt(T) * scale times a factor below 1. ``scale`` is computed per element, by the
same operation on squared operands: an output that reads nothing but zeros has no budget at all, and
one at the border that reads little has a small one.

Toom-Cook's filtering sums the products of a tile of positions together: the scale of an output is
the largest of its tile, times the amplification that its matrices have (toom_cook.py). In the
frequency domain it is that of its block (fft.py).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import fft
import reference
import toom_cook
import torch
import torch.nn.functional as F
from problems import Operands, Problem
from torch import Tensor

# The walk of a plain sum has a standard deviation of 0.2: T roundings, each uniform within half an
# epsilon of a partial sum that grows with the root of its length. 4 leaves room for partial sums
# beyond their typical size and for any other order of summation, and none for a lost product.
SAFETY = 4.0

# Whether layers of many channels are torch's own, as on a GPU. It pads a copy of x, so the gradient
# of every position of that copy is rounded, and then those that repeat a position are added.
torch_pads = False


@dataclass(frozen=True)
class Expected:
    """An exact result, the typical size of each element, and how many products an element sums.

    `roundings`: how many an algorithm makes that sums fewer products. The exact result sums all of
    them, in float64.
    """

    name: str
    value: Tensor
    scale: Tensor
    terms: int
    roundings: int | None = None
    # The sizes of what is rounded to the type of the result before the last sum.
    rounded: Tensor | None = None


def error_budget(expected: Expected, dtype: torch.dtype) -> Tensor:
    """SAFETY * epsilon * sqrt(terms) * scale, plus the rounding of a narrower result."""
    sums_in = torch.float64 if dtype == torch.float64 else torch.float32
    terms = expected.terms
    if dtype != torch.float64 and expected.roundings is not None:
        terms = expected.roundings
    budget = expected.scale * (SAFETY * torch.finfo(sums_in).eps * math.sqrt(terms))
    if dtype != sums_in:
        narrow = torch.finfo(dtype)
        budget += narrow.eps / 2 * (expected.value.abs() + budget)
        if expected.rounded is not None:
            budget += narrow.eps * expected.rounded
        budget += narrow.smallest_normal * narrow.eps / 2
    return budget


def expect_forward(p: Problem, x: Tensor, w: Tensor, b: Tensor | None = None) -> Expected:
    value = reference.forward(p, x, w, b)
    terms = p.c_in // p.groups * p.kernel_size + (b is not None)
    blocks = fft.blocks_used(p, "forward")
    if blocks:
        mode = "constant" if p.padding_mode == "zeros" else p.padding_mode
        padded = F.pad(_squared(x), (p.pad_left, p.pad_right), mode)
        squares = _filtered(blocks, padded, 0, w, p.l_out)
        if b is not None:
            squares = squares + _squared(b)[:, None]
        return Expected("forward", value, squares.sqrt(), terms, blocks.roundings)
    squares = reference.forward(p, _squared(x), _squared(w), None if b is None else _squared(b))
    return Expected("forward", value, _scale(p, "forward", squares), terms)


def expect_grad_input(p: Problem, grad_y: Tensor, w: Tensor) -> Expected:
    value = reference.grad_input(p, grad_y, w)
    positions = reference.source_positions(p)
    readers = positions[positions >= 0].bincount(minlength=1).max().item()
    terms = p.c_out // p.groups * int(readers)
    blocks = fft.blocks_used(p, "grad_input")
    if blocks:
        squares = _filtered(blocks, _squared(grad_y), p.span - 1 - p.pad_left, w, p.l_in)
        return Expected("grad_input", value, squares.sqrt(), terms, blocks.roundings)
    squares = reference.grad_input(p, _squared(grad_y), _squared(w))
    scale = _scale(p, "grad_input", squares)
    rounded = None
    if torch_pads and p.padding_mode != "zeros" and min(p.c_in, p.c_out) // p.groups > 8:
        rounded = _padded_sizes(p, grad_y, w)
    return Expected("grad_input", value, scale, terms, rounded=rounded)


def expect_grad_weight(p: Problem, grad_y: Tensor, x: Tensor) -> Expected:
    value = reference.grad_weight(p, grad_y, x)
    blocks = fft.blocks_used(p, "grad_weight")
    if blocks:
        mode = "constant" if p.padding_mode == "zeros" else p.padding_mode
        padded = F.pad(_squared(x), (p.pad_left, p.pad_right), mode)
        outputs = blocks._replace(length=blocks.step).energies(_squared(grad_y), 0)
        squares = (blocks.energies(padded, 0) * outputs / blocks.length).sum((0, 2))
        scale = squares.sqrt()[:, None, None].expand_as(value)
        roundings = blocks.roundings + p.n * blocks.number
        return Expected("grad_weight", value, scale, p.n * p.l_out, roundings)
    squares = reference.grad_weight(p, _squared(grad_y), _squared(x))
    scale = squares.sqrt()
    taps = toom_cook.taps_used(p, "grad_weight")
    if taps:
        scale = scale.amax(-1, keepdim=True).expand_as(scale) * toom_cook.amplification(
            taps, "grad_weight"
        )
    return Expected("grad_weight", value, scale, p.n * p.l_out)


def expect_grad_bias(p: Problem, grad_y: Tensor) -> Expected:
    squares = reference.grad_bias(_squared(grad_y))
    return Expected("grad_bias", reference.grad_bias(grad_y), squares.sqrt(), p.n * p.l_out)


def expect_results(p: Problem, o: Operands) -> tuple[Expected, Expected, Expected, Expected]:
    return (
        expect_forward(p, o.x, o.w, o.b),
        expect_grad_input(p, o.grad_y, o.w),
        expect_grad_weight(p, o.grad_y, o.x),
        expect_grad_bias(p, o.grad_y),
    )


def assert_within_budget(
    actual: Tensor, expected: Expected, *, other: Tensor | None = None, context: object = ""
) -> None:
    """`actual` is the exact result within the budget; or, given an `other` result with an error of
    its own, that one within twice the budget."""
    exact = expected.value if other is None else other.double()
    assert actual.shape == exact.shape, f"{context} {expected.name}: shape {tuple(actual.shape)}"
    budget = error_budget(expected, actual.dtype) * (1 if other is None else 2)
    error = (actual.detach().cpu().double() - exact.cpu()).abs()
    wrong = ~(error <= budget)  # a NaN is wrong
    if wrong.any():
        at = tuple(wrong.nonzero()[0].tolist())
        raise AssertionError(
            f"{context} {expected.name}: {int(wrong.sum())} of {wrong.numel()} elements are wrong; "
            f"the first is {at}: "
            f"{actual[at].item()} for {exact[at].item()}, error {error[at].item():.3g}, "
            f"budget {budget[at].item():.3g}"
        )


def _padded_sizes(p: Problem, grad_y: Tensor, w: Tensor) -> Tensor:
    """The sum of the sizes of the gradients of the positions of the padded row that repeat one."""
    length = p.l_in + p.pad_left + p.pad_right
    of_copy = replace(p, l_in=length, pad_left=0, pad_right=0, padding_mode="zeros")
    copied = reference.source_positions(replace(p, kernel_size=1, stride=1))[:, 0]
    sizes = reference.grad_input(of_copy, grad_y, w).abs()
    return torch.zeros(p.input_shape, dtype=torch.float64).index_add_(-1, copied, sizes)


def _scale(p: Problem, operation: str, squares: Tensor) -> Tensor:
    """The size of each result of a row, as its algorithm sums it; `squares` is (N, C, L)."""
    taps = toom_cook.taps_used(p, operation)
    if taps is None:
        return squares.sqrt()
    length = squares.shape[-1]
    # Positions of a tile are this far apart; the first tile of grad_input starts outside, where the
    # last tap of a kernel is the first of its phase.
    apart, outside = p.dilation, 0
    if operation == "grad_input":
        apart *= p.stride
        if p.padding_mode == "zeros":
            outside = (p.pad_left - p.kernel_size) % p.stride
        else:
            outside = p.pad_left + -p.kernel_size % p.stride
    padded = F.pad(squares, (outside, -(outside + length) % (toom_cook.OUTPUTS * apart)))
    largest = padded.unflatten(-1, (-1, toom_cook.OUTPUTS, apart)).amax(-2, keepdim=True)
    tiles = largest.expand(-1, -1, -1, toom_cook.OUTPUTS, -1).flatten(2)[..., outside:]
    scale: Tensor = tiles[..., :length].sqrt() * toom_cook.amplification(taps, operation)
    return scale


def _filtered(blocks: fft.Blocks, row: Tensor, first: int, w: Tensor, length: int) -> Tensor:
    """The square of the scale of each result of a depthwise layer, from the squares of its row."""
    energies = blocks.energies(row, first) * _squared(w).sum((1, 2))[:, None] / blocks.length
    return blocks.spread(energies, length)


def _squared(t: Tensor) -> Tensor:
    return t.cpu().double().square()
