"""Wrong calls: the exception type of torch, and a message of argument, value and expectation.

`torch.nn.functional.conv1d` (after `torch.nn.functional.pad` for a padding mode) is asked first, in
the same test: the expected type is whatever it raises, never a type written down here.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from wrong_calls import WRONG_INTEGERS, WRONG_PADDINGS, WRONG_TYPES, WRONG_VALUES, Wrong, wrong

import torch_conv1d
from torch_conv1d import Conv1d, LazyConv1d, conv1d


def refusal(call: Callable[[], Any]) -> Exception:
    """The exception that `call` raises."""
    with pytest.raises(Exception) as caught:
        call()
    return caught.value


def assert_message(error: Exception, words: tuple[str, ...]) -> None:
    """Upper and lower case are the same: torch itself writes Float, float and torch.float32."""
    message = str(error)
    missing = [word for word in words if word.lower() not in message.lower()]
    assert not missing, f"{missing} not in the message: {message}"


def of_id(case: Wrong) -> str:
    return case.id


@pytest.mark.parametrize("case", WRONG_VALUES + WRONG_TYPES + WRONG_INTEGERS, ids=of_id)
def test_same_exception_type_as_torch(case: Wrong) -> None:
    theirs = refusal(lambda: F.conv1d(**case.arguments()))
    ours = refusal(lambda: conv1d(**case.arguments()))
    assert type(ours) is type(theirs), f"{ours!r} where torch raises {theirs!r}"
    assert_message(ours, case.words)


@pytest.mark.parametrize("case", WRONG_VALUES, ids=of_id)
def test_every_path_refuses(case: Wrong) -> None:
    """The dispatcher, the meta device and recording for backward say what the fast entry says."""
    message = str(refusal(lambda: conv1d(**case.arguments())))

    with torch.overrides.BaseTorchFunctionMode():
        through_dispatcher = refusal(lambda: conv1d(**case.arguments()))
    assert str(through_dispatcher) == message

    def converted(change: Callable[[Tensor], Tensor]) -> dict[str, Any]:
        return {k: change(v) if isinstance(v, Tensor) else v for k, v in case.arguments().items()}

    assert str(refusal(lambda: conv1d(**converted(lambda t: t.to("meta"))))) == message

    def recorded(t: Tensor) -> Tensor:
        return t.requires_grad_() if t.is_floating_point() or t.is_complex() else t

    assert str(refusal(lambda: conv1d(**converted(recorded)))) == message


@pytest.mark.parametrize(
    "case",
    [*WRONG_VALUES, *WRONG_PADDINGS, wrong("padding_mode_unknown", padding_mode="mirror")],
    ids=of_id,
)
def test_torchs_own_ops_refuse(case: Wrong, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same exception type while exporting to ONNX, when the call is made of torch's ops."""
    expected = type(refusal(lambda: conv1d(**case.arguments())))
    monkeypatch.setattr(torch.onnx, "is_in_onnx_export", lambda: True)
    with torch.overrides.BaseTorchFunctionMode():
        assert type(refusal(lambda: conv1d(**case.arguments()))) is expected


@pytest.mark.parametrize("missing", ["input", "weight"])
def test_missing_argument(missing: str) -> None:
    arguments = wrong("").arguments()
    del arguments[missing]
    ours = refusal(lambda: conv1d(**arguments))
    assert type(ours) is type(refusal(lambda: F.conv1d(**arguments)))
    assert_message(ours, (missing,))


def test_too_many_arguments() -> None:
    arguments = (*wrong("").arguments().values(), 1, 0, 1, 1, "zeros")
    ours = refusal(lambda: conv1d(*arguments))
    assert type(ours) is type(refusal(lambda: F.conv1d(*arguments)))
    assert_message(ours, ("7", "8"))


def test_argument_given_twice() -> None:
    arguments = wrong("").arguments()
    first = arguments.pop("input")
    ours = refusal(lambda: conv1d(first, first, **arguments))
    assert type(ours) is type(refusal(lambda: F.conv1d(first, first, **arguments)))
    assert_message(ours, ("weight",))


@pytest.mark.parametrize("case", WRONG_PADDINGS, ids=of_id)
def test_padding_mode_refuses_what_torch_refuses(case: Wrong) -> None:
    arguments = case.arguments()
    padding = arguments["padding"]
    pair = [padding, padding] if isinstance(padding, int) else list(padding)
    theirs = refusal(lambda: F.pad(arguments["input"], pair, mode=arguments["padding_mode"]))
    ours = refusal(lambda: conv1d(**arguments))
    assert type(ours) is type(theirs), f"{ours!r} where torch raises {theirs!r}"
    assert_message(ours, case.words)


@pytest.mark.parametrize("mode", ["mirror", "", "Zeros", "constant"])
def test_unknown_padding_mode(mode: Any) -> None:
    theirs = refusal(lambda: nn.Conv1d(4, 6, 3, padding_mode=mode))
    for call in (
        lambda: conv1d(**wrong("", padding_mode=mode).arguments()),
        lambda: Conv1d(4, 6, 3, padding_mode=mode),
    ):
        ours = refusal(call)
        assert type(ours) is type(theirs)
        assert_message(ours, ("padding_mode", mode, "zeros", "reflect", "replicate", "circular"))


@pytest.mark.parametrize(
    "changes", [{"padding_mode": None}, {"padding_mode": 1}, {"channels_last": "yes"}]
)
def test_wrong_type_of_the_arguments_torch_lacks(changes: dict[str, Any]) -> None:
    error = refusal(lambda: conv1d(**wrong("", **changes).arguments()))
    assert type(error) is TypeError
    assert_message(error, tuple(changes))


def test_channels_last_reads_channels_from_the_end() -> None:
    weight = torch.ones(6, 4, 3)
    assert conv1d(torch.ones(2, 10, 4), weight, channels_last=True).shape == (2, 8, 6)
    error = refusal(lambda: conv1d(torch.ones(2, 4, 10), weight, channels_last=True))
    assert type(error) is RuntimeError
    assert_message(error, ("10", "4", "channels"))


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint16, torch.float8_e4m3fn], ids=str)
def test_dtype_that_torch_does_not_convolve(dtype: torch.dtype) -> None:
    x, w = torch.ones(2, 4, 10).to(dtype), torch.ones(6, 4, 3).to(dtype)
    assert type(refusal(lambda: conv1d(x, w))) is type(refusal(lambda: F.conv1d(x, w)))


@pytest.mark.parametrize("sparse", ["input", "weight", "bias"])
def test_sparse_operand(sparse: str) -> None:
    arguments = wrong("").arguments()
    arguments[sparse] = arguments[sparse].to_sparse()
    theirs = refusal(lambda: F.conv1d(**arguments))
    assert type(refusal(lambda: conv1d(**arguments))) is type(theirs)


@pytest.mark.parametrize("elsewhere", ["weight", "bias"])
def test_operands_on_two_devices(elsewhere: str) -> None:
    """torch (2.13) computes with any meta operand; a result made of nothing is refused here."""
    arguments = wrong("").arguments()
    arguments[elsewhere] = arguments[elsewhere].to("meta")
    error = refusal(lambda: conv1d(**arguments))
    assert type(error) is RuntimeError
    assert_message(error, (elsewhere, "meta", "cpu"))


# (constructor arguments, words of the message)
WRONG_MODULES = [
    pytest.param((4, 6, 3), {"groups": 0}, ("groups",), id="groups_zero"),
    pytest.param((4, 6, 3), {"groups": -2}, ("groups",), id="groups_negative"),
    pytest.param((4, 6, 3), {"groups": 3}, ("groups", "in_channels"), id="groups_do_not_divide_in"),
    pytest.param(
        (4, 6, 3), {"groups": 4}, ("groups", "out_channels"), id="groups_do_not_divide_out"
    ),
    pytest.param((4, 6, 3), {"groups": 2.0}, (), id="groups_float"),
    pytest.param((4, 6, 3), {"groups": "2"}, (), id="groups_str"),
    pytest.param(
        (4, 6, 3),
        {"padding": "full"},
        ("padding", "full", "same", "valid", "causal"),
        id="padding_unknown",
    ),
    pytest.param(
        (4, 6, 3), {"padding": "same", "stride": 2}, ("padding", "same"), id="same_with_stride"
    ),
    pytest.param((4, 6), {}, ("kernel_size",), id="kernel_size_missing"),
    pytest.param((4, 6, None), {}, (), id="kernel_size_none"),
    pytest.param((4, 6, 3.0), {}, (), id="kernel_size_float"),
    pytest.param((4, 6, -1), {}, ("-1",), id="kernel_size_negative"),
    pytest.param((4, -6, 3), {}, ("-6",), id="out_channels_negative"),
    pytest.param((-4, 6, 3), {}, ("-4",), id="in_channels_negative"),
    pytest.param((4, 6, 3), {"device": "nowhere"}, ("nowhere",), id="device_unknown"),
    pytest.param((4, 6, 3), {"dtype": "float32"}, ("dtype",), id="dtype_str"),
    pytest.param((4, 6, 3), {"strides": 2}, ("strides",), id="unknown_keyword"),
]


@pytest.mark.parametrize("args, kwargs, words", WRONG_MODULES)
def test_constructor(args: tuple[Any, ...], kwargs: dict[str, Any], words: tuple[str, ...]) -> None:
    theirs = refusal(lambda: nn.Conv1d(*args, **kwargs))
    ours = refusal(lambda: Conv1d(*args, **kwargs))
    assert type(ours) is type(theirs), f"{ours!r} where torch raises {theirs!r}"
    assert_message(ours, words)


# Accepted by the constructor, refused by the call, as in torch.
@pytest.mark.parametrize(
    "kwargs",
    [
        {"stride": 0},
        {"stride": (1, 1)},
        {"stride": 1.5},
        {"padding": -1},
        {"padding": (1, 2, 3)},
        {"padding": None},
        {"dilation": 0},
        {"dilation": (1, 1)},
        {"kernel_size": (3, 3)},
        {"kernel_size": 0},
    ],
    ids=str,
)
def test_module_call(kwargs: dict[str, Any]) -> None:
    kwargs = {"kernel_size": 3} | kwargs
    x = torch.ones(2, 4, 10)
    theirs = refusal(lambda: nn.Conv1d(4, 6, **kwargs)(x))
    ours = refusal(lambda: Conv1d(4, 6, **kwargs)(x))
    assert type(ours) is type(theirs), f"{ours!r} where torch raises {theirs!r}"


def test_lazy_module_call() -> None:
    x = torch.ones(4)
    theirs = refusal(lambda: nn.LazyConv1d(6, 3)(x))
    ours = refusal(lambda: LazyConv1d(6, 3)(x))
    assert type(ours) is type(theirs)
    assert type(refusal(lambda: LazyConv1d(6, 3, groups=2)(torch.ones(2, 3, 10)))) is ValueError


@pytest.mark.parametrize(
    "not_a_module", [None, 3, torch.ones(2), nn.Conv1d], ids=lambda value: type(value).__name__
)
def test_convert_takes_a_module(not_a_module: Any) -> None:
    error = refusal(lambda: torch_conv1d.convert(not_a_module))
    assert type(error) is TypeError
    assert_message(error, ("module", type(not_a_module).__name__))


# Sizes whose products or sums leave 64 bits. No address space holds any of these results, so that
# what is not refused by arithmetic is refused by the allocator: an error, never a crash.
HUGE = 2**62


@pytest.mark.parametrize(
    "changes",
    [
        {"padding": HUGE},
        {"padding": (HUGE, HUGE)},
        {"padding": (2**63 - 1, 0)},
        {"padding": (0, 2**63 - 1)},
        {"padding": 2**55},
        {"dilation": HUGE},
        {"dilation": 2**63 - 1},
        {"dilation": HUGE, "padding": HUGE},
        {"dilation": HUGE, "padding": "same"},
        {"dilation": HUGE, "padding": "causal"},
        {"input": torch.ones(1, 1, 1).expand(2**40, 4, 8), "padding": 2**30},
        {"input": torch.ones(1, 1, 1).expand(2**57, 4, 8)},
        {"input": torch.ones(1, 1).expand(4, 2**60), "padding": HUGE},
    ],
    ids=lambda changes: "_".join(
        f"{k}{tuple(v.shape) if isinstance(v, Tensor) else v}" for k, v in changes.items()
    ),
)
@pytest.mark.parametrize("channels_last", [False, True])
def test_sizes_that_overflow(changes: dict[str, Any], channels_last: bool) -> None:
    arguments = wrong("", **changes).arguments()
    if channels_last:
        arguments["input"] = arguments["input"].transpose(-1, -2)
    error = refusal(lambda: conv1d(**arguments, channels_last=channels_last))
    assert type(error) is RuntimeError


@pytest.mark.parametrize("stride", [2**31, 2**62, 2**63 - 1])
def test_huge_stride_is_legal(stride: int) -> None:
    x, w = torch.randn(2, 4, 10), torch.randn(6, 4, 3)
    x.requires_grad_()
    y = conv1d(x, w, stride=stride, padding=1)
    assert y.shape == (2, 6, 1)
    torch.testing.assert_close(y, F.conv1d(x, w, stride=16, padding=1))
    (grad,) = torch.autograd.grad(y.sum(), x)
    (expected,) = torch.autograd.grad(F.conv1d(x, w, stride=16, padding=1).sum(), x)
    torch.testing.assert_close(grad, expected)


# The private ops check for themselves: whoever calls them, nothing unchecked reaches a kernel.
def private_arguments() -> dict[str, Any]:
    return {
        "input": torch.ones(2, 4, 10),
        "weight": torch.ones(6, 4, 3),
        "stride": 1,
        "pad_left": 0,
        "pad_right": 0,
        "dilation": 1,
        "groups": 1,
        "padding_mode": 0,
        "channels_last": False,
    }


WRONG_FOR_BOTH = [
    {"input": torch.ones(4, 10)},
    {"input": torch.ones(2, 3, 10)},
    {"input": torch.ones(2, 4, 10).double()},
    {"weight": torch.ones(6, 4)},
    {"weight": torch.ones(6, 4, 11)},
    {"stride": 0},
    {"stride": -1},
    {"pad_left": -1},
    {"pad_right": -1},
    {"pad_left": 2**63 - 1, "pad_right": 2**63 - 1},
    {"dilation": 0},
    {"dilation": 2**63 - 1},
    {"groups": 0},
    {"groups": 2},
    {"padding_mode": 4},
    {"padding_mode": -1},
    {"pad_left": 10, "padding_mode": 1},
    {"pad_left": 11, "padding_mode": 3},
]


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize(
    "changes",
    WRONG_FOR_BOTH,
    ids=lambda c: "_".join(
        f"{k}{list(v.shape) if isinstance(v, Tensor) else v}" for k, v in c.items()
    ),
)
def test_private_ops_refuse(changes: dict[str, Any], device: str) -> None:
    arguments = {
        k: v.to(device) if isinstance(v, Tensor) else v
        for k, v in (private_arguments() | changes).items()
    }
    grad_output = torch.ones(2, 6, 8, device=device)
    for call in (
        lambda: torch.ops.torch_conv1d._conv1d(bias=None, **arguments),
        lambda: torch.ops.torch_conv1d._conv1d_backward(
            grad_output=grad_output, output_mask=[True, True, True], **arguments
        ),
    ):
        assert isinstance(refusal(call), RuntimeError)


@pytest.mark.parametrize(
    "shape", [(2, 6, 7), (2, 6, 9), (1, 6, 8), (2, 5, 8), (2, 6), (2, 6, 8, 1), (0,)], ids=str
)
@pytest.mark.parametrize("mask", list(itertools.product([False, True], repeat=3))[1:], ids=str)
def test_private_backward_refuses_a_gradient_of_another_shape(
    shape: tuple[int, ...], mask: tuple[bool, bool, bool]
) -> None:
    error = refusal(
        lambda: torch.ops.torch_conv1d._conv1d_backward(
            grad_output=torch.ones(shape), output_mask=mask, **private_arguments()
        )
    )
    assert type(error) is RuntimeError
    assert_message(error, ("grad_output", "[2, 6, 8]"))
