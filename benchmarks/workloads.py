"""One convolution to measure: its sizes, its arithmetic and its memory traffic."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

PROBLEMS = Path(__file__).parent / "problems"

_PROBLEM = re.compile(
    r"n(?P<n>\d+)_ci(?P<c_in>\d+)_co(?P<c_out>\d+)_l(?P<l_in>\d+)_k(?P<kernel_size>\d+)"
    r"_s(?P<stride>\d+)_p(?P<pad_left>\d+)(x(?P<pad_right>\d+))?_d(?P<dilation>\d+)"
    r"_g(?P<groups>\d+)(_(?P<padding_mode>reflect|replicate|circular))?"
)

# Passes over the multiply-adds, and how many tensors of the size of x, w and y are read or written:
# a backward with both gradients reads grad_y once.
WORK = {
    "forward": (1, 1, 1, 1),
    "grad_input": (1, 1, 1, 1),
    "grad_weight": (1, 1, 1, 1),
    "train": (3, 3, 3, 2),
    "double_backward": (4, 3, 3, 2),
}


@dataclass(frozen=True)
class Workload:
    name: str
    n: int
    c_in: int
    c_out: int
    l_in: int
    kernel_size: int
    stride: int
    pad_left: int
    pad_right: int
    dilation: int
    groups: int
    padding_mode: str
    bias: bool

    @property
    def l_out(self) -> int:
        padded = self.l_in + self.pad_left + self.pad_right
        return (padded - self.dilation * (self.kernel_size - 1) - 1) // self.stride + 1

    @property
    def c_in_per_group(self) -> int:
        return self.c_in // self.groups

    def work(self, mode: str) -> tuple[int, int]:
        """Operations of a mode, and the elements that it has to read or write at least once."""
        passes, x, w, y = WORK[mode]
        elements = x * self.n * self.c_in * self.l_in + y * self.n * self.c_out * self.l_out
        return passes * self.flops(), elements + w * self.weights

    def flops(self) -> int:
        """Two per multiply-add of one pass; products with a zero of the padding are not counted."""
        pairs = self.l_out * self.kernel_size
        if self.padding_mode == "zeros":
            pairs = sum(self._positions_inside(k) for k in range(self.kernel_size))
        return 2 * self.n * self.c_out * self.c_in_per_group * pairs

    def _positions_inside(self, k: int) -> int:
        """How many output positions see an element of x, not of the padding, through tap k."""
        shift = k * self.dilation - self.pad_left  # li = lo * stride + shift
        first = max(0, -(shift // self.stride))
        last = min(self.l_out - 1, (self.l_in - 1 - shift) // self.stride)
        return max(0, last - first + 1)

    @property
    def weights(self) -> int:
        return self.c_out * self.c_in_per_group * self.kernel_size


def parse_workload(problem: str, name: str = "", bias: bool = True) -> Workload:
    """The workload of a problem string such as n4_ci16_co32_l100_k3_s2_p1_d1_g1."""
    match = _PROBLEM.fullmatch(problem)
    if match is None:
        raise ValueError(f"not a problem string like n4_ci16_co32_l100_k3_s2_p1_d1_g1: {problem!r}")
    sizes = {key: int(value) for key, value in match.groupdict().items() if (value or "").isdigit()}
    sizes.setdefault("pad_right", sizes["pad_left"])
    padding_mode = match["padding_mode"] or "zeros"
    return Workload(name=name or problem, padding_mode=padding_mode, bias=bias, **sizes)


def load_workloads(table: str = "workloads") -> list[Workload]:
    """The lines `name problem bias|nobias` of a file in problems/; # starts a comment."""
    workloads = []
    for line in (PROBLEMS / f"{table}.txt").read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            name, problem, bias = line.split()
            workloads.append(parse_workload(problem, name, bias == "bias"))
    return workloads
