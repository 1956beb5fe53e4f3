"""Conv1d and LazyConv1d: what torch.nn.Conv1d does, and the few things it does not."""

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
from constructions import each_construction, gradients_of, input_of, pair
from layers import (
    assert_same,
)
from torch import Tensor, nn

from torch_conv1d import Conv1d, LazyConv1d

pytestmark = [
    # torch's own remarks about how it does things.
    pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning"),
    pytest.mark.filterwarnings("ignore:Complex modules are a new feature:UserWarning"),
]


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
    assert_same(gradients_of(ours, x), gradients_of(theirs, x))


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
    arguments: Any = (4, 6, 3, 2, 1, 2, 2, False, "replicate", "cpu", torch.float64)
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
