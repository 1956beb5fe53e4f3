"""Every instruction set is right, can be asked for, and keeps to its own object."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from calls import run
from conftest import DTYPES
from numerics import assert_within_budget, expect_results
from problems import CORPUS, Problem, operands

from torch_conv1d import _C

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("problem", CORPUS, ids=str)
def test_results_are_the_reference(
    problem: Problem, channels_last: bool, instruction_set: str
) -> None:
    # One dtype a problem, so that each instruction set meets all of them over the corpus.
    dtype = DTYPES[(CORPUS.index(problem) + channels_last) % len(DTYPES)]
    o = operands(problem, dtype)
    results = run(problem, o, channels_last)
    for actual, expected in zip(results, expect_results(problem, o), strict=True):
        assert_within_budget(actual, expected, context=(instruction_set, dtype))


def test_reference_is_the_first_and_the_best_is_active() -> None:
    supported = _C.supported_instruction_sets()
    assert supported[0] == "reference"
    assert _C.active_instruction_set() in supported


def test_override_and_its_end() -> None:
    automatic = _C.active_instruction_set()
    for name in _C.supported_instruction_sets():
        _C.set_instruction_set(name)
        assert _C.active_instruction_set() == name
    _C.set_instruction_set("")
    assert _C.active_instruction_set() == automatic


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "float16"])
def test_multiply_adds_are_counted_by_the_lanes_of_the_set(
    dtype: str, instruction_set: str
) -> None:
    vector_bytes = {"avx2": 32, "avx512": 64}.get(instruction_set, 16)
    lanes = vector_bytes // (8 if dtype == "float64" else 4)
    for steps in (0, 1, 7):
        assert _C.run_multiply_adds(steps, dtype) == (
            2 * 12 * lanes * steps * torch.get_num_threads()
        )


def test_override_by_an_unknown_name_names_the_known_ones() -> None:
    automatic = _C.active_instruction_set()
    with pytest.raises(ValueError, match="sse9") as caught:
        _C.set_instruction_set("sse9")
    assert all(name in str(caught.value) for name in _C.supported_instruction_sets())
    assert _C.active_instruction_set() == automatic


def active_in_a_new_process(name: str) -> subprocess.CompletedProcess[str]:
    code = (
        "import torch; from torch_conv1d import _C, conv1d;"
        "conv1d(torch.ones(1, 1, 4), torch.ones(1, 1, 2)); print(_C.active_instruction_set())"
    )
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "TORCH_CONV1D_ISA": name},
        capture_output=True,
        text=True,
        check=False,
    )


def test_override_by_environment_variable() -> None:
    found = active_in_a_new_process("reference")
    assert (found.stdout.strip(), found.returncode) == ("reference", 0), found.stderr


def test_override_by_an_unknown_environment_variable_says_so() -> None:
    found = active_in_a_new_process("sse9")
    assert found.returncode != 0
    assert "TORCH_CONV1D_ISA" in found.stderr
    assert "sse9" in found.stderr


def explain(problem: Problem) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in _C.explain(str(problem)).splitlines())


@pytest.mark.parametrize("problem", CORPUS, ids=str)
def test_explanation_names_algorithms_and_reasons(problem: Problem, instruction_set: str) -> None:
    lines = explain(problem)
    assert lines["problem"] == str(problem)
    assert lines["instruction_set"] == instruction_set
    for operation in ("forward.", "grad_input.", "grad_weight."):
        prefix = "" if instruction_set == "reference" else operation
        assert lines[f"{prefix}algorithm"]
        assert lines[f"{prefix}reason"]


@pytest.mark.usefixtures("threads")
def test_explanation_cuts_a_reduction_whatever_the_threads() -> None:
    """Sums depend on the cut."""
    problem = Problem.parse("n8_ci64_co64_l4000_k3_s1_p1_d1_g1")
    cuts = set()
    for count in (1, 2, 7):
        torch.set_num_threads(count)
        cuts.add(explain(problem)["grad_weight.reduction"])
    assert len(cuts) == 1


def test_explanation_of_a_malformed_problem_shows_a_good_one() -> None:
    with pytest.raises(ValueError, match="n4_ci16_co32_l100_k3_s2_p1_d1_g1"):
        _C.explain("n4_ci16")


def isa_objects() -> list[Path]:
    version = f"torch{torch.__version__}-{sys.implementation.cache_tag}"
    return sorted((ROOT / "build" / version).glob("cpu-isa-*.o"))


@pytest.mark.skipif(shutil.which("nm") is None, reason="nm is not installed")
@pytest.mark.skipif(not isa_objects(), reason="the package was not built in this tree")
@pytest.mark.parametrize("built", isa_objects(), ids=lambda path: path.stem)
def test_an_instruction_set_exports_one_symbol(built: Path) -> None:
    """An inline function compiled for new machines could be linked into code for all of them."""
    command = ["nm", "--defined-only", "--extern-only", "--demangle", str(built)]
    listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert len(listing.splitlines()) == 1, listing
