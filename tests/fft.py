"""Filtering in the frequency domain: what a block reads, and what that does to rounding errors.

A transform of n elements errs, in the root mean square, by a random walk over its log2(n) levels:
epsilon * sqrt(log2(n)) times the norm of what it transforms. Two transforms, their product and the
way back leave, spread evenly over the n results of a block,

    epsilon * sqrt(3 * log2(n)) * norm(u) * norm(h) / sqrt(n)

whatever the size of a result: u are the positions that its block reads, h the taps.
"""

from __future__ import annotations

import math
import re
from typing import NamedTuple

import torch.nn.functional as F
from problems import Problem
from torch import Tensor

from torch_conv1d import _C


class Blocks(NamedTuple):
    """`number` blocks of `step` results, computed by transforms of `length` elements."""

    number: int
    step: int
    length: int

    def energies(self, row: Tensor, first: int) -> Tensor:
        """(..., number): the sum of what each block reads; `row` starts at position `-first`."""
        end = (self.number - 1) * self.step + self.length
        padded = F.pad(row, (first, end - first - row.shape[-1]))
        return padded.unfold(-1, self.length, self.step).sum(-1)

    def spread(self, per_block: Tensor, length: int) -> Tensor:
        """(..., length): the value of its block at every result."""
        return per_block.repeat_interleave(self.step, -1)[..., :length]

    @property
    def roundings(self) -> int:
        return math.ceil(3 * math.log2(self.length))


def blocks_used(problem: Problem, operation: str) -> Blocks | None:
    """Its blocks, where `operation` of a problem is computed in the frequency domain."""
    match = re.search(
        rf"^{operation}\.algorithm: fft\n.*: (\d+) of (\d+) positions, transforms of (\d+)$",
        _C.explain(str(problem)),
        re.MULTILINE,
    )
    return Blocks(*map(int, match.groups())) if match else None
