"""torch's own description of conv1d, as installed: its samples, its wrong calls, its modules."""

from __future__ import annotations

from typing import Any

import numerics
import pytest
import torch
import torch.nn.functional as F
from problems import Problem
from torch import Tensor, nn
from torch.testing._internal.common_methods_invocations import op_db
from torch.testing._internal.common_modules import module_db

import torch_conv1d

(CONV1D,) = (op for op in op_db if op.name == "nn.functional.conv1d")
MODULES = {info.name: info for info in module_db if info.name in ("nn.Conv1d", "nn.LazyConv1d")}
OURS = {"nn.Conv1d": torch_conv1d.Conv1d, "nn.LazyConv1d": torch_conv1d.LazyConv1d}
WITH_KERNELS = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def name_of(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def is_differentiable(dtype: torch.dtype) -> bool:
    return dtype.is_floating_point or dtype.is_complex


def problem_of(x: Tensor, w: Tensor, arguments: dict[str, Any]) -> Problem:
    """The sample as a problem; every argument may be an int or a tuple of one."""

    def number(name: str, default: int) -> int:
        value = arguments.get(name, default)
        return value if isinstance(value, int) else value[0]

    dilation = number("dilation", 1)
    if isinstance(arguments.get("padding"), str):
        total = dilation * (w.shape[-1] - 1) if arguments["padding"] == "same" else 0
        left, right = total // 2, total - total // 2
    else:
        left = right = number("padding", 0)
    n = x.shape[0] if x.dim() == 3 else 1
    c_out, _, k = w.shape
    return Problem(
        n,
        *(x.shape[-2], c_out),
        x.shape[-1],
        k,
        number("stride", 1),
        left,
        right,
        dilation,
        number("groups", 1),
    )


@pytest.mark.parametrize(
    ("dtype", "requires_grad"),
    [
        *((dtype, False) for dtype in sorted(CONV1D.supported_dtypes("cpu"), key=str)),
        *(
            (dtype, True)
            for dtype in sorted(CONV1D.supported_dtypes("cpu"), key=str)
            if is_differentiable(dtype)
        ),
    ],
    ids=str,
)
def test_samples(dtype: torch.dtype, requires_grad: bool) -> None:
    samples = list(CONV1D.sample_inputs("cpu", dtype, requires_grad=requires_grad))
    assert samples
    for sample in samples:
        x, (w, b), arguments = sample.input, sample.args, sample.kwargs
        ours = torch_conv1d.conv1d(x, w, b, **arguments)
        theirs = F.conv1d(x, w, b, **arguments)
        assert ours.dtype == theirs.dtype
        grad_y = torch.randn_like(theirs) if requires_grad else None
        leaves = [t for t in (x, w, b) if t is not None]
        found, expected = (
            [y, *torch.autograd.grad(y, leaves, grad_y)] if requires_grad else [y]
            for y in (ours, theirs)
        )
        if dtype in WITH_KERNELS:
            assert_near(problem_of(x, w, arguments), x, w, b, grad_y, found, expected)
        else:  # what has no kernel is computed by torch itself
            assert all(torch.equal(a, e) for a, e in zip(found, expected, strict=True))


def assert_near(
    p: Problem,
    x: Tensor,
    w: Tensor,
    b: Tensor | None,
    grad_y: Tensor | None,
    found: list[Tensor],
    theirs: list[Tensor],
) -> None:
    """Ours within the budget of the exact result, and of torch's where torch keeps to it too."""
    x, w = x.detach().reshape(p.input_shape), w.detach()
    exact = [numerics.expect_forward(p, x, w, None if b is None else b.detach())]
    if grad_y is not None:
        grad_y = grad_y.reshape(p.output_shape)
        exact += [
            numerics.expect_grad_input(p, grad_y, w),
            numerics.expect_grad_weight(p, grad_y, x),
            *([] if b is None else [numerics.expect_grad_bias(p, grad_y)]),
        ]
    for a, t, e in zip(found, theirs, exact, strict=True):
        a, t = (v.detach().reshape(e.value.shape) for v in (a, t))
        numerics.assert_within_budget(a, e, context=p)
        if a.dtype in (torch.float32, torch.float64):
            numerics.assert_within_budget(a, e, other=t, context=p)


def test_wrong_calls() -> None:
    """torch's error inputs: the same exception type, and the words of torch's message in ours."""
    wrong = list(CONV1D.error_inputs("cpu"))
    assert len(wrong) >= 8
    for error in wrong:
        sample = error.sample_input
        with pytest.raises(error.error_type, match=error.error_regex) as caught:
            torch_conv1d.conv1d(sample.input, *sample.args, **sample.kwargs)
        assert caught.type is error.error_type


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=name_of)
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", MODULES)
def test_module_inputs(name: str, training: bool, dtype: torch.dtype) -> None:
    info = MODULES[name]
    inputs = info.module_inputs_func(
        info, device="cpu", dtype=dtype, requires_grad=True, training=training
    )
    assert inputs
    for module_input in inputs:
        constructor, forward = module_input.constructor_input, module_input.forward_input
        modules: list[nn.Conv1d] = []
        for cls in (OURS[name], getattr(nn, name.removeprefix("nn."))):
            torch.manual_seed(0)
            module = cls(*constructor.args, **{**constructor.kwargs, "dtype": dtype}).train(
                training
            )
            with torch.no_grad():
                module(*forward.args)  # a lazy one becomes what it will be
            modules.append(module)
        ours, theirs = modules
        assert type(ours) is torch_conv1d.Conv1d

        x, w, b = forward.args[0], theirs.weight, theirs.bias
        y = ours(x)
        grad_y = torch.ones_like(y)
        found = [y, *torch.autograd.grad(y, [x, ours.weight, ours.bias], grad_y)]
        y = theirs(x)
        expected = [y, *torch.autograd.grad(y, [x, w, b], grad_y)]
        problem = problem_of(x, w, {"padding": theirs.padding})
        assert_near(problem, x, w, b, grad_y, found, expected)

        if module_input.reference_fn is not None:
            reference = module_input.reference_fn(ours, *forward.args)
            assert torch.equal(ours(*forward.args), reference)
