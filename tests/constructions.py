"""Every way to construct a convolution, and what to call it with."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from torch_conv1d import Conv1d

# Everything that torch.nn.Conv1d takes, one argument at a time and some together.
CONSTRUCTIONS: list[dict[str, Any]] = [
    {},
    {"bias": False},
    {"stride": 2},
    {"stride": (3,)},
    {"padding": 2},
    {"padding": (1,)},
    {"padding": "same"},
    {"padding": "valid"},
    {"padding": "same", "kernel_size": 4, "dilation": 3},
    {"dilation": 2},
    {"dilation": (2,)},
    {"groups": 2},
    {"groups": 4, "out_channels": 8},
    {"kernel_size": (5,)},
    {"kernel_size": 1},
    {"dtype": torch.float64},
    {"dtype": torch.bfloat16},
    {"dtype": torch.complex64},
    {"device": "cpu"},
    {"stride": 2, "padding": 3, "dilation": 2, "groups": 2, "bias": False},
    *(
        {"padding_mode": mode, "padding": 2}
        for mode in ("zeros", "reflect", "replicate", "circular")
    ),
    *(
        {"padding_mode": mode, "padding": "same", "kernel_size": 4}
        for mode in ("reflect", "circular")
    ),
    {"padding_mode": "replicate", "padding": "valid"},
]


each_construction = pytest.mark.parametrize("arguments", CONSTRUCTIONS, ids=str)


def pair(arguments: dict[str, Any]) -> tuple[Conv1d, nn.Conv1d]:
    """The same construction after the same seed."""
    arguments = {"in_channels": 4, "out_channels": 6, "kernel_size": 3} | arguments
    torch.manual_seed(0)
    theirs = nn.Conv1d(**arguments)
    torch.manual_seed(0)
    return Conv1d(**arguments), theirs


def input_of(module: nn.Conv1d, length: int = 16) -> Tensor:
    dtype = next(module.parameters()).dtype
    return torch.randn(2, module.in_channels, length, dtype=torch.double).to(dtype)


def gradients_of(module: nn.Module, x: Tensor) -> list[Tensor | None]:
    x = x.detach().requires_grad_()
    module.zero_grad()
    y = module(x)
    (y * y.conj()).real.sum().backward()
    return [x.grad, *(p.grad for p in module.parameters())]
