"""Ways of grad_weight that few layers take: operands exchanged, groups as lanes, fewer taps."""

from __future__ import annotations

import pytest
import torch
from contracts import assert_exact_but_for_rounding, assert_same_bits_everywhere
from problems import Problem

import torch_conv1d
from torch_conv1d import _C

EXCHANGED, AS_THEY_ARE, FEWER_TAPS = "x and grad_y change places", "", "only "
# Exchanged by every algorithm: results of one part and of several, groups, padding longer than the
# kernel (which leaves the other layer a negative one), a padding mode that meets nothing.
# Groups as lanes: groups that are not whole vectors, a stride, several blocks and parts, several
# input channels, exchanged operands; and groups that have too many sums for that.
# Columns in several blocks.
# Taps that meet nothing but padding: at either end, at both.
# The partial sums of dot, where channels are innermost made by the outer tile: one input channel
# and several, a stride, blocks that are not whole vectors, a few samples a block, a padding mode.
# More groups than are packed at a time: taps that share loads, rows that are copied, ends alone.
PROBLEMS = {
    "n2_ci40_co1_l300_k7_s1_p3_d1_g1": ("dot", EXCHANGED),
    "n1_ci40_co3_l2300_k4_s1_p0_d1_g1_circular": ("dot", EXCHANGED),
    "n2_ci36_co3_l100_k19_s1_p4x0_d2_g1": ("outer", EXCHANGED),
    "n3_ci33_co5_l70_k6_s1_p19x14_d2_g1": ("outer", EXCHANGED),
    "n9_ci96_co6_l50_k9_s1_p4_d1_g2": ("outer", EXCHANGED),
    "n1_ci250_co3_l9_k11_s1_p5_d1_g1": ("columns", EXCHANGED),
    "n6_ci100_co20_l90_k7_s1_p9x3_d3_g1": ("Toom-Cook F(4, 4)", EXCHANGED),
    "n2_ci48_co16_l10_k19_s1_p90_d1_g16": ("channels", EXCHANGED),
    "n2_ci48_co16_l25_k9_s1_p4_d1_g16": ("channels", AS_THEY_ARE),
    "n2_ci21_co63_l40_k5_s1_p2_d1_g21": ("channels", AS_THEY_ARE),
    "n70_ci67_co134_l64_k4_s1_p3x0_d2_g67_reflect": ("channels", AS_THEY_ARE),
    "n3_ci36_co54_l60_k3_s2_p2_d1_g18_circular": ("channels", AS_THEY_ARE),
    "n1_ci528_co528_l9_k20_s1_p10x9_d1_g16": ("columns", FEWER_TAPS),
    "n1_ci440_co120_l201_k3_s2_p0_d1_g1": ("columns", AS_THEY_ARE),
    "n2_ci30_co20_l7_k9_s1_p40x24_d8_g1": ("outer", FEWER_TAPS),
    "n3_ci30_co2_l60_k12_s1_p220x110_d30_g2": ("outer", FEWER_TAPS),
    "n2_ci9_co30_l40_k12_s2_p120x100_d20_g3": ("outer", FEWER_TAPS),
    "n2_ci5_co4_l3_k2_s1_p40x30_d50_g1": ("dot", FEWER_TAPS),
    "n1_ci1_co48_l5003_k5_s2_p3_d1_g1": ("dot", AS_THEY_ARE),
    "n5_ci4_co64_l523_k2_s1_p1_d2_g2_reflect": ("dot", AS_THEY_ARE),
    "n1_ci1_co37_l1100_k8_s1_p3_d1_g1": ("dot", AS_THEY_ARE),
    "n2_ci23_co23_l333_k31_s1_p15_d1_g23": ("dot", AS_THEY_ARE),
    "n2_ci36_co72_l350_k9_s1_p8x0_d1_g12": ("dot", AS_THEY_ARE),
    "n1_ci150_co150_l301_k5_s1_p4x0_d1_g150": ("dot", AS_THEY_ARE),
}
each_problem = pytest.mark.parametrize("problem", list(map(Problem.parse, PROBLEMS)), ids=str)


@each_problem
def test_weight_sums_are_the_reference(problem: Problem, instruction_set: str) -> None:
    if instruction_set != "reference":
        plan = _C.explain(str(problem))
        algorithm, reason = PROBLEMS[str(problem)]
        assert f"grad_weight.algorithm: {algorithm}\n" in plan
        assert f"grad_weight.reason: {reason}" in plan
    assert_exact_but_for_rounding(problem, instruction_set)


@each_problem
def test_batch_layout_threads_and_set_change_no_bit(
    problem: Problem, dtype: torch.dtype, threads: None
) -> None:
    assert_same_bits_everywhere(problem, dtype)


def test_taps_that_meet_only_padding_are_zero_whatever_grad_y() -> None:
    x, w = torch.ones(1, 4, 6), torch.ones(4, 4, 3, requires_grad=True)
    y = torch_conv1d.conv1d(x, w, padding=32, dilation=32)
    (grad_w,) = torch.autograd.grad(y, w, torch.full_like(y, torch.inf))
    assert grad_w[..., 0::2].eq(0).all() and not grad_w[..., 1].isfinite().any()
