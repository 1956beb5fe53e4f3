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
        from torch_conv1d._build_info import TORCH_VERSION
    except ImportError:
        raise ImportError(f"torch_conv1d has not been built: {rebuild}") from None
    if _minor(TORCH_VERSION) != _minor(torch.__version__):
        raise ImportError(
            f"torch_conv1d was built for torch {TORCH_VERSION}, this is torch {torch.__version__}: "
            + rebuild
        )
    torch.ops.load_library(str(PATH))


_load()
