"""The calls that are compared: the same convolution by torch_conv1d and by torch, checked first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

import torch_conv1d
from benchmarks.workloads import Workload

MODES = ("forward", "grad_input", "grad_weight", "train", "double_backward")
# Where x, and what has its shape, lie in memory and what a caller passes:
#   ncl            contiguous (N, C, L)
#   channels_last  contiguous (N, L, C), and the result too
#   transposed     x.transpose(1, 2) of a contiguous (N, L, C); the result is (N, C, L)
LAYOUTS = ("ncl", "channels_last", "transposed")
DTYPES = {
    "float32": torch.float32,
    "float64": torch.float64,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}

Results = tuple[Tensor, ...]


@dataclass(frozen=True)
class Case:
    """What is computed, by whomever."""

    workload: Workload
    mode: str = "forward"
    dtype: str = "float32"
    layout: str = "ncl"
    device: str = "cpu"

    def necessary_work(self) -> tuple[int, int]:
        """Operations, and bytes that have to be read or written."""
        flops, elements = self.workload.work(self.mode)
        return flops, elements * DTYPES[self.dtype].itemsize


@dataclass(frozen=True)
class Operands:
    x: Tensor
    w: Tensor
    b: Tensor | None
    grad_y: Tensor

    def to(self, dtype: torch.dtype) -> Operands:
        """Independent copies, so that marking leaves for autograd in one leaves the other alone."""
        return Operands(
            x=self.x.to(dtype, copy=True),
            w=self.w.to(dtype, copy=True),
            b=None if self.b is None else self.b.to(dtype, copy=True),
            grad_y=self.grad_y.to(dtype, copy=True),
        )


Convolution = Callable[[Case, Operands], Tensor]


def by_torch_conv1d(case: Case, t: Operands) -> Tensor:
    p = case.workload
    return torch_conv1d.conv1d(
        t.x,
        t.w,
        t.b,
        p.stride,
        (p.pad_left, p.pad_right),
        p.dilation,
        p.groups,
        padding_mode=p.padding_mode,
        channels_last=case.layout == "channels_last",
    )


def by_torch(case: Case, t: Operands) -> Tensor:
    """As users write it: an F.pad for what F.conv1d cannot express, copies for (N, L, C)."""
    p = case.workload
    x = t.x.transpose(1, 2) if case.layout == "channels_last" else t.x
    padding = p.pad_left
    if p.pad_left != p.pad_right or p.padding_mode != "zeros":
        mode = "constant" if p.padding_mode == "zeros" else p.padding_mode
        x = functional.pad(x, (p.pad_left, p.pad_right), mode=mode)
        padding = 0
    y = functional.conv1d(x, t.w, t.b, p.stride, padding, p.dilation, p.groups)
    return y.transpose(1, 2).contiguous() if case.layout == "channels_last" else y


def make_operands(case: Case) -> Operands:
    p = case.workload
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    x, w = normal(p.n, p.c_in, p.l_in), normal(p.c_out, p.c_in_per_group, p.kernel_size)
    b = normal(p.c_out) if p.bias else None
    grad_y = normal(p.n, p.c_out, p.l_out)
    if case.layout != "ncl":
        x = x.transpose(1, 2).contiguous()
    if case.layout == "transposed":
        x = x.transpose(1, 2)
    if case.layout == "channels_last":
        grad_y = grad_y.transpose(1, 2).contiguous()
    device = torch.device(case.device)
    operands = (t if t is None else t.to(device) for t in (x, w, b, grad_y))
    return Operands(*operands).to(DTYPES[case.dtype])  # type: ignore[arg-type]


def make_call(convolution: Convolution, case: Case, operands: Operands) -> Callable[[], Results]:
    """A call that returns what the mode computes.

    forward: y; grad_input: grad_x; grad_weight: grad_w, grad_b; train: all of them;
    double_backward: the gradients of grad_x and grad_w with respect to grad_y, x and w.
    """
    t = operands.to(operands.x.dtype)
    if case.mode == "forward":

        def forward() -> Results:
            with torch.no_grad():
                return (convolution(case, t),)

        return forward

    weights = (t.w,) if t.b is None else (t.w, t.b)
    leaves = {
        "grad_input": (t.x,),
        "grad_weight": weights,
        "train": (t.x, *weights),
        "double_backward": (t.grad_y, t.x, t.w),
    }[case.mode]
    for leaf in leaves:
        leaf.requires_grad_()

    if case.mode == "train":

        def train() -> Results:
            y = convolution(case, t)
            return (y.detach(), *torch.autograd.grad(y, leaves, t.grad_y))

        return train

    y = convolution(case, t)
    if case.mode == "double_backward":
        first = torch.autograd.grad(y, (t.x, t.w), t.grad_y, create_graph=True)
        directions = (t.x.detach(), t.w.detach())
        return lambda: torch.autograd.grad(first, leaves, directions, retain_graph=True)
    return lambda: torch.autograd.grad(y, leaves, t.grad_y, retain_graph=True)


def expected_results(case: Case, operands: Operands) -> Results:
    """By torch, which computes bfloat16 and float16 problems in float32 here."""
    return make_call(by_torch, case, operands.to(_exact(operands)))()


def largest_error(case: Case, operands: Operands, results: Results, references: Results) -> float:
    """The largest difference from torch, in units of what rounding explains: more than 1 is wrong.

    A sum of m products of standard normal numbers is about sqrt(m), and rounding its m partial
    sums adds an error of about eps * sqrt(m) * sqrt(m); the factor 8 covers the largest of many
    elements, on both sides. What remains of bfloat16 and float16 is our rounding of the result.
    TF32 rounds both factors of every product by up to 2**-11.
    """
    tf32 = case.device == "cuda" and case.dtype == "float32" and torch.backends.cudnn.allow_tf32
    p, exact = case.workload, _exact(operands)
    terms_y = p.c_in_per_group * p.kernel_size
    # A position of x has the gradients of all places of the padded row that repeat it.
    repeats = {"zeros": 0, "replicate": p.pad_left + p.pad_right}.get(p.padding_mode, 2)
    terms_x = p.c_out // p.groups * p.kernel_size * (1 + repeats)
    terms_w = p.n * p.l_out
    terms = {
        "forward": [terms_y],
        "grad_input": [terms_x],
        "grad_weight": [terms_w, terms_w],
        "train": [terms_y, terms_x, terms_w, terms_w],
        "double_backward": [2 * terms_y, terms_x, terms_w],
    }[case.mode]
    worst = []
    for result, reference, count in zip(results, references, terms[: len(results)], strict=True):
        rounding = torch.finfo(result.dtype).eps * reference.abs()
        tolerance = 8 * torch.finfo(exact).eps * count + rounding
        if tf32:
            tolerance += 8 * 2**-11 * count**0.5
        worst.append(((result.to(exact) - reference).abs() / tolerance).max())
    return torch.stack(worst).max().item()  # NaN if any is


def _exact(operands: Operands) -> torch.dtype:
    return torch.promote_types(operands.x.dtype, torch.float32)
