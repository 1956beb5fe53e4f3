"""Layers that need fewer multiplications: which they are, their errors, and how to do without."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import pytest
import toom_cook
import torch
import torch.nn.functional as F
from calls import FMA_SETS, assert_same_bits, assert_sets_change_no_bit, run
from conftest import DTYPES
from numerics import assert_within_budget, expect_results
from problems import TOOM_COOK, Operands, Problem, operands

from benchmarks import toom_cook_error
from torch_conv1d import _C, conv1d, set_algorithm


@pytest.fixture
def automatic() -> Iterator[None]:
    """Restores the choice of algorithms."""
    before = _C.chosen_algorithm()
    yield
    _C.set_algorithm(before)


@pytest.mark.parametrize("taps", toom_cook.POINTS)
def test_the_matrices_are_a_convolution(taps: int) -> None:
    result, weight, source = toom_cook.matrices(taps)
    for i in range(toom_cook.OUTPUTS):
        for k in range(taps):
            for s in range(len(source)):
                factors = zip(result[i], weight, source, strict=True)
                coefficient = sum((a * g[k] * b[s] for a, g, b in factors), Fraction(0))
                assert coefficient == (s == i + k)


@pytest.mark.parametrize("problem", TOOM_COOK, ids=str)
def test_every_algorithm_is_the_reference(problem: Problem, instruction_set: str) -> None:
    if instruction_set != "reference":
        assert toom_cook.taps_used(problem, "forward")
    for dtype in DTYPES:
        o = operands(problem, dtype)
        expected = expect_results(problem, o)
        for channels_last in (False, True):
            for actual, exact in zip(run(problem, o, channels_last), expected, strict=True):
                assert_within_budget(actual, exact, context=(instruction_set, dtype, channels_last))


@pytest.mark.parametrize("problem", TOOM_COOK, ids=str)
def test_batch_and_threads_change_no_bit(problem: Problem, threads: None) -> None:
    big = dataclasses.replace(problem, n=5)
    o = operands(big, torch.float32)
    torch.set_num_threads(1)
    whole = run(big, o)
    for begin, end in ((0, 1), (1, 3), (4, 5)):
        part = run(big, Operands(o.x[begin:end], o.w, o.b, o.grad_y[begin:end]))
        assert torch.equal(part.y, whole.y[begin:end])
        assert torch.equal(part.grad_x, whole.grad_x[begin:end])
    for count in (2, 3, 7):
        torch.set_num_threads(count)
        assert_same_bits(run(big, o), whole, f"{count} threads")


@pytest.mark.skipif(
    len(FMA_SETS) < 2, reason="this machine runs fewer than two FMA instruction sets"
)
@pytest.mark.parametrize("problem", TOOM_COOK, ids=str)
def test_fma_instruction_set_changes_no_bit(problem: Problem, dtype: torch.dtype) -> None:
    assert_sets_change_no_bit(problem, operands(problem, dtype))


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("kernel_size", [3, 5, 9])
def test_implicit_padding_changes_no_bit(kernel_size: int, mode: str) -> None:
    x, w, b, _ = operands(Problem(2, 48, 48, 141, kernel_size), torch.float32)
    explicit = conv1d(F.pad(x, (9, 4), mode), w, b)
    mode = "zeros" if mode == "constant" else mode
    assert torch.equal(conv1d(x, w, b, padding=(9, 4), padding_mode=mode), explicit)


# The mean of a few draws: where a few channels or positions rule, direct sums round a few times
# only, and a single draw says little.
@pytest.mark.parametrize(("kernel_size", "stride"), toom_cook_error.KERNELS)
@pytest.mark.parametrize("kind", toom_cook_error.KINDS)
def test_error_is_near_that_of_direct_sums(kind: str, kernel_size: int, stride: int) -> None:
    assert toom_cook_error.form(kernel_size, stride)
    draws = [toom_cook_error.ratios(kind, kernel_size, stride, s) for s in toom_cook_error.SEEDS]
    for of_operation in zip(*draws, strict=True):
        assert statistics.mean(of_operation) <= 2.5


def test_the_error_is_measured_for_every_form() -> None:
    forms = {toom_cook_error.form(*kernel) for kernel in toom_cook_error.KERNELS}
    assert forms == {f"F({toom_cook.OUTPUTS}, {taps})" for taps in toom_cook.POINTS}


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("kernel_size", [3, 5, 7])
def test_what_direct_makes_not_finite_is_not_finite(value: float, kernel_size: int) -> None:
    problem = Problem(1, 64, 64, 175, kernel_size, pad_left=2, pad_right=1)
    assert toom_cook.taps_used(problem, "forward")
    for position in (0, 31, 174):
        o = operands(problem, torch.float32)
        o.x[0, 3, position] = value
        o.w[5, 7, kernel_size // 2] = value
        o.grad_y[0, 8, position // 2] = value
        auto = run(problem, o)
        with set_algorithm("direct"):
            direct = run(problem, o)
        for ours, theirs in zip(auto, direct, strict=True):
            assert not (ours.isfinite() & ~theirs.isfinite()).any()
        # Not beyond the tile of 4 positions that meets it.
        untouched = torch.cat([auto.y[0, :5], auto.y[0, 6:]])[
            :, : max(position - 2 * kernel_size, 0)
        ]
        assert untouched.isfinite().all()


@pytest.mark.usefixtures("automatic")
def test_direct_by_call_by_block_and_by_determinism() -> None:
    problem = TOOM_COOK[3]
    o = operands(problem, torch.float32)
    auto = run(problem, o)
    with set_algorithm("direct"):
        direct = run(problem, o)
        assert toom_cook.taps_used(problem, "forward") is None
        with set_algorithm("auto"):
            assert_same_bits(run(problem, o), auto)
        assert_same_bits(run(problem, o), direct)
    assert_same_bits(run(problem, o), auto)
    assert not torch.equal(auto.y, direct.y)

    torch.use_deterministic_algorithms(True)
    try:
        assert_same_bits(run(problem, o), direct)
    finally:
        torch.use_deterministic_algorithms(False)

    set_algorithm("direct")
    assert_same_bits(run(problem, o), direct)


def test_an_unknown_algorithm_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match="'auto' or 'direct', got 'fft'"):
        set_algorithm("fft")
    assert _C.chosen_algorithm() == "auto"


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("problem", TOOM_COOK, ids=str)
def test_the_choice_knows_neither_batch_nor_threads(problem: Problem) -> None:
    chosen = set()
    for n in (1, 100):
        for count in (1, 4):
            torch.set_num_threads(count)
            chosen.add(toom_cook.taps_used(dataclasses.replace(problem, n=n), "forward"))
    assert len(chosen) == 1


@pytest.mark.parametrize(
    "direct",
    [
        "n1_ci64_co64_l400_k1_s1_p0_d1_g1",
        "n1_ci64_co64_l400_k3_s2_p0_d1_g1",
        "n1_ci512_co512_l1000_k2_s2_p0_d1_g1",
        "n1_ci64_co64_l1200_k8_s4_p0_d3_g1",
        "n1_ci64_co64_l400_k2_s1_p0_d1_g1",
        "n1_ci16_co64_l400_k3_s1_p0_d1_g1",
        "n1_ci64_co16_l400_k3_s1_p0_d1_g1",
        "n1_ci64_co64_l60_k3_s1_p0_d1_g1",
        "n1_ci28_co28_l400_k3_s1_p0_d1_g1",
        "n1_ci512_co512_l80_k9_s1_p0_d1_g1",
        "n1_ci64_co64_l1100_k3_s1_p0_d512_g1",
        "n2_ci2_co2_l300_k257_s1_p128_d1_g2",  # its tiles would have a single row
    ],
)
def test_layers_that_stay_direct(direct: str) -> None:
    assert toom_cook.taps_used(Problem.parse(direct), "forward") is None


def test_float64_whose_blocks_would_be_halos_stays_direct() -> None:
    plan = _C.explain("n1_ci5_co1024_l300_k51_s1_p50_d2_g1", "float64")
    assert "grad_input.algorithm: Toom-Cook" not in plan


def test_few_output_channels_keep_a_direct_grad_weight() -> None:
    # They would leave the lanes of its tile idle, which are output channels.
    problem = Problem.parse("n1_ci4_co4_l2000_k63_s1_p0_d1_g1")
    assert toom_cook.taps_used(problem, "forward") == 4
    assert toom_cook.taps_used(problem, "grad_weight") is None


def test_calls_from_several_python_threads_do_not_meet() -> None:
    given = [(problem, operands(problem, torch.float32)) for problem in TOOM_COOK[:8]]
    expected = [run(*each) for each in given]
    with ThreadPoolExecutor(4) as pool:
        for index, results in enumerate(pool.map(lambda each: run(*each), given * 4)):
            assert_same_bits(results, expected[index % len(given)])
