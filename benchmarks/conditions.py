"""Where and how numbers were measured, as it is written beside them."""

from __future__ import annotations

import argparse
import ctypes
import os
import platform
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks import cuda, roofline
from benchmarks.roofline import Limits
from torch_conv1d import _C

# What changes the kernels that torch runs.
TORCH_ISA_VARIABLES = ("ONEDNN_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY", "MKL_ENABLE_INSTRUCTIONS")


# Parameters of mallopt (mallopt(3)).
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3


@dataclass(frozen=True)
class Conditions:
    mode: str
    dtype: str
    layout: str
    device: str
    threads: int
    isa: str
    torch: str
    processor: str
    environment: dict[str, str]
    base: str  # the revision compared with, if that is what was done
    layers: str  # which, if not those of the mode's own table
    peak_gflops: float
    bandwidth_gb: float

    @property
    def limits(self) -> Limits:
        return Limits(self.peak_gflops * 1e9, self.bandwidth_gb * 1e9)

    def file_name(self, what: str) -> str:
        """One for each way to measure: a new run replaces the last one of its kind."""
        where = [self.isa, f"{self.threads}threads"] if self.device == "cpu" else [self.device]
        layout = [] if self.layout == "ncl" else [self.layout]
        base = ["base", self.base] if self.base else []
        layers = [self.layers] if self.layers else []
        kind = [] if what == "rows" else [what]
        return "_".join([*kind, self.mode, self.dtype, *where, *layout, *layers, *base])


def describe_conditions(args: argparse.Namespace, base: str, layers: str) -> Conditions:
    on_gpu = args.device == "cuda"
    limits = (cuda if on_gpu else roofline).measure_limits(args.dtype)
    return Conditions(
        mode=args.mode,
        dtype=args.dtype,
        layout=args.layout,
        device=args.device,
        threads=args.threads,
        isa=_C.active_instruction_set(),
        torch=torch.__version__,
        processor=torch.cuda.get_device_name() if on_gpu else cpu_name(),
        environment={k: os.environ[k] for k in TORCH_ISA_VARIABLES if k in os.environ},
        base=base,
        layers=layers,
        peak_gflops=round(limits.flops / 1e9, 1),
        bandwidth_gb=round(limits.bytes / 1e9, 1),
    )


def settle_malloc() -> None:
    """Lets glibc keep freed memory, as far as it can, so that no call pays for page faults.

    It returns freed blocks to the kernel above two thresholds that rise with the largest block
    freed so far: who pays would be decided by the layers measured before. Blocks of 32 MiB and
    more, above which the first does not rise by itself, are returned in any case.
    """
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallopt"):
        return
    libc.mallopt(M_MMAP_THRESHOLD, 2**25)
    libc.mallopt(M_TRIM_THRESHOLD, 2**30)


def cpu_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
