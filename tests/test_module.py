"""Conv1d, LazyConv1d and convert(): what torch.nn.Conv1d does, and the few things it does not."""

from __future__ import annotations

import copy
import io
import itertools
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from layers import assert_same
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune

import torch_conv1d
from torch_conv1d import Conv1d, LazyConv1d, convert

# Everything that torch.nn.Conv1d takes, one argument at a time and some together.
CONSTRUCTIONS: list[dict[str, Any]] = [
    {},
    {"bias": False},
    {"stride": 2},
    {"stride": (3,)},
    {"padding": 2},
    {"padding": (1,)},
    {"padding": "same"},
    {"padding": "valid"},
    {"padding": "same", "kernel_size": 4, "dilation": 3},
    {"dilation": 2},
    {"dilation": (2,)},
    {"groups": 2},
    {"groups": 4, "out_channels": 8},
    {"kernel_size": (5,)},
    {"kernel_size": 1},
    {"dtype": torch.float64},
    {"dtype": torch.bfloat16},
    {"dtype": torch.complex64},
    {"device": "cpu"},
    {"stride": 2, "padding": 3, "dilation": 2, "groups": 2, "bias": False},
    *(
        {"padding_mode": mode, "padding": 2}
        for mode in ("zeros", "reflect", "replicate", "circular")
    ),
    *(
        {"padding_mode": mode, "padding": "same", "kernel_size": 4}
        for mode in ("reflect", "circular")
    ),
    {"padding_mode": "replicate", "padding": "valid"},
]

pytestmark = [
    # torch's own remarks about how it does things.
    pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning"),
    pytest.mark.filterwarnings("ignore:Complex modules are a new feature:UserWarning"),
]

each_construction = pytest.mark.parametrize("arguments", CONSTRUCTIONS, ids=str)


def pair(arguments: dict[str, Any]) -> tuple[Conv1d, nn.Conv1d]:
    """The same construction after the same seed."""
    arguments = {"in_channels": 4, "out_channels": 6, "kernel_size": 3} | arguments
    torch.manual_seed(0)
    theirs = nn.Conv1d(**arguments)
    torch.manual_seed(0)
    return Conv1d(**arguments), theirs


def input_of(module: nn.Conv1d, length: int = 16) -> Tensor:
    dtype = next(module.parameters()).dtype
    return torch.randn(2, module.in_channels, length, dtype=torch.double).to(dtype)


def gradients(module: nn.Module, x: Tensor) -> list[Tensor | None]:
    x = x.detach().requires_grad_()
    module.zero_grad()
    y = module(x)
    (y * y.conj()).real.sum().backward()
    return [x.grad, *(p.grad for p in module.parameters())]


@each_construction
def test_same_initialisation_and_result(arguments: dict[str, Any]) -> None:
    ours, theirs = pair(arguments)
    assert torch.random.get_rng_state().equal(after_construction(arguments))
    assert isinstance(ours, nn.Conv1d)
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(a, b)
        assert a.dtype == b.dtype
        assert a.requires_grad
    x = input_of(theirs)
    assert_same(ours(x), theirs(x))
    assert_same(ours(x[0]), theirs(x[0]))
    assert_same(gradients(ours, x), gradients(theirs, x))


def after_construction(arguments: dict[str, Any]) -> Tensor:
    torch.manual_seed(0)
    nn.Conv1d(**({"in_channels": 4, "out_channels": 6, "kernel_size": 3} | arguments))
    return torch.random.get_rng_state()


@each_construction
def test_same_attributes_and_repr(arguments: dict[str, Any]) -> None:
    ours, theirs = pair(arguments)
    for name in (
        "in_channels",
        "out_channels",
        "kernel_size",
        "stride",
        "padding",
        "dilation",
        "groups",
    ):
        assert getattr(ours, name) == getattr(theirs, name), name
    for name in ("padding_mode", "transposed", "output_padding", "training"):
        assert getattr(ours, name) == getattr(theirs, name), name
    assert repr(ours) == repr(theirs)


def test_positional_arguments() -> None:
    arguments = (4, 6, 3, 2, 1, 2, 2, False, "replicate", "cpu", torch.float64)
    torch.manual_seed(0)
    theirs = nn.Conv1d(*arguments)
    torch.manual_seed(0)
    ours = Conv1d(*arguments)
    assert repr(ours) == repr(theirs)
    x = input_of(theirs)
    assert_same(ours(x), theirs(x))


@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("padding", [(2, 0), (0, 3), (4, 1), (2, 2), "causal"], ids=str)
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("channels_last", [False, True])
def test_padding_beyond_torch(mode: str, padding: Any, stride: int, channels_last: bool) -> None:
    module = Conv1d(
        4,
        6,
        3,
        stride,
        padding,
        2,
        padding_mode=mode,
        channels_last=channels_last,
        dtype=torch.double,
    )
    x = torch.randn(2, 4, 12, dtype=torch.double)
    left, right = (4, 0) if padding == "causal" else padding
    padded = F.pad(x, (left, right), mode="constant" if mode == "zeros" else mode)
    expected = F.conv1d(padded, module.weight, module.bias, stride, 0, 2)
    if channels_last:
        assert_same(module(x.transpose(1, 2)), expected.transpose(1, 2))
        assert_same(module(x[0].transpose(0, 1)), expected[0].transpose(0, 1))
    else:
        assert_same(module(x), expected)
        assert_same(module(x[0]), expected[0])
    assert str(padding) in repr(module)
    assert_same(
        copy.deepcopy(module)(x.transpose(1, 2) if channels_last else x),
        module(x.transpose(1, 2) if channels_last else x),
    )


def test_channels_last_module() -> None:
    torch.manual_seed(0)
    last = Conv1d(4, 6, 3, padding=1, channels_last=True)
    torch.manual_seed(0)
    first = Conv1d(4, 6, 3, padding=1)
    assert last.channels_last
    assert not first.channels_last
    assert "channels_last=True" in repr(last)
    assert "channels_last" not in repr(first)
    last.load_state_dict(first.state_dict())
    x = torch.randn(2, 9, 4)
    y = last(x)
    assert y.is_contiguous()
    assert_same(y, first(x.transpose(1, 2)).transpose(1, 2))


@each_construction
def test_state_dict_both_ways(arguments: dict[str, Any]) -> None:
    ours, theirs = pair(arguments)
    with torch.no_grad():
        for p in theirs.parameters():
            p.mul_(2)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(a, b)
    with torch.no_grad():
        for p in ours.parameters():
            p.mul_(3)
    theirs.load_state_dict(ours.state_dict(), strict=True)
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(a, b)


def through_pickle(module: nn.Module) -> nn.Module:
    copied: nn.Module = pickle.loads(pickle.dumps(module))
    return copied


def through_torch_save(module: nn.Module) -> nn.Module:
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    copied: nn.Module = torch.load(file, weights_only=False)
    return copied


@pytest.mark.parametrize(
    "duplicate", [copy.deepcopy, copy.copy, through_pickle, through_torch_save]
)
@pytest.mark.parametrize("channels_last", [False, True])
@each_construction
def test_copies(
    arguments: dict[str, Any], channels_last: bool, duplicate: Callable[[nn.Module], nn.Module]
) -> None:
    arguments = {"in_channels": 4, "out_channels": 6, "kernel_size": 3} | arguments
    module = Conv1d(**arguments, channels_last=channels_last)
    copied = duplicate(module)
    assert type(copied) is Conv1d
    assert repr(copied) == repr(module)
    x = input_of(module)
    x = x.transpose(1, 2) if channels_last else x
    assert torch.equal(copied(x), module(x))


def test_to_another_dtype_and_device() -> None:
    module = Conv1d(4, 6, 3)
    assert module.to(torch.bfloat16)(torch.ones(1, 4, 5).bfloat16()).dtype == torch.bfloat16
    assert module.double()(torch.ones(1, 4, 5).double()).dtype == torch.float64
    assert module.to("meta")(torch.ones(2, 4, 5, device="meta").double()).shape == (2, 6, 3)
    empty = Conv1d(4, 6, 3, device="meta").to_empty(device="cpu")
    empty.reset_parameters()
    assert empty(torch.ones(2, 4, 5)).shape == (2, 6, 3)


def test_default_device_and_dtype() -> None:
    with torch.device("meta"):
        assert Conv1d(4, 6, 3)(torch.ones(2, 4, 5)).device.type == "meta"
    torch.set_default_dtype(torch.float64)
    try:
        assert Conv1d(4, 6, 3).weight.dtype == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("channels_last", [False, True])
def test_weight_norm(channels_last: bool) -> None:
    theirs = parametrizations.weight_norm(nn.Conv1d(4, 6, 3, padding=1).double())
    ours = parametrizations.weight_norm(
        Conv1d(4, 6, 3, padding=1, channels_last=channels_last).double()
    )
    ours.load_state_dict(theirs.state_dict())
    x = input_of(theirs)
    transposed = x.transpose(1, 2) if channels_last else x
    y = ours(transposed)
    assert_same(y.transpose(1, 2) if channels_last else y, theirs(x))
    assert_same(gradients(ours, transposed)[1:], gradients(theirs, x)[1:])
    assert_same(copy.deepcopy(ours)(transposed), y)
    parametrize.remove_parametrizations(ours, "weight")
    assert type(ours) is Conv1d
    assert_same(ours(transposed), y)


REPARAMETRISATIONS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "spectral_norm": parametrizations.spectral_norm,
    "orthogonal": parametrizations.orthogonal,
    "old_weight_norm": nn.utils.weight_norm,
    "pruned_weight": lambda module: prune.random_unstructured(module, "weight", 0.5),
    "pruned_bias": lambda module: prune.l1_unstructured(module, "bias", 2),
    "pruned_channels": lambda module: prune.ln_structured(module, "weight", 0.5, n=2, dim=0),
}


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated")
@pytest.mark.parametrize("name", REPARAMETRISATIONS)
def test_other_reparametrisations(name: str) -> None:
    """Each replaces an attribute in a way of its own."""
    ours, theirs = pair({"dtype": torch.float64})
    torch.manual_seed(1)
    ours = REPARAMETRISATIONS[name](ours)
    torch.manual_seed(1)
    theirs = REPARAMETRISATIONS[name](theirs)
    x = input_of(theirs)
    assert_same(ours(x), theirs(x))
    assert_same(gradients(ours, x), gradients(theirs, x))


def test_tied_replaced_and_plain_weights() -> None:
    """The weight is whatever the attribute is at the time of the call."""
    module, theirs = pair({})
    x = input_of(theirs)
    module.weight = nn.Parameter(2 * theirs.weight.detach())
    assert_same(module(x), F.conv1d(x, 2 * theirs.weight, theirs.bias))
    module.bias = None
    assert_same(module(x), F.conv1d(x, 2 * theirs.weight))
    del module.weight
    module.weight = theirs.weight * 3  # a plain tensor, as meta-learning code does
    assert_same(module(x), F.conv1d(x, 3 * theirs.weight))


class Scaled(Conv1d):
    """What public code does: scale the weight on its way into the convolution."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return super()._conv_forward(input, 2 * weight, bias)


class Standardised(Conv1d):
    def forward(self, input: Tensor) -> Tensor:
        weight = self.weight - self.weight.mean((1, 2), keepdim=True)
        return self._conv_forward(input, weight, self.bias)


@each_construction
def test_subclasses(arguments: dict[str, Any]) -> None:
    _, theirs = pair(arguments)
    arguments = {"in_channels": 4, "out_channels": 6, "kernel_size": 3} | arguments
    x = input_of(theirs)
    for subclass, weight in (
        (Scaled, 2 * theirs.weight),
        (Standardised, theirs.weight - theirs.weight.mean((1, 2), keepdim=True)),
    ):
        ours = subclass(**arguments)
        ours.load_state_dict(theirs.state_dict())
        assert_same(ours(x), theirs._conv_forward(x, weight, theirs.bias))
        assert repr(ours).startswith(subclass.__name__ + "(")


@each_construction
@pytest.mark.parametrize("channels_last", [False, True])
def test_lazy(arguments: dict[str, Any], channels_last: bool) -> None:
    _, theirs = pair(arguments)
    arguments = {"out_channels": 6, "kernel_size": 3} | arguments
    module = LazyConv1d(**arguments, channels_last=channels_last)
    assert isinstance(module, nn.LazyConv1d)
    x = input_of(theirs)
    x_given = x.transpose(1, 2) if channels_last else x
    torch.manual_seed(0)
    module(x_given)
    assert type(module) is Conv1d
    assert module.in_channels == 4
    torch.manual_seed(0)
    expected = nn.LazyConv1d(**arguments)
    expected(x)
    for a, b in zip(module.parameters(), expected.parameters(), strict=True):
        assert torch.equal(a, b)
    y = module(x_given)
    assert_same(y.transpose(1, 2) if channels_last else y, expected(x))


def test_lazy_unbatched_and_loaded() -> None:
    module = LazyConv1d(6, 3)
    assert module(torch.ones(4, 9)).shape == (6, 7)
    loaded = LazyConv1d(6, 3)
    loaded.load_state_dict(nn.Conv1d(4, 6, 3).state_dict())
    assert loaded(torch.ones(1, 4, 9)).shape == (1, 6, 7)
    last = LazyConv1d(6, 3, channels_last=True)
    assert last(torch.ones(9, 4)).shape == (7, 6)


class Residual(nn.Module):
    """Convolutions at several depths, one of them used twice, next to other layers."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv1d(3, 4, 5, padding=2, padding_mode="reflect")
        self.shared = nn.Conv1d(4, 4, 3, padding="same", groups=2)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.BatchNorm1d(4), nn.ReLU(), self.shared, nn.Conv1d(4, 4, 3, padding=2, dilation=2)
            )
            for _ in range(2)
        )
        self.heads = nn.ModuleDict(
            {"up": nn.ConvTranspose1d(4, 2, 4, 2), "out": nn.Conv1d(4, 2, 1, bias=False)}
        )
        self.image = nn.Conv2d(1, 1, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.stem(x)
        for block in self.blocks:
            x = x + block(x)
        return self.heads["up"](x), self.heads["out"](x)


def test_convert_a_network() -> None:
    theirs = Residual()
    ours = copy.deepcopy(theirs)
    parameters = dict(ours.named_parameters())
    names = [name for name, _ in ours.named_modules()]
    assert convert(ours) is ours

    assert [name for name, _ in ours.named_modules()] == names
    for name, module in ours.named_modules():
        original = theirs.get_submodule(name)
        assert type(module) is (Conv1d if type(original) is nn.Conv1d else type(original)), name
    for name, parameter in ours.named_parameters():
        assert parameter is parameters[name], name
    assert ours.blocks[0][2] is ours.shared is ours.blocks[1][2]
    assert repr(ours) == repr(theirs)
    ours.load_state_dict(theirs.state_dict(), strict=True)

    x = torch.randn(2, 3, 20)
    assert_same(ours(x), theirs(x))
    for model in (ours, theirs):
        up, out = model(x)
        (up.square().sum() + out.square().sum()).backward()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert_same(a.grad, b.grad)


def test_convert_keeps_an_optimizer_working() -> None:
    model = nn.Sequential(nn.Conv1d(2, 3, 3), nn.Tanh(), nn.Conv1d(3, 1, 1))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    convert(model)
    before = [p.detach().clone() for p in model.parameters()]
    model(torch.randn(2, 2, 9)).square().sum().backward()
    optimizer.step()
    assert all(not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_convert_the_root() -> None:
    module = nn.Conv1d(4, 6, 3, padding=1, bias=False)
    weight = module.weight
    converted = convert(module)
    assert type(converted) is Conv1d
    assert converted.weight is weight
    x = input_of(module)
    assert_same(converted(x), F.conv1d(x, weight, padding=1))


def test_convert_twice_and_nothing() -> None:
    model = nn.Sequential(nn.Conv1d(2, 3, 3), nn.Linear(7, 7))
    once = convert(model)[0]
    assert convert(model)[0] is once
    linear = nn.Linear(2, 2)
    assert convert(linear) is linear


def test_convert_keeps_state_that_is_not_parameters() -> None:
    """Training mode, frozen parameters, hooks, buffers and attributes of one's own."""
    model = nn.Sequential(nn.Conv1d(2, 3, 3)).eval()
    convolution = model[0]
    convolution.weight.requires_grad_(False)
    convolution.register_buffer("steps", torch.tensor(7))
    convolution.note = "mine"
    seen: list[str] = []
    convolution.register_forward_pre_hook(lambda *_: seen.append("before"))
    convolution.register_forward_hook(lambda *_: seen.append("after"))
    convolution.register_full_backward_hook(lambda *_: seen.append("backward"))

    converted = convert(model)[0]
    assert not converted.training
    assert not converted.weight.requires_grad
    assert converted.steps == 7
    assert converted.note == "mine"
    model(torch.randn(1, 2, 5, requires_grad=True)).sum().backward()
    assert seen == ["before", "after", "backward"]


def test_convert_keeps_a_parametrisation() -> None:
    model = nn.Sequential(parametrizations.weight_norm(nn.Conv1d(2, 3, 3)))
    expected = copy.deepcopy(model)
    convert(model)
    x = torch.randn(1, 2, 8)
    assert_same(model(x), expected(x))
    assert_same(gradients(model, x), gradients(expected, x))
    assert isinstance(model[0], Conv1d)
    assert parametrize.is_parametrized(model[0], "weight")
    parametrize.remove_parametrizations(model[0], "weight")
    assert type(model[0]) is Conv1d


def test_convert_leaves_subclasses_of_others_alone() -> None:
    """A subclass may have changed anything; only its author can say what it means."""

    class Theirs(nn.Conv1d):
        def forward(self, input: Tensor) -> Tensor:
            return super().forward(input) + 1

    model = nn.Sequential(Theirs(2, 3, 3), nn.LazyConv1d(4, 3))
    convert(model)
    assert type(model[0]) is Theirs


def test_convert_a_lazy_convolution() -> None:
    model = convert(nn.Sequential(nn.LazyConv1d(4, 3, padding=1), nn.ReLU()))
    assert type(model[0]) is LazyConv1d
    assert model(torch.randn(2, 3, 9)).shape == (2, 4, 9)
    assert type(model[0]) is Conv1d


SCRIPTED = [
    {},
    {"bias": False, "stride": 2, "dilation": 2, "groups": 2},
    {"padding": "same", "kernel_size": 4},
    {"padding": "valid"},
    {"padding": 2, "padding_mode": "reflect"},
    {"padding": "same", "padding_mode": "circular"},
    {"padding": (2, 0)},
    {"padding": "causal", "padding_mode": "replicate"},
]


@pytest.mark.filterwarnings("ignore:`torch.jit")
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("arguments", SCRIPTED, ids=str)
@pytest.mark.parametrize("how", ["script", "trace"])
def test_torchscript(arguments: dict[str, Any], channels_last: bool, how: str) -> None:
    arguments = {"in_channels": 4, "out_channels": 6, "kernel_size": 3} | arguments
    module = Conv1d(**arguments, channels_last=channels_last).double()
    x = input_of(module)
    x = x.transpose(1, 2) if channels_last else x
    scripted = torch.jit.script(module) if how == "script" else torch.jit.trace(module, x)

    file = io.BytesIO()
    torch.jit.save(scripted, file)
    file.seek(0)
    loaded = torch.jit.load(file)
    for inputs in (x, x[:1, :9] if channels_last else x[:1, :, :9]):
        assert torch.equal(loaded(inputs), module(inputs))
    assert_same(gradients(loaded, x), gradients(module, x))


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_torchscript_of_a_network() -> None:
    model = convert(
        nn.Sequential(nn.Conv1d(3, 4, 3), nn.ReLU(), nn.Conv1d(4, 2, 3, padding="same"))
    ).eval()
    x = torch.randn(2, 3, 12)
    expected = model(x)
    assert_same(torch.jit.script(model)(x), expected)
    frozen = torch.jit.freeze(torch.jit.script(model))
    for _ in range(3):  # the second call is profiled, the third optimised
        assert_same(frozen(x), expected)


def test_forward_twice_in_several_shapes() -> None:
    """No state is kept between calls."""
    module = Conv1d(4, 6, 3, padding=1, dtype=torch.double)
    for n, length in itertools.product((1, 3), (1, 7, 64)):
        x = torch.randn(n, 4, length, dtype=torch.double)
        assert_same(module(x), F.conv1d(x, module.weight, module.bias, padding=1))


def test_zero_channels() -> None:
    """torch (2.13) returns (N, 0, L_in - 2) for a layer without input channels."""
    with pytest.warns(UserWarning, match="zero-element"):
        module = Conv1d(0, 6, 3)
    module.bias = nn.Parameter(torch.arange(6.0))
    y = module(torch.ones(2, 0, 5))
    assert torch.equal(y, torch.arange(6.0)[:, None].expand(2, 6, 3))


def test_public_names() -> None:
    for name in ("Conv1d", "LazyConv1d", "conv1d", "convert", "Conv1dFunction"):
        assert name in torch_conv1d.__all__
        assert getattr(torch_conv1d, name).__doc__
        assert getattr(torch_conv1d, name).__module__.startswith("torch_conv1d")
