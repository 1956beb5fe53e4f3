"""What every test file shares: the devices, dtypes and instruction sets a machine can run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from calls import instruction_set_named

from torch_conv1d import _C

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


@pytest.fixture(params=DTYPES, ids=lambda dtype: str(dtype).removeprefix("torch."))
def dtype(request: pytest.FixtureRequest) -> torch.dtype:
    """Each dtype that has kernels."""
    found: torch.dtype = request.param
    return found


@pytest.fixture(params=_C.supported_instruction_sets())
def instruction_set(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each instruction set that this machine can run, made the active one."""
    with instruction_set_named(request.param):
        yield request.param


@pytest.fixture(params=["cpu", *(["cuda"] if torch.cuda.is_available() else [])])
def device(request: pytest.FixtureRequest) -> torch.device:
    """Each device of this machine."""
    return torch.device(request.param)


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
