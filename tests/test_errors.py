"""Wrong calls: refused with the exception type of torch and a message that names argument, value and expectation.

`torch.nn.functional.conv1d` (after `torch.nn.functional.pad` for a padding mode) is asked first, in the same
test: the expected type is whatever it raises, never a type written down here.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

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


@dataclass(frozen=True)
class Wrong:
    """A call like conv1d(input, weight, bias), legal but for `changes`; the message must contain `words`."""

    id: str
    words: tuple[str, ...]
    changes: dict[str, Any]

    def arguments(self) -> dict[str, Any]:
        legal = {
            "input": torch.ones(2, 4, 10),
            "weight": torch.ones(6, 4, 3),
            "bias": torch.ones(6),
        }
        return legal | self.changes


def wrong(id: str, *words: str, **changes: Any) -> Wrong:
    return Wrong(id, words, changes)


# Values of a legal type that make no convolution. RuntimeError in torch.
WRONG_VALUES = [
    wrong("input_0d", "input", "[]", "2D", "3D", input=torch.ones(())),
    wrong("input_1d", "input", "[10]", "2D", "3D", input=torch.ones(10)),
    wrong("input_4d", "input", "[2, 4, 10, 1]", "2D", "3D", input=torch.ones(2, 4, 10, 1)),
    wrong("weight_0d", "weight", "[]", "3", weight=torch.ones(())),
    wrong("weight_1d", "weight", "[6]", "3", weight=torch.ones(6)),
    wrong("weight_2d", "weight", "[6, 4]", "3", weight=torch.ones(6, 4)),
    wrong("weight_4d", "weight", "[6, 4, 3, 1]", "3", weight=torch.ones(6, 4, 3, 1)),
    wrong("bias_0d", "bias", "[]", "6", bias=torch.ones(())),
    wrong("bias_2d", "bias", "[6, 1]", "6", bias=torch.ones(6, 1)),
    wrong("bias_too_short", "bias", "[5]", "6", bias=torch.ones(5)),
    wrong("bias_too_long", "bias", "[7]", "6", bias=torch.ones(7)),
    wrong("bias_of_one", "bias", "[1]", "6", bias=torch.ones(1)),
    wrong("channels_too_few", "input", "3", "4", "channels", input=torch.ones(2, 3, 10)),
    wrong("channels_too_many", "input", "5", "4", "channels", input=torch.ones(2, 5, 10)),
    wrong("channels_unbatched", "input", "3", "4", "channels", input=torch.ones(3, 10)),
    wrong("channels_zero", "input", "0", "4", "channels", input=torch.ones(2, 0, 10)),
    wrong("groups_do_not_divide_input", "input", "groups", "2", "8", groups=2),
    wrong(
        "groups_do_not_divide_output",
        "weight",
        "groups",
        "2",
        "5",
        bias=None,
        weight=torch.ones(5, 2, 3),
        groups=2,
    ),
    wrong(
        "groups_above_output",
        "weight",
        "groups",
        "4",
        "2",
        bias=None,
        weight=torch.ones(2, 1, 3),
        groups=4,
    ),
    wrong("groups_zero", "groups", "0", "positive", groups=0),
    wrong("groups_negative", "groups", "-1", "positive", groups=-1),
    wrong("groups_huge", "groups", str(2**62), groups=2**62),
    wrong("no_output_channels", "weight", "[0, 4, 3]", bias=None, weight=torch.ones(0, 4, 3)),
    wrong("stride_zero", "stride", "0", "positive", stride=0),
    wrong("stride_zero_tuple", "stride", "0", "positive", stride=(0,)),
    wrong("stride_negative", "stride", "-1", "positive", stride=-1),
    wrong("stride_lowest", "stride", str(-(2**63)), "positive", stride=-(2**63)),
    wrong("stride_empty", "stride", "[]", "1", stride=()),
    wrong("stride_of_two", "stride", "[1, 1]", "1", stride=(1, 1)),
    wrong("dilation_zero", "dilation", "0", "greater than zero", dilation=0),
    wrong("dilation_negative", "dilation", "-1", "greater than zero", dilation=-1),
    wrong("dilation_lowest", "dilation", str(-(2**63)), "greater than zero", dilation=-(2**63)),
    wrong("dilation_empty", "dilation", "[]", "1", dilation=()),
    wrong("dilation_of_two", "dilation", "[1, 1]", "1", dilation=[1, 1]),
    wrong("padding_negative", "padding", "-1", "negative", padding=-1),
    wrong("padding_negative_tuple", "padding", "-2", "negative", padding=(-2,)),
    wrong("padding_empty", "padding", "[]", "1", "2", padding=()),
    wrong("padding_of_three", "padding", "[1, 2, 3]", "1", "2", padding=(1, 2, 3)),
    wrong("padding_unknown", "padding", "full", "same", "valid", "causal", padding="full"),
    wrong("padding_upper_case", "padding", "SAME", "same", "valid", "causal", padding="SAME"),
    wrong("padding_empty_string", "padding", "''", "same", "valid", "causal", padding=""),
    wrong("padding_same_with_stride", "padding", "same", "stride", "2", padding="same", stride=2),
    wrong(
        "padding_same_with_stride_tuple",
        "padding",
        "same",
        "stride",
        "3",
        padding="same",
        stride=(3,),
    ),
    wrong("padding_huge", "padding", str(2**63 - 1), padding=2**63 - 1),
    wrong("kernel_longer_than_input", "3", "2", "kernel", input=torch.ones(2, 4, 2)),
    wrong(
        "kernel_longer_than_padded_input", "3", "2", "kernel", input=torch.ones(2, 4, 0), padding=1
    ),
    wrong("kernel_dilated_longer_than_input", "11", "10", "kernel", dilation=5),
    wrong("kernel_longer_unbatched", "3", "1", "kernel", input=torch.ones(4, 1)),
    wrong("input_of_no_length", "3", "0", "kernel", input=torch.ones(2, 4, 0)),
    wrong("kernel_empty", "weight", "[6, 4, 0]", weight=torch.ones(6, 4, 0)),
    wrong("input_float64", "input", "double", "float", input=torch.ones(2, 4, 10).double()),
    wrong("input_float16", "input", "Half", "float", input=torch.ones(2, 4, 10).half()),
    wrong("input_int64", "input", "long", "float", input=torch.ones(2, 4, 10).long()),
    wrong("weight_float64", "weight", "double", "float", weight=torch.ones(6, 4, 3).double()),
    wrong("weight_bfloat16", "weight", "BFloat16", "float", weight=torch.ones(6, 4, 3).bfloat16()),
    wrong("weight_complex", "weight", "complex", "float", weight=torch.ones(6, 4, 3).cfloat()),
    wrong("bias_float64", "bias", "double", "float", bias=torch.ones(6).double()),
    wrong("bias_bfloat16", "bias", "BFloat16", "float", bias=torch.ones(6).bfloat16()),
    wrong("bias_int64", "bias", "long", "float", bias=torch.ones(6).long()),
]

# Arguments that no signature of torch's conv1d accepts. TypeError in torch.
WRONG_TYPES = [
    wrong("input_none", "input", "None", "Tensor", input=None),
    wrong("input_list", "input", "list", "Tensor", input=[1.0, 2.0]),
    wrong("input_ndarray", "input", "ndarray", "Tensor", input=np.ones((2, 4, 10))),
    wrong("weight_none", "weight", "None", "Tensor", weight=None),
    wrong("weight_float", "weight", "float", "Tensor", weight=1.0),
    wrong("bias_float", "bias", "float", "Tensor", bias=1.0),
    wrong("bias_false", "bias", "bool", "Tensor", bias=False),
    wrong("stride_float", "stride", "1.5", "int", stride=1.5),
    wrong("stride_none", "stride", "None", "int", stride=None),
    wrong("stride_str", "stride", "'1'", "int", stride="1"),
    wrong("stride_tuple_of_float", "stride", "1.5", "int", stride=(1.5,)),
    wrong("stride_tuple_of_none", "stride", "None", "int", stride=(None,)),
    wrong("stride_float_tensor", "stride", "Tensor", "int", stride=torch.tensor(1.5)),
    wrong("padding_float", "padding", "0.5", "int", padding=0.5),
    wrong("padding_none", "padding", "None", "int", padding=None),
    wrong("padding_tuple_of_str", "padding", "same", "int", padding=("same",)),
    wrong("dilation_float", "dilation", "2.0", "int", dilation=2.0),
    wrong("dilation_none", "dilation", "None", "int", dilation=None),
    wrong("groups_float", "groups", "1.0", "int", groups=1.0),
    wrong("groups_none", "groups", "None", "int", groups=None),
    wrong("groups_tuple", "groups", "(1,)", "int", groups=(1,)),
    wrong("groups_str", "groups", "'1'", "int", groups="1"),
    wrong("unknown_keyword", "strides", strides=2),
]

# Integers that do not fit in 64 bits. ValueError in torch (2.13).
WRONG_INTEGERS = [
    wrong("stride_beyond_int64", stride=2**63),
    wrong("padding_beyond_int64", padding=2**63),
    wrong("dilation_beyond_int64", dilation=2**63),
    wrong("groups_beyond_int64", groups=2**63),
]


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
    legal = wrong("").arguments()
    ours = refusal(lambda: conv1d(legal["input"], legal["weight"], weight=legal["weight"]))
    theirs = refusal(lambda: F.conv1d(legal["input"], legal["weight"], weight=legal["weight"]))
    assert type(ours) is type(theirs)
    assert_message(ours, ("weight",))


# Padding modes: torch pads first, so torch.nn.functional.pad is what refuses.
WRONG_PADDINGS = [
    wrong(
        "reflect_as_long_as_input", "padding", "10", "reflect", padding=10, padding_mode="reflect"
    ),
    wrong("reflect_left", "padding", "12", "reflect", padding=(12, 0), padding_mode="reflect"),
    wrong("reflect_right", "padding", "12", "reflect", padding=(0, 12), padding_mode="reflect"),
    wrong(
        "circular_longer_than_input",
        "padding",
        "11",
        "circular",
        padding=11,
        padding_mode="circular",
    ),
    wrong("circular_right", "padding", "11", "circular", padding=(0, 11), padding_mode="circular"),
    wrong(
        "reflect_of_nothing",
        "input",
        "reflect",
        input=torch.ones(2, 4, 0),
        padding=2,
        padding_mode="reflect",
    ),
    wrong(
        "replicate_of_nothing",
        "input",
        "replicate",
        input=torch.ones(2, 4, 0),
        padding=2,
        padding_mode="replicate",
    ),
    wrong(
        "circular_of_nothing",
        "input",
        "circular",
        input=torch.ones(2, 4, 0),
        padding=2,
        padding_mode="circular",
    ),
]


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
def test_unknown_padding_mode(mode: str) -> None:
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
    """torch (2.13) computes with whatever meta operand it meets; a result made of nothing is refused here."""
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


# Sizes whose products or sums leave 64 bits. No address space holds any of these results, so that whatever
# is not refused by arithmetic is refused by the allocator: an error in either case, never a crash.
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


# The private ops check for themselves: nothing that reaches a kernel was checked by somebody else only.
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
