"""What a call costs when there is nothing to compute: N = 1, one channel, length 8, kernel 3."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

import torch_conv1d
from benchmarks.timing import Call, Comparison, compare


def measure_overhead(budget: float) -> dict[str, Comparison]:
    theirs = nn.Conv1d(1, 1, 3)
    ours = torch_conv1d.Conv1d(1, 1, 3)
    w, b = theirs.weight, theirs.bias

    pairs: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
        "function": (
            lambda x: torch_conv1d.conv1d(x, w, b),
            lambda x: functional.conv1d(x, w, b),
        ),
        "module": (ours, theirs),
    }
    results = {}
    for name, (our_layer, their_layer) in pairs.items():
        for mode, make in (("no grad", _no_grad), ("graph", _graph), ("backward", _backward)):
            results[f"{name}, {mode}"] = compare(make(our_layer), make(their_layer), budget)
    return results


def _no_grad(layer: Callable[[Tensor], Tensor]) -> Call:
    x = torch.randn(1, 1, 8)

    def call() -> None:
        with torch.no_grad():
            layer(x)

    return call


def _graph(layer: Callable[[Tensor], Tensor]) -> Call:
    x = torch.randn(1, 1, 8, requires_grad=True)
    return lambda: layer(x)


def _backward(layer: Callable[[Tensor], Tensor]) -> Call:
    x = torch.randn(1, 1, 8, requires_grad=True)
    grad_y = torch.randn(1, 1, 6)
    return lambda: torch.autograd.backward(layer(x), grad_y)
