"""The kernels without torch, under AddressSanitizer and UndefinedBehaviorSanitizer."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from problems import CORPUS, FFT, TOOM_COOK

FOLDER = Path(__file__).parent / "kernels"

pytestmark = [
    pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed"),
    pytest.mark.skipif(
        shutil.which(os.environ.get("CXX", "g++")) is None, reason="there is no C++ compiler"
    ),
]


def check(*problems: str) -> str:
    """What kernel_test says of these problems, or of its own random ones."""
    compiler = os.environ.get("CXX", "g++")
    command = [
        "make",
        "--no-print-directory",
        "-j2",
        "-C",
        str(FOLDER),
        f"CXX={compiler}",
        f"PROBLEMS={' '.join(problems)}",
    ]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout[-3000:] + found.stderr[:5000]
    return found.stdout.splitlines()[-1]


def test_random_problems_and_the_corpus_of_the_other_tests() -> None:
    # One test: processes that run tests side by side must not build the same program.
    assert check().endswith(" results, 0 wrong")
    assert check(*map(str, (*CORPUS, *TOOM_COOK, *FFT[:2], FFT[-1]))).endswith(" results, 0 wrong")
