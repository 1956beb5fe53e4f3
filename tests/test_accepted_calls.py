"""Every form of a legal call: what torch takes, in the ways torch takes it, with torch's result."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from layers import LAYERS, Layer, assert_same, each_layer, gradients, requiring
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from torch_conv1d import conv1d


def lacking_in_torch_2_9(reason: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(
        torch.torch_version.TorchVersion(torch.__version__) < "2.10", reason=reason
    )


NO_TENSOR_STRIDES = lacking_in_torch_2_9("torch 2.9 does not take a tensor as the stride")


class Two(enum.IntEnum):
    TWO = 2


class Same(str):
    """A string, but not of the type str."""


def operands(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = ((2, 4, 10), (6, 4, 3), (6,))
    x, w, b = (torch.randn(s, generator=generator, dtype=torch.float64) * 3 for s in shapes)
    return x.to(dtype), w.to(dtype), b.to(dtype)


@pytest.mark.parametrize(
    "arguments",
    [
        {"stride": 2},
        {"stride": (2,)},
        {"stride": [2]},
        {"stride": torch.Size([2])},
        {"stride": np.int64(2)},
        {"stride": (np.int32(2),)},
        pytest.param({"stride": torch.tensor(2)}, marks=NO_TENSOR_STRIDES),
        pytest.param({"stride": torch.tensor([2])}, marks=NO_TENSOR_STRIDES),
        {"stride": Two.TWO},
        {"padding": np.int16(1)},
        {"padding": (torch.tensor(1),)},
        {"padding": [1], "dilation": [2]},
        {"padding": Same("same")},
        {"dilation": np.uint8(3)},
        {"groups": np.int64(1)},
        {"groups": torch.tensor(1)},
        {"stride": 2, "padding": 1, "dilation": 2, "groups": 1},
        {"bias": None},
    ],
    ids=str,
)
def test_forms_of_arguments(arguments: dict[str, Any]) -> None:
    x, w, b = operands()
    given = {"input": x, "weight": w, "bias": b} | arguments
    assert_same(conv1d(**given), F.conv1d(**given))


def test_positional_and_named_arguments() -> None:
    x, w, b = operands()
    expected = conv1d(x, w, b, 2, (3, 1), 2, 1, padding_mode="reflect", channels_last=False)
    for given, named in (
        ((x,), {"weight": w, "bias": b, "stride": 2, "padding": [3, 1], "dilation": 2}),
        ((x, w), {"dilation": (2,), "padding": (3, 1), "stride": (2,), "bias": b, "groups": 1}),
        ((x, w, b, [2], [3, 1]), {"dilation": 2}),
    ):
        assert torch.equal(conv1d(*given, **named, padding_mode="reflect"), expected)


DTYPES = (
    torch.uint8,
    torch.int8,
    torch.int16,
    torch.int32,
    torch.int64,
    torch.float16,
    torch.bfloat16,
    torch.float32,
    torch.float64,
    torch.complex64,
    torch.complex128,
)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@each_layer
def test_every_dtype_in_every_mode(layer: Layer, dtype: torch.dtype) -> None:
    """Also those without kernels of our own, with what torch's conv1d lacks; or torch's refusal."""
    x, w, b = ((t * 4).round().to(dtype) for t in layer.operands())
    try:
        expected = layer.theirs(x, w, b)
    except NotImplementedError:  # torch dilates and pads few of the integers
        with pytest.raises(NotImplementedError):
            layer.ours(x, w, b)
        return
    y = layer.ours(x, w, b)
    assert y.dtype == dtype
    # Small integers in any dtype: sums are exact, so there is nothing to tolerate.
    assert torch.equal(y, expected)


def test_views_that_are_lazy() -> None:
    """Conjugate, negative and zero tensors are promises that somebody has to keep."""
    x, w, b = operands()
    z = torch.complex(*torch.randn(2, 2, 4, 10, dtype=torch.double))
    v = torch.complex(*torch.randn(2, 6, 4, 3, dtype=torch.double))
    assert_same(conv1d(z.conj(), v), F.conv1d(z.conj(), v))
    assert_same(conv1d(z, v.conj()), F.conv1d(z, v.conj()))
    negative = z.conj().imag
    assert negative.is_neg()
    assert_same(conv1d(negative, w, b), F.conv1d(-z.imag, w, b))
    assert_same(conv1d(x, v.conj().imag, b), F.conv1d(x, -v.imag, b))
    assert_same(conv1d(x, w, v.conj().imag[:, 0, 0]), F.conv1d(x, w, -v.imag[:, 0, 0]))
    zero = torch._efficientzerotensor(2, 4, 10, dtype=torch.double)
    assert_same(conv1d(zero, w, b), F.conv1d(torch.zeros_like(x), w, b))


def test_gradient_of_a_negative_view() -> None:
    _, w, b = operands()
    z = torch.complex(*torch.randn(2, 2, 4, 10, dtype=torch.double)).requires_grad_()

    def through(convolution: Callable[..., Tensor]) -> tuple[Tensor, ...]:
        return gradients(lambda z: convolution(z.conj().imag, w, b), (z,))

    assert_same(through(conv1d), through(F.conv1d))


def test_another_layout_goes_to_torch() -> None:
    x, w, b = operands(torch.float32)
    y, expected = (f(x.to_mkldnn(), w, b, padding=1) for f in (conv1d, F.conv1d))
    assert y.layout == expected.layout
    assert torch.equal(y.to_dense(), expected.to_dense())


def test_uninitialised_memory_is_filled() -> None:
    """torch.empty returns NaN under this mode; none may be left in any result."""
    torch.use_deterministic_algorithms(True)
    try:
        for layer in LAYERS:
            given = requiring(layer, ("input", "weight", "bias"))
            y = layer.ours(*given)
            results = (y, *torch.autograd.grad(y.square().sum(), given))
            assert all(bool(t.isfinite().all()) for t in results)
    finally:
        torch.use_deterministic_algorithms(False)


@each_layer
def test_in_torchs_own_ops(layer: Layer, monkeypatch: pytest.MonkeyPatch) -> None:
    """While exporting to ONNX the call is made of torch's ops, which have a translation."""
    monkeypatch.setattr(torch.onnx, "is_in_onnx_export", lambda: True)
    given = layer.operands()
    graph = make_fx(lambda *t: layer.ours(*t))(*given)
    assert not any("torch_conv1d" in str(node.target) for node in graph.graph.nodes)
    assert_same(graph(*given), layer.theirs(*given))


@lacking_in_torch_2_9("torch 2.9 cannot shard the 1-d convolution of distributed tensors")
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_distributed_tensors() -> None:
    import torch.distributed as dist
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor

    store = dist.HashStore()  # type: ignore[attr-defined]
    dist.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        mesh = init_device_mesh("cpu", (1,))
        x, w, b = operands()
        sharded = distribute_tensor(x, mesh, [Shard(0)])
        weight, bias = (distribute_tensor(t, mesh, [Replicate()]) for t in (w, b))
        y = conv1d(sharded, weight, bias, padding="causal")
        assert isinstance(y, DTensor)
        assert_same(y.full_tensor(), conv1d(x, w, b, padding="causal"))
    finally:
        dist.destroy_process_group()
