"""The ops seen from outside: opcheck, fake tensors, autocast, counters, modes, subclasses."""

from __future__ import annotations

import itertools
from typing import Any, ClassVar

import pytest
import torch
from layers import (
    LAYERS,
    Layer,
    assert_same,
    each_layer,
    gradients,
    layers,
    network,
    network_input,
)
from problems import each_device
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import ShapeEnv
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from torch_conv1d import _C, conv1d

ops = torch.ops.torch_conv1d


def private_arguments(layer: Layer) -> tuple[Any, ...]:
    p = layer.problem
    modes = ("zeros", "reflect", "replicate", "circular")
    mode = modes.index(p.padding_mode)
    return p.stride, p.pad_left, p.pad_right, p.dilation, p.groups, mode, layer.channels_last


class Recorder(TorchDispatchMode):
    """Lists the ops that reach the dispatch of Python."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.called: list[Any] = []

    def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.called.append(op)
        return op(*args, **(kwargs or {}))


@each_device
@each_layer
@pytest.mark.parametrize("requires_grad", [False, True])
def test_opcheck(layer: Layer, requires_grad: bool) -> None:
    x, w, b = layer.operands(requires_grad=requires_grad)
    front: dict[str, Any] = dict(layer.arguments)
    for name in ("stride", "dilation"):
        front[name] = [front[name]]
    torch.library.opcheck(ops.conv1d.default, (x, w, b), front)

    x = x.transpose(1, 2) if layer.channels_last else x
    torch.library.opcheck(ops._conv1d.default, (x, w, b, *private_arguments(layer)))
    torch.library.opcheck(ops._conv1d.default, (x, w, None, *private_arguments(layer)))
    grad_y = x.new_empty(layer.problem.output_shape).normal_().requires_grad_(requires_grad)
    for mask in (
        [True, True, True],
        [True, False, False],
        [False, True, False],
        [False, False, True],
    ):
        arguments = (grad_y, x, w, *private_arguments(layer), mask)
        torch.library.opcheck(ops._conv1d_backward.default, arguments)


@pytest.mark.parametrize("padding", ["same", "valid", "causal"])
def test_opcheck_of_the_overload_for_strings(padding: str) -> None:
    x, w, b = LAYERS[0].operands(requires_grad=True)
    torch.library.opcheck(ops.conv1d.padding, (x, w, b), {"padding": padding})


def strides_of(result: Tensor) -> tuple[int, ...]:
    """Without those of dimensions of one element, which mean nothing."""
    return tuple(s for s, size in zip(result.stride(), result.shape, strict=True) if size > 1)


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16], ids=str
)
@each_layer
def test_meta_and_fake_tensors(layer: Layer, dtype: torch.dtype) -> None:
    """Shape, strides, dtype and device of the result, without computing it."""
    real = layer.ours(*layer.operands(dtype))
    meta = layer.ours(*(t.to("meta") for t in layer.operands(dtype)))
    fake_mode = FakeTensorMode(shape_env=ShapeEnv())
    with fake_mode:
        fake = layer.ours(*(fake_mode.from_tensor(t) for t in layer.operands(dtype)))
    for found, device in ((meta, "meta"), (fake, "cpu")):
        assert found.shape == real.shape
        assert strides_of(found) == strides_of(real)
        assert found.dtype == dtype
        assert found.device.type == device


def test_fake_cuda_tensors() -> None:
    """No GPU is needed to see whether the front op passes a CUDA tensor on to kernels of ours."""
    with FakeTensorMode():
        x, w = torch.empty(2, 4, 9, device="cuda"), torch.empty(6, 4, 3, device="cuda")
        with Recorder() as recorder:
            y = conv1d(x, w, padding="causal")
    ours = ops._conv1d.default in recorder.called
    assert ours == (_C.build_info()["cuda"] != "not built")
    assert (y.shape, y.device.type) == ((2, 6, 9), "cuda")


@each_layer
def test_meta_gradients(layer: Layer) -> None:
    operands = tuple(t.to("meta").requires_grad_() for t in layer.operands())
    for gradient, operand in zip(gradients(layer.ours, operands), operands, strict=True):
        assert gradient.is_meta
        assert gradient.shape == operand.shape


def test_meta_tensors_beyond_memory() -> None:
    x, w = torch.empty(2**20, 64, 2**20, device="meta"), torch.empty(64, 64, 9, device="meta")
    assert conv1d(x, w, stride=4, padding="causal").shape == (2**20, 64, 2**18)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("compile", [False, True])
def test_autocast(dtype: torch.dtype, compile: bool) -> None:
    """The same as casting by hand, forward and backward; gradients have the operands' dtype."""
    layer = LAYERS[1]
    operands = layer.operands(torch.float32, requires_grad=True)

    def by_hand(*operands: Tensor) -> Tensor:
        return layer.ours(*(t.to(dtype) for t in operands)).float()

    def automatic(*operands: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype):
            y = layer.ours(*operands)
        assert y.dtype == dtype
        return y.float()

    function = (
        torch.compile(automatic, fullgraph=True, backend="aot_eager") if compile else automatic
    )
    assert torch.equal(function(*operands), by_hand(*operands))
    found = gradients(function, operands)
    assert [t.dtype for t in found] == 3 * [torch.float32]
    for gradient, expected in zip(found, gradients(by_hand, operands), strict=True):
        assert torch.equal(gradient, expected)


def test_autocast_leaves_float64_and_integers_alone() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        assert (
            conv1d(torch.ones(1, 1, 3).double(), torch.ones(1, 1, 1).double()).dtype
            == torch.float64
        )
        assert conv1d(torch.ones(1, 1, 3).long(), torch.ones(1, 1, 1).long()).dtype == torch.int64
    with torch.autocast("cpu", torch.bfloat16), torch.autocast("cpu", enabled=False):
        assert conv1d(torch.ones(1, 1, 3), torch.ones(1, 1, 1)).dtype == torch.float32


def test_autocast_of_a_network() -> None:
    model = network().float()
    x = network_input().float()
    with torch.autocast("cpu", torch.bfloat16):
        y = model(x)
        assert y.dtype == torch.bfloat16
        y.float().square().sum().backward()
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in model.parameters())


@each_device
@each_layer
def test_what_devices_without_kernels_run(layer: Layer) -> None:
    """Also what a device with kernels leaves to ATen: the same results in the same layout."""
    x, w, b = layer.operands()
    x = x.transpose(1, 2) if layer.channels_last else x
    aten = torch._C.DispatchKey.CompositeExplicitAutograd
    forward: tuple[Any, ...] = (x, w, b, *private_arguments(layer))
    y = ops._conv1d.default(*forward)
    found = ops._conv1d.default._op_dk(aten, *forward)
    assert_same(found, y)
    assert strides_of(found) == strides_of(y)
    for mask in itertools.product((False, True), repeat=3):
        backward = (torch.randn_like(y), x, w, *private_arguments(layer), mask)
        gradients = ops._conv1d_backward.default._op_dk(aten, *backward)
        for found, expected in zip(gradients, ops._conv1d_backward.default(*backward), strict=True):
            assert_same(found, expected)
            assert found is None or strides_of(found) == strides_of(expected)


def test_flop_counter() -> None:
    for layer in LAYERS:
        operands = layer.operands(requires_grad=True)
        p = layer.problem
        with FlopCounterMode(display=False) as counter:
            y = layer.ours(*operands)
            assert counter.get_total_flops() == 2 * p.multiply_adds
            y.sum().backward()
        assert counter.get_total_flops() == 6 * p.multiply_adds
        with FlopCounterMode(display=False) as counter:
            x, w, b = operands
            layer.ours(x.detach(), w.detach(), b).sum().backward()
        assert counter.get_total_flops() == 2 * p.multiply_adds


def test_profiler_names() -> None:
    operands = LAYERS[0].operands(requires_grad=True)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        LAYERS[0].ours(*operands).sum().backward()
    names = {event.key for event in profile.key_averages()}
    assert {"torch_conv1d::_conv1d", "torch_conv1d::_conv1d_backward"} <= names
    assert any(
        name.startswith("autograd::engine::evaluate_function: ") and "Conv1d" in name
        for name in names
    )


def test_function_mode() -> None:
    names: list[str] = []

    class Recorder(TorchFunctionMode):
        def __torch_function__(
            self, function: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            names.append(str(function))
            return function(*args, **(kwargs or {}))

    layer = LAYERS[1]
    operands = layer.operands()
    with Recorder():
        y = layer.ours(*operands)
    assert any("conv1d" in name for name in names)
    assert torch.equal(y, layer.ours(*operands))


def test_dispatch_mode() -> None:
    layer = LAYERS[1]
    operands = layer.operands(requires_grad=True)
    with Recorder() as recorder:
        y = layer.ours(*operands)
        y.sum().backward()
    assert ops._conv1d.default in recorder.called
    assert ops._conv1d_backward.default in recorder.called
    assert torch.equal(y, layer.ours(*operands))


class Logged(Tensor):
    """A subclass that only notes the functions it passes through."""

    calls: ClassVar[list[str]] = []

    @classmethod
    def __torch_function__(
        cls, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        cls.calls.append(str(function))
        return super().__torch_function__(function, types, args, kwargs or {})  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("position", range(3), ids=["input", "weight", "bias"])
def test_tensor_subclass(position: int) -> None:
    layer = LAYERS[1]
    operands = list(layer.operands())
    expected = layer.ours(*operands)
    operands[position] = operands[position].as_subclass(Logged)
    Logged.calls.clear()
    y = layer.ours(*operands)
    assert type(y) is Logged
    assert any("conv1d" in name for name in Logged.calls)
    assert torch.equal(y.as_subclass(Tensor), expected)


class Doubled(Tensor):
    """A wrapper whose data are another tensor, twice as large: seen by __torch_dispatch__ alone."""

    data_of_half_size: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor) -> Doubled:
        wrapper: Doubled = Tensor._make_wrapper_subclass(
            cls,
            inner.shape,
            strides=inner.stride(),
            dtype=inner.dtype,
            requires_grad=inner.requires_grad,
        )
        wrapper.data_of_half_size = inner
        return wrapper

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, op: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        unwrapped = [2 * t.data_of_half_size if isinstance(t, Doubled) else t for t in args]
        return op(*unwrapped, **(kwargs or {}))


def test_wrapper_subclass() -> None:
    layer = LAYERS[1]
    x, w, b = layer.operands()
    assert_same(layer.ours(Doubled(x), w, b), layer.ours(2 * x, w, b))
    assert_same(layer.ours(x, Doubled(w), b), layer.ours(x, 2 * w, b))


def test_parameter_is_a_plain_tensor() -> None:
    """nn.Parameter and a Buffer take the fast way: no __torch_function__ is called for them."""
    layer = layers("n1_ci2_co2_l5_k3_s1_p1_d1_g1")[0]
    x, w, b = layer.operands()
    y = layer.ours(nn.Buffer(x), nn.Parameter(w), nn.Parameter(b))
    assert type(y) is Tensor
    assert torch.equal(y, layer.ours(x, w, b))
