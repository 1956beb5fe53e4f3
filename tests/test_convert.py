"""convert(): the classes change, and nothing else."""

from __future__ import annotations

import copy
from typing import Any

import torch
import torch.nn.functional as F
from constructions import gradients_of, input_of
from layers import (
    assert_same,
)
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

from torch_conv1d import Conv1d, LazyConv1d, convert


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
    theirs = Residual().double()
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
    assert ours.get_submodule("blocks.0.2") is ours.shared
    assert ours.get_submodule("blocks.1.2") is ours.shared
    assert repr(ours) == repr(theirs)
    ours.load_state_dict(theirs.state_dict(), strict=True)

    x = torch.randn(2, 3, 20, dtype=torch.double)
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
    convolution: Any = model[0]
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
    model = nn.Sequential(parametrizations.weight_norm(nn.Conv1d(2, 3, 3).double()))
    expected = copy.deepcopy(model)
    convert(model)
    x = torch.randn(1, 2, 8, dtype=torch.double)
    assert_same(model(x), expected(x))
    assert_same(gradients_of(model, x), gradients_of(expected, x))
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
