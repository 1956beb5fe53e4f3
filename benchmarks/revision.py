"""Another revision of this package: built beside this one, and run in a process of its own.

Two revisions register the same operators, so no process can load both. Whoever compares them runs
each in a worker, this one too, and lets the workers take turns.

    python -m benchmarks.revision PYTHON_FOLDER THREADS ISA       what a worker executes
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import torch

import torch_conv1d
from benchmarks.calls import (
    Case,
    by_torch_conv1d,
    expected_results,
    largest_error,
    make_call,
    make_operands,
)
from benchmarks.conditions import settle_malloc
from benchmarks.timing import Local
from benchmarks.workloads import Workload
from torch_conv1d import _C

ROOT = Path(__file__).parent.parent


def short_name(revision: str) -> str:
    return _git("rev-parse", "--short=12", f"{revision}^{{commit}}").decode().strip()


def this_package() -> Path:
    return Path(torch_conv1d.__file__).parent.parent


def build(revision: str) -> Path:
    """The folder of the revision's Python package, built if it is not there yet."""
    folder = ROOT / "build" / "revisions" / short_name(revision)
    if not folder.exists():
        folder.mkdir(parents=True)
        archive = _git("archive", revision)
        subprocess.run(["tar", "-x"], input=archive, cwd=folder, check=True)
    command = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
    subprocess.run(command, cwd=folder, check=True)
    return folder / "python"


def _git(*arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=True).stdout


class Worker:
    """A process that has loaded the package of a folder: the contender of a revision."""

    def __init__(self, python: Path, threads: int, isa: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.revision", str(python), str(threads), isa],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(python)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def prepare(self, case: Case) -> float:
        """Makes `case` what `seconds` runs, and returns its error."""
        return self._ask(asdict(case))

    def seconds(self, calls: int) -> float:
        return self._ask(calls)

    def close(self) -> None:
        self._process.communicate()

    def _ask(self, question: object) -> float:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"a worker has ended: {self._process.args!r}")
        return float(answer)


def work(python: str, threads: str, isa: str) -> None:
    """Answers a case with its error, a number of calls with the seconds they take."""
    if this_package() != Path(python):
        sys.exit(f"expected the package in {python}, got the one in {this_package()}")
    torch.set_num_threads(int(threads))
    _C.set_instruction_set(isa)
    settle_malloc()
    contender = None
    for line in sys.stdin:
        question = json.loads(line)
        if isinstance(question, dict):
            case = Case(**question | {"workload": Workload(**question["workload"])})
            operands = make_operands(case)
            call = make_call(by_torch_conv1d, case, operands)
            contender = Local(call)
            answer = largest_error(case, operands, call(), expected_results(case, operands))
        else:
            assert contender
            answer = contender.seconds(question)
        print(answer, flush=True)


if __name__ == "__main__":
    work(*sys.argv[1:])
