"""What every test file shares: the devices, dtypes and instruction sets a machine can run.

A test that uses the fixture `device` runs on every device; without a GPU its CUDA cases are
reported as one skipped test.
"""

from __future__ import annotations

from collections.abc import Iterator

import numerics
import problems
import pytest
import torch
from calls import PAIR_SETS, instruction_set_named

from torch_conv1d import _C

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


@pytest.fixture(params=DTYPES, ids=lambda dtype: str(dtype).removeprefix("torch."))
def dtype(request: pytest.FixtureRequest) -> torch.dtype:
    """Each dtype that has kernels."""
    found: torch.dtype = request.param
    return found


@pytest.fixture(params=[s for s in _C.supported_instruction_sets() if s not in PAIR_SETS])
def instruction_set(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each instruction set that this machine can run, made the active one.

    Not those that differ from another in bfloat16 alone: test_pairs.py.
    """
    with instruction_set_named(request.param):
        yield request.param


@pytest.fixture(params=["cpu", *(["cuda"] if torch.cuda.is_available() else [])])
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> torch.device:
    """Each device of this machine, as the one where operands are made."""
    found = torch.device(request.param)
    monkeypatch.setattr(problems, "device", found)
    if found.type == "cuda":
        # torch's side of a comparison in full precision, and the same in every run.
        monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
        monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
        monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        monkeypatch.setattr(numerics, "torch_pads", True)
    return found


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if torch.cuda.is_available():
        return
    functions = [item for item in items if isinstance(item, pytest.Function)]
    per_device = {(f.parent, f.originalname): f for f in functions if "device" in f.fixturenames}
    for parent, name in per_device:
        case = pytest.Function.from_parent(parent, name=f"{name}[cuda]", callobj=lambda: None)
        case.add_marker(pytest.mark.skip(reason="needs a GPU that torch can use"))
        items.append(case)


@pytest.fixture
def threads() -> Iterator[None]:
    """Restores torch's number of threads."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def seed() -> None:
    """A test that fails once fails again, alone or after others."""
    torch.manual_seed(0)
