"""The rounding error of Toom-Cook's filtering, in units of that of direct sums, as a table.

    python -m benchmarks.toom_cook_error

For each F(m, r) and kind of operands, forward / grad_input / grad_weight: the root mean square of
the difference from float64, over that of the same call with set_algorithm("direct"); the mean of
len(SEEDS) draws. docs/numerics.md has the table.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from torch_conv1d import _C, conv1d, set_algorithm

SEEDS = range(5)
CHANNELS, LENGTH = 96, 400
# Kernel size and stride: one of each form, one of several groups of taps, phases of equal and of
# unequal numbers of taps.
KERNELS = ((2, 1), (3, 1), (4, 1), (5, 1), (11, 1), (8, 4), (5, 2), (7, 4))


def _spread(*shape: int) -> Tensor:
    return torch.randn(shape).mul(2).exp()


KINDS: dict[str, Callable[[Tensor], Tensor]] = {
    "normal": lambda x: x,
    "a large mean": lambda x: x + 100,
    "channels of many magnitudes": lambda x: x * _spread(CHANNELS, 1),
    "positions of many magnitudes": lambda x: x * _spread(*x.shape),
}


def results(
    convolution: Callable[..., Tensor], x: Tensor, w: Tensor, grad_y: Tensor, stride: int
) -> list[Tensor]:
    """y, grad_x and grad_w."""
    x, w = x.detach().requires_grad_(), w.detach().requires_grad_()
    y = convolution(x, w, stride=stride)
    return [y.detach(), *torch.autograd.grad(y, (x, w), grad_y)]


def ratios(kind: str, kernel_size: int, stride: int, seed: int) -> list[float]:
    """The error over that of direct sums, of each operation."""
    torch.manual_seed(seed)
    x = KINDS[kind](torch.randn(2, CHANNELS, LENGTH * stride))
    w = torch.randn(CHANNELS, CHANNELS, kernel_size)
    grad_y = torch.randn(2, CHANNELS, LENGTH - (kernel_size - 1) // stride)
    exact = results(F.conv1d, x.double(), w.double(), grad_y.double(), stride)
    errors = []
    for algorithm in ("auto", "direct"):
        with set_algorithm(algorithm):
            found = results(conv1d, x, w, grad_y, stride)
        pairs = zip(found, exact, strict=True)
        errors.append([(f - e).square().mean().sqrt().item() for f, e in pairs])
    return [ours / direct for ours, direct in zip(*errors, strict=True)]


def form(kernel_size: int, stride: int) -> str:
    problem = f"n2_ci{CHANNELS}_co{CHANNELS}_l{LENGTH * stride}_k{kernel_size}_s{stride}_p0_d1_g1"
    found = re.search(r"F\(\d+, \d+\)", _C.explain(problem))
    assert found, f"{problem} is computed by direct sums"
    return found[0]


def main() -> None:
    print("| | kernel, stride | " + " | ".join(KINDS) + " |")
    print("|---" * (2 + len(KINDS)) + "|")
    largest = 0.0
    for kernel_size, stride in KERNELS:
        cells = []
        for kind in KINDS:
            draws = [ratios(kind, kernel_size, stride, seed) for seed in SEEDS]
            largest = max(largest, *(r for draw in draws for r in draw))
            cells.append(" / ".join(f"{statistics.mean(r):.2f}" for r in zip(*draws, strict=True)))
        print(f"| {form(kernel_size, stride)} | {kernel_size}, {stride} | {' | '.join(cells)} |")
    print(f"\nthe largest of a single draw: {largest:.2f}")


if __name__ == "__main__":
    main()
