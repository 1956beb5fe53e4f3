"""Timing on a GPU: its clock, its limits and its peers."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from benchmarks.calls import Case, Convolution, Operands, by_torch, make_call
from benchmarks.roofline import Limits
from benchmarks.timing import Call

COPIED_BYTES = 2**30
MATRIX_SIZE = 8192


@dataclass
class CudaCalls:
    """Calls in turn on a stream, timed by events on it."""

    calls: list[Call]
    benchmark: bool = False  # torch.backends.cudnn.benchmark while they run
    _next: Iterator[Call] = field(init=False)

    def __post_init__(self) -> None:
        self._next = itertools.cycle(self.calls)

    def seconds(self, calls: int) -> float:
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        with cudnn_flags(benchmark=self.benchmark):
            start.record()
            for call in itertools.islice(self._next, calls):
                call()
            end.record()
        end.synchronize()
        return float(start.elapsed_time(end)) / 1e3


@contextmanager
def flag(of: Any, name: str, value: bool) -> Iterator[None]:
    before = getattr(of, name)
    setattr(of, name, value)
    try:
        yield
    finally:
        setattr(of, name, before)


def cudnn_flags(**changed: bool) -> AbstractContextManager[None]:
    """Those of convolutions, for a while, with what is changed."""
    now = torch.backends.cudnn
    return now.flags(**{"enabled": now.enabled, "allow_tf32": now.allow_tf32} | changed)


def copies_beyond_cache(moved: int, cache: int) -> int:
    """How many sets of operands, used in turn, together are twice as large as the cache."""
    return 1 + 2 * cache // moved


def make_contender(
    convolution: Convolution, case: Case, operands: Operands, benchmark: bool = False
) -> CudaCalls:
    """Calls that find none of their inputs in the L2 cache."""
    _, moved = case.necessary_work()
    cache = torch.cuda.get_device_properties(0).L2_cache_size
    count = copies_beyond_cache(moved, cache)
    return CudaCalls([make_call(convolution, case, operands) for _ in range(count)], benchmark)


def measure_limits(dtype: str) -> Limits:
    """What torch reaches on a large matrix product, with TF32 if convolutions have it, and on a
    clone."""
    element = getattr(torch, dtype)
    a, b = torch.randn(2, MATRIX_SIZE, MATRIX_SIZE, device="cuda").to(element)
    out = torch.empty_like(a)
    source = torch.zeros(COPIED_BYTES, dtype=torch.uint8, device="cuda")
    product, copy = CudaCalls([lambda: torch.mm(a, b, out=out)]), CudaCalls([source.clone])
    with flag(torch.backends.cuda.matmul, "allow_tf32", torch.backends.cudnn.allow_tf32):
        seconds = min(product.seconds(1) for _ in range(10))
    return Limits(
        flops=2 * MATRIX_SIZE**3 / seconds,
        bytes=2 * COPIED_BYTES / min(copy.seconds(1) for _ in range(10)),
    )


def torch_contenders(case: Case, operands: Operands) -> dict[str, CudaCalls]:
    return {
        "torch": make_contender(by_torch, case, operands),
        "torch, cudnn.benchmark": make_contender(by_torch, case, operands, benchmark=True),
        "torch.compile": make_contender(compiled_by_torch(), case, operands),
    }


def packages(case: Case) -> dict[str, Convolution]:
    """Those that are installed and can compute the case."""
    if not is_causal_short(case):
        return {}
    found: dict[str, Convolution] = {}
    if find_spec("causal_conv1d"):
        found["causal-conv1d"] = _by_causal_conv1d
    if find_spec("fla") and case.layout == "channels_last":
        found["fla"] = _by_fla
    return found


def compiled_by_torch() -> Convolution:
    """A new one for each case, because torch would make the second one's sizes dynamic."""
    torch.compiler.reset()
    compiled: Convolution = torch.compile(by_torch, fullgraph=True)
    return compiled


def is_causal_short(case: Case) -> bool:
    """What causal-conv1d and fla compute: depthwise and causal, with 2 to 4 taps."""
    p = case.workload
    depthwise = p.groups == p.c_in == p.c_out and p.stride == p.dilation == 1
    causal = (p.pad_left, p.pad_right, p.padding_mode) == (p.kernel_size - 1, 0, "zeros")
    dtypes = ("float32", "float16", "bfloat16")
    return depthwise and causal and 2 <= p.kernel_size <= 4 and case.dtype in dtypes


def _by_causal_conv1d(case: Case, t: Operands) -> Tensor:
    channels_last = case.layout == "channels_last"
    x = t.x.transpose(1, 2) if channels_last else t.x
    y: Tensor = import_module("causal_conv1d").causal_conv1d_fn(x, t.w.squeeze(1), t.b)
    return y.transpose(1, 2) if channels_last else y


def _by_fla(_: Case, t: Operands) -> Tensor:
    convolution = import_module("fla.modules.convolution").causal_conv1d
    y: Tensor = convolution(t.x, t.w.squeeze(1), t.b)[0]
    return y
