"""Conv1dFunction: the same kernels as a plain torch.autograd.Function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from layers import GRID, LAYERS, OPERANDS, Layer, assert_same, each_layer, gradients, subsets
from problems import each_device
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.func import grad, vmap

from torch_conv1d import Conv1dFunction, conv1d

pytestmark = each_device

function: Callable[..., Tensor] = Conv1dFunction.apply


def apply(layer: Layer, x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
    a = layer.arguments
    names = ("stride", "padding", "dilation", "groups", "padding_mode", "channels_last")
    return function(x, w, b, *(a[name] for name in names))


def assert_same_bits(
    actual: tuple[Tensor | None, ...], expected: tuple[Tensor | None, ...]
) -> None:
    for a, e in zip(actual, expected, strict=True):
        if a is None or e is None:
            assert a is e
        else:
            assert torch.equal(a, e)
            assert a.stride() == e.stride()


@pytest.mark.parametrize("layer", LAYERS + GRID, ids=str)
def test_agrees_bit_for_bit(layer: Layer, dtype: torch.dtype) -> None:
    operands = layer.operands(dtype, requires_grad=True)
    ours, functions = layer.ours(*operands), apply(layer, *operands)
    grad_y = torch.randn_like(ours)
    assert_same_bits((functions,), (ours,))
    assert_same_bits(
        torch.autograd.grad(functions, operands, grad_y),
        torch.autograd.grad(ours, operands, grad_y),
    )


@each_layer
def test_second_derivative_agrees_bit_for_bit(layer: Layer) -> None:
    def second(call: Any) -> tuple[Tensor, ...]:
        operands = layer.operands(requires_grad=True)
        first = torch.autograd.grad(call(*operands).square().sum(), operands, create_graph=True)
        return gradients(lambda *_: torch.cat([g.flatten() for g in first]), operands)

    assert_same_bits(second(lambda *t: apply(layer, *t)), second(layer.ours))


@each_layer
def test_gradcheck(layer: Layer) -> None:
    operands = layer.operands(requires_grad=True)
    gradcheck(
        lambda *t: apply(layer, *t), operands, check_undefined_grad=True, check_batched_grad=True
    )
    gradgradcheck(lambda *t: apply(layer, *t), operands)
    gradcheck(lambda *t: apply(layer, *t), operands[:2])


@each_layer
@pytest.mark.parametrize("names", subsets(OPERANDS), ids="_".join)
def test_any_subset_requires_grad(layer: Layer, names: tuple[str, ...]) -> None:
    operands = tuple(
        t.requires_grad_(name in names) for name, t in zip(OPERANDS, layer.operands(), strict=True)
    )
    gradcheck(lambda *t: apply(layer, *t), operands, fast_mode=True)
    apply(layer, *operands).sum().backward()
    assert [t.grad is not None for t in operands] == [name in names for name in OPERANDS]


@each_layer
@pytest.mark.parametrize("names", subsets(OPERANDS), ids="_".join)
def test_vmap(layer: Layer, names: tuple[str, ...]) -> None:
    operands = [
        torch.stack([t, 2 * t, t.cos()]) if name in names else t
        for name, t in zip(OPERANDS, layer.operands(), strict=True)
    ]
    in_dims = tuple(0 if name in names else None for name in OPERANDS)

    def slope(call: Any) -> Any:
        return grad(lambda *t: call(*t).square().sum(), (0, 1, 2))

    assert_same(
        vmap(lambda *t: apply(layer, *t), in_dims)(*operands),
        vmap(layer.theirs, in_dims)(*operands),
    )
    assert_same(
        vmap(slope(lambda *t: apply(layer, *t)), in_dims)(*operands),
        vmap(slope(layer.theirs), in_dims)(*operands),
    )


def test_trailing_arguments_have_defaults() -> None:
    x, w, b = LAYERS[0].operands()
    assert torch.equal(function(x, w), conv1d(x, w))
    assert torch.equal(function(x, w, b, 2, 1), conv1d(x, w, b, 2, 1))


@pytest.mark.parametrize("padding", ["causal", "same", "valid", (2,), [0, 3], 1], ids=str)
@pytest.mark.parametrize("mode", ["zeros", "circular"])
def test_every_spelling_of_an_argument(padding: Any, mode: str) -> None:
    operands = LAYERS[0].operands(requires_grad=True)
    expected = conv1d(*operands, (1,), padding, [2], padding_mode=mode)
    actual = function(*operands, (1,), padding, [2], 1, mode)
    assert_same_bits((actual,), (expected,))
    grad_y = torch.randn_like(expected)
    assert_same_bits(
        torch.autograd.grad(actual, operands, grad_y),
        torch.autograd.grad(expected, operands, grad_y),
    )


@pytest.mark.parametrize("padding", [2, (2, 0)], ids=str)
@pytest.mark.parametrize("channels_last", [False, True])
def test_unbatched(padding: Any, channels_last: bool) -> None:
    x, w, b = LAYERS[0].operands(requires_grad=True)
    x = (x[0].T if channels_last else x[0]).detach().requires_grad_()

    arguments = (1, padding, 1, 1, "zeros", channels_last)
    expected = conv1d(x, w, b, 1, padding, channels_last=channels_last)
    assert torch.equal(function(x, w, b, *arguments), expected)
    gradcheck(lambda *t: function(*t, *arguments), (x, w, b))


@pytest.mark.parametrize(
    ("arguments", "name"), [((0,), "stride"), ((1, "full"), "padding"), ((1, (1, 2, 3)), "padding")]
)
def test_wrong_call_is_refused(arguments: tuple[Any, ...], name: str) -> None:
    x, w, b = LAYERS[0].operands()
    with pytest.raises(RuntimeError, match=name):
        function(x, w, b, *arguments)


def test_is_a_function() -> None:
    assert issubclass(Conv1dFunction, torch.autograd.Function)
    y = apply(LAYERS[0], *LAYERS[0].operands(requires_grad=True))
    assert y.grad_fn is not None
    assert "Conv1dFunction" in y.grad_fn.name()
