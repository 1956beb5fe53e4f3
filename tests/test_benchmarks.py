"""The benchmark counts what it says it counts, and runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from problems import Problem
from reference import source_positions

from benchmarks.report import load_report, markdown
from benchmarks.workloads import load_workloads, parse_workload

ROOT = Path(__file__).parent.parent


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


def test_layers_have_names_and_valid_problems() -> None:
    layers = load_workloads()
    assert len({layer.name for layer in layers}) == len(layers) == 50
    assert all(layer.l_out > 0 for layer in layers)


@pytest.mark.parametrize("text", ["", "n1_ci1", "n1_ci1_co1_l7_k5_s2_p4_d1_g1_wrap"])
def test_what_is_no_problem_string_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a problem string"):
        parse_workload(text)


@pytest.mark.parametrize("mode", ["forward", "train"])
def test_run_and_report(mode: str, tmp_path: Path) -> None:
    out = tmp_path / "run.json"
    problems = ["n2_ci4_co6_l20_k3_s1_p2x0_d2_g2", "n1_ci3_co5_l30_k4_s2_p3_d1_g1_reflect"]
    command = [sys.executable, "-m", "benchmarks.run", *problems, "--mode", mode]
    command += ["--budget", "0.01", "--out", str(out)]
    subprocess.run(command, cwd=ROOT, check=True)
    rows = json.loads(out.read_text())["rows"]
    assert [row["workload"]["name"] for row in rows] == problems
    text = markdown([load_report(out)])
    assert all(problem in text for problem in problems)
