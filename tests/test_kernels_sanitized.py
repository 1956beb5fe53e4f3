"""The kernels without torch, under AddressSanitizer and UndefinedBehaviorSanitizer."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from problems import CORPUS, FFT, LONG_KERNELS, LONG_ROWS, PAIRED, TOOM_COOK
from sanitized import assert_none_wrong

FOLDER = Path(__file__).parent / "kernels"
PROGRAM = Path(__file__).parent.parent / "build" / "kernels" / "kernel_test"

pytestmark = [
    pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed"),
    pytest.mark.skipif(
        shutil.which(os.environ.get("CXX", "g++")) is None, reason="there is no C++ compiler"
    ),
]


def test_random_problems_and_the_corpus_of_the_other_tests() -> None:
    # One test: processes that run tests side by side must not build the same program.
    compiler = os.environ.get("CXX", "g++")
    make = ["make", "--no-print-directory", "-j2", "-C", str(FOLDER), f"CXX={compiler}", "build"]
    built = subprocess.run(make, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout[-3000:] + built.stderr[:5000]
    long = (*LONG_KERNELS[1:9], *LONG_ROWS[:3])
    problems = [str(p) for p in (*CORPUS, *TOOM_COOK, *PAIRED, *FFT[:2], FFT[-1], *long)]
    assert_none_wrong(PROGRAM, [], problems[::2], problems[1::2])
