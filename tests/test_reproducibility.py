"""The same bits for any batch, chunk, number of threads and FMA instruction set."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from problems import CORPUS, Operands, Problem, operands
from torch import Tensor

from torch_conv1d import _C, conv1d

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
        n2_ci5_co10_l220_k9_s2_p0_d4_g5
        n2_ci12_co18_l100_k6_s4_p0_d1_g6
        n1_ci2_co2_l2100_k5_s1_p0_d1_g2
        n1_ci2_co3_l4300_k3_s2_p0_d1_g1
        """.split(),
    )
)
FMA_SETS = [s for s in _C.supported_instruction_sets() if s in ("avx2", "wide", "avx512")]


def run(problem: Problem, o: Operands) -> dict[str, Tensor]:
    leaves = tuple(t.detach().requires_grad_() for t in (o.x, o.w, o.b))
    y = conv1d(*leaves, **problem.arguments)
    grad_x, grad_w, grad_b = torch.autograd.grad(y, leaves, o.grad_y)
    return {"y": y.detach(), "grad_x": grad_x, "grad_w": grad_w, "grad_b": grad_b}


def assert_same_bits(
    actual: dict[str, Tensor], expected: dict[str, Tensor], context: object
) -> None:
    for name, tensor in expected.items():
        wrong = int((actual[name] != tensor).sum())
        assert torch.equal(actual[name], tensor), (
            f"{context}: {name} differs in {wrong} of {tensor.numel()} elements"
        )


@pytest.mark.parametrize("problem", UNPADDED, ids=str)
def test_batch_changes_no_bit(problem: Problem, dtype: torch.dtype) -> None:
    o = operands(problem, dtype)
    whole = run(problem, o)
    for begin, end in ((0, 1), (problem.n - 1, problem.n), (problem.n // 2, problem.n)):
        part = Operands(o.x[begin:end], o.w, o.b, o.grad_y[begin:end])
        expected = {name: whole[name][begin:end] for name in ("y", "grad_x")}
        assert_same_bits(run(problem, part), expected, f"samples {begin}:{end}")


@pytest.mark.parametrize("problem", UNPADDED, ids=str)
def test_position_and_chunk_change_no_bit(problem: Problem, dtype: torch.dtype) -> None:
    o = operands(problem, dtype)
    whole = run(problem, o)
    for index, wanted in enumerate((1, 2, 5, 8, 17, 33, problem.l_out - 3)):
        length = min(wanted, problem.l_out)
        begin = min(7 * index, problem.l_out - length)
        outputs = slice(begin, begin + length)
        first = begin * problem.stride
        inputs = slice(first, first + (length - 1) * problem.stride + problem.span)
        part = Operands(o.x[..., inputs], o.w, o.b, o.grad_y[..., outputs])
        chunk = run(problem, part)
        # Of grad_x, the positions that no output outside of the chunk reads.
        whole_sums = slice(problem.span - 1, (length - 1) * problem.stride + 1)
        assert_same_bits(
            {"y": chunk["y"], "grad_x": chunk["grad_x"][..., whole_sums]},
            {
                "y": whole["y"][..., outputs],
                "grad_x": whole["grad_x"][..., inputs][..., whole_sums],
            },
            f"outputs {begin}:{begin + length}",
        )


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


@pytest.mark.parametrize("problem", UNPADDED, ids=str)
@pytest.mark.usefixtures("threads")
def test_threads_change_no_bit(problem: Problem, dtype: torch.dtype) -> None:
    bigger = Problem.parse(str(problem).replace(f"_l{problem.l_in}_", f"_l{3 * problem.l_in}_"))
    o = operands(bigger, dtype)
    torch.set_num_threads(1)
    alone = run(bigger, o)
    for count in (2, 3, 7):
        torch.set_num_threads(count)
        assert_same_bits(run(bigger, o), alone, f"{count} threads")


@pytest.mark.parametrize("problem", UNPADDED, ids=str)
def test_repetition_changes_no_bit(problem: Problem) -> None:
    o = operands(problem, torch.float32)
    first = run(problem, o)
    for _ in range(3):
        assert_same_bits(run(problem, o), first, "again")


@pytest.mark.skipif(
    len(FMA_SETS) < 2, reason="this machine runs fewer than two FMA instruction sets"
)
@pytest.mark.parametrize("problem", (*UNPADDED, *CORPUS), ids=str)
def test_fma_instruction_set_changes_no_bit(problem: Problem, dtype: torch.dtype) -> None:
    o = operands(problem, dtype)
    results = {}
    try:
        for name in FMA_SETS:
            _C.set_instruction_set(name)
            results[name] = run(problem, o)
    finally:
        _C.set_instruction_set("")
    first = results.pop(FMA_SETS[0])
    for name, result in results.items():
        assert_same_bits(result, first, f"{name} and {FMA_SETS[0]}")
