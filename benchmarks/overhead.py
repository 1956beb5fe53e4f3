"""What a call costs when there is nothing to compute: N = 1, one channel, length 8, kernel 3."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

import torch_conv1d
from benchmarks.timing import Call, Comparison, Local, compare


def measure_overhead(budget: float) -> dict[str, Comparison]:
    """Prints a line for each way to call."""
    print(f"{'':24}{'torch us':>10} {'ours us':>10} {'ratio':>6}")
    their_module = nn.Conv1d(1, 1, 3)
    w, b = their_module.weight, their_module.bias

    pairs: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
        "function": (
            lambda x: torch_conv1d.conv1d(x, w, b),
            lambda x: functional.conv1d(x, w, b),
        ),
        "module": (torch_conv1d.Conv1d(1, 1, 3), their_module),
    }
    found = {}
    for name, (our_layer, their_layer) in pairs.items():
        for mode, make in (("no grad", _forward), ("graph", _forward), ("backward", _backward)):
            with torch.set_grad_enabled(mode != "no grad"):
                t = compare(Local(make(our_layer)), {"torch": Local(make(their_layer))}, budget)
            theirs = t.peers["torch"]
            times = f"{theirs.seconds * 1e6:10.2f} {t.ours * 1e6:10.2f} {theirs.ratio:6.2f}"
            print(f"{name + ', ' + mode:24}{times}")
            found[f"{name}, {mode}"] = t
    return found


def _forward(layer: Callable[[Tensor], Tensor]) -> Call:
    x = torch.randn(1, 1, 8, requires_grad=True)
    return lambda: layer(x)


def _backward(layer: Callable[[Tensor], Tensor]) -> Call:
    x = torch.randn(1, 1, 8, requires_grad=True)
    grad_y = torch.randn(1, 1, 6)
    return lambda: torch.autograd.backward(layer(x), grad_y)
