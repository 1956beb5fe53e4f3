"""Layers of few positions, and phases of a stride: lanes are channels of the result, or weights
are read where they are."""

from __future__ import annotations

import pytest
import torch
from contracts import assert_exact_but_for_rounding, assert_same_bits_everywhere
from problems import Problem

from torch_conv1d import _C

# Bands that are not whole vectors, several blocks of channels, groups, phases without a tap and
# with unequal ones, a dilation that shares a factor with the stride, kernels longer than the row,
# ends that are folded back, samples in several chunks, one that is more than the L2 cache holds.
PROBLEMS = {
    text: operations.split()
    for text, operations in (
        ("n1_ci21_co150_l41_k5_s2_p2_d1_g1", "forward grad_input"),
        ("n1_ci140_co37_l18_k3_s1_p1x2_d1_g1_circular", "forward grad_input"),
        ("n3_ci34_co58_l34_k4_s4_p3_d2_g2", "forward grad_input"),
        ("n2_ci70_co18_l26_k1_s3_p0_d1_g1", "grad_input"),
        ("n1_ci24_co20_l5_k9_s1_p10_d1_g1", "forward grad_input"),
        ("n2_ci40_co33_l29_k5_s3_p4x0_d1_g1_reflect", "grad_input"),
        ("n24_ci70_co17_l300_k3_s2_p1_d1_g1_replicate", "grad_input"),
        ("n1_ci40_co24001_l12_k1_s1_p0_d1_g1", "grad_input"),
    )
}
each_problem = pytest.mark.parametrize("problem", list(map(Problem.parse, PROBLEMS)), ids=str)


@each_problem
def test_few_positions_are_the_reference(problem: Problem, instruction_set: str) -> None:
    if instruction_set != "reference":
        plan = _C.explain(str(problem))
        for operation in PROBLEMS[str(problem)]:
            assert f"{operation}.algorithm: few positions\n" in plan
    assert_exact_but_for_rounding(problem, instruction_set)


@each_problem
def test_batch_layout_threads_and_set_change_no_bit(
    problem: Problem, dtype: torch.dtype, threads: None
) -> None:
    """A sample alone, and channels innermost, may be computed in another way."""
    assert_same_bits_everywhere(problem, dtype)


# Forward whose positions are most of a cache line: tiles and rows that are not whole, groups, a
# dilation, a stride, two samples, ends that are folded, rows of weights that are 4 KiB apart.
STORED = tuple(
    map(
        Problem.parse,
        (
            "n1_ci21_co50_l16_k3_s1_p1_d1_g1",
            "n1_ci34_co71_l13_k5_s1_p4_d2_g1",
            "n2_ci24_co46_l16_k4_s2_p1_d1_g2",
            "n1_ci12_co40_l15_k1_s1_p0_d1_g1",
            "n1_ci18_co65_l10_k3_s1_p1x2_d1_g1_circular",
            "n1_ci256_co45_l12_k4_s1_p2x1_d1_g1",
        ),
    )
)


@pytest.mark.parametrize("problem", STORED, ids=str)
def test_weights_that_are_read_where_they_are(problem: Problem, instruction_set: str) -> None:
    if instruction_set == "avx2":
        reason = _C.explain(str(problem)).split("forward.reason: ")[1].split("\n")[0]
        assert "weights meet so few positions that they are read where they are" in reason
    assert_exact_but_for_rounding(problem, instruction_set)


@pytest.mark.parametrize("problem", STORED, ids=str)
def test_batch_and_threads_change_no_bit_of_them(
    problem: Problem, dtype: torch.dtype, threads: None
) -> None:
    assert_same_bits_everywhere(problem, dtype)
