from torch_conv1d import _library as _library  # first: it checks and loads what the others use
from torch_conv1d import _C as _C  # noqa: I001
from torch_conv1d._ops import conv1d as _general_conv1d
from torch_conv1d.functional import conv1d as conv1d
from torch_conv1d.modules import Conv1d as Conv1d

__version__ = "0.1.0"

_C.set_general_path(_general_conv1d)
