"""A drop-in ``torch.nn.Conv1d`` whose arithmetic is its own.

``Conv1d`` and ``LazyConv1d`` are modules, ``conv1d`` is the function under them, ``convert`` swaps
the modules of an existing model, ``Conv1dFunction`` states the derivative as a
``torch.autograd.Function``, and ``set_algorithm`` restricts how results are computed.
"""

from torch_conv1d import _library as _library  # First: it loads what the others use.
from torch_conv1d import _vmap as _vmap
from torch_conv1d._ops import config as __config__
from torch_conv1d.algorithms import set_algorithm as set_algorithm
from torch_conv1d.functional import Conv1dFunction as Conv1dFunction
from torch_conv1d.functional import conv1d as conv1d
from torch_conv1d.modules import Conv1d as Conv1d
from torch_conv1d.modules import LazyConv1d as LazyConv1d
from torch_conv1d.modules import convert as convert

__version__ = "0.1.0"
__all__ = [
    "Conv1d",
    "Conv1dFunction",
    "LazyConv1d",
    "__config__",
    "conv1d",
    "convert",
    "set_algorithm",
]
