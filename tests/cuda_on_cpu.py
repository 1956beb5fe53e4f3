"""A plugin of pytest: the operators of CUDA tensors take the place of those of CPU tensors.

Their kernels run as in test_cuda_kernels.py, which builds the library and runs tests with it.
"""

from __future__ import annotations

import ctypes
from pathlib import Path

import numerics
import torch

from torch_conv1d import _library

LIBRARY = Path(__file__).parent.parent / "build" / "cuda_shim" / "on_cpu.so"

# It finds the rest of the operators among the symbols that everybody sees.
ctypes.CDLL(str(_library.PATH), ctypes.RTLD_GLOBAL)
torch.ops.load_library(str(LIBRARY))
assert "cuda_ops.cpp" in torch._C._dispatch_dump("torch_conv1d::_conv1d")
torch.backends.cudnn.allow_tf32 = False
numerics.torch_pads = True
