"""The same bits for any batch, chunk, number of threads and FMA instruction set.

Chunks and strides are those of direct sums; test_algorithms.py has the rest for the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torch.nn.functional as F
from calls import FMA_SETS, assert_same_bits, assert_sets_change_no_bit, run
from problems import CORPUS, Operands, Problem, operands

from torch_conv1d import conv1d, set_algorithm

# Unpadded: an output of a chunk is then a whole chain, whatever surrounds the chunk.
UNPADDED = tuple(
    map(
        Problem.parse,
        """
        n5_ci1_co1_l150_k3_s1_p0_d1_g1
        n4_ci3_co5_l170_k7_s1_p0_d2_g1
        n3_ci33_co25_l140_k5_s1_p0_d1_g1
        n2_ci64_co64_l130_k3_s1_p0_d1_g1
        n1_ci260_co12_l90_k3_s1_p0_d1_g1
        n2_ci48_co20_l120_k1_s1_p0_d1_g1
        n3_ci20_co17_l160_k4_s2_p0_d1_g1
        n2_ci6_co9_l190_k5_s3_p0_d3_g3
        n3_ci8_co8_l130_k3_s1_p0_d1_g8
        n2_ci6_co6_l200_k31_s1_p0_d1_g6
        n2_ci6_co6_l430_k4_s1_p0_d16_g6
        n2_ci3_co3_l1905_k7_s2_p0_d1_g3
        n2_ci6_co3_l1804_k4_s2_p0_d1_g3
        n2_ci7_co1_l330_k2_s1_p0_d1_g1
        n2_ci3_co3_l500_k33_s1_p0_d1_g3
        n2_ci3_co3_l345_k30_s1_p0_d1_g3
        n1_ci4_co2_l600_k64_s1_p0_d1_g2
        n1_ci2_co4_l430_k40_s1_p0_d1_g2
        n1_ci3_co3_l700_k35_s2_p0_d2_g3
        n2_ci5_co10_l220_k9_s2_p0_d4_g5
        n2_ci12_co18_l100_k6_s4_p0_d1_g6
        n1_ci2_co2_l2100_k5_s1_p0_d1_g2
        n1_ci2_co3_l4300_k3_s2_p0_d1_g1
        n35_ci6_co10_l28_k3_s2_p0_d2_g2
        n70_ci20_co9_l12_k3_s1_p0_d1_g1
        """.split(),
    )
)

# A single position a sample, or a short depthwise row: few samples take another way than many.
STREAMED = tuple(
    map(
        Problem.parse,
        """
        n9_ci20_co33_l5_k5_s1_p0_d1_g1
        n9_ci24_co24_l40_k4_s50_p3_d7_g2
        n9_ci130_co40_l1_k1_s1_p0_d1_g1
        n40_ci12_co20_l17_k17_s1_p0_d1_g1
        n40_ci8_co6_l40_k40_s3_p0_d1_g2
        n9_ci40_co40_l50_k21_s1_p0_d1_g40
        n9_ci40_co40_l100_k19_s2_p0_d1_g40
        """.split(),
    )
)

# Enough work for threads to share: samples, groups, positions, channels, parts of a reduction.
BIG = tuple(
    map(
        Problem.parse,
        """
        n1_ci96_co80_l500_k3_s1_p1_d1_g1
        n1_ci3_co70_l9001_k5_s2_p2_d1_g1
        n40_ci33_co25_l41_k3_s1_p2x0_d1_g1_reflect
        n3_ci300_co300_l700_k3_s1_p1_d1_g300
        n1_ci4_co4_l30011_k31_s1_p15_d1_g4_circular
        n2_ci24_co48_l2003_k7_s3_p9_d3_g6_replicate
        n1_ci700_co5_l300_k3_s1_p1_d1_g1
        n1_ci5_co700_l300_k3_s2_p1_d1_g1
        n2_ci120_co130_l600_k1_s1_p0_d1_g1
        n4_ci200_co150_l12_k5_s1_p2_d1_g1
        n9_ci1_co1_l6007_k63_s1_p31_d1_g1
        n2_ci40_co40_l2050_k12_s2_p5x6_d1_g40_replicate
        n2_ci40_co40_l3001_k16_s2_p9x7_d1_g40_circular
        """.split(),
    )
)


@pytest.fixture
def direct() -> Iterator[None]:
    """Sums of products alone."""
    with set_algorithm("direct"):
        yield


@pytest.mark.parametrize("problem", (*UNPADDED, *STREAMED), ids=str)
def test_batch_changes_no_bit(problem: Problem, dtype: torch.dtype) -> None:
    o = operands(problem, dtype)
    whole = run(problem, o)
    for begin, end in ((0, 1), (problem.n - 1, problem.n), (problem.n // 2, problem.n)):
        part = run(problem, Operands(o.x[begin:end], o.w, o.b, o.grad_y[begin:end]))
        assert torch.equal(part.y, whole.y[begin:end])
        assert torch.equal(part.grad_x, whole.grad_x[begin:end])


@pytest.mark.usefixtures("direct")
@pytest.mark.parametrize("problem", UNPADDED, ids=str)
def test_position_and_chunk_change_no_bit(problem: Problem, dtype: torch.dtype) -> None:
    o = operands(problem, dtype)
    whole = run(problem, o)
    for index, wanted in enumerate((1, 2, 5, 8, 17, 33, 65, 130, problem.l_out - 3)):
        length = min(wanted, problem.l_out)
        begin = min(7 * index, problem.l_out - length)
        outputs = slice(begin, begin + length)
        first = begin * problem.stride
        inputs = slice(first, first + (length - 1) * problem.stride + problem.span)
        chunk = run(problem, Operands(o.x[..., inputs], o.w, o.b, o.grad_y[..., outputs]))
        assert torch.equal(chunk.y, whole.y[..., outputs]), outputs
        # Positions that no output outside of the chunk reads.
        inner = slice(problem.span - 1, (length - 1) * problem.stride + 1)
        assert torch.equal(chunk.grad_x[..., inner], whole.grad_x[..., inputs][..., inner]), outputs


@pytest.mark.usefixtures("direct")
@pytest.mark.parametrize("problem", UNPADDED, ids=str)
def test_stride_changes_no_bit(problem: Problem, dtype: torch.dtype) -> None:
    o = operands(problem, dtype)
    y = conv1d(o.x, o.w, o.b, dilation=problem.dilation, groups=problem.groups)
    for stride in (2, 3, 5):
        strided = conv1d(
            o.x, o.w, o.b, stride=stride, dilation=problem.dilation, groups=problem.groups
        )
        assert torch.equal(strided, y[..., ::stride]), f"stride {stride}"


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("problem", UNPADDED, ids=str)
def test_implicit_padding_changes_no_bit(problem: Problem, mode: str) -> None:
    x, w, b, _ = operands(problem, torch.float32)
    explicit = conv1d(F.pad(x, (9, 4), mode), w, b, **problem.arguments)
    arguments = {
        **problem.arguments,
        "padding": (9, 4),
        "padding_mode": "zeros" if mode == "constant" else mode,
    }
    assert torch.equal(conv1d(x, w, b, **arguments), explicit)


@pytest.mark.parametrize("problem", BIG, ids=str)
@pytest.mark.usefixtures("threads")
def test_threads_change_no_bit(problem: Problem, dtype: torch.dtype) -> None:
    o = operands(problem, dtype)
    torch.set_num_threads(1)
    alone = run(problem, o)
    for count in (2, 3, 7):
        torch.set_num_threads(count)
        assert_same_bits(run(problem, o), alone, f"{count} threads")


def test_calls_from_several_python_threads_do_not_meet() -> None:
    given = [(problem, operands(problem, torch.float32)) for problem in (*UNPADDED, *BIG[:3])]
    expected = [run(*each) for each in given]
    with ThreadPoolExecutor(4) as pool:
        for index, results in enumerate(pool.map(lambda each: run(*each), given * 4)):
            assert_same_bits(results, expected[index % len(given)], given[index % len(given)][0])


@pytest.mark.parametrize("problem", UNPADDED, ids=str)
def test_repetition_changes_no_bit(problem: Problem) -> None:
    o = operands(problem, torch.float32)
    first = run(problem, o)
    for _ in range(3):
        assert_same_bits(run(problem, o), first, "again")


@pytest.mark.skipif(
    len(FMA_SETS) < 2, reason="this machine runs fewer than two FMA instruction sets"
)
@pytest.mark.parametrize("problem", (*UNPADDED, *BIG, *CORPUS), ids=str)
def test_fma_instruction_set_changes_no_bit(problem: Problem, dtype: torch.dtype) -> None:
    assert_sets_change_no_bit(problem, operands(problem, dtype))
