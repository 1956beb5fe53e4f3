"""Operands of any strides: same bits, no copies, and results laid out as promised."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from calls import FMA_SETS, Results, assert_same_bits, instruction_set_named, leaves, run
from numerics import assert_within_budget, expect_results
from problems import Operands, Problem, each_device, operands
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from torch_conv1d import conv1d

PROBLEMS = tuple(
    map(
        Problem.parse,
        """
        n2_ci1_co1_l40_k3_s1_p1_d1_g1
        n3_ci5_co7_l37_k3_s1_p1_d1_g1
        n2_ci33_co25_l70_k5_s2_p2_d1_g1_reflect
        n2_ci16_co24_l100_k1_s1_p0_d1_g1
        n2_ci13_co6_l49_k1_s3_p2x0_d1_g1_replicate
        n2_ci12_co12_l67_k4_s1_p3x0_d1_g12
        n2_ci37_co37_l41_k19_s1_p9_d1_g37
        n2_ci33_co33_l29_k5_s3_p4_d2_g33
        n2_ci35_co35_l53_k12_s2_p5x6_d1_g35_replicate
        n2_ci32_co32_l33_k9_s1_p7x9_d1_g32_reflect
        n1_ci16_co16_l300_k4_s3_p8_d2_g16_circular
        n3_ci40_co40_l4_k4_s1_p0_d1_g40
        n2_ci7_co14_l131_k31_s2_p30_d2_g7_circular
        n3_ci8_co8_l33_k5_s3_p4_d2_g4
        n2_ci6_co39_l29_k7_s1_p6_d2_g3_replicate
        n1_ci3_co4_l4_k9_s2_p8_d1_g1
        n2_ci20_co70_l61_k3_s2_p2_d1_g1
        n2_ci18_co90_l50_k4_s3_p3x1_d2_g2_circular
        n1_ci1_co130_l90_k7_s3_p2_d1_g1
        n3_ci70_co40_l33_k2_s1_p0_d9_g1
        n2_ci48_co16_l50_k4_s2_p1x2_d2_g16_reflect
        n2_ci30_co120_l33_k5_s1_p3_d3_g30_circular
        n3_ci40_co80_l300_k3_s1_p1_d1_g40
        n2_ci35_co105_l61_k1_s3_p0_d1_g35
        n6_ci40_co33_l1_k1_s1_p0_d1_g1
        n7_ci24_co21_l7_k3_s1_p1_d1_g1
        n9_ci20_co26_l2_k3_s1_p1_d1_g2
        n2_ci36_co12_l300_k3_s1_p1_d1_g1_reflect
        n3_ci21_co15_l200_k2_s2_p1_d1_g3
        n40_ci12_co20_l17_k17_s1_p0_d1_g1
        n40_ci8_co6_l20_k20_s3_p0_d1_g2
        """.split(),
    )
)


def inside_a_bigger_tensor(t: Tensor) -> Tensor:
    """A view whose offset and strides are odd; its surroundings are NaN."""
    sizes = [2 * size + 3 for size in t.shape]
    view = t.new_full(sizes, torch.nan)[tuple(slice(1, 2 * size + 1, 2) for size in t.shape)]
    return view.copy_(t)


LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "contiguous": Tensor.contiguous,
    "channels_innermost": lambda t: t.mT.contiguous().mT,
    "batch_innermost": lambda t: t.permute(1, 2, 0).contiguous().permute(2, 0, 1),
    "batch_between": lambda t: t.permute(1, 0, 2).contiguous().permute(1, 0, 2),
    "channels_outermost_of_position": lambda t: t.permute(2, 1, 0).contiguous().permute(2, 1, 0),
    "strided_offset": inside_a_bigger_tensor,
}


def assert_same_results(actual: Results, expected: Results, problem: Problem, o: Operands) -> None:
    """The same bits. Only the weight gradients of a depthwise layer may be summed in another order
    where channels are innermost."""
    if problem.groups == problem.c_in == problem.c_out > 1:
        assert torch.equal(actual.y, expected.y)
        assert torch.equal(actual.grad_x, expected.grad_x)
        for result, exact in zip(actual, expect_results(problem, o), strict=True):
            assert_within_budget(result, exact)
    else:
        assert_same_bits(actual, expected)


@pytest.mark.parametrize("problem", PROBLEMS, ids=str)
def test_layout_of_operands_changes_no_bit(problem: Problem, dtype: torch.dtype) -> None:
    o = operands(problem, dtype)
    expected = run(problem, o)
    w, b = inside_a_bigger_tensor(o.w), inside_a_bigger_tensor(o.b)
    for x_layout, grad_layout in itertools.product(LAYOUTS.values(), repeat=2):
        actual = run(problem, Operands(x_layout(o.x), w, b, grad_layout(o.grad_y)))
        assert_same_results(actual, expected, problem, o)


# More weights than are packed at a time: 2 MiB.
MANY_WEIGHTS = (Problem.parse("n2_ci520_co300_l7_k4_s1_p1_d1_g1"),)
# More than an L2 cache of 2 MiB holds, fetched ahead; phases of the gradient without a tap.
FROM_MEMORY = (Problem.parse("n8_ci64_co64_l1100_k2_s3_p1_d1_g64"),)

# Depthwise rows with tiles of positions 16 taps apart: chunks of taps, strides, ends of any height.
SPACED = tuple(
    map(
        Problem.parse,
        """
        n1_ci33_co33_l330_k70_s1_p35x34_d1_g33_replicate
        n1_ci17_co17_l401_k35_s2_p17_d1_g17
        n1_ci16_co16_l160_k18_s1_p9x8_d1_g16
        n1_ci16_co16_l192_k33_s1_p16_d1_g16_circular
        n1_ci16_co16_l512_k17_s1_p16x0_d2_g16
        """.split(),
    )
)

# Rows of more than one item, whose ends a padding mode folds when all of them are there.
LONG_FOLDED = (Problem.parse("n1_ci70_co40_l3000_k3_s2_p3x2_d1_g1_reflect"),)
# Rows of which a band by Toom-Cook's filtering has a cache line of channels, of some phases.
BANDS = (Problem.parse("n1_ci48_co40_l9200_k8_s4_p3x2_d1_g1_replicate"),)


@pytest.mark.parametrize(
    "problem", PROBLEMS + MANY_WEIGHTS + FROM_MEMORY + SPACED + LONG_FOLDED + BANDS, ids=str
)
def test_channels_last_changes_no_bit(problem: Problem, dtype: torch.dtype) -> None:
    o = operands(problem, dtype)
    expected = run(problem, o)
    for layout in LAYOUTS.values():
        laid_out = o._replace(x=layout(o.x), grad_y=layout(o.grad_y))
        assert_same_results(run(problem, laid_out, channels_last=True), expected, problem, o)


CHANNELS = tuple(Problem.parse(f"n3_ci{c}_co{c}_l311_k19_s1_p9_d1_g{c}") for c in (16, 33, 300))


@pytest.mark.parametrize("problem", CHANNELS + SPACED, ids=str)
@pytest.mark.parametrize("channels_last", [True, False])
def test_channels_innermost_change_no_bit_elsewhere(
    problem: Problem, channels_last: bool, dtype: torch.dtype
) -> None:
    o = operands(problem, dtype)
    o = o._replace(x=o.x.mT.contiguous().mT)
    if channels_last:
        o = o._replace(grad_y=o.grad_y.mT.contiguous().mT)
    expected = run(problem, o, channels_last)
    for name in FMA_SETS:
        with instruction_set_named(name):
            assert_same_bits(run(problem, o, channels_last), expected, name)
    threads = torch.get_num_threads()
    for count in (1, 2, 3, 5):
        torch.set_num_threads(count)
        try:
            assert_same_bits(run(problem, o, channels_last), expected, count)
        finally:
            torch.set_num_threads(threads)


@each_device
@pytest.mark.parametrize("problem", PROBLEMS, ids=str)
@pytest.mark.parametrize("channels_last", [False, True])
def test_results_of_every_layout_are_the_reference(
    problem: Problem, channels_last: bool, dtype: torch.dtype
) -> None:
    o = operands(problem, dtype)
    expectations = expect_results(problem, o)
    for name, layout in LAYOUTS.items():
        results = run(
            problem, Operands(layout(o.x), layout(o.w), o.b, layout(o.grad_y)), channels_last
        )
        for actual, expected in zip(results, expectations, strict=True):
            assert_within_budget(actual, expected, context=name)


@pytest.mark.parametrize("problem", PROBLEMS, ids=str)
def test_expanded_operands(problem: Problem, dtype: torch.dtype) -> None:
    o = operands(problem, dtype)
    for dims in ((0,), (1,), (2,), (0, 1, 2)):
        expanded = o
        for dim in dims:
            expanded = Operands(
                *(
                    t.narrow(dim, 0, 1).expand_as(t) if t.dim() == 3 else t[:1].expand_as(t)
                    for t in expanded
                )
            )
        dense = Operands(*(t.contiguous() for t in expanded))
        assert_same_bits(run(problem, expanded), run(problem, dense))


def test_overlapping_windows_of_a_signal() -> None:
    signal = torch.randn(500)
    windows = signal.unfold(0, 64, 10)[:, None]
    w = torch.randn(4, 1, 5)
    assert torch.equal(conv1d(windows, w), conv1d(windows.contiguous(), w))


@each_device
@pytest.mark.parametrize("problem", PROBLEMS, ids=str)
@pytest.mark.parametrize("channels_last", [False, True])
def test_results_are_contiguous(problem: Problem, channels_last: bool) -> None:
    o = operands(problem, torch.float32)
    for layout in LAYOUTS.values():
        x, w, b = leaves(o._replace(x=layout(o.x.mT if channels_last else o.x)))
        y = conv1d(x, w, b, **problem.arguments, channels_last=channels_last)
        grad_y = layout(o.grad_y.mT if channels_last else o.grad_y)
        for result in (y, *torch.autograd.grad(y, (x, w, b), grad_y)):
            assert result.is_contiguous()


SUBSETS = list(itertools.product([False, True], repeat=3))


@pytest.mark.parametrize("subset", SUBSETS, ids=str)
def test_gradients_of_any_subset_of_operands(subset: tuple[bool, bool, bool]) -> None:
    for problem in PROBLEMS:
        o = operands(problem, torch.float32)
        expected = run(problem, o)[1:]
        x, w, b = (t.requires_grad_(r) for t, r in zip(leaves(o), subset, strict=True))
        y = conv1d(x, w, b, **problem.arguments)
        assert y.requires_grad == any(subset)
        if y.requires_grad:
            y.backward(o.grad_y)
        for leaf, wanted, gradient in zip((x, w, b), subset, expected, strict=True):
            if wanted:
                assert leaf.grad is not None
                assert torch.equal(leaf.grad, gradient)
            else:
                assert leaf.grad is None


@pytest.mark.parametrize(
    ("subset", "kept"),
    [((1, 1, 1), "xw"), ((1, 0, 1), "w"), ((0, 1, 1), "x"), ((0, 0, 1), "")],
    ids=str,
)
def test_only_what_a_gradient_needs_is_saved(subset: tuple[int, ...], kept: str) -> None:
    problem = Problem.parse("n2_ci4_co6_l90_k5_s2_p9x0_d2_g2_reflect")
    o = operands(problem, torch.float32)
    x, w, b = (t.requires_grad_(bool(r)) for t, r in zip(leaves(o), subset, strict=True))
    addresses = {leaf.data_ptr(): name for leaf, name in zip((x, w, b), "xwb", strict=True)}
    saved: list[str] = []

    def pack(t: Tensor) -> Tensor:
        saved.append(addresses[t.data_ptr()])
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        conv1d(x, w, b, **problem.arguments)
    assert "".join(sorted(saved, key="xwb".index)) == kept


def allocations(call: Callable[[], object]) -> int:
    """Bytes that a call asks of torch's allocator; a copy that torch makes for it is an error."""
    call()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        result = call()
    del result
    events = recorded.events()
    assert events is not None
    copies = {"aten::copy_", "aten::clone", "aten::pad", "aten::constant_pad_nd", "aten::to"}
    assert not copies & {event.name for event in events}
    return sum(max(event.self_cpu_memory_usage, 0) for event in events)


@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("channels_last", [False, True])
def test_nothing_is_copied(mode: str, channels_last: bool) -> None:
    """The memory of a call is that of its results, whatever the layout and the padding."""
    x = torch.randn(2, 200, 16) if channels_last else torch.randn(2, 16, 200)
    w, b = torch.randn(24, 16, 3), torch.randn(24)
    arguments: dict[str, Any] = {
        "padding": (20, 5),
        "padding_mode": mode,
        "channels_last": channels_last,
    }
    y = conv1d(x, w, b, **arguments)
    grad_y = torch.randn_like(y)
    transposed = x.mT.contiguous().mT
    for layout in (x, transposed, inside_a_bigger_tensor(x)):
        assert allocations(partial(conv1d, layout, w, b, **arguments)) == y.nbytes
        leaf = layout.detach().requires_grad_()
        kept = conv1d(leaf, w, b, **arguments)
        backward = partial(torch.autograd.grad, kept, leaf, grad_y, retain_graph=True)
        # The frozen weight needs no x: a scalar stands in for it.
        assert allocations(backward) == x.nbytes + x.element_size()
