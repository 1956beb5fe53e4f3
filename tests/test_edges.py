"""Where sizes are zero or extreme, where numbers are not finite, where memory is uninitialised."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import reference
import torch
from calls import run
from numerics import assert_within_budget, expect_grad_bias, expect_results
from problems import CORPUS, Problem, each_device, operands
from torch import Tensor

from torch_conv1d import conv1d

# Zero sizes

EMPTY = tuple(
    map(
        Problem.parse,
        """
        n0_ci4_co6_l20_k3_s1_p1_d1_g2
        n0_ci4_co4_l20_k3_s2_p1_d1_g4_reflect
        n0_ci4_co6_l0_k3_s1_p2_d1_g1
        n2_ci4_co6_l0_k3_s1_p1x3_d1_g1
        n2_ci4_co4_l0_k5_s3_p9x2_d2_g4
        n2_ci4_co8_l0_k1_s1_p1x0_d1_g4
        n2_ci16_co12_l0_k3_s1_p2_d1_g1
        n2_ci0_co6_l20_k3_s1_p1_d1_g1
        n2_ci0_co4_l300_k3_s1_p1_d1_g1
        n2_ci0_co6_l20_k3_s2_p0_d1_g2
        n0_ci0_co6_l0_k1_s1_p1_d1_g3
        n2_ci0_co6_l20_k3_s1_p1_d1_g1_circular
        """.split(),
    )
)


@each_device
@pytest.mark.parametrize("problem", EMPTY, ids=str)
@pytest.mark.parametrize("channels_last", [False, True])
def test_sums_of_nothing_are_the_bias(
    problem: Problem, channels_last: bool, dtype: torch.dtype, instruction_set: str
) -> None:
    o = operands(problem, dtype)
    y, grad_x, grad_w, grad_b = run(problem, o, channels_last)
    assert torch.equal(y, o.b[:, None].expand(problem.output_shape))
    assert torch.equal(grad_x, torch.zeros_like(o.x))
    assert torch.equal(grad_w, torch.zeros_like(o.w))
    assert_within_budget(grad_b, expect_grad_bias(problem, o.grad_y), context=instruction_set)


# Numbers that are not finite reach what reads them, and nothing else

SPREADING = tuple(
    map(
        Problem.parse,
        """
        n2_ci1_co1_l40_k3_s1_p1_d1_g1
        n2_ci5_co7_l37_k3_s1_p1_d1_g1
        n1_ci33_co25_l50_k5_s2_p2_d1_g1
        n2_ci16_co24_l70_k1_s1_p0_d1_g1
        n1_ci13_co6_l49_k2_s5_p0_d1_g1
        n2_ci9_co9_l67_k3_s1_p2x0_d1_g9
        n1_ci3_co3_l170_k4_s1_p3x0_d1_g3
        n1_ci3_co6_l90_k31_s1_p30_d1_g3
        n1_ci2_co2_l150_k33_s1_p16_d1_g2
        n2_ci3_co3_l70_k30_s1_p14x15_d1_g3
        n1_ci3_co3_l133_k61_s1_p30_d1_g3
        n1_ci4_co4_l61_k7_s3_p9_d2_g4_reflect
        n1_ci8_co8_l33_k5_s3_p4_d2_g4_circular
        n1_ci6_co9_l29_k4_s1_p12x7_d2_g3_replicate
        n1_ci3_co3_l9_k3_s4_p8_d5_g1
        """.split(),
    )
)


def spots(t: Tensor) -> list[tuple[int, ...]]:
    """The first and last element of a tensor and a few between."""
    flat = torch.linspace(0, t.numel() - 1, 7).long().unique()
    return [tuple(int(i) for i in at) for at in torch.stack(torch.unravel_index(flat, t.shape), -1)]


def assert_spread(dirty: Tensor, clean: Tensor, reached: Tensor, context: object) -> None:
    """Exactly the elements that are `reached` are not finite, the others keep their bits."""
    wrong = dirty.isfinite() == reached
    assert not wrong.any(), f"{context}: first at {tuple(wrong.nonzero()[0].tolist())}"
    assert torch.equal(dirty[~reached], clean[~reached]), context


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("problem", SPREADING, ids=str)
def test_nonfinite_input_reaches_what_reads_it(
    problem: Problem, value: float, dtype: torch.dtype, instruction_set: str
) -> None:
    o = operands(problem, dtype)
    clean = run(problem, o)
    positions = reference.source_positions(problem)
    for n, ci, li in spots(o.x):
        x = o.x.clone()
        x[n, ci, li] = value
        dirty = run(problem, o._replace(x=x))
        group, channel = divmod(ci, problem.c_in // problem.groups)
        channels = torch.arange(problem.c_out) // (problem.c_out // problem.groups) == group
        reached = torch.zeros_like(clean.y, dtype=torch.bool)
        reached[n] = channels[:, None] & (positions == li).any(1)
        context = f"{instruction_set}: x[{n}, {ci}, {li}]"
        assert_spread(dirty.y, clean.y, reached, f"y of {context}")
        taps = torch.zeros_like(clean.grad_w, dtype=torch.bool)
        taps[:, channel] = channels[:, None] & (positions == li).any(0)
        assert_spread(dirty.grad_w, clean.grad_w, taps, f"grad_w of {context}")
        assert torch.equal(dirty.grad_x, clean.grad_x)
        assert torch.equal(dirty.grad_b, clean.grad_b)


@pytest.mark.parametrize("rows", [1, 3])
def test_nan_of_any_payload_stays_nan(rows: int, instruction_set: str) -> None:
    """Rounding to bfloat16 could carry a payload into the sign, and leave a zero."""
    magnitudes = torch.arange(0x7F81, 0x8000, dtype=torch.int32)
    bits = torch.cat((magnitudes, magnitudes - 0x8000)).to(torch.int16)
    x = bits.view(torch.bfloat16)[:, None, None].expand(-1, 1, 37)
    y = conv1d(x, torch.ones(rows, 1, 3, dtype=torch.bfloat16))
    assert y.isnan().all(), instruction_set


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("problem", SPREADING, ids=str)
def test_nonfinite_grad_output_reaches_what_it_was_read_from(
    problem: Problem, value: float, dtype: torch.dtype, instruction_set: str
) -> None:
    o = operands(problem, dtype)
    clean = run(problem, o)
    positions = reference.source_positions(problem)
    for n, co, lo in spots(o.grad_y):
        grad_y = o.grad_y.clone()
        grad_y[n, co, lo] = value
        dirty = run(problem, o._replace(grad_y=grad_y))
        group = co // (problem.c_out // problem.groups)
        channels = torch.arange(problem.c_in) // (problem.c_in // problem.groups) == group
        reached = torch.zeros_like(clean.grad_x, dtype=torch.bool)
        reached[n] = channels[:, None] & torch.isin(torch.arange(problem.l_in), positions[lo])
        context = f"{instruction_set}: grad_y[{n}, {co}, {lo}]"
        assert_spread(dirty.grad_x, clean.grad_x, reached, f"grad_x of {context}")
        # A tap that reads a padded zero may see 0 * inf or nothing at all: both are right.
        taps = torch.zeros_like(clean.grad_w, dtype=torch.bool)
        taps[co] = positions[lo] >= 0
        undefined = torch.zeros_like(taps)
        undefined[co] = positions[lo] < 0
        assert_spread(
            torch.where(undefined, clean.grad_w, dirty.grad_w),
            clean.grad_w,
            taps,
            f"grad_w of {context}",
        )
        bias = torch.arange(problem.c_out) == co
        assert_spread(dirty.grad_b, clean.grad_b, bias, f"grad_b of {context}")


def test_float16_rounds_to_infinity_where_torch_does(instruction_set: str) -> None:
    x = torch.tensor([[[65504.0, 65519.0, 65520.0, 1e5, -1e5]]])
    w = torch.ones(1, 1, 1, dtype=torch.float16)
    halves = torch.stack([x / 2, x - x / 2]).half()  # 65520 is no float16, a sum of two may be
    y = conv1d(halves.permute(1, 2, 0, 3)[:, 0], w.expand(1, 2, 1))
    expected = (halves[0].float() + halves[1].float()).half()
    assert torch.equal(y, expected), instruction_set


@pytest.mark.parametrize("weight", [1.0, 0.3])
@pytest.mark.parametrize("narrow", [torch.bfloat16, torch.float16], ids=str)
def test_every_narrow_value_is_rounded_once(
    narrow: torch.dtype, weight: float, instruction_set: str
) -> None:
    x = torch.arange(-(2**15), 2**15).to(torch.int16).view(narrow)
    w = torch.tensor(weight).to(narrow)
    y = conv1d(x.view(1, 1, -1), w.view(1, 1, 1)).flatten()
    expected = (x.float() * w.float()).to(narrow)
    torch.testing.assert_close(y, expected, rtol=0, atol=0, equal_nan=True, msg=instruction_set)


def test_subnormal_numbers_survive(dtype: torch.dtype, instruction_set: str) -> None:
    smallest = torch.finfo(dtype).smallest_normal * torch.finfo(dtype).eps
    x = torch.arange(1, 40, dtype=dtype).mul(smallest).view(1, 1, -1)
    w = torch.tensor([0, 1, 0], dtype=dtype).view(1, 1, 3)
    assert torch.equal(conv1d(x, w, padding=1), x), instruction_set


# Uninitialised memory


@pytest.fixture
def uninitialised_memory_is_nan() -> Iterator[None]:
    """torch fills what it allocates with NaN."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@each_device
@pytest.mark.usefixtures("uninitialised_memory_is_nan")
@pytest.mark.parametrize("problem", CORPUS, ids=str)
def test_every_element_is_written(problem: Problem, instruction_set: str) -> None:
    assert torch.empty(3).isnan().all()
    o = operands(problem, torch.float32)
    for actual, expected in zip(run(problem, o), expect_results(problem, o), strict=True):
        assert_within_budget(actual, expected, context=instruction_set)


@pytest.mark.parametrize("padding_mode", ["zeros", "replicate"])
def test_stride_far_beyond_the_row(padding_mode: str) -> None:
    """One position of output remains, whatever the stride; memory must not follow the stride."""
    x = torch.randn(2, 3, 5, dtype=torch.float64, requires_grad=True)
    w = torch.randn(4, 3, 3, dtype=torch.float64, requires_grad=True)
    results = []
    for stride in (7, 2**40):  # 7: the padded length
        y = conv1d(x, w, stride=stride, padding=1, padding_mode=padding_mode)
        results.append((y, *torch.autograd.grad(y.sum(), (x, w))))
    for expected, far in zip(*results, strict=True):
        assert torch.equal(expected, far)
