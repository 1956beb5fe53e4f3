"""Compilers, exporters and everything that looks at the ops from outside: fake tensors, modes, profilers."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from layers import LAYERS, Layer, assert_same, layers
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functionalize, grad, vmap
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.experimental.symbolic_shapes import ShapeEnv
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from torch_conv1d import Conv1d, conv1d

pytestmark = [
    # Compilers warn about themselves, and import parts of torch that do.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

each_layer = pytest.mark.parametrize("layer", LAYERS, ids=str)
ops = torch.ops.torch_conv1d


@pytest.fixture(autouse=True)
def fresh_compiler() -> Iterator[None]:
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def gradients(function: Callable[..., Tensor], operands: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return torch.autograd.grad(function(*operands).square().sum(), operands)


class Network(nn.Module):
    """Every kind of padding, a stride, a dilation and groups, with something to fuse in between."""

    def __init__(self, channels_last: bool = False) -> None:
        super().__init__()
        self.causal = Conv1d(4, 6, 3, padding="causal", dilation=2, channels_last=channels_last)
        self.grouped = Conv1d(6, 6, 4, stride=2, padding=2, groups=3, channels_last=channels_last)
        self.mirrored = Conv1d(
            6, 5, 3, padding="same", padding_mode="reflect", channels_last=channels_last
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.mirrored(torch.relu(self.grouped(torch.tanh(self.causal(x)))))
        return y


def network(*, channels_last: bool = False) -> Network:
    torch.manual_seed(0)
    return Network(channels_last).double()


def network_input(n: int = 2, length: int = 17, *, channels_last: bool = False) -> Tensor:
    x = torch.randn(n, 4, length, dtype=torch.double)
    return x.transpose(1, 2).contiguous() if channels_last else x


# torch.compile


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
    """Gradients under functorch must survive Dynamo: other ways to register an op lose them silently."""
    layer = LAYERS[1]
    x, w, b = layer.operands()
    xs = torch.stack([x, 2 * x, x.sin()])

    def per_sample(x: Tensor) -> tuple[Tensor, ...]:
        return grad(lambda w, b: layer.ours(x, w, b).square().sum(), (0, 1))(w, b)

    mapped = vmap(per_sample)
    compiled = torch.compile(mapped, fullgraph=True, backend="aot_eager")
    assert_same(compiled(xs), mapped(xs))

    def curvature(w: Tensor) -> Tensor:
        slope = grad(lambda w: layer.ours(x, w, b).square().sum())
        return grad(lambda w: slope(w).square().sum())(w)

    assert_same(torch.compile(curvature, fullgraph=True, backend="aot_eager")(w), curvature(w))


def test_compiled_error_is_the_eager_one() -> None:
    compiled = torch.compile(conv1d, backend="aot_eager")
    with pytest.raises(Exception, match="groups"):
        compiled(torch.ones(2, 4, 9), torch.ones(6, 4, 3), groups=3)


# torch.export, ahead-of-time compilation, torch.fx


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
    assert len(paths) == 1
    return paths[0]


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
def test_make_fx(mode: str) -> None:
    """The graph holds the two private ops and no convolution of torch."""
    layer = LAYERS[1]
    operands = layer.operands()

    def step(*operands: Tensor) -> tuple[Tensor, ...]:
        return grad(lambda *t: layer.ours(*t).square().sum(), (0, 1, 2))(*operands)

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


# What torch.library checks of an op


def private_arguments(layer: Layer) -> tuple[Any, ...]:
    p = layer.problem
    modes = ("zeros", "reflect", "replicate", "circular")
    mode = modes.index(p.padding_mode)
    return p.stride, p.pad_left, p.pad_right, p.dilation, p.groups, mode, layer.channels_last


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
    grad_y = torch.randn(layer.problem.output_shape, dtype=x.dtype, requires_grad=requires_grad)
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


@each_layer
def test_meta_gradients(layer: Layer) -> None:
    operands = tuple(t.to("meta").requires_grad_() for t in layer.operands())
    for gradient, operand in zip(gradients(layer.ours, operands), operands, strict=True):
        assert gradient.is_meta
        assert gradient.shape == operand.shape


def test_meta_tensors_beyond_memory() -> None:
    x, w = torch.empty(2**20, 64, 2**20, device="meta"), torch.empty(64, 64, 9, device="meta")
    assert conv1d(x, w, stride=4, padding="causal").shape == (2**20, 64, 2**18)


# Autocast


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("compile", [False, True])
def test_autocast(dtype: torch.dtype, compile: bool) -> None:
    """The same as casting the operands by hand, forward and backward; gradients have the operands' dtype."""
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


# Observers


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
            layer.ours(*(t.detach() for t in operands[:2]), operands[2]).sum().backward()
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
    class Recorder(TorchFunctionMode):
        def __init__(self) -> None:
            super().__init__()
            self.names: list[str] = []

        def __torch_function__(
            self, function: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            self.names.append(str(function))
            return function(*args, **(kwargs or {}))

    layer = LAYERS[1]
    operands = layer.operands()
    with Recorder() as recorder:
        y = layer.ours(*operands)
    assert any("conv1d" in name for name in recorder.names)
    assert torch.equal(y, layer.ours(*operands))


def test_dispatch_mode() -> None:
    class Recorder(TorchDispatchMode):
        def __init__(self) -> None:
            super().__init__()
            self.ops: list[Any] = []

        def __torch_dispatch__(
            self, op: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            self.ops.append(op)
            return op(*args, **(kwargs or {}))

    layer = LAYERS[1]
    operands = layer.operands(requires_grad=True)
    with Recorder() as recorder:
        y = layer.ours(*operands)
        y.sum().backward()
    assert ops._conv1d.default in recorder.ops
    assert ops._conv1d_backward.default in recorder.ops
    assert torch.equal(y, layer.ours(*operands))


class Logged(Tensor):
    """A subclass that only counts the functions it passes through."""

    calls: list[str] = []  # noqa: RUF012 (one list for the class is the point)

    @classmethod
    def __torch_function__(
        cls, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        cls.calls.append(str(function))
        return super().__torch_function__(function, types, args, kwargs or {})


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

    inner: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor) -> Doubled:
        wrapper = Tensor._make_wrapper_subclass(
            cls,
            inner.shape,
            strides=inner.stride(),
            dtype=inner.dtype,
            requires_grad=inner.requires_grad,
        )
        wrapper.inner = inner
        return wrapper

    @classmethod
    def __torch_dispatch__(cls, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        unwrapped = [2 * t.inner if isinstance(t, Doubled) else t for t in args]
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
