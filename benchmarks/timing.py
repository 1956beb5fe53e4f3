"""Two calls timed side by side."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

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
