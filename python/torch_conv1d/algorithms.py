"""Which algorithms the kernels may use."""

from torch_conv1d import _C


class set_algorithm:
    """Chooses the algorithms for the process: as a call for good, in a ``with`` for its block.

    "auto"    the fastest for each layer. Some layers of stride 1 are computed with fewer
              multiplications (Toom-Cook), which rounds otherwise: an output depends on its
              position modulo 4, and the error is up to 2.5 times that of the plain sum.
              Depthwise layers of stride 1 with long kernels go through the frequency domain, where
              an output depends on its position in a block, whose largest values rule the error.
    "direct"  sums of products alone.

    While ``torch.use_deterministic_algorithms(True)`` holds, every call is direct.
    """

    def __init__(self, name: str) -> None:
        self._before = _C.chosen_algorithm()
        _C.set_algorithm(name)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        _C.set_algorithm(self._before)
