"""Layers of few positions, and phases of a stride: lanes are channels of the result."""

from __future__ import annotations

import pytest
import torch
from calls import FMA_SETS, assert_same_bits, instruction_set_named, run
from conftest import DTYPES
from numerics import assert_within_budget, expect_results
from problems import Operands, Problem, operands

from torch_conv1d import _C

# Bands that are not whole vectors, several blocks of channels, groups, phases without a tap and
# with unequal ones, a dilation that shares a factor with the stride, kernels longer than the row,
# ends that are folded back, samples in several chunks.
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
    )
}
each_problem = pytest.mark.parametrize("problem", list(map(Problem.parse, PROBLEMS)), ids=str)


@each_problem
def test_few_positions_are_the_reference(problem: Problem, instruction_set: str) -> None:
    if instruction_set != "reference":
        plan = _C.explain(str(problem))
        for operation in PROBLEMS[str(problem)]:
            assert f"{operation}.algorithm: few positions\n" in plan
    for dtype in DTYPES:
        o = operands(problem, dtype)
        exact = expect_results(problem, o)
        for channels_last in (False, True):
            for a, e in zip(run(problem, o, channels_last), exact, strict=True):
                assert_within_budget(a, e, context=(instruction_set, dtype, channels_last))


@each_problem
def test_batch_layout_threads_and_set_change_no_bit(
    problem: Problem, dtype: torch.dtype, threads: None
) -> None:
    """A sample alone, and channels innermost, may be computed in another way."""
    o = operands(problem, dtype)
    torch.set_num_threads(1)
    whole = run(problem, o)
    part = run(problem, Operands(o.x[:1], o.w, o.b, o.grad_y[:1]))
    assert torch.equal(part.y, whole.y[:1])
    assert torch.equal(part.grad_x, whole.grad_x[:1])
    assert_same_bits(run(problem, o, channels_last=True), whole, "channels_last")
    for name in FMA_SETS:
        with instruction_set_named(name):
            assert_same_bits(run(problem, o), whole, name)
    for count in (2, 7):
        torch.set_num_threads(count)
        assert_same_bits(run(problem, o), whole, f"{count} threads")
