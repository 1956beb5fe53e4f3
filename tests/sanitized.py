"""Test programs built with sanitizers, which check the problems that they are given."""

from __future__ import annotations

import subprocess
from pathlib import Path


def assert_none_wrong(program: Path, *runs: list[str]) -> None:
    """Runs the program with each list of problems, side by side; without any, it makes its own."""
    started = [
        subprocess.Popen(
            [program, *problems], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for problems in runs
    ]
    for run in started:
        stdout, stderr = run.communicate()
        assert run.returncode == 0, stdout[-3000:] + stderr[:5000]
        assert stdout.splitlines()[-1].endswith(" results, 0 wrong")
