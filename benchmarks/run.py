"""Times torch_conv1d against others, side by side, after checking that all agree.

    python -m benchmarks.run                                  every layer of problems/workloads.txt
    python -m benchmarks.run --filter _dw_ --mode train       depthwise layers, forward and backward
    python -m benchmarks.run n4_ci16_co32_l100_k3_s2_p1_d1_g1 one problem
    python -m benchmarks.run --layers transformers            those of problems/transformers.txt
    python -m benchmarks.run --random 200 --seed 1            layers drawn by chance
    python -m benchmarks.run --layout channels_last           (N, L, C) tensors
    python -m benchmarks.run --peers onnxruntime openvino jax beside torch: those of them installed
    python -m benchmarks.run --base v0.1.0                    another revision of this package
    python -m benchmarks.run --device cuda --dtype bfloat16   a GPU, on problems/gpu.txt
    python -m benchmarks.run --overhead                       the cost of a call on a tiny input
    python -m benchmarks.run --memory                         the memory that calls need

Modes: `forward` runs under no_grad; `grad_input` and `grad_weight` (with grad_b) are the backward
pass alone; `train` is a forward and a backward with every gradient; `double_backward` is the
derivative of grad_x and grad_w, on problems/double_backward.txt.

A ratio is the time of another over ours. torch works as users write it, which includes an F.pad for
causal padding and the copies that (N, L, C) tensors need; `ncl` is our own time on (N, C, L) ones.

"roofline" is the shortest possible time, max(flops / peak, bytes / bandwidth), over ours. Peak is
what multiply-adds in registers reach with the instruction set of --isa (in float32 for bfloat16 and
float16, which accumulate there), bandwidth what a large copy reaches, both measured in the same run
with the same threads. Flops are those of the direct sum: fewer multiplications (Toom-Cook, FFT) can
exceed the peak, and tensors that stay in a cache the bandwidth. On a GPU the limits are a large
matrix product and a clone. (--device cuda has not run on a GPU.)

glibc is told to keep freed memory, as it does in a program that has run for a while, so that page
faults do not depend on the layers measured before.

Results are written to benchmarks/results/, one file for each way to measure, or to --out.

To compare on a machine with AVX-512 as if it had AVX2 alone, tell both sides:

    ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 MKL_ENABLE_INSTRUCTIONS=AVX2 \\
        python -m benchmarks.run --isa avx2
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from benchmarks.calls import DTYPES, LAYOUTS, MODES, Case
from benchmarks.conditions import Conditions, describe_conditions, settle_malloc
from benchmarks.draw import draw_workloads
from benchmarks.measure import Row, measure, measure_revisions
from benchmarks.memory import measure_memory
from benchmarks.overhead import measure_overhead
from benchmarks.peers import PEERS
from benchmarks.revision import Worker, build, short_name, this_package
from benchmarks.workloads import Workload, load_workloads, parse_workload
from torch_conv1d import _C

# Processes of each of two revisions, an odd number.
PAIRS = 3
RESULTS = Path(__file__).parent / "results"


def main() -> int:
    args = parse_arguments()
    torch.set_num_threads(args.threads)
    _C.set_instruction_set(args.isa)
    settle_malloc()
    cases = [
        Case(p, args.mode, args.dtype, args.layout, args.device) for p in choose_workloads(args)
    ]
    conditions = describe_conditions(
        args, base=short_name(args.base) if args.base else "", layers=name_layers(args)
    )
    print(" ".join(f"{key}={value}" for key, value in asdict(conditions).items()))
    if args.overhead:
        found = measure_overhead(args.budget)
        write(conditions, "overhead", {name: asdict(t) for name, t in found.items()}, args)
        return 0
    if args.memory:
        write(conditions, "memory", measure_memory(cases, args.threads), args)
        return 0

    if args.base:
        ours, base = this_package(), build(args.base)
        pairs = [
            (Worker(ours, args.threads, args.isa), Worker(base, args.threads, args.isa))
            for _ in range(PAIRS)
        ]
        measure_case: Callable[[Case], Row] = partial(
            measure_revisions, budget=args.budget, pairs=pairs
        )
    else:
        measure_case = partial(
            measure, budget=args.budget, peer_names=args.peers, threads=args.threads
        )
    print(f"{'':38}{'ours us':>10} {'roofline':>8}  others: us, ratio to ours")
    rows = []
    for i, case in enumerate(cases, 1):
        print(f"{i:2}/{len(cases)} {case.workload.name:<32}", end=" ", flush=True)
        row = measure_case(case)
        rows.append(asdict(row) | {"roofline": roofline(case, row, conditions)})
        print(describe(rows[-1]), flush=True)
    print_summary(rows)
    write(conditions, "rows", rows, args)
    return 0 if all(row["timing"] for row in rows) else 1


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("problems", nargs="*", help="problem strings instead of the layers")
    parser.add_argument("--mode", choices=MODES, default="forward")
    parser.add_argument("--dtype", choices=DTYPES, default="float32")
    parser.add_argument("--layout", choices=LAYOUTS, default="ncl")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--isa", default="", help="instruction set for ours (default: the best)")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--layers", help="a file of problems/, without .txt")
    source.add_argument("--random", type=int, metavar="COUNT", help="layers drawn by chance")
    parser.add_argument("--seed", type=int, default=0, help="of --random")
    parser.add_argument("--filter", default="", help="only workloads whose name contains this")
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=[], help="beside torch")
    parser.add_argument("--base", help="compare with this revision instead of with others")
    parser.add_argument("--budget", type=float, default=0.6, help="seconds a row is timed")
    parser.add_argument("--overhead", action="store_true", help="time calls on a tiny input")
    parser.add_argument("--memory", action="store_true", help="the memory of a call")
    parser.add_argument("--out", type=Path, help="where the results go, for benchmarks.report")
    args = parser.parse_args()
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: torch sees no GPU here")
    on_cpus_alone = args.overhead or args.memory or args.base or args.peers
    if args.device == "cuda" and on_cpus_alone:
        parser.error("--overhead, --memory, --base and --peers are for --device cpu")
    missing = [name for name in args.peers if find_spec(name) is None]
    if missing:
        parser.error(f"--peers: not installed: {' '.join(missing)}")
    return args


def choose_workloads(args: argparse.Namespace) -> list[Workload]:
    if args.problems:
        return [parse_workload(text) for text in args.problems]
    if args.random:
        return draw_workloads(args.random, args.seed)
    table = "gpu" if args.device == "cuda" else "workloads"
    if args.mode == "double_backward":
        table = "double_backward"
    workloads = [p for p in load_workloads(args.layers or table) if args.filter in p.name]
    if not workloads:
        sys.exit(f"no workload has {args.filter!r} in its name")
    return workloads


def name_layers(args: argparse.Namespace) -> str:
    """Of layers that are not those of the mode's own table."""
    return f"random{args.random}_seed{args.seed}" if args.random else args.layers or ""


def roofline(case: Case, row: Row, conditions: Conditions) -> float | None:
    if row.timing is None:
        return None
    return conditions.limits.shortest_time(*case.necessary_work()) / row.timing.ours


def describe(row: dict[str, Any]) -> str:
    if row["timing"] is None:
        return f"WRONG: {row['error']:.3g} times the tolerance"
    ours, peers = row["timing"]["ours"], row["timing"]["peers"]
    others = [f"{name} {t['seconds'] * 1e6:.1f}, {t['ratio']:.2f}" for name, t in peers.items()]
    others += [f"{name}: {reason}" for name, reason in row["left_out"].items()]
    return f"{ours * 1e6:10.1f} {row['roofline']:8.0%}  {'   '.join(others)}"


def print_summary(rows: list[dict[str, Any]]) -> None:
    timed = [row for row in rows if row["timing"]]
    for peer in dict.fromkeys(name for row in timed for name in row["timing"]["peers"]):
        ratios = {
            row["workload"]["name"]: row["timing"]["peers"][peer]["ratio"]
            for row in timed
            if peer in row["timing"]["peers"]
        }
        mean, slower = statistics.geometric_mean(ratios.values()), below(ratios, 1)
        print(
            f"{peer}: geometric mean {mean:.2f}, min {min(ratios.values()):.2f}, "
            f"{len(ratios)} rows; below 1: {len(slower)} {' '.join(slower)}"
        )
    wrong = [row["workload"]["name"] for row in rows if not row["timing"]]
    if wrong:
        print(f"wrong: {len(wrong)} {' '.join(wrong)}")


def below(ratios: dict[str, float], bound: float) -> list[str]:
    return [name for name, ratio in ratios.items() if ratio < bound]


def write(conditions: Conditions, what: str, found: object, args: argparse.Namespace) -> None:
    partial_run = args.problems or args.filter
    name = conditions.file_name(what) + ("_partial" if partial_run else "") + ".json"
    out = args.out or RESULTS / name
    out.parent.mkdir(exist_ok=True)
    report = {"conditions": asdict(conditions), what: found}
    out.write_text(json.dumps(report, indent=1) + "\n")
    print(f"written: {out}")


if __name__ == "__main__":
    sys.exit(main())
