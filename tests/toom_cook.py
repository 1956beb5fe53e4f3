"""Toom-Cook's minimal filtering in exact fractions: what its matrices do to rounding errors.

The points are those of csrc/cpu/kernels/toom_cook.h, the matrices are derived here once more.
"""

from __future__ import annotations

import functools
import math
import re
from fractions import Fraction

from problems import Problem

from torch_conv1d import _C

OUTPUTS = 4
POINTS = {
    taps: tuple(map(Fraction, points.split()))
    for taps, points in {
        2: "3/8 -3/8 5/4 -5/4",
        3: "0 3/2 -3/2 5/8 -5/8",
        4: "1/4 -1/4 3/4 -3/4 2 -2",
        5: "0 1 -1 1/2 -1/2 2 -2",
    }.items()
}

Rows = list[list[Fraction]]


def _product(roots: list[Fraction]) -> list[Fraction]:
    """The coefficients of the product of (z - root), constant first."""
    product = [Fraction(1)]
    for root in roots:
        shifted, scaled = [Fraction(0), *product], [*(root * c for c in product), Fraction(0)]
        product = [a - b for a, b in zip(shifted, scaled, strict=True)]
    return product


def matrices(taps: int) -> tuple[Rows, Rows, Rows]:
    """A^T, G and B^T: y = A^T ((G w) * (B^T x)). The last point is infinity."""
    points, zero = POINTS[taps], Fraction(0)
    others = [[q for q in points if q != p] for p in points]
    result = [[*(p**i for p in points), Fraction(i == OUTPUTS - 1)] for i in range(OUTPUTS)]
    weight = [
        [p**s / math.prod((p - q for q in rest), start=Fraction(1)) for s in range(taps)]
        for p, rest in zip(points, others, strict=True)
    ]
    weight.append([zero] * (taps - 1) + [Fraction(1)])
    source = [[*_product(rest), zero] for rest in others]
    source.append(_product(list(points)))
    return result, weight, source


@functools.cache
def amplification(taps: int, operation: str) -> float:
    """The error of an output over that of a plain sum with as many roundings.

    The product at point a rounds to a part of its size, which for operands of one size and random
    sign is |G[a]| * |B^T[a]|; it enters output i with the factor A^T[i][a]. A plain sum of taps has
    the size sqrt(taps). The worst i counts. In grad_weight, A and G change places.
    """
    result, weight, source = matrices(taps)
    if operation == "grad_weight":
        result, weight = (
            list(map(list, zip(*weight, strict=True))),
            list(map(list, zip(*result, strict=True))),
        )

    def squares(row: list[Fraction]) -> Fraction:
        return sum((v * v for v in row), Fraction(0))

    sizes = [squares(g) * squares(b) for g, b in zip(weight, source, strict=True)]
    worst = max(
        sum((a * a * s for a, s in zip(row, sizes, strict=True)), Fraction(0)) for row in result
    )
    return math.sqrt(worst / len(weight[0]))


def taps_used(problem: Problem, operation: str) -> int | None:
    """r, where `operation` of a problem is computed as F(4, r)."""
    match = re.search(
        rf"^{operation}\.algorithm: Toom-Cook F\(4, (\d)\)", _C.explain(str(problem)), re.MULTILINE
    )
    return int(match[1]) if match else None
