"""The CUDA kernels on the CPU: g++ with the headers of tests/cuda_shim, under sanitizers.

Threads of a block run as fibers in random order, so what these tests cannot see is the GPU itself:
``make cuda-check`` compiles the same sources with nvcc.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from problems import CORPUS
from sanitized import assert_none_wrong

# A thread costs a microsecond here, so the larger problems of the corpus are left out.
MULTIPLY_ADDS = 10_000
EMPTY = (
    "n0_ci3_co3_l9_k3_s1_p1_d1_g3",
    "n0_ci2_co3_l9_k3_s1_p1_d1_g1",
    "n1_ci0_co4_l9_k3_s1_p1_d1_g1",
    "n1_ci2_co0_l9_k3_s1_p1_d1_g1",
)
# Products of matrices: several tiles of rows and blocks of channels, planes of a stride, phases.
WIDE = (
    "n2_ci44_co66_l140_k3_s1_p1_d1_g2",
    "n1_ci40_co150_l40_k4_s3_p5x2_d2_g2_reflect",
    "n1_ci100_co22_l150_k3_s2_p4_d3_g2_circular",
)
# Tests of the operators that are quick here: layouts, empty sizes, every derivative, what the
# dispatcher expects. torch computes float16 with few bits on a CPU.
OPERATORS = (
    "test_layouts.py",
    "test_edges.py::test_sums_of_nothing_are_the_bias",
    "test_gradients.py::test_gradients_of_an_unbatched_input",
    "test_autograd.py::test_second_derivative",
    "test_dispatch.py::test_opcheck",
)
CHOSEN = "cpu and not cpu-float16 and not nlc and (baseline or not nothing)"
FOLDER = Path(__file__).parent / "cuda_shim"
PROGRAM = Path(__file__).parent.parent / "build" / "cuda_shim" / "cuda_test"
COMPILER = os.environ.get("CXX", "g++")

pytestmark = [
    pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed"),
    pytest.mark.skipif(shutil.which(COMPILER) is None, reason="there is no C++ compiler"),
]


def make(target: str, *variables: str) -> subprocess.CompletedProcess[str]:
    command = ["make", "--no-print-directory", "-j2", "-C", str(FOLDER), target]
    command += [f"CXX={COMPILER}", f"PYTHON={sys.executable}", *variables]
    # Processes that run tests side by side must not build the same files.
    with (FOLDER / "Makefile").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return subprocess.run(command, capture_output=True, text=True, check=False)


def test_operators() -> None:
    """What cuda_ops.cpp checks, plans, allocates and leaves to ATen, on CPU tensors."""
    built = make("on_cpu")
    assert built.returncode == 0, built.stderr
    asan = subprocess.check_output([COMPILER, "-print-file-name=libasan.so"], text=True).strip()
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "cuda_on_cpu", "-k", CHOSEN]
    environment = {
        "PYTHONPATH": str(FOLDER.parent),
        "LD_PRELOAD": asan,
        "ASAN_OPTIONS": "detect_leaks=0",
    }
    found = subprocess.run(
        [*command, *OPERATORS],
        cwd=FOLDER.parent,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stdout[-3000:] + found.stderr[-3000:]
    assert re.search(r"\d{3} passed", found.stdout)


def test_kernels() -> None:
    small = [str(problem) for problem in CORPUS if problem.multiply_adds <= MULTIPLY_ADDS]
    problems = [*EMPTY, *WIDE, *small]
    built = make("build")
    assert built.returncode == 0, built.stdout[-3000:] + built.stderr[:5000]
    assert_none_wrong(PROGRAM, [], problems[::2], problems[1::2])

    # The tests of the tests: an error that every kernel has must be found, and as what it is.
    for kernel, problem in {
        "depthwise_rows": "n2_ci3_co3_l65_k4_s1_p3x0_d1_g3",
        "depthwise_channels": "n2_ci8_co8_l65_k4_s1_p3x0_d1_g8",
        "correlate": "n1_ci12_co12_l40_k3_s1_p0_d1_g2",
        "correlate_mma": "n1_ci24_co24_l64_k2_s1_p0_d1_g2",
        "outer": "n1_ci2_co4_l40_k3_s1_p1_d1_g1",
        "outer_mma": "n1_ci24_co24_l64_k2_s1_p0_d1_g2",
    }.items():
        for defect, sign in {
            "no_barriers": f"{kernel} .*element .* is",
            "short_shared_memory": "AddressSanitizer: use-after-poison",
            "wrong_tail": "AddressSanitizer: heap-buffer-overflow",
        }.items():
            command = [str(PROGRAM), "--plant", defect, "--only", kernel, problem]
            found = subprocess.run(command, capture_output=True, text=True, check=False)
            assert found.returncode != 0, (kernel, defect)
            assert re.search(sign, found.stdout + found.stderr), (kernel, defect, found)
