"""Layers small enough to differentiate element by element: what the tests of the torch side run.

A layer is a problem and a memory layout. These tests look for a wrong formula, a lost argument or a
lost transform, so both sides compute in float64 and are compared with torch's default tolerance;
how far roundings may go is the subject of numerics.py.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
import reference
import torch
from problems import PADDING_MODES, Problem, operands
from torch import Tensor, nn

from torch_conv1d import Conv1d, conv1d


@dataclass(frozen=True)
class Layer:
    problem: Problem
    channels_last: bool = False

    def __str__(self) -> str:
        return f"{self.problem}_nlc" if self.channels_last else str(self.problem)

    @property
    def arguments(self) -> dict[str, Any]:
        return {**self.problem.arguments, "channels_last": self.channels_last}

    def operands(
        self, dtype: torch.dtype = torch.float64, *, requires_grad: bool = False
    ) -> tuple[Tensor, Tensor, Tensor]:
        """(x, w, b)"""
        x, w, b, _ = operands(self.problem, dtype)
        if self.channels_last:
            x = x.transpose(1, 2).contiguous()
        for t in (x, w, b):
            t.requires_grad_(requires_grad)
        return x, w, b

    def ours(self, x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
        return conv1d(x, w, b, **self.arguments)

    def theirs(self, x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
        """As users of torch write it: transpose, pad, convolve, transpose."""
        x = x.transpose(-1, -2) if self.channels_last else x
        y = reference.torch_conv1d(self.problem, x, w, b)
        return y.transpose(-1, -2) if self.channels_last else y


def layers(text: str) -> list[Layer]:
    """One layer a word; the suffix _nlc means channels last."""
    return [
        Layer(Problem.parse(word.removesuffix("_nlc")), word.endswith("_nlc"))
        for word in text.split()
    ]


OPERANDS = ("input", "weight", "bias")

# One of each kind: every argument, padding mode and layout occurs, alone and with others.
LAYERS = layers(
    """
    n2_ci3_co4_l6_k3_s1_p0_d1_g1
    n2_ci4_co6_l7_k3_s2_p1_d2_g2
    n1_ci3_co6_l8_k4_s1_p3x0_d1_g3
    n2_ci2_co3_l6_k3_s2_p2x1_d1_g1_reflect
    n2_ci2_co2_l4_k3_s1_p5_d2_g1_replicate
    n2_ci3_co3_l5_k2_s1_p0x3_d2_g3_circular
    n2_ci3_co4_l6_k3_s1_p1_d1_g1_nlc
    n2_ci4_co4_l7_k3_s2_p2x0_d1_g4_nlc
    n1_ci4_co2_l6_k2_s1_p2_d3_g2_reflect_nlc
    """
)

each_layer = pytest.mark.parametrize("layer", LAYERS, ids=str)

# Every combination of padding mode, stride, dilation, groups (one, some, all) and layout.
GRID = [
    Layer(Problem(2, 4, 4, 6, 3, stride, 3, 1, dilation, groups, mode), channels_last)
    for mode, stride, dilation, groups, channels_last in itertools.product(
        PADDING_MODES, (1, 2), (1, 2), (1, 2, 4), (False, True)
    )
]


def of_batch(layer: Layer, n: int) -> Layer:
    return replace(layer, problem=replace(layer.problem, n=n))


def assert_same(actual: Any, expected: Any) -> None:
    """Tensors, or nests of them, equal within torch's default tolerance for their dtype."""
    torch.testing.assert_close(actual, expected)


def subsets(things: Sequence[Any]) -> list[tuple[Any, ...]]:
    """All but the empty one."""
    return [c for r in range(1, len(things) + 1) for c in itertools.combinations(things, r)]


def requiring(layer: Layer, names: tuple[str, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """Operands of which only `names` require a gradient."""
    operands = layer.operands()
    for name, operand in zip(OPERANDS, operands, strict=True):
        operand.requires_grad_(name in names)
    return operands


def gradients(function: Callable[..., Tensor], operands: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Of a loss that is not linear: the incoming gradient is neither constant nor expanded."""
    return torch.autograd.grad(function(*operands).square().sum(), operands)


class Network(nn.Module):
    """Every kind of padding, a stride, a dilation and groups, with something to fuse in between."""

    def __init__(self, channels_last: bool = False) -> None:
        super().__init__()
        self.causal = Conv1d(4, 6, 3, padding="causal", dilation=2, channels_last=channels_last)
        self.grouped = Conv1d(6, 6, 4, stride=2, padding=2, groups=3, channels_last=channels_last)
        self.mirrored = Conv1d(
            6, 5, 3, padding="same", padding_mode="reflect", channels_last=channels_last
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.mirrored(torch.relu(self.grouped(torch.tanh(self.causal(x)))))
        return y


def network(*, channels_last: bool = False) -> Network:
    torch.manual_seed(0)
    return Network(channels_last).double()


def network_input(n: int = 2, length: int = 17, *, channels_last: bool = False) -> Tensor:
    x = torch.randn(n, 4, length, dtype=torch.double)
    return x.transpose(1, 2).contiguous() if channels_last else x
