"""Derivatives of every order and mode, and what autograd promises besides numbers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import pytest
import torch
import torch.autograd.forward_ad as fwAD
from layers import GRID, LAYERS, Layer, assert_same, layers, subsets
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.utils.checkpoint import checkpoint

from torch_conv1d import conv1d

OPERANDS = ("input", "weight", "bias")


def without(layer: Layer, names: tuple[str, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """Operands of which only `names` require a gradient."""
    named = zip(OPERANDS, layer.operands(), strict=True)
    return tuple(t.requires_grad_(name in names) for name, t in named)


def all_the_gradients(
    function: Callable[..., Tensor], operands: tuple[Tensor, ...]
) -> tuple[Tensor, ...]:
    """Of a loss that is not linear, so that the incoming gradient is neither constant nor expanded."""
    return torch.autograd.grad(function(*operands).square().sum(), operands)


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


@pytest.mark.parametrize("layer", LAYERS, ids=str)
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


@pytest.mark.parametrize("layer", LAYERS, ids=str)
@pytest.mark.parametrize("names", subsets(OPERANDS), ids="_".join)
def test_any_subset_requires_grad(layer: Layer, names: tuple[str, ...]) -> None:
    operands = without(layer, names)
    gradcheck(layer.ours, operands, check_forward_ad=True, fast_mode=True)
    gradgradcheck(layer.ours, operands, check_fwd_over_rev=True, fast_mode=True)

    y = layer.ours(*operands)
    y.sum().backward()
    assert [t.grad is not None for t in operands] == [name in names for name in OPERANDS]


@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_without_bias(layer: Layer) -> None:
    x, w, _ = layer.operands(requires_grad=True)
    gradcheck(layer.ours, (x, w), check_forward_ad=True)
    gradgradcheck(layer.ours, (x, w), check_fwd_over_rev=True)


@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_unbatched(layer: Layer) -> None:
    x, w, b = layer.operands(requires_grad=True)
    operands = (x[0].detach().requires_grad_(), w, b)
    gradcheck(layer.ours, operands, check_forward_ad=True)
    gradgradcheck(layer.ours, operands, check_fwd_over_rev=True, fast_mode=True)


@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_operands_of_any_strides(layer: Layer) -> None:
    """Gradients of views: every second element, a row repeated for the whole batch, memory in another order."""
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


@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_incoming_gradient_of_any_strides(layer: Layer) -> None:
    operands = layer.operands(requires_grad=True)
    y, expected = layer.ours(*operands), layer.theirs(*operands)
    grad_y = torch.randn_like(y)
    for incoming in (
        torch.ones((), dtype=y.dtype).expand_as(y),
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
@pytest.mark.parametrize("layer", LAYERS, ids=str)
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


@pytest.mark.parametrize("layer", LAYERS, ids=str)
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


@contextmanager
def saved_tensors() -> Iterator[list[Tensor]]:
    """The tensors that are saved for backward inside the block."""
    saved: list[Tensor] = []

    def pack(t: Tensor) -> Tensor:
        saved.append(t)
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        yield saved


@pytest.mark.parametrize("layer", LAYERS, ids=str)
@pytest.mark.parametrize("names", [*subsets(OPERANDS)], ids="_".join)
def test_an_operand_is_saved_only_for_the_gradient_of_the_other(
    layer: Layer, names: tuple[str, ...]
) -> None:
    x, w, b = without(layer, names)
    shape = tuple((x.transpose(1, 2) if layer.channels_last else x).shape)
    with saved_tensors() as saved:
        y = layer.ours(x, w, b)
    expected = [tuple(w.shape)] * ("input" in names) + [shape] * ("weight" in names)
    assert sorted(tuple(t.shape) for t in saved) == sorted(expected)
    y.sum().backward()


@pytest.mark.parametrize("trained", ["input", "weight"])
def test_operand_may_change_where_the_other_is_frozen(trained: str) -> None:
    """Its value is not needed any more; torch (2.13) saves it and refuses."""
    layer = LAYERS[0]
    operands = dict(zip(OPERANDS, without(layer, (trained,)), strict=True))
    y = layer.ours(*operands.values())
    (expected,) = torch.autograd.grad(layer.theirs(*operands.values()).sum(), operands[trained])
    with torch.no_grad():
        operands[trained].zero_()
    (grad,) = torch.autograd.grad(y.sum(), operands[trained])
    assert_same(grad, expected)


@pytest.mark.parametrize("changed", ["input", "weight"])
def test_in_place_modification_is_detected(changed: str) -> None:
    operands = dict(zip(OPERANDS, LAYERS[1].operands(requires_grad=True), strict=True))
    y = LAYERS[1].ours(*operands.values())
    with torch.no_grad():
        operands[changed].add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_bias_may_change_after_the_forward() -> None:
    x, w, b = LAYERS[1].operands(requires_grad=True)
    y = LAYERS[1].ours(x, w, b)
    with torch.no_grad():
        b.add_(1)
    y.sum().backward()
    assert b.grad is not None


def test_in_place_on_the_result() -> None:
    for layer in LAYERS:

        def relu_of(function: Callable[..., Tensor], *operands: Tensor) -> Tensor:
            return torch.relu_(function(*operands).mul_(2))

        operands = layer.operands(requires_grad=True)
        assert_same(
            all_the_gradients(partial(relu_of, layer.ours), operands),
            all_the_gradients(partial(relu_of, layer.theirs), operands),
        )


def test_graph_is_released_once() -> None:
    operands = LAYERS[0].operands(requires_grad=True)
    y = LAYERS[0].ours(*operands).sum()
    y.backward(retain_graph=True)
    y.backward()
    with pytest.raises(RuntimeError, match="second time"):
        y.backward()


def test_gradients_accumulate() -> None:
    x, w, b = LAYERS[0].operands(requires_grad=True)
    once = all_the_gradients(LAYERS[0].ours, (x, w, b))
    for _ in range(2):
        LAYERS[0].ours(x, w, b).square().sum().backward()
    assert_same((x.grad, w.grad, b.grad), tuple(2 * t for t in once))


def test_grad_modes() -> None:
    x, w, b = LAYERS[0].operands(requires_grad=True)
    with torch.no_grad():
        assert not LAYERS[0].ours(x, w, b).requires_grad
    with torch.inference_mode():
        y = LAYERS[0].ours(x, w, b)
    assert y.is_inference()
    assert_same(y, LAYERS[0].theirs(x, w, b).detach())
    assert LAYERS[0].ours(x.detach(), w.detach(), b).requires_grad
    assert not LAYERS[0].ours(x.detach(), w.detach(), b.detach()).requires_grad


def test_inference_tensors_are_not_saved() -> None:
    x, w, _ = LAYERS[0].operands()
    with torch.inference_mode():
        inference = x.clone()
    assert_same(LAYERS[0].ours(inference, w), LAYERS[0].theirs(x, w))
    with pytest.raises(RuntimeError, match="[Ii]nference tensors cannot be saved"):
        LAYERS[0].ours(inference, w.requires_grad_())


@pytest.mark.parametrize("use_reentrant", [False, True])
@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_checkpointing(layer: Layer, use_reentrant: bool) -> None:
    operands = layer.operands(requires_grad=True)

    def two(*operands: Tensor) -> Tensor:
        return layer.ours(*operands).tanh()

    assert_same(
        all_the_gradients(lambda *t: checkpoint(two, *t, use_reentrant=use_reentrant), operands)
        if not use_reentrant
        else backward_of(lambda *t: checkpoint(two, *t, use_reentrant=True), layer),
        all_the_gradients(two, operands),
    )


def backward_of(function: Callable[..., Tensor], layer: Layer) -> tuple[Tensor | None, ...]:
    """Gradients by .backward(), which is all that a reentrant checkpoint supports."""
    operands = layer.operands(requires_grad=True)
    function(*operands).square().sum().backward()
    return tuple(t.grad for t in operands)


def test_selective_checkpointing_can_keep_the_convolution() -> None:
    from torch.utils.checkpoint import CheckpointPolicy, create_selective_checkpoint_contexts

    seen = []

    def policy(
        context: object, op: torch._ops.OpOverload, *args: object, **kwargs: object
    ) -> CheckpointPolicy:
        seen.append(op)
        ours = op is torch.ops.torch_conv1d._conv1d.default
        return CheckpointPolicy.MUST_SAVE if ours else CheckpointPolicy.PREFER_RECOMPUTE

    layer = LAYERS[1]
    operands = layer.operands(requires_grad=True)

    def block(*operands: Tensor) -> Tensor:
        return layer.ours(*operands).tanh()

    grads = all_the_gradients(
        lambda *t: checkpoint(
            block,
            *t,
            use_reentrant=False,
            context_fn=partial(create_selective_checkpoint_contexts, policy),
        ),
        operands,
    )
    assert torch.ops.torch_conv1d._conv1d.default in seen
    assert_same(grads, all_the_gradients(block, operands))


def test_saved_tensor_hooks() -> None:
    layer = LAYERS[1]
    operands = layer.operands(requires_grad=True)
    with torch.autograd.graph.save_on_cpu():
        y = layer.ours(*operands)
    expected = torch.autograd.grad(layer.theirs(*operands).sum(), operands)
    assert_same(torch.autograd.grad(y.sum(), operands), expected)

    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: (t + 1).numpy(), lambda a: torch.from_numpy(a) - 1
    ):
        y = layer.ours(*operands)
    assert_same(torch.autograd.grad(y.sum(), operands), expected)


def test_saved_tensors_are_the_operands_themselves() -> None:
    """Not copies: padding, layout and dtype are the kernels' business."""
    for layer in LAYERS:
        x, w, b = layer.operands(requires_grad=True)
        with saved_tensors() as saved:
            layer.ours(x, w, b)
        assert sorted(t.data_ptr() for t in saved) == sorted([x.data_ptr(), w.data_ptr()])


def test_node_name() -> None:
    y = LAYERS[0].ours(*LAYERS[0].operands(requires_grad=True))
    assert "Conv1d" in y.grad_fn.name()
    assert "Conv1d" in repr(y.detach().requires_grad_() * 0 + y) or y.grad_fn.name() in repr(y)


def test_hooks_of_the_node() -> None:
    layer = LAYERS[0]
    x, w, b = layer.operands(requires_grad=True)
    y = layer.ours(x, w, b)
    seen = []
    y.grad_fn.register_prehook(lambda grads: seen.append("before"))
    y.grad_fn.register_hook(lambda grads, _: seen.append("after"))
    y.register_hook(lambda grad: 2 * grad)
    x.register_hook(lambda grad: seen.append("input"))
    grads = torch.autograd.grad(y.sum(), (x, w, b))
    assert seen == ["before", "after", "input"] or seen == ["before", "input", "after"]
    expected = torch.autograd.grad(2 * layer.theirs(x, w, b).sum(), (x, w, b))
    assert_same(grads, expected)


@pytest.mark.filterwarnings("ignore:Error detected in Conv1dBackward")
def test_anomaly_mode() -> None:
    x, w, b = LAYERS[0].operands(requires_grad=True)
    with pytest.warns(UserWarning, match="Anomaly Detection"), torch.autograd.detect_anomaly():
        LAYERS[0].ours(x, w, b).sum().backward()
        y = LAYERS[0].ours(x, w * float("nan"), b)
        with pytest.raises(RuntimeError, match=r"Conv1d.*returned nan values"):
            y.sum().backward()


def test_backward_from_several_threads() -> None:
    """One graph, walked from four threads at once; each must find the saved tensors."""
    layer = layers("n4_ci8_co8_l64_k3_s1_p1_d1_g1")[0]
    operands = layer.operands(requires_grad=True)
    expected = torch.autograd.grad(layer.theirs(*operands).square().sum(), operands)
    y = layer.ours(*operands).square().sum()
    found: list[tuple[Tensor, ...]] = []

    def backward() -> None:
        for _ in range(20):
            found.append(torch.autograd.grad(y, operands, retain_graph=True))

    threads = [threading.Thread(target=backward) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 80
    for grads in found:
        assert_same(grads, expected)


def test_forward_from_several_threads() -> None:
    layer = layers("n4_ci8_co8_l64_k3_s1_p1_d1_g1")[0]
    operands = layer.operands(requires_grad=True)
    expected = all_the_gradients(layer.ours, operands)
    found: list[tuple[Tensor, ...]] = []

    def work() -> None:
        found.extend(all_the_gradients(layer.ours, operands) for _ in range(20))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 80
    for grads in found:
        assert_same(grads, expected)


@pytest.mark.parametrize("shape", [(0, 4, 9), (2, 4, 0), (2, 0, 9)], ids=str)
@pytest.mark.parametrize("channels_last", [False, True])
def test_empty_operands(shape: tuple[int, int, int], channels_last: bool) -> None:
    """Gradients of nothing are zeros of the right shape, never uninitialised memory."""
    x = torch.randn(shape, dtype=torch.float64)
    x = (x.transpose(1, 2) if channels_last else x).requires_grad_()
    w = torch.randn(6, shape[1], 3, dtype=torch.float64, requires_grad=True)
    b = torch.randn(6, dtype=torch.float64, requires_grad=True)
    y = conv1d(x, w, b, padding=2, channels_last=channels_last)
    channels_first = y.transpose(1, 2) if channels_last else y
    assert channels_first.shape == (shape[0], 6, shape[2] + 2)
    grad_x, grad_w, grad_b = torch.autograd.grad(y.sum(), (x, w, b))
    assert torch.equal(
        grad_x, torch.einsum("ock->c", w).expand(shape[0], shape[2], -1).reshape_as(x)
    )
    assert torch.equal(grad_w, torch.zeros_like(w))
    assert_same(grad_b, torch.full_like(b, shape[0] * (shape[2] + 2)))
