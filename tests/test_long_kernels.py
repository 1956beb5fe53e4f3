"""Kernels much longer than the output: grad_y is the kernel of both gradients, and samples of long
rows stand side by side in forward."""

from __future__ import annotations

import pytest
import torch
from contracts import assert_exact_but_for_rounding, assert_same_bits_everywhere
from problems import LONG_KERNELS, LONG_ROWS, Problem

import torch_conv1d
from torch_conv1d import _C

BOTH = ("grad_input", "grad_weight")
# Other ways for sums of few terms or many output channels, and for ends that have to be folded.
ONE = {
    "n1_ci5_co7_l70_k67_s1_p0_d1_g1": ("grad_input",),
    "n70_ci2_co300_l70_k66_s1_p0_d1_g1": ("grad_input",),
    "n2_ci33_co4_l90_k80_s4_p5_d1_g1_reflect": ("grad_weight",),
    "n2_ci40_co700_l70_k65_s1_p0_d1_g1": ("grad_input",),
}


@pytest.mark.parametrize("problem", LONG_KERNELS, ids=str)
def test_gradients_are_the_reference(problem: Problem, instruction_set: str) -> None:
    if instruction_set != "reference":
        plan = _C.explain(str(problem))
        for operation in BOTH:
            reason = next(x for x in plan.splitlines() if x.startswith(f"{operation}.reason: "))
            exchanged = "positions of grad_y, which is the kernel instead: " in reason
            assert exchanged == (operation in ONE.get(str(problem), BOTH))
    assert_exact_but_for_rounding(problem, instruction_set)


@pytest.mark.parametrize("problem", LONG_ROWS, ids=str)
def test_long_rows_side_by_side_are_the_reference(problem: Problem, instruction_set: str) -> None:
    if instruction_set != "reference":
        assert "forward.reason: rows are short, so " in _C.explain(str(problem))
    assert_exact_but_for_rounding(problem, instruction_set)


@pytest.mark.parametrize("problem", (*LONG_KERNELS, *LONG_ROWS), ids=str)
def test_batch_layout_threads_and_set_change_no_bit(
    problem: Problem, dtype: torch.dtype, threads: None
) -> None:
    assert_same_bits_everywhere(problem, dtype)


# Of products with padding, Toom-Cook's filtering made 5 times the error of direct sums.
@pytest.mark.parametrize(
    "shape", [(32, 64, 4, 200, 200), (1, 256, 4, 403, 400), (1, 32, 1, 129, 128)], ids=str
)
def test_few_terms_have_small_errors(shape: tuple[int, ...]) -> None:
    n, c_in, c_out, length, taps = shape
    torch.manual_seed(0)
    x, w = torch.randn(n, c_in, length), torch.randn(c_out, c_in, taps)
    grad_y = torch.randn(n, c_out, length - taps + 1)

    def gradients(dtype: torch.dtype, algorithm: str) -> list[torch.Tensor]:
        a, b = (t.to(dtype, copy=True).requires_grad_() for t in (x, w))
        with torch_conv1d.set_algorithm(algorithm):
            y = torch_conv1d.conv1d(a, b)
            return list(torch.autograd.grad(y, (a, b), grad_y.to(dtype)))

    exact = gradients(torch.float64, "direct")
    for ours, direct, truth in zip(
        gradients(torch.float32, "auto"), gradients(torch.float32, "direct"), exact, strict=True
    ):
        assert (ours - truth).norm() <= 2.5 * (direct - truth).norm()
