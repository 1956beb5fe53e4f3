"""Kernels much longer than the output: grad_y is the kernel of both gradients, and samples of long
rows stand side by side in forward."""

from __future__ import annotations

import pytest
import torch
from contracts import assert_exact_but_for_rounding, assert_same_bits_everywhere
from problems import Problem

import torch_conv1d
from torch_conv1d import _C

BOTH = ("grad_input", "grad_weight")
# One sample and many, more than are copied at a time, one position and more than share loads in one
# row, strides, dilations and what they leave at the end of a row, taps that meet nothing but
# padding, a padding mode, one channel on either side, more channels than are taken at a time.
PROBLEMS = {
    "n1_ci5_co7_l70_k67_s1_p0_d1_g1": ("grad_input",),
    "n9_ci3_co2_l131_k111_s1_p0_d1_g1": BOTH,
    "n70_ci2_co300_l70_k66_s1_p0_d1_g1": ("grad_input",),
    "n300_ci1_co9_l52_k50_s1_p0_d1_g1": BOTH,
    "n2_ci90_co3_l83_k40_s5_p0_d2_g1": BOTH,
    "n3_ci2_co5_l301_k90_s2_p3x1_d3_g1": BOTH,
    "n1_ci4_co1_l130_k128_s1_p11x12_d1_g1": BOTH,
    "n4_ci20_co4_l40_k90_s1_p29x31_d1_g1": BOTH,
    "n2_ci30_co3_l60_k99_s9_p24_d1_g1": BOTH,
    "n2_ci33_co4_l90_k80_s4_p5_d1_g1_reflect": ("grad_weight",),
    "n2_ci40_co700_l70_k65_s1_p0_d1_g1": ("grad_input",),
    "n1_ci256_co4_l403_k400_s1_p1_d1_g1": BOTH,
}
# Samples of one position and a few, that fill vectors and do not, of which not all stand together.
SIDE_BY_SIDE = (
    "n7_ci3_co20_l200_k198_s1_p0_d1_g1",
    "n37_ci5_co16_l140_k33_s4_p0_d4_g1",
    "n20_ci2_co48_l204_k100_s2_p1x2_d2_g1_circular",
    "n18_ci6_co12_l997_k200_s50_p0_d4_g1",
)


@pytest.mark.parametrize("problem", list(map(Problem.parse, PROBLEMS)), ids=str)
def test_gradients_are_the_reference(problem: Problem, instruction_set: str) -> None:
    if instruction_set != "reference":
        plan = _C.explain(str(problem))
        for operation in BOTH:
            reason = next(x for x in plan.splitlines() if x.startswith(f"{operation}.reason: "))
            exchanged = "positions of grad_y, which is the kernel instead: " in reason
            assert exchanged == (operation in PROBLEMS[str(problem)])
    assert_exact_but_for_rounding(problem, instruction_set)


@pytest.mark.parametrize("problem", list(map(Problem.parse, SIDE_BY_SIDE)), ids=str)
def test_long_rows_side_by_side_are_the_reference(problem: Problem, instruction_set: str) -> None:
    if instruction_set != "reference":
        assert "forward.reason: rows are short, so " in _C.explain(str(problem))
    assert_exact_but_for_rounding(problem, instruction_set)


@pytest.mark.parametrize("problem", list(map(Problem.parse, (*PROBLEMS, *SIDE_BY_SIDE))), ids=str)
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
