"""What autograd promises besides numbers: what is saved, checked, hooked and run in threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import pytest
import torch
from layers import (
    LAYERS,
    OPERANDS,
    Layer,
    assert_same,
    each_layer,
    gradients,
    layers,
    requiring,
    subsets,
)
from torch import Tensor
from torch.utils.checkpoint import checkpoint


@contextmanager
def saved_tensors() -> Iterator[list[Tensor]]:
    """The tensors that are saved for backward inside the block."""
    saved: list[Tensor] = []

    def pack(t: Tensor) -> Tensor:
        saved.append(t)
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        yield saved


@each_layer
@pytest.mark.parametrize("names", [*subsets(OPERANDS)], ids="_".join)
def test_an_operand_is_saved_only_for_the_gradient_of_the_other(
    layer: Layer, names: tuple[str, ...]
) -> None:
    x, w, b = requiring(layer, names)
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
    operands = dict(zip(OPERANDS, requiring(layer, (trained,)), strict=True))
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
            gradients(partial(relu_of, layer.ours), operands),
            gradients(partial(relu_of, layer.theirs), operands),
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
    once = gradients(LAYERS[0].ours, (x, w, b))
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
    with pytest.raises(RuntimeError, match=r"[Ii]nference tensors cannot be saved"):
        LAYERS[0].ours(inference, w.requires_grad_())


@pytest.mark.parametrize("use_reentrant", [False, True])
@each_layer
def test_checkpointing(layer: Layer, use_reentrant: bool) -> None:
    operands = layer.operands(requires_grad=True)

    def two(*operands: Tensor) -> Tensor:
        return layer.ours(*operands).tanh()

    assert_same(
        gradients(lambda *t: checkpoint(two, *t, use_reentrant=use_reentrant), operands)
        if not use_reentrant
        else backward_of(lambda *t: checkpoint(two, *t, use_reentrant=True), layer),
        gradients(two, operands),
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

    grads = gradients(
        lambda *t: checkpoint(
            block,
            *t,
            use_reentrant=False,
            context_fn=partial(create_selective_checkpoint_contexts, policy),
        ),
        operands,
    )
    assert torch.ops.torch_conv1d._conv1d.default in seen
    assert_same(grads, gradients(block, operands))


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
    assert y.grad_fn is not None
    assert y.grad_fn.name() == "Conv1dBackward"
    assert "grad_fn=<Conv1dBackward>" in repr(y)


def test_hooks_of_the_node() -> None:
    layer = LAYERS[0]
    x, w, b = layer.operands(requires_grad=True)
    y = layer.ours(x, w, b)
    seen: list[str] = []
    assert y.grad_fn is not None
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
    expected = gradients(layer.ours, operands)
    found: list[tuple[Tensor, ...]] = []

    def work() -> None:
        found.extend(gradients(layer.ours, operands) for _ in range(20))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 80
    for grads in found:
        assert_same(grads, expected)
