"""The benchmark counts what it says it counts, finds wrong results, and runs."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from problems import Problem
from reference import source_positions
from torch import Tensor

from benchmarks import cuda, memory, peers
from benchmarks.calls import (
    LAYOUTS,
    MODES,
    Case,
    by_torch,
    by_torch_conv1d,
    expected_results,
    largest_error,
    make_call,
    make_operands,
)
from benchmarks.draw import draw_workloads
from benchmarks.measure import measure, measure_on_gpu, measure_revisions
from benchmarks.memory import Memory
from benchmarks.report import load_report, markdown
from benchmarks.revision import Worker, this_package
from benchmarks.roofline import Limits
from benchmarks.timing import Comparison, Local, Peer, compare, median_comparison
from benchmarks.workloads import load_workloads, parse_workload

ROOT = Path(__file__).parent.parent
PROBLEMS = [
    "n2_ci4_co6_l20_k3_s1_p2x0_d2_g2",
    "n1_ci3_co5_l30_k4_s2_p3_d1_g1_reflect",
    "n2_ci6_co6_l15_k3_s1_p1_d1_g6_circular",
]


@pytest.mark.parametrize(
    "text",
    [
        "n2_ci4_co6_l10_k3_s1_p0_d1_g2",
        "n1_ci1_co1_l7_k5_s2_p4_d1_g1",
        "n1_ci2_co3_l9_k3_s3_p2x5_d4_g1",
        "n3_ci2_co2_l5_k4_s1_p9x0_d3_g2",
        "n1_ci2_co3_l9_k3_s2_p3_d1_g1_reflect",
    ],
)
def test_flops_leave_out_the_zeros_of_the_padding(text: str) -> None:
    p = Problem.parse(text)
    products = int((source_positions(p) >= 0).sum()) * p.n * p.c_out * p.c_in // p.groups
    assert parse_workload(text).flops() == 2 * products


@pytest.mark.parametrize("mode", MODES)
def test_bytes_are_those_of_the_tensors_that_a_mode_reads_and_returns(mode: str) -> None:
    case = Case(replace(parse_workload(PROBLEMS[0]), bias=False), mode, "float64")
    t = make_operands(case)
    read = {
        "forward": (t.x, t.w),
        "grad_input": (t.grad_y, t.w),
        "grad_weight": (t.grad_y, t.x),
        "train": (t.x, t.w, t.grad_y, t.x, t.w),
        "double_backward": (t.grad_y, t.x, t.w, t.x, t.w),
    }[mode]
    results = make_call(by_torch_conv1d, case, t)()
    flops, moved = case.necessary_work()
    assert moved == sum(tensor.nbytes for tensor in (*read, *results))
    passes = {"train": 3, "double_backward": 4}.get(mode, 1)
    assert flops == passes * case.workload.flops()


def test_the_shortest_time_is_that_of_the_tighter_limit() -> None:
    limits = Limits(flops=100.0, bytes=10.0)
    assert limits.shortest_time(flops=200, moved=10) == 2
    assert limits.shortest_time(flops=200, moved=30) == 3


@pytest.mark.parametrize("table", ["workloads", "double_backward", "gpu", "short", "transformers"])
def test_layers_have_names_and_valid_problems(table: str) -> None:
    layers = load_workloads(table)
    assert len({layer.name for layer in layers}) == len(layers)
    assert all(layer.l_out > 0 for layer in layers)
    assert table != "workloads" or len(layers) == 50


def test_random_layers_are_valid_different_and_the_same_for_the_same_seed() -> None:
    layers = draw_workloads(300, seed=1)
    assert layers == draw_workloads(300, seed=1) != draw_workloads(300, seed=2)
    assert len({layer.name for layer in layers}) == 300
    assert all(layer == parse_workload(layer.name) and layer.l_out > 0 for layer in layers)
    for kind in (
        {layer.groups == layer.c_in == layer.c_out > 1 for layer in layers},
        {layer.stride > 1 for layer in layers},
        {layer.dilation > 1 for layer in layers},
        {layer.padding_mode != "zeros" for layer in layers},
        {layer.kernel_size == 1 for layer in layers},
    ):
        assert kind == {True, False}


@pytest.mark.parametrize("text", ["", "n1_ci1", "n1_ci1_co1_l7_k5_s2_p4_d1_g1_wrap"])
def test_what_is_no_problem_string_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a problem string"):
        parse_workload(text)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("text", PROBLEMS)
def test_every_mode_and_layout_agrees_with_torch(text: str, mode: str, layout: str) -> None:
    for dtype in ("float32", "bfloat16"):
        case = Case(parse_workload(text), mode, dtype, layout)
        operands = make_operands(case)
        expected = expected_results(case, operands)
        results = make_call(by_torch_conv1d, case, operands)()
        assert largest_error(case, operands, results, expected) <= 1
        for i, result in enumerate(results):
            wrong = list(results)
            wrong[i] = result + 0.1
            assert largest_error(case, operands, tuple(wrong), expected) > 1


@pytest.mark.parametrize("layout", LAYOUTS)
def test_operands_lie_in_memory_as_the_layout_says(layout: str) -> None:
    case = Case(parse_workload(PROBLEMS[0]), "train", layout=layout)
    seen = []

    def spy(case: Case, t: object) -> torch.Tensor:
        seen.append(t.x)  # type: ignore[attr-defined]
        return by_torch(case, t)  # type: ignore[arg-type]

    make_call(spy, case, make_operands(case))()
    p = case.workload
    shape = (p.n, p.l_in, p.c_in) if layout == "channels_last" else (p.n, p.c_in, p.l_in)
    assert seen[0].shape == shape
    innermost = {"ncl": -1, "channels_last": -1, "transposed": 1}[layout]
    assert seen[0].stride(innermost) == 1


def test_a_ratio_is_the_time_of_the_peer_over_ours() -> None:
    slow, fast = Local(lambda: time.sleep(4e-3)), Local(lambda: time.sleep(1e-3))
    found = compare(fast, {"slow": slow, "same": fast}, budget=0.1)
    assert found.peers["slow"].ratio > 2 > found.peers["same"].ratio
    assert found.peers["slow"].seconds > found.ours


def test_the_median_of_comparisons() -> None:
    def comparison(ours: float, ratio: float) -> Comparison:
        return Comparison(ours, {"other": Peer(ours * ratio, ratio)}, rounds=2)

    found = median_comparison([comparison(1, 2), comparison(5, 1), comparison(2, 7)])
    assert found == Comparison(2, {"other": Peer(5, 2)}, rounds=6)


def test_a_wrong_result_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(parse_workload(PROBLEMS[0]))
    monkeypatch.setattr("benchmarks.measure.by_torch_conv1d", lambda c, t: by_torch(c, t) + 1)
    row = measure(case, 0.01, (), 1)
    assert row.error > 1
    assert row.timing is None


def test_a_revision_is_compared_in_processes_of_its_own() -> None:
    ours, base = (Worker(this_package(), threads=1, isa="baseline") for _ in range(2))
    for mode in ("forward", "train"):
        row = measure_revisions(Case(parse_workload(PROBLEMS[1]), mode), 0.01, [(ours, base)])
        assert row.timing
        assert row.error <= 1
        assert row.timing.peers.keys() == {"base"}
    ours.close()
    base.close()


def test_a_worker_refuses_another_package_than_it_was_asked_for(tmp_path: Path) -> None:
    worker = Worker(tmp_path, threads=1, isa="")
    with pytest.raises(RuntimeError, match="a worker has ended"):
        worker.prepare(Case(parse_workload(PROBLEMS[0])))
    worker.close()


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("name", peers.PEERS)
def test_peers_agree_or_say_why_not(name: str, dtype: str) -> None:
    if find_spec(name) is None:
        pytest.skip(f"{name} is not installed")
    for text in PROBLEMS:
        row = measure(Case(parse_workload(text), dtype=dtype), 0.01, [name], 1)
        assert row.timing
        assert (name in row.timing.peers) != (name in row.left_out)
        if dtype == "float32" and "circular" not in text:
            assert name in row.timing.peers, row.left_out


def test_peers_are_left_out_where_they_cannot_compute_the_case() -> None:
    row = measure(Case(parse_workload(PROBLEMS[0]), "train"), 0.01, ["onnxruntime"], 1)
    assert row.timing
    assert row.timing.peers.keys() == {"torch"}
    assert "forward" in row.left_out["onnxruntime"]


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux alone")
def test_memory_of_a_call_is_seen() -> None:
    # torch pads this input in a copy of 16 MiB; the kernels here need no such copy.
    case = Case(parse_workload("n1_ci64_co64_l65536_k3_s1_p2x0_d1_g64"))
    theirs = memory.measure_peak(case, "by_torch", threads=1)
    assert theirs.results == 16 * memory.MIB
    assert theirs.beside > 12 * memory.MIB
    assert Memory(results=5, peak=7).beside == 2


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux alone")
@pytest.mark.parametrize(
    ("layer", "mode", "dtype", "layout"),
    [
        ("n8_ci512_co512_l256_k3_s1_p1_d1_g1", "forward", "float32", "ncl"),
        ("n4_ci2048_co2048_l128_k3_s1_p1_d1_g1", "forward", "float32", "ncl"),
        ("n64_ci200_co24_l100_k100_s1_p0_d1_g1", "forward", "float32", "ncl"),
        ("n64_ci200_co24_l100_k100_s1_p0_d1_g1", "grad_input", "float32", "ncl"),
        ("n8_ci512_co512_l256_k3_s1_p1_d1_g1", "grad_weight", "float32", "ncl"),
        ("n8_ci512_co512_l256_k3_s1_p1_d1_g1", "train", "bfloat16", "ncl"),
        ("n1_ci1024_co1024_l40_k3_s1_p1_d1_g1", "train", "float16", "ncl"),
        ("n1_ci1024_co1024_l3_k3_s1_p0_d1_g1", "train", "bfloat16", "ncl"),
        ("n1_ci64_co64_l4096_k1024_s1_p1023x0_d1_g64", "train", "float64", "ncl"),
        ("n128_ci512_co4_l100_k41_s1_p20_d1_g1_reflect", "grad_input", "float32", "ncl"),
        ("n1_ci64_co64_l60000_k4_s768_p0_d1_g64", "grad_input", "bfloat16", "channels_last"),
    ],
)
def test_a_call_takes_little_memory(layer: str, mode: str, dtype: str, layout: str) -> None:
    case = Case(parse_workload(layer), mode, dtype, layout)
    ours = memory.measure_peak(case, "by_torch_conv1d", threads=2)
    assert ours.beside <= 2 * memory.ALLOWED_PER_THREAD


def test_copies_of_operands_exceed_the_cache_together() -> None:
    for moved, cache in ((1, 100), (60, 100), (200, 100), (201, 100)):
        count = cuda.copies_beyond_cache(moved, cache)
        assert count * moved > 2 * cache


def test_what_the_causal_packages_compute() -> None:
    layer = "n2_ci6_co6_l15_k4_s1_p3x0_d1_g6"
    assert cuda.is_causal_short(Case(parse_workload(layer)))
    others = ["k4_s2", "k5_s1_p4x0", "p3_d1", "p3x0_d2", "_g1", "p3x0_d1_g6_reflect"]
    changes = ["k4_s1", "k4_s1_p3x0", "p3x0_d1", "p3x0_d1", "_g6", "p3x0_d1_g6"]
    for old, new in zip(changes, others, strict=True):
        assert not cuda.is_causal_short(Case(parse_workload(layer.replace(old, new)))), new
    assert not cuda.is_causal_short(Case(parse_workload(layer), dtype="float64"))


class HostEvent:
    """The clock of the CPU in the place of an event of a GPU."""

    def __init__(self, enable_timing: bool) -> None:
        assert enable_timing

    def record(self) -> None:
        self.seconds = time.perf_counter()

    def synchronize(self) -> None:
        pass

    def elapsed_time(self, end: HostEvent) -> float:
        return (end.seconds - self.seconds) * 1e3


def causal_conv1d_fn(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """The contract of the package causal-conv1d: x is (N, C, L), weight (C, K)."""
    return F.conv1d(F.pad(x, (weight.shape[1] - 1, 0)), weight[:, None], bias, groups=x.shape[1])


def test_a_gpu_is_timed_with_events_against_torch_and_packages(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On the CPU, with a stub of what only a GPU has."""
    monkeypatch.setattr(torch.cuda, "Event", HostEvent)
    properties = SimpleNamespace(L2_cache_size=100_000)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: properties)
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    monkeypatch.setattr(cuda, "find_spec", lambda _: True)
    causal = SimpleNamespace(causal_conv1d_fn=causal_conv1d_fn)
    wrong = SimpleNamespace(
        causal_conv1d=lambda x, w, b: (causal_conv1d_fn(x.mT, w, b).mT + 1, None)
    )
    modules = {"causal_conv1d": causal, "fla.modules.convolution": wrong}
    monkeypatch.setattr(cuda, "import_module", modules.__getitem__)
    case = Case(parse_workload("n2_ci8_co8_l40_k4_s1_p3x0_d1_g8"), "train", layout="channels_last")
    operands = make_operands(case)
    row = measure_on_gpu(case, 0.01, operands, expected_results(case, operands), error=0)
    assert row.timing
    assert row.timing.peers.keys() == {
        "torch",
        "torch, cudnn.benchmark",
        "torch.compile",
        "causal-conv1d",
    }
    assert row.left_out["fla"].startswith("wrong")


def test_a_gradient_of_many_repeated_positions_rounds_more() -> None:
    """The padding of this one adds up to 160 products of a position where there are 5 elsewhere."""
    case = Case(parse_workload("n16_ci256_co256_l50_k5_s1_p32x0_d8_g256_replicate"), "grad_input")
    operands = make_operands(case)
    expected = expected_results(case, operands)
    results = make_call(by_torch_conv1d, case, operands)()
    assert largest_error(case, operands, results, expected) <= 1


def test_tf32_is_no_error_where_a_gpu_may_use_it() -> None:
    case = Case(parse_workload("n2_ci40_co40_l50_k3_s1_p1_d1_g1"))
    operands = make_operands(case)
    bits = [(t.view(torch.int32) + 0x1000) & ~0x1FFF for t in (operands.x, operands.w)]
    x, w = (t.view(torch.float32) for t in bits)
    results = make_call(by_torch, case, replace(operands, x=x, w=w))()
    expected = expected_results(case, operands)
    assert largest_error(case, operands, results, expected) > 1
    assert largest_error(replace(case, device="cuda"), operands, results, expected) <= 1


def write_report(path: Path, layer: str, **changes: str) -> Path:
    """A file of one row, as benchmarks.run writes it."""
    conditions: dict[str, Any] = dict.fromkeys(("base", "layers"), "")
    conditions |= {"mode": "train", "dtype": "float32", "layout": "ncl", "device": "cpu"}
    conditions |= {"isa": "avx2", "environment": {}, "torch": "2", "processor": "a"}
    conditions |= {"threads": 1, "peak_gflops": 1, "bandwidth_gb": 1}
    conditions |= changes
    timing = {"ours": 1, "peers": {"torch": {"seconds": 2, "ratio": 2}}}
    row = {"workload": {"name": layer}, "timing": timing, "roofline": 0.5}
    path.write_text(json.dumps({"conditions": conditions, "rows": [row]}))
    return path


def test_devices_have_tables_of_their_own(tmp_path: Path) -> None:
    devices = ("cpu", "cuda")
    files = [write_report(tmp_path / d, f"on_{d}", device=d) for d in devices]
    text = markdown([load_report(file) for file in files])
    assert text.count("| layer |") == 2
    assert text.index("on_cpu") < text.index("| train float32 |") < text.index("on_cuda")


def test_random_layers_are_counted_and_not_listed(tmp_path: Path) -> None:
    known = write_report(tmp_path / "known", "known")
    drawn = write_report(tmp_path / "drawn", "drawn", layers="random1_seed0")
    text = markdown([load_report(file) for file in (known, drawn)])
    assert text.count("random1_seed0") == 2  # ratios and fractions of the roofline
    assert "| known |" in text
    assert "| drawn |" not in text


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_an_error_and_no_crash() -> None:
    command = [sys.executable, "-m", "benchmarks.run", "--device", "cuda"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert "torch sees no GPU" in done.stderr


@pytest.mark.parametrize("options", ["--mode forward", "--mode train --layout channels_last"])
def test_run_and_report(options: str, tmp_path: Path) -> None:
    out = tmp_path / "run.json"
    command = [sys.executable, "-m", "benchmarks.run", *PROBLEMS, *options.split()]
    command += ["--budget", "0.01", "--out", str(out)]
    subprocess.run(command, cwd=ROOT, check=True)
    rows = json.loads(out.read_text())["rows"]
    assert [row["workload"]["name"] for row in rows] == PROBLEMS
    text = markdown([load_report(out)])
    assert all(problem in text for problem in PROBLEMS)
    assert ("to (N, C, L)" in text) == ("channels_last" in options)


@pytest.mark.parametrize(
    ("options", "found"),
    [("--overhead", "module, backward"), ("--memory --mode train", "growth over many lengths")],
)
def test_overhead_and_memory_and_their_report(options: str, found: str, tmp_path: Path) -> None:
    out = tmp_path / "run.json"
    command = [sys.executable, "-m", "benchmarks.run", PROBLEMS[0], *options.split()]
    command += ["--budget", "0.01", "--out", str(out)]
    subprocess.run(command, cwd=ROOT, check=True)
    assert found in markdown([load_report(out)])
