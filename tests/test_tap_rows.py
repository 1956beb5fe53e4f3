"""Few rows a group and many channels: taps are rows, each with its own sum over the channels."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from calls import run
from contracts import assert_exact_but_for_rounding, assert_same_bits_everywhere
from numerics import assert_within_budget, expect_results
from problems import Problem, operands

from torch_conv1d import _C, conv1d

# Strides with phases that have no tap, dilations beyond a block, tiles of taps that start outside
# the source, rows shorter than a vector, side by side and alone, more channels than are read at a
# time, and several blocks of positions; then several rows, of which a few are held at a time, in
# groups, with a fold, and with taps that meet nothing before and after the others; the last one in
# the place of Toom-Cook's filtering.
PROBLEMS = tuple(
    map(
        Problem.parse,
        """
        n2_ci1_co40_l500_k10_s5_p0_d1_g1
        n1_ci1_co17_l5003_k7_s1_p3_d1_g1
        n1_ci1_co64_l900_k9_s1_p128_d32_g1
        n1_ci1_co150_l2100_k5_s2_p1_d1_g1
        n2_ci40_co1_l2100_k7_s1_p3x5_d2_g1_reflect
        n2_ci48_co3_l4500_k3_s1_p1_d1_g3
        n20_ci1_co32_l21_k5_s2_p1_d3_g1
        n5_ci32_co1_l20_k3_s1_p1_d1_g1_circular
        n1_ci1_co20_l70_k3_s100_p2_d7_g1
        n1_ci20_co1_l3000_k3_s1_p1_d1500_g1
        n1_ci20_co1_l5_k3_s1_p1_d1_g1
        n1_ci1_co18_l700_k41_s7_p9_d1_g1
        n3_ci1_co20_l90_k7_s1_p24_d8_g1_circular
        n2_ci3_co40_l60_k9_s1_p0_d3_g1
        n20_ci4_co33_l12_k5_s1_p4x0_d1_g1
        n1_ci2_co300_l700_k41_s1_p0_d16_g1
        n2_ci12_co60_l100_k16_s3_p20x7_d2_g1_reflect
        n2_ci12_co160_l30_k5_s1_p0_d3_g4
        n2_ci6_co40_l9_k16_s1_p50x20_d5_g1
        n1_ci40_co24_l50_k30_s1_p0_d1_g1
        n1_ci3_co90_l3000_k9_s1_p0_d150_g1
        n1_ci64_co64_l200_k31_s1_p0_d4_g1
        """.split(),
    )
)

# Direct sums without the taps that meet nothing: their weights are packed, or read where they are.
SKIPPED = tuple(
    map(
        Problem.parse,
        """
        n2_ci5_co2_l9_k16_s1_p50x20_d5_g1
        n5_ci20_co3_l70_k9_s2_p60x0_d8_g1
        n40_ci36_co4_l6_k5_s1_p24_d12_g2
        n1_ci7_co3_l4_k3_s1_p40x0_d20_g1_replicate
        """.split(),
    )
)


def operation(problem: Problem) -> str:
    return "forward" if problem.c_out == problem.groups else "grad_input"


@pytest.mark.parametrize("problem", PROBLEMS, ids=str)
def test_taps_as_rows_are_the_reference(problem: Problem, instruction_set: str) -> None:
    if instruction_set != "reference":
        expected = f"{operation(problem)}.algorithm: taps as rows\n"
        assert expected in _C.explain(str(problem))
    assert_exact_but_for_rounding(problem, instruction_set)


@pytest.mark.parametrize("problem", SKIPPED, ids=str)
def test_taps_that_meet_nothing_are_skipped(problem: Problem, instruction_set: str) -> None:
    assert_exact_but_for_rounding(problem, instruction_set)


@pytest.mark.parametrize("problem", (*PROBLEMS, *SKIPPED), ids=str)
def test_batch_layout_threads_and_set_change_no_bit(
    problem: Problem, dtype: torch.dtype, threads: None
) -> None:
    assert_same_bits_everywhere(problem, dtype)


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
def test_padding_and_chunks_change_no_bit(mode: str, dtype: torch.dtype) -> None:
    problem = Problem.parse("n1_ci24_co1_l4400_k5_s1_p0_d3_g1")
    x, w, b, _ = operands(problem, dtype)
    padded = F.pad(x, (9, 4), mode)
    y = conv1d(padded, w, b, dilation=3)
    padding_mode = "zeros" if mode == "constant" else mode
    assert torch.equal(conv1d(x, w, b, 1, (9, 4), 3, padding_mode=padding_mode), y)
    for begin, end in ((0, 1), (5, 22), (40, 130), (100, 4300)):
        chunk = padded[..., begin : end + problem.span - 1]
        assert torch.equal(conv1d(chunk, w, b, dilation=3), y[..., begin:end])


# Of more than the caches hold, of which a block is fetched while the one before it is summed: taps
# as rows, in two blocks of channels and as two samples, then few rows and single taps.
FROM_MEMORY = tuple(
    map(
        Problem.parse,
        """
        n2_ci1_co80_l33001_k5_s2_p1_d1_g1
        n1_ci90_co1_l30001_k3_s1_p1_d1_g1
        n2_ci3_co50_l30007_k1_s1_p0_d1_g1
        n1_ci66_co2_l40003_k3_s1_p0_d1_g2
        n1_ci70_co1_l40001_k1_s1_p2_d1_g1
        """.split(),
    )
)


def test_one_row_of_single_taps_is_a_tile_of_correlate() -> None:
    if _C.active_instruction_set() != "reference":
        explained = _C.explain("n1_ci70_co1_l400_k1_s1_p2_d1_g1")
        assert "forward.algorithm: correlate\n" in explained
        assert "share" not in explained.split("forward.reason: ")[1].split("\n")[0]


@pytest.mark.parametrize("problem", FROM_MEMORY, ids=str)
def test_sources_beyond_the_caches_are_the_reference(problem: Problem) -> None:
    o = operands(problem, torch.float32)
    exact = expect_results(problem, o)
    for a, e in zip(run(problem, o), exact, strict=True):
        assert_within_budget(a, e)
