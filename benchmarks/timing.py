"""Two calls timed side by side, and what the machine can do at best."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

Call = Callable[[], object]

BLOCK_SECONDS = 2e-3
MIN_PAIRS = 3


@dataclass(frozen=True)
class Comparison:
    """Seconds per call, median over blocks; `ratio` is the median of theirs / ours over pairs."""

    ours: float
    theirs: float
    ratio: float
    pairs: int


def compare(ours: Call, theirs: Call, budget: float) -> Comparison:
    """Alternates blocks of calls of the two for about `budget` seconds.

    Other programs and the clock frequency slow both halves of a pair alike, so the ratio within a
    pair is steadier than either time.
    """
    our_calls, their_calls = _calls_per_block(ours), _calls_per_block(theirs)
    our_times: list[float] = []
    their_times: list[float] = []
    end = time.perf_counter() + budget
    while len(our_times) < MIN_PAIRS or time.perf_counter() < end:
        if len(our_times) % 2:  # the first of a pair may pay for what the second finds ready
            their_times.append(_block(theirs, their_calls))
            our_times.append(_block(ours, our_calls))
        else:
            our_times.append(_block(ours, our_calls))
            their_times.append(_block(theirs, their_calls))
    ratios = [t / o for o, t in zip(our_times, their_times, strict=True)]
    return Comparison(
        ours=statistics.median(our_times),
        theirs=statistics.median(their_times),
        ratio=statistics.median(ratios),
        pairs=len(ratios),
    )


def _block(call: Call, calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - start) / calls


def _calls_per_block(call: Call) -> int:
    call()  # warm up: caches, thread pools, primitives that are created on first use
    calls = 1
    while (seconds := _block(call, calls) * calls) < BLOCK_SECONDS:
        calls = max(2 * calls, int(calls * BLOCK_SECONDS / max(seconds, 1e-6)))
    return calls


def matmul_flops_per_second(dtype: torch.dtype) -> float:
    """The practical FMA peak: what torch reaches on a large matrix product, best of several."""
    size = 1536
    a, b = torch.randn(2, size, size, dtype=dtype)
    out = torch.empty_like(a)
    return 2 * size**3 / _best(lambda: torch.mm(a, b, out=out))


def copy_bytes_per_second() -> float:
    """Bytes read plus bytes written by a copy of 256 MiB, best of several."""
    source = torch.zeros(2**26)
    target = torch.zeros_like(source)
    return 2 * source.nbytes / _best(lambda: target.copy_(source))


def _best(call: Call) -> float:
    call()
    return min(_block(call, 1) for _ in range(7))
