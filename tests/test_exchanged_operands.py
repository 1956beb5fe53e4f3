"""grad_weight of few output channels: x and grad_y change places."""

from __future__ import annotations

import pytest
import torch
from contracts import assert_exact_but_for_rounding, assert_same_bits_everywhere
from problems import Problem

from torch_conv1d import _C

# By every algorithm: results of one part and of several, groups, padding longer than the kernel
# (which leaves the other layer a negative one), a padding mode that meets nothing.
PROBLEMS = {
    "n2_ci40_co1_l300_k7_s1_p3_d1_g1": "dot",
    "n1_ci40_co3_l2300_k4_s1_p0_d1_g1_circular": "dot",
    "n2_ci36_co3_l100_k19_s1_p4x0_d2_g1": "outer",
    "n3_ci33_co5_l70_k6_s1_p19x14_d2_g1": "outer",
    "n9_ci96_co6_l50_k9_s1_p4_d1_g2": "outer",
    "n1_ci250_co3_l9_k11_s1_p5_d1_g1": "columns",
    "n4_ci100_co20_l60_k7_s1_p9x3_d3_g1": "Toom-Cook F(4, 4)",
}
each_problem = pytest.mark.parametrize("problem", list(map(Problem.parse, PROBLEMS)), ids=str)


@each_problem
def test_exchanged_operands_are_the_reference(problem: Problem, instruction_set: str) -> None:
    if instruction_set != "reference":
        plan = _C.explain(str(problem))
        assert f"grad_weight.algorithm: {PROBLEMS[str(problem)]}\n" in plan
        assert "grad_weight.reason: x and grad_y change places" in plan
    assert_exact_but_for_rounding(problem, instruction_set)


@each_problem
def test_batch_layout_threads_and_set_change_no_bit(
    problem: Problem, dtype: torch.dtype, threads: None
) -> None:
    assert_same_bits_everywhere(problem, dtype)
