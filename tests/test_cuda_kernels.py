"""The CUDA kernels on the CPU, compiled by g++ with the headers of tests/cuda_shim, under sanitizers.

Threads of a block run as fibers in random order. What these tests cannot see is a GPU; ``make
cuda-check`` compiles the same sources with nvcc.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from problems import CORPUS

# A thread costs a microsecond here, so the larger problems of the corpus are left out.
MULTIPLY_ADDS = 10_000
EMPTY = (
    "n0_ci3_co3_l9_k3_s1_p1_d1_g3",
    "n0_ci2_co3_l9_k3_s1_p1_d1_g1",
    "n1_ci0_co4_l9_k3_s1_p1_d1_g1",
    "n1_ci2_co0_l9_k3_s1_p1_d1_g1",
)
FOLDER = Path(__file__).parent / "cuda_shim"

pytestmark = [
    pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed"),
    pytest.mark.skipif(
        shutil.which(os.environ.get("CXX", "g++")) is None, reason="there is no C++ compiler"
    ),
]


def check(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs cuda_test with these arguments."""
    command = [
        "make",
        "--no-print-directory",
        "-j2",
        "-C",
        str(FOLDER),
        "check",
        f"CXX={os.environ.get('CXX', 'g++')}",
        f"PROBLEMS={' '.join(arguments)}",
    ]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_kernels() -> None:
    # One test: processes that run tests side by side must not build the same program.
    small = [str(problem) for problem in CORPUS if problem.multiply_adds <= MULTIPLY_ADDS]
    for problems in ([], [*EMPTY, *small]):
        found = check(*problems)
        assert found.returncode == 0, found.stdout[-3000:] + found.stderr[:5000]
        assert found.stdout.splitlines()[-1].endswith(" results, 0 wrong")

    # The tests of the tests: an error that every kernel has must be found, and as what it is.
    problem = "n2_ci3_co3_l65_k4_s1_p3x0_d1_g3"
    for defect, sign in {
        "no_barriers": "grad_weight: element 0 is",
        "short_shared_memory": "AddressSanitizer: use-after-poison",
        "wrong_tail": "AddressSanitizer: heap-buffer-overflow",
    }.items():
        found = check("--plant", defect, problem)
        assert found.returncode != 0, defect
        assert sign in found.stdout + found.stderr, (defect, found.stdout, found.stderr)
