"""What a call adds to the memory of its process, and what many lengths leave behind (Linux).

The kernel's peak of the resident size counts whatever a library does to get its memory. Each number
comes from a process of its own, which has nothing left over from an earlier call:

    python -m benchmarks.memory WHAT CASE CONVOLUTION THREADS      what that process executes
"""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.calls import (
    Case,
    Convolution,
    Results,
    by_torch,
    by_torch_conv1d,
    make_call,
    make_operands,
)
from benchmarks.workloads import Workload, parse_workload

ROOT = Path(__file__).parent.parent
MIB = 2**20
# What a call may need beside its results, for each thread.
ALLOWED_PER_THREAD = 4 * MIB
LENGTHS = range(3000, 1000, -1)
# Start threads and load code, that of torch's FFT too, so that neither is counted.
SMALL = tuple(
    map(parse_workload, ("n4_ci8_co8_l4000_k3_s1_p1_d1_g1", "n1_ci8_co8_l1000_k800_s1_p799_d1_g8"))
)
GROWING = parse_workload("n1_ci32_co32_l3000_k5_s1_p2_d1_g1")
CONVOLUTIONS: dict[str, Convolution] = {
    "by_torch_conv1d": by_torch_conv1d,
    "by_torch": by_torch,
}


@dataclass(frozen=True)
class Memory:
    """Bytes: the results of a call, and the peak of all it had over what was there before it."""

    results: int
    peak: int

    @property
    def beside(self) -> int:
        return self.peak - self.results


def measure_peak(case: Case, name: str, threads: int) -> Memory:
    return Memory(**_in_a_new_process("peak", case, name, threads))


def measure_growth(case: Case, name: str, threads: int) -> int:
    """Bytes that training steps of LENGTHS leave behind."""
    return int(_in_a_new_process("growth", case, name, threads))


def measure_memory(cases: list[Case], threads: int) -> dict[str, Any]:
    """Prints a line for each case, and the growth of a small one."""
    allowed = threads * ALLOWED_PER_THREAD
    peaks = {}
    print(f"{'MiB':38}{'results':>9}{'beside: ours':>13}{'torch':>9}{'allowed':>9}")
    for case in cases:
        ours, theirs = (measure_peak(case, name, threads) for name in CONVOLUTIONS)
        peaks[case.workload.name] = {"ours": asdict(ours), "torch": asdict(theirs)}
        numbers = (ours.results, ours.beside, theirs.beside, allowed)
        columns = "".join(f"{n / MIB:{w}.1f}" for n, w in zip(numbers, (9, 13, 9, 9), strict=True))
        print(f"{case.workload.name:38}{columns}{' EXCEEDS' * (ours.beside > allowed)}", flush=True)
    growing = Case(GROWING, "train", cases[0].dtype)
    growth = {
        who: measure_growth(growing, name, threads)
        for who, name in zip(("ours", "torch"), CONVOLUTIONS, strict=True)
    }
    for who, grown in growth.items():
        print(f"growth over {len(LENGTHS)} lengths, {who}: {grown / MIB:.1f} MiB")
    return {"peaks": peaks, "growth": growth, "allowed": allowed}


def _in_a_new_process(what: str, case: Case, convolution: str, threads: int) -> Any:
    command = [sys.executable, "-m", "benchmarks.memory", what, json.dumps(asdict(case))]
    command += [convolution, str(threads)]
    return json.loads(subprocess.check_output(command, cwd=ROOT))


def _peak(case: Case, convolution: Convolution) -> dict[str, int]:
    for small in SMALL:
        _prepare(convolution, replace(case, workload=small))()
    call = _prepare(convolution, case)
    before = _resident()
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak
    results = call()
    return {"results": sum(r.nbytes for r in results), "peak": _status("VmHWM") - before}


def _growth(case: Case, convolution: Convolution) -> int:
    sizes = []
    for length in LENGTHS:
        workload = replace(case.workload, l_in=length)
        _prepare(convolution, replace(case, workload=workload))()
        if length == LENGTHS[len(LENGTHS) // 10]:
            sizes.append(_resident())
    return _resident() - sizes[0]


def _prepare(convolution: Convolution, case: Case) -> Callable[[], Results]:
    return make_call(convolution, case, make_operands(case))


def _resident() -> int:
    """Without what malloc keeps for later."""
    ctypes.CDLL(None).malloc_trim(0)
    return _status("VmRSS")


def _status(key: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"no {key} in /proc/self/status")


def main(what: str, case: str, convolution: str, threads: str) -> None:
    torch.set_num_threads(int(threads))
    fields = json.loads(case)
    measure = {"peak": _peak, "growth": _growth}[what]
    found = measure(
        Case(**fields | {"workload": Workload(**fields["workload"])}), CONVOLUTIONS[convolution]
    )
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
