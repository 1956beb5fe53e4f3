"""Loads the native ops, or says in one sentence why it cannot."""

from pathlib import Path

import torch

PATH = Path(__file__).parent / "libtorch_conv1d.so"


def _minor(version: str) -> list[str]:
    return version.split(".")[:2]


def _load() -> None:
    rebuild = (
        "run `pip install --no-build-isolation --force-reinstall --no-deps .` in its source tree."
    )
    try:
        from torch_conv1d._build_info import CUDA_VERSION, TORCH_VERSION
    except ImportError:
        raise ImportError(f"torch_conv1d has not been built: {rebuild}") from None
    if _minor(TORCH_VERSION) != _minor(torch.__version__):
        raise ImportError(
            f"torch_conv1d was built for torch {TORCH_VERSION}, this is torch {torch.__version__}: "
            + rebuild
        )
    if CUDA_VERSION and CUDA_VERSION.split(".")[0] != (torch.version.cuda or "no").split(".")[0]:
        raise ImportError(
            f"torch_conv1d was built for CUDA {CUDA_VERSION}, this torch {torch.__version__} has "
            f"{torch.version.cuda or 'none'}: {rebuild}"
        )
    torch.ops.load_library(str(PATH))


_load()
