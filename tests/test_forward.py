"""The output of conv1d: the float64 reference, and what users of torch would have got."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import reference
import torch
import torch.nn.functional as F
from numerics import assert_within_budget, expect_forward
from problems import CORPUS, PADDING_MODES, Problem, each_device, operands

from torch_conv1d import conv1d

SMALL = Problem.parse("n3_ci6_co4_l23_k4_s1_p0_d3_g2")


@each_device
@pytest.mark.parametrize("problem", CORPUS, ids=str)
def test_forward_is_the_reference(problem: Problem, dtype: torch.dtype) -> None:
    x, w, b, _ = operands(problem, dtype)
    for bias in (b, None):
        y = conv1d(x, w, bias, **problem.arguments)
        assert y.dtype == dtype
        assert y.is_contiguous()
        assert_within_budget(y, expect_forward(problem, x, w, bias), context=dtype)


@each_device
@pytest.mark.parametrize("problem", CORPUS, ids=str)
def test_forward_is_torch(problem: Problem) -> None:
    for dtype in (torch.float32, torch.float64):
        x, w, b, _ = operands(problem, dtype)
        theirs = reference.torch_conv1d(problem, x, w, b)
        ours = conv1d(x, w, b, **problem.arguments)
        assert (ours.device, ours.dtype) == (theirs.device, theirs.dtype)
        expected = expect_forward(problem, x, w, b)
        assert_within_budget(ours, expected, other=theirs, context=dtype)


@pytest.mark.parametrize(
    ("padding", "equivalent"),
    [
        (2, (2, 2)),
        ((2,), (2, 2)),
        ([3], (3, 3)),
        ([1, 4], (1, 4)),
        ("valid", (0, 0)),
        ("same", (4, 5)),
        ("causal", (9, 0)),
    ],
    ids=str,
)
@pytest.mark.parametrize("mode", PADDING_MODES)
def test_every_spelling_of_padding(
    padding: int | str | tuple[int, ...], equivalent: tuple[int, int], mode: str
) -> None:
    x, w, b, _ = operands(SMALL)
    ours = conv1d(x, w, b, padding=padding, dilation=3, groups=2, padding_mode=mode)
    explicit = F.pad(x, equivalent, mode="constant" if mode == "zeros" else mode)
    assert torch.equal(ours, conv1d(explicit, w, b, dilation=3, groups=2))


@each_device
@pytest.mark.filterwarnings("ignore:Using padding='same'")
def test_same_padding_is_torch_with_an_odd_and_an_even_total() -> None:
    x, w, b, _ = operands(SMALL)
    for dilation in (1, 2, 3):
        arguments: dict[str, Any] = {"padding": "same", "dilation": dilation, "groups": 2}
        torch.testing.assert_close(conv1d(x, w, b, **arguments), F.conv1d(x, w, b, **arguments))


@each_device
@pytest.mark.parametrize("channels_last", [False, True])
def test_unbatched_input_is_a_batch_of_one(dtype: torch.dtype, channels_last: bool) -> None:
    x, w, b, _ = operands(SMALL, dtype)
    if channels_last:
        x = x.mT.contiguous()
    arguments = {**SMALL.arguments, "padding": (3, 1), "channels_last": channels_last}
    batched = conv1d(x[1:2], w, b, **arguments)
    unbatched = conv1d(x[1], w, b, **arguments)
    assert unbatched.shape == batched.shape[1:]
    assert torch.equal(unbatched, batched[0])


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(
    ("other_dtype", "mode"),
    [
        *itertools.product((torch.complex64, torch.complex128), PADDING_MODES),
        *itertools.product((torch.int64,), ("zeros", "circular")),
    ],
    ids=str,
)
def test_dtypes_without_kernels_are_torch(
    other_dtype: torch.dtype, mode: str, channels_last: bool
) -> None:
    problem = Problem.parse(f"n3_ci6_co4_l23_k4_s2_p3x1_d3_g2_{mode}".removesuffix("_zeros"))
    x, w, b, _ = (t.mul(9).round().abs().to(other_dtype) for t in operands(problem))
    if other_dtype.is_complex:
        x, w = x * (1 + 2j), w * (3 - 1j)
    ours = conv1d(
        x.mT if channels_last else x, w, b, **problem.arguments, channels_last=channels_last
    )
    theirs = reference.torch_conv1d(problem, x, w, b)
    assert ours.dtype == other_dtype
    assert torch.equal(ours.mT if channels_last else ours, theirs)
