"""Long depthwise kernels in the frequency domain: results, errors, bits, and how to do without."""

from __future__ import annotations

import dataclasses
import math

import fft
import pytest
import torch
from calls import FMA_SETS, assert_same_bits, instruction_set_named, leaves, run
from conftest import DTYPES
from numerics import assert_within_budget, expect_results
from problems import FFT, Operands, Problem, operands

from torch_conv1d import _C, conv1d, set_algorithm

# Rows as long as the kernel, as in models without attention.
LONG = tuple(
    map(
        Problem.parse,
        """
        n2_ci3_co3_l4096_k4096_s1_p4095x0_d1_g3
        n1_ci5_co5_l8192_k4096_s1_p4095x0_d1_g5
        n1_ci2_co2_l5000_k16384_s1_p12000_d1_g2
        n1_ci1_co1_l70001_k30000_s1_p0_d1_g1
        """.split(),
    )
)


@pytest.mark.parametrize("index", range(len(FFT)), ids=map(str, FFT))
def test_every_instruction_set_is_the_reference(index: int) -> None:
    problem = FFT[index]
    assert fft.blocks_used(problem, "forward")
    for dtype in {torch.float32, DTYPES[index % len(DTYPES)]}:
        o = operands(problem, dtype)
        expected = expect_results(problem, o)
        for name in _C.supported_instruction_sets():
            if name == "reference":
                continue
            with instruction_set_named(name):
                results = [run(problem, o, channels_last) for channels_last in (False, True)]
            assert_same_bits(results[1], results[0])
            for actual, exact in zip(results[0], expected, strict=True):
                assert_within_budget(actual, exact, context=(name, dtype))


@pytest.mark.parametrize("problem", (*FFT[-4:], *LONG), ids=str)
def test_batch_threads_and_instruction_set_change_no_bit(problem: Problem, threads: None) -> None:
    big = dataclasses.replace(problem, n=4)
    for dtype in (torch.float32, torch.float64):
        o = operands(big, dtype)
        torch.set_num_threads(1)
        whole = run(big, o)
        for begin, end in ((0, 1), (1, 4), (3, 4)):
            part = run(big, Operands(o.x[begin:end], o.w, o.b, o.grad_y[begin:end]))
            assert torch.equal(part.y, whole.y[begin:end])
            assert torch.equal(part.grad_x, whole.grad_x[begin:end])
        for count in (2, 5):
            torch.set_num_threads(count)
            assert_same_bits(run(big, o), whole, f"{count} threads")
        for name in FMA_SETS:
            with instruction_set_named(name):
                assert_same_bits(run(big, o), whole, name)


def hard(kind: str, problem: Problem) -> Operands:
    o = operands(problem)
    x = {
        "normal": o.x,
        "a large mean": o.x + 100,
        "positions of many magnitudes": o.x * torch.randn_like(o.x).mul(2).exp(),
    }[kind]
    return Operands(x.float(), o.w.float(), o.b.float(), o.grad_y.float())


# The largest error allowed, in units of that of direct sums, whose grad_weight is summed in up to
# 16 parts and so is nearly as good. Where a few positions rule, they round a few times only.
KINDS = {"normal": 1.25, "a large mean": 1.25, "positions of many magnitudes": 2}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("problem", LONG, ids=str)
def test_error_is_near_that_of_direct_sums(kind: str, problem: Problem) -> None:
    o = hard(kind, problem)
    with set_algorithm("direct"):
        direct = run(problem, o)
        exact = run(problem, Operands(*(t.double() for t in o)))
    for ours, theirs, value in zip(run(problem, o), direct, exact, strict=True):
        assert (ours - value).norm() <= KINDS[kind] * (theirs - value).norm()


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_what_direct_makes_not_finite_is_not_finite(value: float) -> None:
    problem = Problem(2, 3, 3, 9000, 1000, groups=3, pad_left=999)
    blocks = fft.blocks_used(problem, "forward")
    assert blocks
    o = operands(problem, torch.float32)
    o.x[0, 1, 5000] = value
    o.grad_y[1, 0, 7000] = value
    o.w[2, 0, 10] = value
    auto = run(problem, o)
    with set_algorithm("direct"):
        direct = run(problem, o)
    for ours, theirs in zip(auto, direct, strict=True):
        assert not (ours.isfinite() & ~theirs.isfinite()).any()
    # Not beyond the blocks that read it.
    assert auto.y[1, :2].isfinite().all()
    assert auto.y[0, 0].isfinite().all()
    assert auto.y[0, 1, : 5000 - blocks.length].isfinite().all()


def test_direct_by_block_and_by_determinism() -> None:
    problem = FFT[0]
    o = operands(problem, torch.float32)
    auto = run(problem, o)
    with set_algorithm("direct"):
        direct = run(problem, o)
        assert fft.blocks_used(problem, "forward") is None
    torch.use_deterministic_algorithms(True)
    try:
        assert_same_bits(run(problem, o), direct)
    finally:
        torch.use_deterministic_algorithms(False)
    assert not torch.equal(auto.y, direct.y)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("problem", FFT, ids=str)
def test_the_choice_knows_neither_batch_nor_threads_nor_instructions(problem: Problem) -> None:
    chosen = set()
    for n in (0, 1, 100):
        for count in (1, 4):
            torch.set_num_threads(count)
            for name in FMA_SETS:
                with instruction_set_named(name):
                    batch = dataclasses.replace(problem, n=n)
                    chosen.add(fft.blocks_used(batch, "forward"))
    assert len(chosen) == 1


@pytest.mark.parametrize(
    "direct",
    [
        "n1_ci64_co64_l4096_k128_s1_p127x0_d1_g64",
        "n1_ci64_co64_l8192_k4096_s2_p4095x0_d1_g64",
        "n1_ci64_co128_l8192_k4096_s1_p4095x0_d1_g64",
        "n1_ci1_co1_l1024_k1024_s1_p1023x0_d1_g1",
        "n1_ci64_co64_l4096_k4096_s1_p0_d1_g64",
    ],
)
def test_layers_that_stay_direct(direct: str) -> None:
    assert fft.blocks_used(Problem.parse(direct), "forward") is None


def test_derivatives() -> None:
    problem = Problem(1, 2, 2, 2048, 2048, groups=2, pad_left=2047)
    assert all(fft.blocks_used(problem, name) for name in ("forward", "grad_input", "grad_weight"))

    def call(x: torch.Tensor, w: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return conv1d(x, w, b, **problem.arguments)

    inputs = leaves(operands(problem, torch.float64))
    assert torch.autograd.gradcheck(call, inputs, fast_mode=True)
    assert torch.autograd.gradgradcheck(call, inputs, fast_mode=True)


def test_an_empty_batch() -> None:
    problem = dataclasses.replace(FFT[0], n=0)
    assert fft.blocks_used(problem, "grad_weight")
    results = run(problem, operands(problem, torch.float32))
    assert results.y.shape == (0, problem.c_out, problem.l_out)
    assert not results.grad_w.any() and not results.grad_b.any()
