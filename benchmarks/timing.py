"""Several ways to compute the same, timed side by side."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

Call = Callable[[], object]

BLOCK_SECONDS = 2e-3
MIN_ROUNDS = 3


class Contender(Protocol):
    """Whoever can run a call a number of times: in this process, on a GPU, in another process."""

    def seconds(self, calls: int) -> float:
        """How long `calls` calls in a row take."""


@dataclass(frozen=True)
class Local:
    """A call on the CPU, in this process."""

    call: Call

    def seconds(self, calls: int) -> float:
        start = time.perf_counter()
        for _ in range(calls):
            self.call()
        return time.perf_counter() - start


@dataclass(frozen=True)
class Peer:
    """Seconds per call, median over blocks; `ratio` is the median of theirs / ours over rounds."""

    seconds: float
    ratio: float


@dataclass(frozen=True)
class Comparison:
    ours: float
    peers: dict[str, Peer]
    rounds: int


def compare(ours: Contender, peers: Mapping[str, Contender], budget: float) -> Comparison:
    """Rounds of one block of calls of each, for about `budget` seconds.

    Other programs and the clock frequency slow all blocks of a round alike, so the ratio within a
    round is steadier than any time.
    """
    contenders = [ours, *peers.values()]
    calls = [_calls_per_block(contender) for contender in contenders]
    rounds: list[list[float]] = []
    end = time.perf_counter() + budget
    while len(rounds) < MIN_ROUNDS or time.perf_counter() < end:
        order = list(range(len(contenders)))
        if len(rounds) % 2:  # the first of a round may pay for what the next finds ready
            order.reverse()
        times = {i: contenders[i].seconds(calls[i]) / calls[i] for i in order}
        rounds.append([times[i] for i in range(len(contenders))])
    our_times, *peer_times = zip(*rounds, strict=True)
    return Comparison(
        ours=statistics.median(our_times),
        peers={
            name: Peer(
                seconds=statistics.median(times),
                ratio=statistics.median(t / o for o, t in zip(our_times, times, strict=True)),
            )
            for name, times in zip(peers, peer_times, strict=True)
        },
        rounds=len(rounds),
    )


def median_comparison(comparisons: Sequence[Comparison]) -> Comparison:
    """Of the same contenders."""
    return Comparison(
        ours=statistics.median(c.ours for c in comparisons),
        peers={
            name: Peer(
                seconds=statistics.median(c.peers[name].seconds for c in comparisons),
                ratio=statistics.median(c.peers[name].ratio for c in comparisons),
            )
            for name in comparisons[0].peers
        },
        rounds=sum(c.rounds for c in comparisons),
    )


def _calls_per_block(contender: Contender) -> int:
    contender.seconds(1)  # warm up: caches, thread pools, primitives that are created on first use
    calls = 1
    while (seconds := contender.seconds(calls)) < BLOCK_SECONDS:
        calls = max(2 * calls, int(calls * BLOCK_SECONDS / max(seconds, 1e-6)))
    return calls
