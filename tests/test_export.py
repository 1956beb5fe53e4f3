"""torch.export, ahead-of-time packages, torch.fx and functionalization."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Literal

import pytest
import torch
from layers import (
    LAYERS,
    assert_same,
    network,
    network_input,
)
from torch import Tensor
from torch.func import functionalize, grad
from torch.fx.experimental.proxy_tensor import make_fx

from torch_conv1d import conv1d

pytestmark = [
    # Compilers warn about themselves, and import parts of torch that do.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("channels_last", [False, True])
def test_export(strict: bool, channels_last: bool, tmp_path: Path) -> None:
    model = network(channels_last=channels_last).eval()
    x = network_input(3, 17, channels_last=channels_last)
    length = torch.export.Dim("length", min=12, max=4096)
    batch = torch.export.Dim("batch", min=2, max=64)
    dynamic = {"x": {0: batch, 1 if channels_last else 2: length}}
    program = torch.export.export(model, (x,), dynamic_shapes=dynamic, strict=strict)
    assert "torch_conv1d" in str(program.graph)

    torch.export.save(program, tmp_path / "network.pt2")
    loaded = torch.export.load(tmp_path / "network.pt2")
    for n, length_of in ((3, 17), (5, 40)):
        x = network_input(n, length_of, channels_last=channels_last)
        assert torch.equal(loaded.module()(x), model(x))
        assert torch.equal(program.run_decompositions().module()(x), model(x))


LOAD_PACKAGE = """
import sys, torch
torch.ops.load_library(sys.argv[1])
model = torch._inductor.aoti_load_package(sys.argv[2])
x, expected = torch.load(sys.argv[3])
torch.testing.assert_close(model(x), expected)
assert "torch_conv1d" not in sys.modules
"""


def test_ahead_of_time_package(tmp_path: Path) -> None:
    """Compiled here; loaded and run in a process that has the op library, and no torch_conv1d."""
    model = network().eval()
    x = network_input(3, 33)
    length = torch.export.Dim("length", min=12, max=4096)
    program = torch.export.export(model, (x,), dynamic_shapes={"x": {2: length}})
    package = torch._inductor.aoti_compile_and_package(
        program, package_path=str(tmp_path / "network.pt2")
    )

    longer = network_input(3, 70)
    with torch.no_grad():
        assert_same(torch._inductor.aoti_load_package(package)(longer), model(longer))
        torch.save((longer, model(longer)), tmp_path / "expected.pt")
    arguments = [op_library(), package, str(tmp_path / "expected.pt")]
    subprocess.run([sys.executable, "-c", LOAD_PACKAGE, *arguments], check=True, timeout=120)


def op_library() -> str:
    """The shared object that registers the ops, and knows nothing of Python."""
    paths = [
        path for path in torch.ops.loaded_libraries if "torch_conv1d" in Path(path).parent.name
    ]
    (path,) = map(str, paths)
    return path


def test_symbolic_trace() -> None:
    model = network()
    traced = torch.fx.symbolic_trace(model)
    x = network_input()
    assert torch.equal(traced(x), model(x))

    def function(x: Tensor, w: Tensor) -> Tensor:
        return conv1d(x, w, stride=2, padding=(1, 0))

    w = torch.randn(2, 4, 3, dtype=torch.double)
    assert torch.equal(torch.fx.symbolic_trace(function)(x, w), function(x, w))


@pytest.mark.parametrize("mode", ["real", "fake", "symbolic"])
def test_make_fx(mode: Literal["real", "fake", "symbolic"]) -> None:
    """The graph holds the two private ops and no convolution of torch."""
    layer = LAYERS[1]
    operands = layer.operands()

    step = grad(lambda *t: layer.ours(*t).square().sum(), (0, 1, 2))
    graph = make_fx(step, tracing_mode=mode)(*operands)
    targets = [str(node.target) for node in graph.graph.nodes]
    assert targets.count("torch_conv1d._conv1d.default") == 1
    assert targets.count("torch_conv1d._conv1d_backward.default") == 1
    assert not any("convolution" in target for target in targets)
    assert_same(graph(*operands), step(*operands))


def test_functionalize() -> None:
    layer = LAYERS[1]
    operands = layer.operands()

    def mutating(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        y = layer.ours(x, w, b)
        y.mul_(2).relu_()
        return layer.ours(x + y.mean(), w, b)

    assert_same(functionalize(mutating)(*operands), mutating(*operands))
    graph = make_fx(functionalize(mutating))(*operands)
    assert not any(
        str(node.target).endswith(("_.default", "_.Scalar")) for node in graph.graph.nodes
    )
    assert_same(graph(*operands), mutating(*operands))
