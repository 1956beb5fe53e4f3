"""What would run on a GPU, and why. Plans are pure functions, so no GPU is needed."""

from __future__ import annotations

import pytest
from problems import CORPUS, Problem

from torch_conv1d import _C


def explain(
    problem: object,
    channels_last: bool = False,
    multiprocessors: int = 132,
    dtype: str = "float32",
    architecture: int = 90,
) -> str:
    return _C.explain(str(problem), dtype, "cuda", channels_last, multiprocessors, architecture)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("problem", CORPUS, ids=str)
def test_every_gradient_has_an_algorithm_and_a_reason(
    problem: Problem, channels_last: bool
) -> None:
    lines = dict(line.split(": ", 1) for line in explain(problem, channels_last).splitlines())
    assert lines["problem"] == str(problem)
    for operation in ("forward", "grad_input", "grad_weight"):
        assert lines[f"{operation}.algorithm"]
        assert lines[f"{operation}.reason"]


@pytest.mark.parametrize(
    ("problem", "channels_last", "algorithm"),
    [
        ("n8_ci512_co512_l1000_k4_s1_p3x0_d1_g512", False, "depthwise_rows"),
        ("n8_ci512_co512_l1000_k4_s1_p3x0_d1_g512", True, "depthwise_channels"),
        ("n8_ci512_co512_l1000_k31_s1_p15_d1_g512", False, "correlate"),
        ("n2_ci1_co512_l1000_k10_s5_p0_d1_g1", False, "correlate"),
        ("n8_ci512_co512_l1000_k3_s1_p1_d1_g1", False, "aten"),
    ],
)
def test_kind_of_a_layer(problem: str, channels_last: bool, algorithm: str) -> None:
    assert f"forward.algorithm: {algorithm}\n" in explain(problem, channels_last)


GROUPS = "n8_ci256_co256_l1000_k5_s1_p2_d1_g8"


@pytest.mark.parametrize(
    ("problem", "dtype", "channels_last", "forward", "grad_weight"),
    [
        (GROUPS, "bfloat16", False, "correlate_mma", "outer_mma"),
        (GROUPS, "float16", False, "correlate_mma", "outer_mma"),
        (GROUPS, "float32", False, "correlate_mma", "outer_mma"),  # TF32 is torch's default
        (GROUPS, "float64", False, "correlate", "aten"),
        (GROUPS, "bfloat16", True, "aten", "aten"),
        (GROUPS.replace("g8", "g2"), "bfloat16", False, "aten", "aten"),
        # A halo that does not fit, and one that shorter blocks of taps make fit.
        (
            GROUPS.replace("l1000", "l9999").replace("d1", "d999"),
            "bfloat16",
            False,
            "aten",
            "outer_mma",
        ),
    ],
)
def test_groups_of_many_channels(
    problem: str, dtype: str, channels_last: bool, forward: str, grad_weight: str
) -> None:
    lines = explain(problem, channels_last, dtype=dtype).splitlines()
    assert f"forward.algorithm: {forward}" in lines
    assert f"grad_input.algorithm: {forward}" in lines
    assert f"grad_weight.algorithm: {grad_weight}" in lines


@pytest.mark.parametrize(
    ("length", "dtype", "channels_last", "algorithm"),
    [
        (1000, "bfloat16", False, "matmul"),
        (1000, "float64", False, "matmul"),
        # torch's default allows TF32 to convolutions alone.
        (1000, "float32", False, "aten"),
        # Short rows are one product only with channels innermost.
        (16, "bfloat16", False, "aten"),
        (16, "bfloat16", True, "matmul"),
    ],
)
def test_pointwise_layers_are_products(
    length: int, dtype: str, channels_last: bool, algorithm: str
) -> None:
    problem = f"n8_ci256_co512_l{length}_k1_s1_p0_d1_g1"
    lines = explain(problem, channels_last, dtype=dtype).splitlines()
    assert f"forward.algorithm: {algorithm}" in lines
    assert f"grad_input.algorithm: {algorithm}" in lines
    assert "grad_weight.algorithm: aten" in lines


def test_tensor_cores_begin_with_sm_80() -> None:
    """Also where a newer GPU runs code for an older one."""
    assert "mma" in explain(GROUPS, dtype="bfloat16", architecture=80)
    assert "mma" not in explain(GROUPS, dtype="bfloat16", architecture=75)


def test_reductions_do_not_depend_on_the_device() -> None:
    """Sums depend on how a reduction is cut."""

    def reductions(multiprocessors: int) -> list[str]:
        text = explain("n2_ci1_co80_l1000_k10_s5_p0_d1_g1", multiprocessors=multiprocessors)
        return [line for line in text.splitlines() if line.startswith("grad_weight")]

    assert reductions(1) == reductions(132)


def test_unknown_device() -> None:
    with pytest.raises(ValueError, match='cpu or cuda, got "tpu"'):
        _C.explain("n4_ci16_co32_l100_k3_s2_p1_d1_g1", "float32", "tpu")
