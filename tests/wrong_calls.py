"""Calls that torch refuses, each legal but for one thing, and words of the message it gets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch


@dataclass(frozen=True)
class Wrong:
    """A call of conv1d, legal but for `changes`; the message it gets must contain `words`."""

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
    wrong(
        "input_4d_padded", "input", "[2, 4, 10, 1]", input=torch.ones(2, 4, 10, 1), padding=(1, 0)
    ),
    wrong("weight_0d", "weight", "[]", "3", weight=torch.ones(())),
    wrong("weight_0d_causal", "weight", "[]", "3", weight=torch.ones(()), padding="causal"),
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
    wrong("padding_negative_left", "padding", "-1", "negative", padding=(-1, 0)),
    wrong("padding_negative_right", "padding", "-1", "negative", padding=(3, -1)),
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
    wrong(
        "weight_complex", "weight", "complex", "float", weight=torch.ones(6, 4, 3).to(torch.cfloat)
    ),
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
    wrong("stride_bool", "stride", "True", "int", stride=True),
    wrong("stride_range", "stride", "range(2, 3)", "int", stride=range(2, 3)),
    wrong("stride_set", "stride", "{2}", "int", stride={2}),
    wrong("padding_bool", "padding", "True", "int", padding=True),
    wrong("padding_array", "padding", "ndarray", "int", padding=np.array([1])),
    wrong("dilation_tuple_of_bool", "dilation", "True", "int", dilation=(True,)),
    wrong("groups_bool", "groups", "True", "int", groups=True),
    wrong("groups_float_tensor", "groups", "tensor(1.)", "int", groups=torch.tensor(1.0)),
    wrong("unknown_keyword", "strides", strides=2),
]


# Integers that do not fit in 64 bits. ValueError in torch (2.13).
WRONG_INTEGERS = [
    wrong("stride_beyond_int64", stride=2**63),
    wrong("padding_beyond_int64", padding=2**63),
    wrong("dilation_beyond_int64", dilation=2**63),
    wrong("groups_beyond_int64", groups=2**63),
]


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
