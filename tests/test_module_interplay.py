"""Conv1d with what people put around it: parametrisations, pruning, subclasses, TorchScript."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from constructions import each_construction, gradients_of, input_of, pair
from layers import (
    assert_same,
)
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune

from torch_conv1d import Conv1d, convert

pytestmark = [
    # torch's own remarks about how it does things.
    pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning"),
    pytest.mark.filterwarnings("ignore:Complex modules are a new feature:UserWarning"),
]


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
    assert_same(gradients_of(ours, transposed)[1:], gradients_of(theirs, x)[1:])
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
    for module in (ours, theirs):
        torch.manual_seed(1)
        REPARAMETRISATIONS[name](module)
    x = input_of(theirs)
    assert_same(ours(x), theirs(x))
    assert_same(gradients_of(ours, x), gradients_of(theirs, x))


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


def test_fused_with_batch_norm() -> None:
    module = Conv1d(4, 6, 3, padding="causal").eval()
    norm = nn.BatchNorm1d(6).eval()
    assert norm.running_mean is not None
    norm.running_mean.normal_()
    fused = nn.utils.fuse_conv_bn_eval(module, norm)
    assert type(fused) is Conv1d
    x = input_of(module)
    assert_same(fused(x), norm(module(x)))


def test_without_initialisation() -> None:
    module = nn.utils.skip_init(Conv1d, 4, 6, 3, channels_last=True)
    assert module(torch.ones(2, 9, 4)).shape == (2, 7, 6)


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
    assert_same(gradients_of(loaded, x), gradients_of(module, x))


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
