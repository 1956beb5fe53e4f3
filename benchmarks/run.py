"""Times torch_conv1d against torch, side by side, after checking that both agree.

    python -m benchmarks.run                                  every layer of problems/workloads.txt
    python -m benchmarks.run --filter _dw_ --mode train       depthwise layers, forward and backward
    python -m benchmarks.run n4_ci16_co32_l100_k3_s2_p1_d1_g1 one problem
    python -m benchmarks.run --overhead                       the cost of a call on a tiny input

Modes: `forward` runs under no_grad; `grad_input` and `grad_weight` (with grad_b) are the backward
pass alone; `train` is a forward and a backward with every gradient.

"roofline" is the shortest possible time, max(flops / peak, bytes / bandwidth), over ours. Peak is
what multiply-adds in registers reach with the instruction set of --isa (in float32 for bfloat16 and
float16, which accumulate there), bandwidth what a large copy reaches, both measured in the same run
with the same threads. Tensors that stay in a cache can exceed that bandwidth, nothing the peak.

To compare on a machine with AVX-512 as if it had AVX2 alone, tell both sides:

    ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 MKL_ENABLE_INSTRUCTIONS=AVX2 \\
        python -m benchmarks.run --isa avx2
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from benchmarks.calls import (
    MODES,
    by_torch,
    by_torch_conv1d,
    largest_error,
    make_call,
    make_operands,
)
from benchmarks.overhead import measure_overhead
from benchmarks.roofline import Limits, measure_limits
from benchmarks.timing import Comparison, compare
from benchmarks.workloads import Workload, load_workloads, parse_workload
from torch_conv1d import _C

DTYPES = {
    "float32": torch.float32,
    "float64": torch.float64,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
# What changes the kernels that torch runs; recorded with the results.
TORCH_ISA_VARIABLES = ("ONEDNN_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY", "MKL_ENABLE_INSTRUCTIONS")


@dataclass(frozen=True)
class Conditions:
    """Where and how the numbers were measured, with the two limits of the roofline."""

    mode: str
    dtype: str
    threads: int
    isa: str
    torch: str
    cpu: str
    environment: dict[str, str]
    peak_gflops: float
    bandwidth_gb: float

    def shortest_time(self, p: Workload) -> float:
        flops, elements = p.work(self.mode)
        limits = Limits(self.peak_gflops * 1e9, self.bandwidth_gb * 1e9)
        return limits.shortest_time(flops, elements * DTYPES[self.dtype].itemsize)


@dataclass(frozen=True)
class Row:
    """One workload: not timed if `error`, in units of the tolerance, is above 1."""

    workload: Workload
    error: float
    timing: Comparison | None = None
    roofline: float | None = None


def main() -> int:
    args = parse_arguments()
    torch.set_num_threads(args.threads)
    _C.set_instruction_set(args.isa)
    conditions = describe_conditions(args)
    print(" ".join(f"{key}={value}" for key, value in asdict(conditions).items()))
    if args.overhead:
        print_overhead(args.budget)
        return 0

    workloads = [parse_workload(text) for text in args.problems] or load_workloads()
    workloads = [p for p in workloads if args.filter in p.name]
    if not workloads:
        sys.exit(f"no workload has {args.filter!r} in its name")
    print(f"{'':38}{'torch us':>10} {'ours us':>10} {'ratio':>6} {'roofline':>8}")
    rows = []
    for i, p in enumerate(workloads, 1):
        print(f"{i:2}/{len(workloads)} {p.name:<32}", end=" ", flush=True)
        rows.append(measure(p, args.budget, conditions))
        print(describe(rows[-1]), flush=True)
    print_summary(rows)
    if args.out:
        report = {"conditions": asdict(conditions), "rows": [asdict(row) for row in rows]}
        args.out.write_text(json.dumps(report, indent=1) + "\n")
    return 0 if all(row.timing for row in rows) else 1


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("problems", nargs="*", help="problem strings instead of the layers")
    parser.add_argument("--mode", choices=MODES, default="forward")
    parser.add_argument("--dtype", choices=DTYPES, default="float32")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--isa", default="", help="instruction set for ours (default: the best)")
    parser.add_argument("--filter", default="", help="only workloads whose name contains this")
    parser.add_argument("--budget", type=float, default=0.6, help="seconds a row is timed")
    parser.add_argument("--overhead", action="store_true", help="time calls on a tiny input")
    parser.add_argument("--out", type=Path, help="write the results as JSON, for benchmarks.report")
    return parser.parse_args()


def describe_conditions(args: argparse.Namespace) -> Conditions:
    limits = measure_limits(args.dtype)
    return Conditions(
        mode=args.mode,
        dtype=args.dtype,
        threads=args.threads,
        isa=_C.active_instruction_set(),
        torch=torch.__version__,
        cpu=cpu_name(),
        environment={k: os.environ[k] for k in TORCH_ISA_VARIABLES if k in os.environ},
        peak_gflops=round(limits.flops / 1e9, 1),
        bandwidth_gb=round(limits.bytes / 1e9, 1),
    )


def cpu_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def measure(p: Workload, budget: float, conditions: Conditions) -> Row:
    operands = make_operands(p, DTYPES[conditions.dtype])
    error = largest_error(p, operands, conditions.mode)
    if not error <= 1:  # NaN is wrong too
        return Row(p, error)
    timing = compare(
        make_call(by_torch_conv1d, p, operands, conditions.mode),
        make_call(by_torch, p, operands, conditions.mode),
        budget,
    )
    return Row(p, error, timing, conditions.shortest_time(p) / timing.ours)


def describe(row: Row) -> str:
    if row.timing is None or row.roofline is None:
        return f"WRONG: {row.error:.3g} times the tolerance"
    t = row.timing
    return f"{t.theirs * 1e6:10.1f} {t.ours * 1e6:10.1f} {t.ratio:6.2f} {row.roofline:8.0%}"


def print_summary(rows: list[Row]) -> None:
    ratios = {row.workload.name: row.timing.ratio for row in rows if row.timing}
    if ratios:
        mean = statistics.geometric_mean(ratios.values())
        print(f"geometric mean {mean:.2f}, min {min(ratios.values()):.2f}, {len(ratios)} rows")
    for bound in (1.0, 0.8):
        slower = [name for name, ratio in ratios.items() if ratio < bound]
        print(f"below {bound}: {len(slower)} {' '.join(slower)}")
    wrong = [row.workload.name for row in rows if row.timing is None]
    if wrong:
        print(f"wrong: {len(wrong)} {' '.join(wrong)}")


def print_overhead(budget: float) -> None:
    print(f"{'':24}{'torch us':>10} {'ours us':>10} {'ratio':>6}")
    for name, t in measure_overhead(budget).items():
        print(f"{name:24}{t.theirs * 1e6:10.2f} {t.ours * 1e6:10.2f} {t.ratio:6.2f}")


if __name__ == "__main__":
    sys.exit(main())
