"""What the machine can do at best: the two limits that a time is compared with."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from torch_conv1d import _C

# Long enough for the clock to settle, short enough to fall between two disturbances.
TRIAL_SECONDS = 5e-3
TRIALS = 40
# Four times the largest cache of a server's core complex, so that a copy runs in memory.
COPIED_BYTES = 2**28


@dataclass(frozen=True)
class Limits:
    """Floating-point operations, and bytes read or written, a second."""

    flops: float
    bytes: float

    def shortest_time(self, flops: int, moved: int) -> float:
        return max(flops / self.flops, moved / self.bytes)


def measure_limits(dtype: str) -> Limits:
    """Those of torch's threads and our instruction set, for sums of the type that `dtype` has."""
    return Limits(multiply_adds_per_second(dtype), bytes_copied_per_second())


def multiply_adds_per_second(dtype: str) -> float:
    """The peak: independent chains of multiply-adds in registers, two operations each.

    A matrix product is no measure of it: the library that computes it may not use the widest
    instructions of a machine.
    """

    def rate(steps: int) -> tuple[float, float]:
        start = time.perf_counter()
        flops = _C.run_multiply_adds(steps, dtype)
        seconds = time.perf_counter() - start
        return flops / seconds, seconds

    steps = 1000
    while rate(steps)[1] < TRIAL_SECONDS:
        steps *= 2
    return max(rate(steps)[0] for _ in range(TRIALS))


def bytes_copied_per_second() -> float:
    """Bytes read plus bytes written by the fastest copy that torch makes."""
    source = torch.zeros(COPIED_BYTES, dtype=torch.uint8)
    target = torch.zeros_like(source)
    copies: list[Callable[[], object]] = [lambda: target.copy_(source), source.clone]

    def seconds(copy: Callable[[], object]) -> float:
        start = time.perf_counter()
        copy()
        return time.perf_counter() - start

    return 2 * COPIED_BYTES / min(seconds(copy) for copy in copies for _ in range(7))
