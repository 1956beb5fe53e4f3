from collections.abc import Callable
from typing import Any

from torch import Tensor

def conv1d(*arguments: Any) -> Tensor:
    """The front op. Plain calls run without the interpreter, all others go to the general path."""

def set_general_path(function: Callable[..., Tensor]) -> None:
    """Names the function that takes the calls which are not plain."""

def build_info() -> dict[str, str]:
    """What the extension was built with."""

def supported_instruction_sets() -> list[str]:
    """Compiled in and able to run on this machine, slowest first; "reference" is plain loops."""

def active_instruction_set() -> str: ...
def set_instruction_set(name: str) -> None:
    """Overrides the choice for the process, as TORCH_CONV1D_ISA does; "" ends the override."""

def run_multiply_adds(steps: int, dtype: str = "float32") -> int:
    """Runs nothing but multiply-adds on every thread and returns how many operations those were.

    Over the time it takes, that is the arithmetic peak of the active instruction set. `dtype` is
    that of a problem: bfloat16 and float16 are computed in float32.
    """

def chosen_algorithm() -> str: ...
def set_algorithm(name: str) -> None:
    """What torch_conv1d.set_algorithm calls."""

def explain(
    problem: str,
    dtype: str = "float32",
    device: str = "cpu",
    channels_last: bool = False,
    multiprocessors: int = 132,
    architecture: int = 90,
) -> str:
    """What would run for a problem such as "n4_ci16_co32_l100_k3_s2_p1_d1_g1", and why.

    It depends on the layout; for "cuda", which needs no GPU and no build for one, on how many
    multiprocessors the GPU has and what architecture its code is compiled for as well.
    """
