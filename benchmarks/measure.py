"""One case: checked, then timed against those who can compute it too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from benchmarks import cuda, peers
from benchmarks.calls import (
    Case,
    Operands,
    Results,
    by_torch,
    by_torch_conv1d,
    expected_results,
    largest_error,
    make_call,
    make_operands,
)
from benchmarks.revision import Worker
from benchmarks.timing import Comparison, Contender, Local, compare, median_comparison
from benchmarks.workloads import Workload


@dataclass(frozen=True)
class Row:
    """One workload: not timed if `error`, in units of the tolerance, is above 1."""

    workload: Workload
    error: float
    timing: Comparison | None = None
    # Peers that were asked for and not timed, with the reason.
    left_out: dict[str, str] = field(default_factory=dict)


def measure(case: Case, budget: float, peer_names: Sequence[str], threads: int) -> Row:
    """torch_conv1d against torch, and the peers where they compute the same."""
    operands = make_operands(case)
    with cuda.cudnn_flags(allow_tf32=False):
        expected = expected_results(case, operands)
    call = make_call(by_torch_conv1d, case, operands)
    error = largest_error(case, operands, call(), expected)
    if not error <= 1:  # NaN is wrong too
        return Row(case.workload, error)
    if case.device == "cuda":
        return measure_on_gpu(case, budget, operands, expected, error)
    contenders: dict[str, Contender] = {"torch": Local(make_call(by_torch, case, operands))}
    if case.layout != "ncl":
        plain = replace(case, layout="ncl")
        contenders["ncl"] = Local(make_call(by_torch_conv1d, plain, make_operands(plain)))
    left_out = {}
    for name in peer_names:
        try:
            contenders[name] = checked_peer(name, case, operands, expected, threads)
        except peers.Unsupported as reason:
            left_out[name] = str(reason)
    return Row(case.workload, error, compare(Local(call), contenders, budget), left_out)


def measure_on_gpu(
    case: Case, budget: float, operands: Operands, expected: Results, error: float
) -> Row:
    contenders = cuda.torch_contenders(case, operands)
    left_out = {}
    for name, convolution in cuda.packages(case).items():
        try:
            found = make_call(convolution, case, operands)()
            check_peer(case, operands, found, expected)
            contenders[name] = cuda.make_contender(convolution, case, operands)
        except Exception as reason:  # each package has errors of its own
            left_out[name] = str(reason)
    ours = cuda.make_contender(by_torch_conv1d, case, operands)
    return Row(case.workload, error, compare(ours, contenders, budget), left_out)


def check_peer(case: Case, operands: Operands, found: Results, expected: Results) -> None:
    error = largest_error(case, operands, found, expected)
    if not error <= 1:
        raise peers.Unsupported(f"wrong, {error:.3g} times the tolerance")


def checked_peer(
    name: str, case: Case, operands: Operands, expected: Results, threads: int
) -> Contender:
    infer = peers.make_inference(name, case, operands, threads)
    check_peer(case, operands, (peers.as_tensor(infer()),), expected)
    return Local(infer)


def measure_revisions(case: Case, budget: float, pairs: Sequence[tuple[Worker, Worker]]) -> Row:
    """This revision against another, in pairs of processes that have loaded the one and the other.

    A process keeps its luck with the placement of its memory, up to 10 % of a time, so several
    pairs vote.
    """
    error = max(worker.prepare(case) for pair in pairs for worker in pair)
    if not error <= 1:
        return Row(case.workload, error)
    votes = [compare(ours, {"base": base}, budget / len(pairs)) for ours, base in pairs]
    return Row(case.workload, error, median_comparison(votes))
