"""bfloat16 where two products are one instruction: channels, or positions, in pairs."""

from __future__ import annotations

import pytest
import torch
from calls import FMA_SETS, PAIR_SETS, assert_same_bits, instruction_set_named, run
from contracts import assert_batch_layout_and_threads_change_no_bit
from numerics import assert_within_budget, expect_results
from problems import CORPUS, PAIRED, Problem, operands

from torch_conv1d import _C, set_algorithm

pytestmark = pytest.mark.skipif(not PAIR_SETS, reason="no instruction set multiplies pairs")

each_set = pytest.mark.parametrize("name", PAIR_SETS)


@each_set
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("problem", [*PAIRED, *CORPUS], ids=str)
def test_pairs_are_the_reference(problem: Problem, channels_last: bool, name: str) -> None:
    o = operands(problem, torch.bfloat16)
    with instruction_set_named(name):
        results = run(problem, o, channels_last)
        plan = _C.explain(str(problem), "bfloat16", channels_last=channels_last)
    for actual, expected in zip(results, expect_results(problem, o), strict=True):
        assert_within_budget(actual, expected, context=name)
    if problem in PAIRED:
        assert ", pairs of channels\n" in plan
        assert "grad_weight.algorithm: outer, pairs of positions\n" in plan


@each_set
@pytest.mark.parametrize("channels_last", [False, True])
def test_tiles_of_pairs(channels_last: bool, name: str) -> None:
    def way(problem: Problem) -> str:
        plan = _C.explain(str(problem), "bfloat16", channels_last=channels_last)
        return plan.split("forward.algorithm: ")[1].split("\n")[0]

    with instruction_set_named(name):
        ways = {way(problem) for problem in PAIRED}
    innermost = {"innermost, pairs of channels"} if channels_last else set()
    assert ways == {"correlate, pairs of channels"} | innermost


@each_set
@pytest.mark.parametrize("problem", PAIRED, ids=str)
def test_batch_layout_and_threads_change_no_bit(problem: Problem, name: str, threads: None) -> None:
    o = operands(problem, torch.bfloat16)
    with instruction_set_named(name):
        assert_batch_layout_and_threads_change_no_bit(problem, o)


@pytest.mark.parametrize("problem", PAIRED, ids=str)
def test_direct_sums_have_the_bits_of_every_set(problem: Problem) -> None:
    o = operands(problem, torch.bfloat16)
    with set_algorithm("direct"):
        with instruction_set_named(FMA_SETS[0]):
            expected = run(problem, o)
        for name in PAIR_SETS:
            with instruction_set_named(name):
                assert_same_bits(run(problem, o), expected, name)


@each_set
def test_infinity_stays_where_it_is(name: str) -> None:
    """In an odd number of channels the last pair is half empty."""
    problem = Problem.parse("n1_ci9_co9_l131_k3_s1_p1_d1_g1")
    o = operands(problem, torch.bfloat16)
    o.x[0, 8, 70] = torch.inf
    with instruction_set_named(name):
        y = run(problem, o).y
    finite = torch.ones(131, dtype=torch.bool)
    finite[69:72] = False
    assert y[..., finite].isfinite().all()
    assert not y[..., ~finite].isfinite().any()
