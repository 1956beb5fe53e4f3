"""torch.func: vmap over any operands, derivatives of every mode, and their compositions."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from layers import LAYERS, OPERANDS, Layer, assert_same, each_layer, of_batch, subsets
from problems import each_device
from torch import Tensor, nn
from torch.func import (
    functional_call,
    grad,
    grad_and_value,
    hessian,
    jacfwd,
    jacrev,
    jvp,
    linearize,
    stack_module_state,
    vjp,
    vmap,
)

from torch_conv1d import Conv1d, conv1d

BATCH = 3


def batched(layer: Layer, names: tuple[str, ...], dim: int = 0) -> list[Tensor]:
    """Operands of which `names` have one more dimension, of BATCH elements, at `dim`."""
    return [
        torch.stack([t * (i + 1) + i for i in range(BATCH)], dim) if name in names else t
        for name, t in zip(OPERANDS, layer.operands(), strict=True)
    ]


def one_by_one(
    function: Callable[..., Tensor],
    operands: list[Tensor],
    in_dims: tuple[int | None, ...],
    out_dim: int = 0,
) -> Tensor:
    """vmap written as a loop."""
    rows = [
        [t if dim is None else t.select(dim, i) for t, dim in zip(operands, in_dims, strict=True)]
        for i in range(BATCH)
    ]
    return torch.stack([function(*row) for row in rows], out_dim)


@each_device
@each_layer
@pytest.mark.parametrize("names", subsets(OPERANDS), ids="_".join)
@pytest.mark.parametrize("dim", [0, 1, -1])
def test_vmap_over_any_operands(layer: Layer, names: tuple[str, ...], dim: int) -> None:
    operands = batched(layer, names, dim)
    in_dims = tuple(dim if name in names else None for name in OPERANDS)
    result = vmap(layer.ours, in_dims, out_dims=dim)(*operands)
    assert_same(result, one_by_one(layer.theirs, operands, in_dims, out_dim=dim))


@each_device
@each_layer
@pytest.mark.parametrize("names", subsets(OPERANDS[:2]), ids="_".join)
def test_vmap_without_bias(layer: Layer, names: tuple[str, ...]) -> None:
    x, w, _ = batched(layer, names)
    in_dims = tuple(0 if name in names else None for name in OPERANDS[:2])
    assert_same(vmap(layer.ours, in_dims)(x, w), one_by_one(layer.theirs, [x, w], in_dims))


@each_device
@each_layer
def test_vmap_of_unbatched_inputs(layer: Layer) -> None:
    """A batch dimension of one's own, or vmap over it: the same."""
    x, w, b = layer.operands()
    assert_same(vmap(layer.ours, (0, None, None))(x, w, b), layer.theirs(x, w, b))


@each_device
@each_layer
def test_vmap_in_vmap(layer: Layer) -> None:
    x, w, b = layer.operands()
    xs = torch.stack([torch.stack([x, -x]), torch.stack([2 * x, x * x]), torch.stack([x + 1, x])])
    ws = torch.stack([w, 2 * w])
    result = vmap(vmap(layer.ours, (0, 0, None)), (0, None, None))(xs, ws, b)
    rows = [
        torch.stack([layer.theirs(x, w, b) for x, w in zip(row, ws, strict=True)]) for row in xs
    ]
    assert_same(result, torch.stack(rows))


@each_device
def test_vmap_in_chunks_and_of_nothing() -> None:
    layer = LAYERS[1]
    operands = batched(layer, ("input", "weight"))
    in_dims = (0, 0, None)
    expected = one_by_one(layer.theirs, operands, in_dims)
    assert_same(vmap(layer.ours, in_dims, chunk_size=2)(*operands), expected)
    x, w, b = operands
    nothing = vmap(layer.ours, (0, None, None))(x[:0], w[0], b)
    assert nothing.shape == (0, *expected.shape[1:])


def test_vmap_with_random_weights() -> None:
    layer = LAYERS[0]
    x, w, b = layer.operands()

    def perturbed(x: Tensor) -> Tensor:
        return layer.ours(x, w + torch.randn_like(w), b)

    same = vmap(perturbed, randomness="same")(torch.stack([x, x]))
    different = vmap(perturbed, randomness="different")(torch.stack([x, x]))
    assert torch.equal(same[0], same[1])
    assert not torch.equal(different[0], different[1])


def derivatives_of(function: Callable[..., Tensor]) -> dict[str, Callable[..., Any]]:
    """Every transform, as a function of (x, w, b)."""

    def loss(*operands: Tensor) -> Tensor:
        return function(*operands).sin().sum()

    def directional(*operands: Tensor) -> Any:
        return jvp(function, operands, tuple(t.cos() for t in operands))

    def pulled_back(*operands: Tensor) -> Any:
        y, pullback, *_ = vjp(function, *operands)
        return y, pullback(y.cos())

    everything = (0, 1, 2)
    return {
        "grad": grad(loss, everything),
        "grad_and_value": grad_and_value(loss, everything),
        "vjp": pulled_back,
        "jvp": directional,
        "jacrev": jacrev(function, everything),
        "jacrev_in_chunks": jacrev(function, everything, chunk_size=5),
        "jacfwd": jacfwd(function, everything),
        "hessian": hessian(loss, everything),
        "jacrev_of_grad": jacrev(grad(loss, everything), everything),
        "jacfwd_of_jacfwd": jacfwd(jacfwd(loss, everything), everything),
        "grad_of_jvp": grad(lambda *t: directional(*t)[1].square().sum(), everything),
        "jvp_of_grad": lambda *t: jvp(grad(loss, everything), t, tuple(s.cos() for s in t)),
        "jvp_of_jvp": lambda *t: jvp(lambda *s: directional(*s)[1], t, tuple(s.cos() for s in t)),
        "grad_of_grad_of_grad": grad(
            lambda *t: grad(lambda *s: grad(loss)(*s).square().sum(), 1)(*t).square().sum(),
            everything,
        ),
    }


@each_device
@each_layer
@pytest.mark.parametrize("transform", derivatives_of(torch.add))
def test_derivative(layer: Layer, transform: str) -> None:
    operands = of_batch(layer, 1).operands()
    ours = derivatives_of(layer.ours)[transform](*operands)
    assert_same(ours, derivatives_of(layer.theirs)[transform](*operands))


# torch warns about the graph that linearize makes.
@each_device
@pytest.mark.filterwarnings("ignore:Attempted to insert a get_attr Node:UserWarning")
@each_layer
def test_linearize(layer: Layer) -> None:
    """Against jvp: torch's own linearize is wrong where torch pads a circular input (2.13)."""
    operands = layer.operands()
    y, pushforward = linearize(layer.ours, *operands)
    for tangents in (tuple(t.cos() for t in operands), tuple(t.sin() for t in operands)):
        expected = jvp(layer.theirs, operands, tangents)
        assert_same((y, pushforward(*tangents)), expected)


@each_device
@each_layer
@pytest.mark.parametrize("names", subsets(OPERANDS), ids="_".join)
@pytest.mark.parametrize(
    "transform", ["grad", "jvp", "vjp", "jacrev", "jacfwd", "jvp_of_grad", "grad_of_jvp"]
)
def test_vmap_of_derivative(layer: Layer, names: tuple[str, ...], transform: str) -> None:
    """Forward, backward and their derivatives with any subset of the operands batched."""
    layer = of_batch(layer, 1)
    operands = batched(layer, names)
    in_dims = tuple(0 if name in names else None for name in OPERANDS)
    ours = vmap(derivatives_of(layer.ours)[transform], in_dims)(*operands)
    theirs = vmap(derivatives_of(layer.theirs)[transform], in_dims)(*operands)
    assert_same(ours, theirs)


@each_device
@each_layer
@pytest.mark.parametrize("transform", ["grad", "jvp", "jvp_of_grad"])
def test_derivative_of_vmap(layer: Layer, transform: str) -> None:
    operands = batched(of_batch(layer, 1), OPERANDS)
    ours = derivatives_of(vmap(layer.ours))[transform](*operands)
    assert_same(ours, derivatives_of(vmap(layer.theirs))[transform](*operands))


@each_device
@pytest.mark.parametrize("position", range(3), ids=OPERANDS)
def test_derivative_in_one_operand(position: int) -> None:
    for layer in LAYERS:
        operands = layer.operands()
        for transform in (jacrev, jacfwd):
            ours = transform(layer.ours, position)(*operands)
            assert_same(ours, transform(layer.theirs, position)(*operands))


@each_device
def test_operands_that_require_grad_keep_it_through_transforms() -> None:
    """torch.func inside, torch.autograd outside."""
    for layer in LAYERS:

        def outer(function: Callable[..., Tensor], layer: Layer = layer) -> tuple[Tensor, ...]:
            x, w, b = layer.operands(requires_grad=True)
            inner = grad(lambda x: function(x, w, b).square().sum())(x)
            tangent = jvp(lambda w: function(x, w, b), (w,), (w * w,))[1]
            return torch.autograd.grad((inner.square().sum() + tangent.square().sum()), (x, w))

        assert_same(outer(layer.ours), outer(layer.theirs))


class Tagger(nn.Module):
    """Two convolutions and something after them."""

    def __init__(self, convolution: Callable[..., nn.Conv1d], **kwargs: Any) -> None:
        super().__init__()
        self.first = convolution(
            3, 6, 3, padding="same", padding_mode="replicate", dtype=torch.double
        )
        self.second = convolution(6, 4, 3, stride=2, groups=2, dtype=torch.double)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.second(torch.tanh(self.first(x)))
        return y.mean(-1)


def taggers(seed: int = 0) -> tuple[Tagger, Tagger]:
    """The same network twice: ours and torch's."""
    torch.manual_seed(seed)
    theirs = Tagger(nn.Conv1d)
    ours = Tagger(Conv1d)
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def test_per_sample_gradients() -> None:
    x, target = torch.randn(5, 3, 11, dtype=torch.double), torch.tensor([0, 3, 1, 2, 2])

    def per_sample(model: nn.Module) -> Any:
        parameters = {k: v.detach() for k, v in model.named_parameters()}

        def loss(parameters: dict[str, Tensor], x: Tensor, target: Tensor) -> Tensor:
            logits = functional_call(model, parameters, (x[None],))
            return nn.functional.cross_entropy(logits, target[None])

        return vmap(grad(loss), (None, 0, 0))(parameters, x, target)

    ours, theirs = taggers()
    found = per_sample(ours)
    assert_same(found, per_sample(theirs))

    nn.functional.cross_entropy(ours(x), target, reduction="sum").backward()
    total = {k: v.grad for k, v in ours.named_parameters()}
    assert_same({k: v.sum(0) for k, v in found.items()}, total)


def test_ensemble() -> None:
    models = [taggers(seed)[0] for seed in range(4)]
    parameters, buffers = stack_module_state(models)
    skeleton = copy.deepcopy(models[0]).to("meta")
    x = torch.randn(5, 3, 11, dtype=torch.double)

    def call(parameters: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor) -> Any:
        return functional_call(skeleton, (parameters, buffers), (x,))

    assert_same(
        vmap(call, (0, 0, None))(parameters, buffers, x), torch.stack([m(x) for m in models])
    )

    def loss(parameters: dict[str, Tensor], x: Tensor) -> Tensor:
        y: Tensor = call(parameters, {}, x)
        return y.square().sum()

    detached = {k: v.detach() for k, v in parameters.items()}
    gradients = vmap(grad(loss), (0, None))(detached, x)
    for i, model in enumerate(models):
        model.zero_grad()
        model(x).square().sum().backward()
        assert_same(
            {k: v[i] for k, v in gradients.items()},
            {k: v.grad for k, v in model.named_parameters()},
        )


def test_functional_call_and_jacobian_of_a_network() -> None:
    ours, theirs = taggers()
    x = torch.randn(3, 11, dtype=torch.double)
    parameters = dict(ours.named_parameters())

    def jacobians(model: nn.Module, transform: Callable[..., Any]) -> Any:
        return transform(lambda p: functional_call(model, p, (x,)))(parameters)

    expected = jacobians(theirs, jacrev)
    assert_same(jacobians(ours, jacrev), expected)
    assert_same(jacobians(ours, jacfwd), expected)


@pytest.mark.parametrize("dtype", [torch.complex128, torch.int64], ids=str)
def test_vmap_of_a_dtype_without_kernels(dtype: torch.dtype) -> None:
    x = torch.arange(2 * 3 * 2 * 8).reshape(2, 3, 2, 8).to(dtype)
    w = torch.arange(2 * 4 * 2 * 3).reshape(2, 4, 2, 3).to(dtype)
    expected = torch.stack(
        [nn.functional.conv1d(*pair, padding=1) for pair in zip(x, w, strict=True)]
    )
    assert_same(vmap(lambda x, w: conv1d(x, w, padding=1))(x, w), expected)
