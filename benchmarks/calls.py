"""The calls that are compared: the same convolution by torch_conv1d and by torch, checked first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

import torch_conv1d
from benchmarks.workloads import Workload

MODES = ("forward", "grad_input", "grad_weight", "train")

Results = tuple[Tensor, ...]


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


Convolution = Callable[[Workload, Operands], Tensor]


def by_torch_conv1d(p: Workload, t: Operands) -> Tensor:
    padding = (p.pad_left, p.pad_right)
    return torch_conv1d.conv1d(
        t.x, t.w, t.b, p.stride, padding, p.dilation, p.groups, padding_mode=p.padding_mode
    )


def by_torch(p: Workload, t: Operands) -> Tensor:
    """As users write it: what F.conv1d cannot express is an F.pad before it, as in nn.Conv1d."""
    if p.pad_left == p.pad_right and p.padding_mode == "zeros":
        return functional.conv1d(t.x, t.w, t.b, p.stride, p.pad_left, p.dilation, p.groups)
    mode = "constant" if p.padding_mode == "zeros" else p.padding_mode
    padded = functional.pad(t.x, (p.pad_left, p.pad_right), mode=mode)
    return functional.conv1d(padded, t.w, t.b, p.stride, 0, p.dilation, p.groups)


def make_operands(p: Workload, dtype: torch.dtype) -> Operands:
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    return Operands(
        x=normal(p.n, p.c_in, p.l_in),
        w=normal(p.c_out, p.c_in_per_group, p.kernel_size),
        b=normal(p.c_out) if p.bias else None,
        grad_y=normal(p.n, p.c_out, p.l_out),
    ).to(dtype)


def make_call(
    convolution: Convolution, p: Workload, operands: Operands, mode: str
) -> Callable[[], Results]:
    """A call that returns y, (grad_x,), (grad_w, grad_b) or all of them, by `mode`."""
    t = operands.to(operands.x.dtype)
    if mode == "forward":

        def forward() -> Results:
            with torch.no_grad():
                return (convolution(p, t),)

        return forward

    weights = (t.w,) if t.b is None else (t.w, t.b)
    leaves = {"grad_input": (t.x,), "grad_weight": weights, "train": (t.x, *weights)}[mode]
    for leaf in leaves:
        leaf.requires_grad_()

    if mode == "train":

        def train() -> Results:
            y = convolution(p, t)
            return (y.detach(), *torch.autograd.grad(y, leaves, t.grad_y))

        return train

    y = convolution(p, t)
    return lambda: torch.autograd.grad(y, leaves, t.grad_y, retain_graph=True)


def largest_error(p: Workload, operands: Operands, mode: str) -> float:
    """The largest difference from torch, in units of what rounding explains: more than 1 is wrong.

    A sum of m products of standard normal numbers is about sqrt(m), and rounding its m partial
    sums adds an error of about eps * sqrt(m) * sqrt(m); the factor 8 covers the largest of many
    elements, on both sides. torch computes bfloat16 and float16 problems in float32 here, so what
    remains is our rounding of the result.
    """
    exact = torch.promote_types(operands.x.dtype, torch.float32)
    terms_y = p.c_in_per_group * p.kernel_size
    terms_x = p.c_out // p.groups * p.kernel_size
    terms_w = p.n * p.l_out
    terms = {
        "forward": [terms_y],
        "grad_input": [terms_x],
        "grad_weight": [terms_w, terms_w],
        "train": [terms_y, terms_x, terms_w, terms_w],
    }[mode]
    results = make_call(by_torch_conv1d, p, operands, mode)()
    references = make_call(by_torch, p, operands.to(exact), mode)()
    worst = []
    for result, reference, count in zip(results, references, terms[: len(results)], strict=True):
        rounding = torch.finfo(result.dtype).eps * reference.abs()
        tolerance = 8 * torch.finfo(exact).eps * count + rounding
        worst.append(((result.to(exact) - reference).abs() / tolerance).max())
    return torch.stack(worst).max().item()  # NaN if any is
