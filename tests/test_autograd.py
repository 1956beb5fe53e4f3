"""Derivatives of every order, in both modes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import problems
import pytest
import torch
import torch.autograd.forward_ad as fwAD
from layers import (
    GRID,
    LAYERS,
    OPERANDS,
    Layer,
    assert_same,
    each_layer,
    requiring,
    subsets,
)
from problems import each_device
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from torch_conv1d import conv1d

pytestmark = each_device


@pytest.mark.parametrize("layer", LAYERS + GRID, ids=str)
def test_first_derivative(layer: Layer) -> None:
    gradcheck(
        layer.ours,
        layer.operands(requires_grad=True),
        check_forward_ad=True,
        check_batched_grad=True,
        check_batched_forward_grad=True,
        check_undefined_grad=True,
    )


@each_layer
def test_second_derivative(layer: Layer) -> None:
    operands = layer.operands(requires_grad=True)
    gradgradcheck(
        layer.ours,
        operands,
        check_batched_grad=True,
        check_undefined_grad=True,
        check_fwd_over_rev=True,
    )


@pytest.mark.parametrize("layer", GRID, ids=str)
def test_second_derivative_of_the_grid(layer: Layer) -> None:
    operands = layer.operands(requires_grad=True)
    gradgradcheck(layer.ours, operands, check_fwd_over_rev=True, fast_mode=True)


@each_layer
@pytest.mark.parametrize("names", subsets(OPERANDS), ids="_".join)
def test_any_subset_requires_grad(layer: Layer, names: tuple[str, ...]) -> None:
    operands = requiring(layer, names)
    gradcheck(layer.ours, operands, check_forward_ad=True, fast_mode=True)
    gradgradcheck(layer.ours, operands, check_fwd_over_rev=True, fast_mode=True)

    y = layer.ours(*operands)
    y.sum().backward()
    assert [t.grad is not None for t in operands] == [name in names for name in OPERANDS]


@each_layer
def test_without_bias(layer: Layer) -> None:
    x, w, _ = layer.operands(requires_grad=True)
    gradcheck(layer.ours, (x, w), check_forward_ad=True)
    gradgradcheck(layer.ours, (x, w), check_fwd_over_rev=True)


@each_layer
def test_unbatched(layer: Layer) -> None:
    x, w, b = layer.operands(requires_grad=True)
    operands = (x[0].detach().requires_grad_(), w, b)
    gradcheck(layer.ours, operands, check_forward_ad=True)
    gradgradcheck(layer.ours, operands, check_fwd_over_rev=True, fast_mode=True)


@each_layer
def test_operands_of_any_strides(layer: Layer) -> None:
    """Gradients of views: every second element, one row for the whole batch, turned memory."""
    x, w, b = layer.operands()
    n = layer.problem.n
    x_twice = torch.stack([x, -x], -1).requires_grad_()
    x_once = x[:1].clone().requires_grad_()
    w_turned = w.permute(2, 0, 1).contiguous().requires_grad_()
    b_once = b[:1].clone().requires_grad_()

    gradcheck(lambda t: layer.ours(t[..., 0], w, b), x_twice)
    gradcheck(lambda t: layer.ours(t.expand(n, -1, -1), w, b), x_once)
    gradcheck(lambda t: layer.ours(x, t.permute(1, 2, 0), b), w_turned)
    gradcheck(lambda t: layer.ours(x, w, t.expand_as(b)), b_once)


@each_layer
def test_incoming_gradient_of_any_strides(layer: Layer) -> None:
    operands = layer.operands(requires_grad=True)
    y, expected = layer.ours(*operands), layer.theirs(*operands)
    grad_y = torch.randn_like(y)
    for incoming in (
        y.new_ones(()).expand_as(y),
        grad_y[:, :1].expand_as(y),
        grad_y.transpose(1, 2).contiguous().transpose(1, 2),
        torch.stack([grad_y, -grad_y], -1)[..., 0],
        grad_y.flip(0)[torch.arange(len(y)).flip(0)],
    ):
        assert_same(
            torch.autograd.grad(y, operands, incoming, retain_graph=True),
            torch.autograd.grad(expected, operands, incoming, retain_graph=True),
        )


@pytest.mark.parametrize("requires_grad", [False, True])
@pytest.mark.parametrize("names", subsets(OPERANDS), ids="_".join)
@each_layer
def test_tangents(layer: Layer, names: tuple[str, ...], requires_grad: bool) -> None:
    """Forward mode with tangents on any subset, whether or not anything is recorded for backward.

    The expectation is the product rule, not another implementation of forward mode.
    """
    x, w, b = primals = layer.operands(requires_grad=requires_grad)
    dx, dw, db = (
        torch.randn_like(t) if name in names else None
        for name, t in zip(OPERANDS, primals, strict=True)
    )
    expected = torch.zeros_like(layer.theirs(x, w))
    if dx is not None:
        expected = expected + layer.theirs(dx, w)
    if dw is not None:
        expected = expected + layer.theirs(x, dw)
    if db is not None:
        expected = expected + (db if layer.channels_last else db[:, None])

    with fwAD.dual_level():
        duals = (
            t if d is None else fwAD.make_dual(t, d)
            for t, d in zip(primals, (dx, dw, db), strict=True)
        )
        primal, tangent = fwAD.unpack_dual(layer.ours(*duals))
    assert_same(primal, layer.theirs(x, w, b))
    assert_same(tangent, expected)
    if names != ("bias",):
        assert tangent.requires_grad == requires_grad


@pytest.mark.parametrize("grad_mode", [torch.no_grad, torch.enable_grad])
def test_tangents_do_not_depend_on_grad_mode(
    grad_mode: Callable[[], torch.autograd.grad_mode.no_grad],
) -> None:
    layer = LAYERS[1]
    x, w, b = layer.operands()
    with grad_mode(), fwAD.dual_level():
        tangent = fwAD.unpack_dual(layer.ours(fwAD.make_dual(x, x), w, b)).tangent
    assert_same(tangent, layer.theirs(x, w))


@each_layer
def test_third_derivative(layer: Layer) -> None:
    def third(function: Callable[..., Tensor]) -> list[tuple[Tensor, ...]]:
        operands = layer.operands(requires_grad=True)
        derivatives = [function(*operands).sin()]
        found = []
        for order in range(3):
            grads = torch.autograd.grad(derivatives[-1].sum(), operands, create_graph=order < 2)
            found.append(grads)
            derivatives.append(sum((g.square().sum() for g in grads), start=torch.zeros(())))
        return found

    assert_same(third(layer.ours), third(layer.theirs))


def test_undefined_gradients_of_the_derivative() -> None:
    """Second derivatives where only some of the first ones are used."""
    layer = LAYERS[1]
    for used in range(3):

        def second(function: Callable[..., Tensor], used: int = used) -> tuple[Tensor | None, ...]:
            operands = layer.operands(requires_grad=True)
            first = torch.autograd.grad(
                function(*operands).square().sum(), operands, create_graph=True
            )
            return torch.autograd.grad(first[used].square().sum(), operands, allow_unused=True)

        assert_same(second(layer.ours), second(layer.theirs))


@pytest.mark.parametrize("shape", [(0, 4, 9), (2, 4, 0), (2, 0, 9)], ids=str)
@pytest.mark.parametrize("channels_last", [False, True])
def test_empty_operands(shape: tuple[int, int, int], channels_last: bool) -> None:
    """Gradients of nothing are zeros of the right shape, never uninitialised memory."""
    on_device: Any = {"dtype": torch.float64, "device": problems.device}
    x = torch.randn(shape, **on_device)
    x = (x.transpose(1, 2) if channels_last else x).requires_grad_()
    w = torch.randn(6, shape[1], 3, **on_device, requires_grad=True)
    b = torch.randn(6, **on_device, requires_grad=True)
    y = conv1d(x, w, b, padding=2, channels_last=channels_last)
    channels_first = y.transpose(1, 2) if channels_last else y
    assert channels_first.shape == (shape[0], 6, shape[2] + 2)
    grad_x, grad_w, grad_b = torch.autograd.grad(y.sum(), (x, w, b))
    assert torch.equal(
        grad_x, torch.einsum("ock->c", w).expand(shape[0], shape[2], -1).reshape_as(x)
    )
    assert torch.equal(grad_w, torch.zeros_like(w))
    assert_same(grad_b, torch.full_like(b, shape[0] * (shape[2] + 2)))


@pytest.mark.parametrize("batched", [0, 1])
def test_batched_direction_of_one_operand(batched: int) -> None:
    """Both products of the second derivative are added, of which one alone may have a batch."""
    layer = LAYERS[1]
    x, w, _ = layer.operands(requires_grad=True)
    y = layer.ours(x, w)
    grad_y = torch.randn_like(y, requires_grad=True)
    first = torch.autograd.grad(y, (x, w), grad_y, create_graph=True)
    directions = [torch.randn_like(x), torch.randn_like(w)]
    batch = torch.randn(3, *directions[batched].shape).to(x)

    def along(direction: Tensor) -> Tensor:
        outputs = [*directions]
        outputs[batched] = direction
        return torch.autograd.grad(first, grad_y, outputs, retain_graph=True)[0]

    assert_same(torch.vmap(along)(batch), torch.stack([along(d) for d in batch]))
