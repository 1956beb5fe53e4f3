"""torch.compile: inference, training, dynamic shapes, compiled autograd, transforms inside."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from layers import (
    LAYERS,
    Layer,
    assert_same,
    each_layer,
    gradients,
    network,
    network_input,
)
from torch import Tensor
from torch.func import grad, vmap

from torch_conv1d import conv1d

pytestmark = [
    # Compilers warn about themselves, and import parts of torch that do.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]


@pytest.fixture(autouse=True)
def fresh_compiler() -> Iterator[None]:
    torch.compiler.reset()
    yield
    torch.compiler.reset()


@each_layer
def test_compiled_function(layer: Layer) -> None:
    compiled = torch.compile(layer.ours, fullgraph=True, backend="aot_eager")
    operands = layer.operands()
    assert torch.equal(compiled(*operands), layer.ours(*operands))
    operands = layer.operands(requires_grad=True)
    assert_same(gradients(compiled, operands), gradients(layer.ours, operands))


@pytest.mark.parametrize("channels_last", [False, True])
def test_compiled_network_with_inductor(channels_last: bool) -> None:
    model = network(channels_last=channels_last)
    compiled = torch.compile(model, fullgraph=True)
    x = network_input(channels_last=channels_last)
    with torch.no_grad():
        assert_same(compiled(x), model(x))

    x.requires_grad_()
    operands = (x, *model.parameters())
    expected = torch.autograd.grad(model(x).square().sum(), operands)
    assert_same(torch.autograd.grad(compiled(x).square().sum(), operands), expected)


def test_compiled_training_follows_eager() -> None:
    def losses(*, compile: bool) -> list[float]:
        model = network()
        step = torch.compile(model, fullgraph=True, backend="aot_eager") if compile else model
        optimizer = torch.optim.AdamW(model.parameters(), 0.01)
        x = network_input(4, 20, channels_last=False).sin()
        found = []
        for _ in range(5):
            optimizer.zero_grad()
            loss = (step(x) - 1).square().mean()
            loss.backward()
            optimizer.step()
            found.append(loss.item())
        return found

    torch.manual_seed(0)
    eager = losses(compile=False)
    torch.manual_seed(0)
    assert_same(losses(compile=True), eager)
    assert eager[-1] < eager[0]


def counted_graphs() -> tuple[Callable[..., Any], list[torch.fx.GraphModule]]:
    """A backend that runs the graph as it is, and the graphs it was given."""
    graphs: list[torch.fx.GraphModule] = []

    def backend(graph: torch.fx.GraphModule, _: list[Any]) -> Any:
        graphs.append(graph)
        return graph.forward

    return backend, graphs


def test_dynamic_shapes() -> None:
    """One graph for every batch size and length."""
    backend, graphs = counted_graphs()
    model = network()
    compiled = torch.compile(model, fullgraph=True, dynamic=True, backend=backend)
    for n, length in ((2, 17), (3, 18), (5, 64), (7, 129)):
        x = network_input(n, length)
        assert torch.equal(compiled(x), model(x))
    assert len(graphs) == 1


def test_dynamic_shapes_with_inductor() -> None:
    model = network()
    compiled = torch.compile(model, fullgraph=True, dynamic=True)
    for n, length in ((2, 17), (3, 18), (5, 64)):
        x = network_input(n, length).requires_grad_()
        operands = (x, *model.parameters())
        expected = torch.autograd.grad(model(x).square().sum(), operands)
        assert_same(torch.autograd.grad(compiled(x).square().sum(), operands), expected)


def test_marked_dynamic() -> None:
    """mark_dynamic raises if anything in between turns the size into a constant."""
    model = network()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    for n, length in ((3, 33), (6, 70)):
        x = network_input(n, length).requires_grad_()
        torch._dynamo.mark_dynamic(x, 0, min=2, max=64)
        torch._dynamo.mark_dynamic(x, 2, min=12, max=512)
        assert_same(compiled(x), model(x))


@each_layer
def test_dynamic_everything(layer: Layer) -> None:
    """Channels and kernel size unknown as well."""
    compiled = torch.compile(layer.ours, fullgraph=True, dynamic=True, backend="aot_eager")
    operands = layer.operands(requires_grad=True)
    assert_same(gradients(compiled, operands), gradients(layer.ours, operands))


def test_dynamic_arguments() -> None:
    """Stride, padding and dilation as symbols."""

    @torch.compile(fullgraph=True, dynamic=True, backend="aot_eager")
    def strided(x: Tensor, w: Tensor, stride: int, padding: int, dilation: int) -> Tensor:
        return conv1d(x, w, None, stride, (padding, 2 * padding), dilation)

    x, w = torch.randn(2, 3, 40), torch.randn(4, 3, 3)
    for stride, padding, dilation in ((2, 3, 4), (3, 5, 2), (5, 7, 9)):
        expected = conv1d(x, w, None, stride, (padding, 2 * padding), dilation)
        assert torch.equal(strided(x, w, stride, padding, dilation), expected)


def test_compiled_without_kernels_of_our_own() -> None:
    def complex_conv(x: Tensor, w: Tensor) -> Tensor:
        return conv1d(x, w, padding="same", padding_mode="circular")

    x, w = torch.randn(2, 3, 9, dtype=torch.cfloat), torch.randn(4, 3, 3, dtype=torch.cfloat)
    compiled = torch.compile(complex_conv, fullgraph=True, backend="aot_eager")
    assert_same(compiled(x, w), complex_conv(x, w))


@pytest.mark.parametrize("compile_forward", [False, True])
def test_compiled_autograd(compile_forward: bool) -> None:
    model = network()
    x = network_input().requires_grad_()
    expected = gradients(model, (x,))
    forward = (
        torch.compile(model, fullgraph=True, backend="aot_eager") if compile_forward else model
    )
    y = forward(x).square().sum()
    with torch._dynamo.compiled_autograd._enable(
        torch.compile(backend="aot_eager", fullgraph=True)
    ):
        y.backward()
    assert_same((x.grad,), expected)


def test_compiled_transforms() -> None:
    """Other ways to register an op lose these gradients, silently (torch 2.13)."""
    layer = LAYERS[1]
    x, w, b = layer.operands()
    xs = torch.stack([x, 2 * x, x.sin()])

    def per_sample(x: Tensor) -> Any:
        return grad(lambda w, b: layer.ours(x, w, b).square().sum(), (0, 1))(w, b)

    mapped = vmap(per_sample)
    compiled = torch.compile(mapped, fullgraph=True, backend="aot_eager")
    assert_same(compiled(xs), mapped(xs))

    def curvature(w: Tensor) -> Any:
        slope = grad(lambda w: layer.ours(x, w, b).square().sum())
        return grad(lambda w: slope(w).square().sum())(w)

    assert_same(torch.compile(curvature, fullgraph=True, backend="aot_eager")(w), curvature(w))


def test_compiled_error_is_the_eager_one() -> None:
    compiled = torch.compile(conv1d, backend="aot_eager")
    with pytest.raises(Exception, match="groups"):
        compiled(torch.ones(2, 4, 9), torch.ones(6, 4, 3), groups=3)
