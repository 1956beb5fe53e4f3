"""The problems that the tests run, made to break index arithmetic, and their operands.

A problem is one call of conv1d as a value. Its string, ``n4_ci16_co32_l100_k3_s2_p1_d1_g1``, is the
test id and what a bug report quotes: unequal padding is ``p3x0``, a padding mode other than zeros
is a suffix.
"""

from __future__ import annotations

import itertools
import random
import re
import zlib
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import strategies as st
from torch import Tensor

PADDING_MODES = ("zeros", "reflect", "replicate", "circular")

# Where `operands` puts its tensors; the fixture `device` changes it.
device = torch.device("cpu")
each_device = pytest.mark.usefixtures("device")

_PATTERN = re.compile(
    r"n(\d+)_ci(\d+)_co(\d+)_l(\d+)_k(\d+)_s(\d+)_p(\d+)(?:x(\d+))?_d(\d+)_g(\d+)(?:_([a-z]+))?"
)


@dataclass(frozen=True)
class Problem:
    n: int
    c_in: int
    c_out: int
    l_in: int
    kernel_size: int
    stride: int = 1
    pad_left: int = 0
    pad_right: int = 0
    dilation: int = 1
    groups: int = 1
    padding_mode: str = "zeros"

    @classmethod
    def parse(cls, text: str) -> Problem:
        match = _PATTERN.fullmatch(text)
        if match is None:
            raise ValueError(f"expected n1_ci2_co3_l4_k1_s1_p0_d1_g1, got {text!r}")
        *numbers, mode = match.groups()
        n, c_in, c_out, l_in, k, s, left, right, d, g = (int(v or numbers[6]) for v in numbers)
        return cls(n, c_in, c_out, l_in, k, s, left, right, d, g, mode or "zeros")

    def __str__(self) -> str:
        same = self.pad_left == self.pad_right
        padding = f"p{self.pad_left}" if same else f"p{self.pad_left}x{self.pad_right}"
        mode = "" if self.padding_mode == "zeros" else f"_{self.padding_mode}"
        return (
            f"n{self.n}_ci{self.c_in}_co{self.c_out}_l{self.l_in}_k{self.kernel_size}"
            f"_s{self.stride}_{padding}_d{self.dilation}_g{self.groups}{mode}"
        )

    @property
    def span(self) -> int:
        return self.dilation * (self.kernel_size - 1) + 1

    @property
    def l_out(self) -> int:
        return (self.l_in + self.pad_left + self.pad_right - self.span) // self.stride + 1

    @property
    def multiply_adds(self) -> int:
        return self.n * self.c_out * self.l_out * self.c_in // self.groups * self.kernel_size

    @property
    def input_shape(self) -> tuple[int, int, int]:
        return self.n, self.c_in, self.l_in

    @property
    def weight_shape(self) -> tuple[int, int, int]:
        return self.c_out, self.c_in // self.groups, self.kernel_size

    @property
    def output_shape(self) -> tuple[int, int, int]:
        return self.n, self.c_out, self.l_out

    @property
    def arguments(self) -> dict[str, Any]:
        """What torch_conv1d.conv1d takes after the tensors."""
        return {
            "stride": self.stride,
            "padding": (self.pad_left, self.pad_right),
            "dilation": self.dilation,
            "groups": self.groups,
            "padding_mode": self.padding_mode,
        }


class Operands(NamedTuple):
    x: Tensor
    w: Tensor
    b: Tensor
    grad_y: Tensor


def operands(problem: Problem, dtype: torch.dtype = torch.float64) -> Operands:
    """Normal random numbers that depend on the problem alone, on the device of the test."""
    generator = torch.Generator().manual_seed(zlib.crc32(str(problem).encode()))
    shapes = (
        problem.input_shape,
        problem.weight_shape,
        (problem.c_out,),
        problem.output_shape,
    )
    return Operands(
        *(
            torch.randn(s, generator=generator, dtype=torch.float64).to(device, dtype)
            for s in shapes
        )
    )


def legal_problem(
    n: int,
    channels: tuple[int, int, int],
    l_in: int,
    kernel_size: int,
    stride: int,
    padding: tuple[int, int],
    dilation: int,
    padding_mode: str,
) -> Problem:
    """The legal problem next to these numbers; channels are C_in / groups, C_out / groups, groups.

    Padding is cut to what its mode allows, then the input is lengthened until the kernel fits once.
    """
    ci, co, groups = channels
    if padding_mode != "zeros":
        l_in = max(l_in, 1)
    limit = {"reflect": l_in - 1, "circular": l_in}.get(padding_mode, max(padding))
    left, right = min(padding[0], limit), min(padding[1], limit)
    span = dilation * (kernel_size - 1) + 1
    l_in = max(l_in, span - left - right)
    return Problem(
        n,
        ci * groups,
        co * groups,
        l_in,
        kernel_size,
        stride,
        left,
        right,
        dilation,
        groups,
        padding_mode,
    )


# Each line is an edge that breaks a convolution, or is where a block, a tile or a vector ends.
EDGES = tuple(
    map(
        Problem.parse,
        """
        n1_ci1_co1_l1_k1_s1_p0_d1_g1
        n3_ci1_co1_l1_k1_s1_p0_d1_g1
        n2_ci3_co5_l4_k7_s1_p3_d1_g1
        n2_ci3_co4_l2_k5_s1_p4_d1_g1
        n1_ci2_co2_l3_k9_s2_p8_d1_g2
        n2_ci4_co6_l10_k10_s1_p0_d1_g2
        n1_ci5_co3_l12_k12_s5_p0_d1_g1
        n2_ci3_co4_l9_k5_s1_p0_d2_g1
        n2_ci6_co6_l40_k2_s7_p0_d1_g1
        n3_ci5_co7_l50_k3_s11_p1_d1_g1
        n2_ci4_co4_l30_k1_s3_p0_d1_g4
        n2_ci3_co3_l5_k2_s1_p6_d11_g1
        n1_ci2_co3_l8_k3_s2_p20_d17_g1
        n2_ci4_co2_l6_k2_s1_p5_d1_g2
        n2_ci3_co4_l7_k3_s2_p9x0_d1_g1
        n2_ci3_co4_l7_k3_s2_p0x9_d1_g1
        n1_ci7_co7_l33_k31_s1_p30x0_d1_g7
        n1_ci3_co3_l65_k63_s1_p31_d1_g3
        n2_ci2_co2_l300_k257_s1_p128_d1_g2
        n1_ci5_co3_l290_k257_s3_p17_d1_g1
        n1_ci4_co4_l270_k63_s2_p5x40_d4_g4
        n1_ci3_co6_l130_k31_s3_p45_d3_g3
        n2_ci1_co9_l200_k7_s2_p3_d1_g1
        n2_ci9_co1_l200_k7_s2_p3_d1_g1
        n1_ci1_co1_l1000_k5_s1_p2_d1_g1
        n1_ci257_co2_l19_k3_s1_p1_d1_g1
        n1_ci2_co257_l19_k3_s1_p1_d1_g1
        n1_ci130_co70_l35_k3_s1_p1_d1_g1
        n1_ci300_co300_l17_k3_s1_p1_d1_g300
        n1_ci96_co128_l70_k1_s1_p0_d1_g1
        n2_ci515_co5_l9_k1_s2_p0_d1_g1
        n1_ci530_co37_l260_k2_s1_p0x1_d3_g1
        n6_ci19_co9_l67_k1_s2_p0_d1_g1
        n1_ci12_co12_l255_k3_s1_p1_d1_g1
        n1_ci12_co12_l257_k3_s1_p0_d1_g1
        n1_ci2_co3_l511_k3_s1_p1_d2_g1
        n1_ci2_co3_l1023_k4_s1_p2_d1_g1
        n1_ci2_co3_l1025_k4_s2_p2_d1_g1
        n1_ci3_co2_l2049_k5_s1_p2_d3_g1
        n1_ci2_co2_l4095_k3_s1_p1_d1_g2
        n1_ci2_co2_l4097_k9_s1_p4_d1_g2
        n1_ci1_co3_l8193_k5_s2_p2_d1_g1
        n1_ci3_co4_l4100_k3_s3_p2_d5_g1
        n2_ci3_co3_l300_k32_s1_p16x15_d1_g3
        n1_ci5_co5_l331_k33_s1_p32x0_d1_g5_reflect
        n3_ci6_co3_l257_k64_s1_p20x0_d1_g3
        n1_ci3_co6_l400_k65_s1_p32_d1_g3_circular
        n1_ci7_co1_l290_k47_s1_p0x23_d1_g1_replicate
        n1_ci1_co7_l271_k40_s1_p19_d1_g1
        n1_ci4_co4_l900_k33_s2_p16_d1_g4
        n1_ci4_co4_l700_k35_s1_p51_d3_g4_replicate
        n1_ci2_co2_l5003_k101_s1_p50_d1_g2
        n2_ci20_co20_l90_k3_s1_p32x31_d32_g20_circular
        n1_ci18_co18_l70_k9_s3_p20x7_d1_g18_reflect
        n1_ci17_co34_l130_k21_s4_p0_d1_g17
        n2_ci7_co7_l331_k9_s6_p4_d1_g7
        n1_ci6_co5_l403_k11_s8_p3_d1_g1
        n1_ci5_co5_l140_k5_s3_p9x2_d5_g5
        n2_ci16_co16_l100_k5_s2_p30x40_d8_g16_reflect
        n1_ci290_co7_l1100_k3_s1_p1_d1_g1
        n1_ci2200_co7_l141_k3_s2_p1_d1_g1
        n1_ci770_co6_l310_k4_s1_p3x90_d31_g1
        n1_ci5_co790_l290_k4_s1_p93x90_d31_g1
        n1_ci4300_co19_l67_k1_s1_p0_d1_g1
        n2_ci17_co4200_l70_k1_s1_p0x1_d1_g1
        n1_ci40_co9_l2100_k9_s1_p4_d1_g1
        n1_ci9_co40_l3100_k5_s2_p3_d2_g1
        n2_ci66_co66_l520_k4_s1_p3x0_d1_g66
        n7_ci2_co3_l700_k3_s1_p1_d1_g1
        n9_ci3_co10_l260_k3_s1_p1_d1_g1
        n33_ci2_co9_l31_k3_s2_p1_d1_g1
        n1_ci2_co2_l2050_k3_s1_p1_d1_g2
        n1_ci3_co8_l514_k3_s1_p1_d1_g1
        n2_ci2_co2_l1030_k31_s1_p15_d1_g2_circular
        n2_ci5_co5_l333_k62_s1_p31x30_d1_g5
        n1_ci3_co3_l8301_k20_s1_p19x0_d1_g3
        n2_ci6_co3_l403_k9_s1_p0x9_d1_g3
        n1_ci3_co3_l90_k3_s1_p70x69_d40_g3
        n1_ci3_co2_l1027_k15_s2_p14x0_d2_g1_reflect
        n2_ci4_co4_l600_k7_s3_p9_d3_g4_replicate
        n2_ci3_co4_l2_k2_s1_p1_d1_g1_reflect
        n2_ci3_co4_l9_k3_s1_p8_d1_g1_reflect
        n2_ci3_co4_l9_k9_s1_p8_d2_g1_reflect
        n2_ci4_co4_l1_k1_s1_p0_d1_g4_reflect
        n2_ci3_co4_l1_k3_s1_p1_d1_g1_circular
        n2_ci3_co4_l5_k11_s2_p5_d1_g1_circular
        n2_ci4_co4_l9_k4_s1_p9_d1_g4_circular
        n2_ci3_co4_l1_k4_s1_p7_d1_g1_replicate
        n2_ci4_co4_l3_k5_s2_p21x13_d2_g2_replicate
        n1_ci4_co4_l33_k5_s4_p40_d1_g4_replicate
        n2_ci4_co8_l40_k3_s1_p2x0_d1_g4_circular
        n5_ci33_co17_l29_k3_s1_p1_d1_g1
        n4_ci13_co25_l31_k5_s2_p2_d1_g1
        n64_ci2_co3_l5_k3_s1_p1_d1_g1
        n40_ci3_co3_l9_k3_s1_p1_d1_g3
        n20_ci5_co9_l7_k3_s1_p1_d1_g1
        n50_ci4_co3_l13_k4_s3_p5x2_d2_g1_reflect
        n37_ci6_co8_l20_k5_s1_p3x0_d1_g2_circular
        n1_ci64_co48_l3_k3_s1_p0_d1_g1
        n2_ci33_co70_l2_k2_s1_p0_d1_g1
        n3_ci40_co17_l1_k1_s1_p0_d1_g1
        n1_ci100_co130_l1_k1_s1_p0_d1_g1
        n1_ci42_co50_l2_k6_s1_p2x3_d1_g2_replicate
        n4_ci16_co7_l9_k3_s2_p0x1_d4_g1
        n1_ci70_co66_l4_k1_s3_p2x4_d1_g2
        n1_ci5_co20_l16_k16_s1_p3x0_d1_g1
        n1_ci350_co70_l20_k3_s1_p1_d1_g1
        n1_ci40_co72_l17_k5_s1_p6_d3_g1
        n3_ci20_co99_l130_k3_s1_p0_d60_g1
        n20_ci20_co3_l7_k5_s1_p2_d1_g1
        n2_ci36_co48_l2_k4_s1_p2_d1_g3_circular
        n14_ci50_co18_l38_k2_s1_p0_d1_g1
        """.split(),
    )
)

# What Toom-Cook's filtering computes: lengths next to those of a tile, a vector of tiles and a
# block; every number of taps modulo 4; samples whose columns are fewer than lie between them.
TOOM_COOK = tuple(
    map(
        Problem.parse,
        """
        n1_ci48_co48_l150_k3_s1_p0_d1_g1
        n2_ci49_co51_l148_k3_s1_p1_d1_g1
        n3_ci50_co63_l147_k3_s1_p2x0_d1_g1
        n1_ci64_co64_l257_k3_s1_p1_d1_g1
        n1_ci48_co49_l1030_k3_s1_p1_d1_g1
        n2_ci70_co66_l147_k4_s1_p3x0_d1_g2
        n1_ci34_co32_l146_k4_s1_p0x5_d2_g1
        n9_ci48_co40_l61_k5_s1_p2_d1_g1
        n1_ci32_co40_l400_k5_s1_p4_d2_g1
        n2_ci32_co32_l153_k6_s1_p0x6_d1_g1
        n1_ci33_co32_l190_k7_s1_p9_d3_g1
        n2_ci32_co34_l135_k8_s1_p7x0_d1_g1
        n1_ci32_co32_l273_k9_s1_p20_d5_g1
        n3_ci32_co32_l140_k11_s1_p5_d1_g1
        n1_ci66_co64_l133_k17_s1_p8_d1_g2_reflect
        n1_ci32_co32_l160_k31_s1_p30x0_d1_g1_circular
        n2_ci48_co48_l140_k3_s1_p9_d4_g1_replicate
        n1_ci96_co96_l61_k5_s1_p3x0_d1_g2_reflect
        n1_ci48_co50_l330_k3_s1_p16_d16_g1
        n1_ci300_co48_l200_k3_s1_p1_d1_g1
        n1_ci32_co300_l200_k5_s1_p2_d1_g1
        n2_ci72_co73_l348_k2_s1_p1x0_d3_g1
        n1_ci40_co64_l871_k8_s4_p2_d1_g1
        n2_ci56_co57_l306_k5_s2_p3x0_d1_g1
        n1_ci96_co96_l261_k8_s2_p9_d1_g2_reflect
        n1_ci48_co48_l1036_k6_s3_p0x5_d1_g1
        n2_ci24_co64_l289_k17_s2_p8_d1_g1
        n1_ci50_co60_l262_k41_s2_p20_d1_g1
        n1_ci64_co65_l758_k11_s5_p7_d1_g1_circular
        n2_ci32_co33_l1301_k5_s1_p4x3_d1_g1_circular
        n1_ci48_co50_l933_k6_s3_p5x4_d1_g1_reflect
        n1_ci48_co48_l300_k3_s1_p9x2_d4_g1_replicate
        n2_ci200_co201_l140_k4_s1_p2_d1_g1
        n1_ci250_co251_l891_k3_s2_p1x0_d1_g1
        n2_ci129_co128_l1101_k7_s4_p3_d1_g1
        n1_ci2_co801_l11001_k83_s40_p3_d1_g1
        n4_ci20_co22_l63_k63_s1_p31_d1_g1
        n3_ci100_co66_l62_k41_s1_p20_d1_g1
        n3_ci40_co35_l124_k33_s1_p0x64_d2_g1
        """.split(),
    )
)

# What is multiplied in pairs of bfloat16, by all operations: odd numbers of channels and positions,
# tails, several panels and blocks, phases, samples side by side, groups, ends that are folded back,
# taps that meet nothing.
PAIRED = tuple(
    map(
        Problem.parse,
        """
        n1_ci9_co9_l131_k3_s1_p1_d1_g1
        n3_ci33_co25_l157_k5_s1_p0x2_d2_g1
        n2_ci64_co70_l1030_k1_s1_p0_d1_g1
        n2_ci27_co40_l501_k5_s3_p4x0_d1_g1_reflect
        n1_ci40_co27_l700_k4_s2_p7_d3_g1_circular
        n9_ci22_co34_l140_k3_s1_p1_d1_g2_replicate
        n17_ci24_co16_l45_k7_s1_p50_d8_g1
        n2_ci300_co31_l260_k2_s2_p0_d1_g1
        n1_ci8_co301_l5003_k9_s1_p4_d1_g1
        """.split(),
    )
)

# Kernels much longer than the output, whose gradients have grad_y as the kernel: one sample and
# many, more than are copied at a time, one position and more than share loads in one row, strides,
# dilations and what they leave at the end of a row, taps that meet nothing but padding, a padding
# mode, one channel on either side, more channels than are taken at a time.
LONG_KERNELS = tuple(
    map(
        Problem.parse,
        """
        n1_ci5_co7_l70_k67_s1_p0_d1_g1
        n9_ci3_co2_l131_k111_s1_p0_d1_g1
        n70_ci2_co300_l70_k66_s1_p0_d1_g1
        n300_ci1_co9_l52_k50_s1_p0_d1_g1
        n2_ci90_co3_l83_k40_s5_p0_d2_g1
        n3_ci2_co5_l301_k90_s2_p3x1_d3_g1
        n1_ci4_co1_l130_k128_s1_p11x12_d1_g1
        n4_ci20_co4_l40_k90_s1_p29x31_d1_g1
        n2_ci30_co3_l60_k99_s9_p24_d1_g1
        n2_ci33_co4_l90_k80_s4_p5_d1_g1_reflect
        n2_ci40_co700_l70_k65_s1_p0_d1_g1
        n1_ci256_co4_l403_k400_s1_p1_d1_g1
        """.split(),
    )
)

# Samples side by side in forward whose rows are much longer than the output: of one position and a
# few, that fill vectors and do not, of which not all stand together.
LONG_ROWS = tuple(
    map(
        Problem.parse,
        """
        n7_ci3_co20_l200_k198_s1_p0_d1_g1
        n37_ci5_co16_l140_k33_s4_p0_d4_g1
        n20_ci2_co48_l204_k100_s2_p1x2_d2_g1_circular
        n18_ci6_co12_l997_k200_s50_p0_d4_g1
        """.split(),
    )
)


# What goes through the frequency domain: one block and several, one channel and many, lengths next
# to those of a transform.
FFT = tuple(
    map(
        Problem.parse,
        """
        n1_ci5_co5_l2100_k800_s1_p799x0_d1_g5
        n1_ci9_co9_l1249_k800_s1_p799x0_d1_g9
        n2_ci17_co17_l2001_k521_s1_p260_d1_g17
        n3_ci1_co1_l9011_k601_s1_p0_d1_g1
        n2_ci3_co3_l1900_k900_s1_p1000_d1_g3
        n1_ci2_co2_l9011_k1501_s1_p900x2100_d2_g2
        n3_ci2_co2_l2100_k1500_s1_p0x1499_d1_g2
        n1_ci3_co3_l3000_k1001_s1_p750x450_d1_g3_reflect
        n1_ci3_co3_l2200_k900_s1_p899x0_d1_g3_circular
        n1_ci3_co3_l2200_k900_s1_p0x899_d1_g3_replicate
        """.split(),
    )
)

_FACTORS: dict[str, tuple[Any, ...]] = {
    "n": (1, 2, 3, 5),
    "channels": (
        (1, 1, 1),
        (1, 6, 1),
        (5, 7, 1),
        (17, 13, 1),
        (33, 25, 1),
        (64, 48, 1),
        (1, 1, 7),
        (1, 1, 33),
        (1, 2, 6),
        (1, 5, 3),
        (2, 3, 5),
        (3, 1, 4),
        (4, 4, 3),
        (6, 13, 2),
    ),
    "l_in": (1, 3, 7, 8, 15, 17, 31, 33, 47, 49, 64, 95, 97, 130),
    "kernel_size": (1, 2, 3, 4, 5, 7, 8, 9, 16, 31),
    "stride": (1, 2, 3, 4, 5, 7),
    "padding": ("none", "one", "half", "causal", "right", "full", "beyond"),
    "dilation": (1, 2, 3, 8),
    "padding_mode": PADDING_MODES,
}


def _padding(kind: str, span: int) -> tuple[int, int]:
    return {
        "none": (0, 0),
        "one": (1, 1),
        "half": ((span - 1) // 2, span // 2),
        "causal": (span - 1, 0),
        "right": (0, span - 1),
        "full": (span - 1, span - 1),
        "beyond": (span, span + 2),
    }[kind]


def _pairwise(factors: dict[str, tuple[Any, ...]]) -> list[dict[str, Any]]:
    """A short list of choices in which every two values of two factors meet.

    Greedy: of a few random choices that hold a pair still missing, the one that holds most of them.
    """
    rng = random.Random(0)
    names = tuple(factors)
    missing = {
        ((a, i), (b, j))
        for a, b in itertools.combinations(names, 2)
        for i in range(len(factors[a]))
        for j in range(len(factors[b]))
    }

    def pairs(choice: dict[str, int]) -> set[tuple[tuple[str, int], tuple[str, int]]]:
        return set(itertools.combinations(choice.items(), 2)) & missing

    chosen = []
    while missing:
        wanted = dict(min(missing))
        candidates = [
            {name: wanted.get(name, rng.randrange(len(factors[name]))) for name in names}
            for _ in range(30)
        ]
        best = max(candidates, key=lambda choice: len(pairs(choice)))
        missing -= pairs(best)
        chosen.append({name: factors[name][index] for name, index in best.items()})
    return chosen


def _problem(choice: dict[str, Any]) -> Problem:
    span = choice["dilation"] * (choice["kernel_size"] - 1) + 1
    return legal_problem(**{**choice, "padding": _padding(choice["padding"], span)})


CORPUS = tuple(dict.fromkeys((*EDGES, *map(_problem, _pairwise(_FACTORS)))))


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    """Any small legal problem."""
    size = st.integers(1, 9)
    kernel_size, dilation = draw(size), draw(size)
    reach = dilation * (kernel_size - 1) + 3
    return legal_problem(
        n=draw(st.integers(1, 3)),
        channels=(draw(size), draw(size), draw(st.integers(1, 4))),
        l_in=draw(st.integers(1, 80)),
        kernel_size=kernel_size,
        stride=draw(size),
        padding=(draw(st.integers(0, reach)), draw(st.integers(0, reach))),
        dilation=dilation,
        padding_mode=draw(st.sampled_from(PADDING_MODES)),
    )
