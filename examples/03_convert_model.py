"""Converts a HiFi-GAN generator (Kong et al., arXiv 2010.05646, configuration V1, random weights):
same output, same gradients, the time of both.

    python examples/03_convert_model.py

The yardstick is torch's own distance from a run in float64: ours has to be of the same order.
Gradients are compared in float64, because in float32 a rounding error can carry an activation over
the kink of a leaky ReLU, which changes a gradient by far more than rounding.
"""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from torch_conv1d import Conv1d, convert

MELS = 80
FRAMES = 32  # of 256 samples each
CHANNELS = 512
UPSAMPLING = ((8, 16), (8, 16), (2, 4), (2, 4))  # rate, kernel size
KERNELS = (3, 7, 11)
DILATIONS = (1, 3, 5)
SLOPE = 0.1
EPS32, EPS64 = torch.finfo(torch.float32).eps, torch.finfo(torch.float64).eps


class ResidualBlock(nn.Module):
    def __init__(self, channels: int, kernel_size: int) -> None:
        super().__init__()
        self.dilated = nn.ModuleList(
            nn.Conv1d(channels, channels, kernel_size, padding="same", dilation=dilation)
            for dilation in DILATIONS
        )
        self.plain = nn.ModuleList(
            nn.Conv1d(channels, channels, kernel_size, padding="same") for _ in DILATIONS
        )

    def forward(self, x: Tensor) -> Tensor:
        for dilated, plain in zip(self.dilated, self.plain, strict=True):
            x = x + plain(F.leaky_relu(dilated(F.leaky_relu(x, SLOPE)), SLOPE))
        return x


class ParallelBlocks(nn.Module):
    """The mean of residual blocks, one for each kernel size."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(ResidualBlock(channels, k) for k in KERNELS)

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([block(x) for block in self.blocks]).mean(0)


class Generator(nn.Module):
    """Mel spectrogram (N, 80, frames) to waveform (N, 1, 256 * frames)."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv1d(MELS, CHANNELS, 7, padding=3)
        self.upsample = nn.ModuleList()
        self.blocks = nn.ModuleList()
        channels = CHANNELS
        for rate, kernel_size in UPSAMPLING:
            padding = (kernel_size - rate) // 2
            self.upsample.append(
                nn.ConvTranspose1d(channels, channels // 2, kernel_size, rate, padding)
            )
            channels //= 2
            self.blocks.append(ParallelBlocks(channels))
        self.last = nn.Conv1d(channels, 1, 7, padding=3)

    def forward(self, mel: Tensor) -> Tensor:
        x = self.first(mel)
        for upsample, blocks in zip(self.upsample, self.blocks, strict=True):
            x = blocks(upsample(F.leaky_relu(x, SLOPE)))
        return torch.tanh(self.last(F.leaky_relu(x)))


@torch.inference_mode()
def infer(model: nn.Module, mel: Tensor) -> Tensor:
    waveform: Tensor = model(mel)
    return waveform


def run(model: nn.Module, mel: Tensor) -> list[Tensor]:
    """The waveform, then the gradient of its mean square for every parameter."""
    waveform = model(mel)
    loss = waveform.square().mean()
    return [waveform.detach(), *torch.autograd.grad(loss, list(model.parameters()))]


def largest_error(results: list[Tensor], exact: list[Tensor]) -> float:
    """Over the tensors, the norm of the error in units of the norm of the tensor."""
    return max(float((a - b).norm() / b.norm()) for a, b in zip(results, exact, strict=True))


def median_seconds(
    call: Callable[[nn.Module, Tensor], object], model: nn.Module, mel: Tensor
) -> float:
    times = []
    for _ in range(3):
        start = time.perf_counter()
        call(model, mel)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main() -> None:
    torch.manual_seed(0)
    theirs = Generator()
    ours = convert(copy.deepcopy(theirs))
    converted = sum(isinstance(module, Conv1d) for module in ours.modules())
    millions = sum(p.numel() for p in theirs.parameters()) / 1e6
    print(f"HiFi-GAN generator: {millions:.1f} million parameters, {converted} layers converted")
    assert converted == 2 + len(UPSAMPLING) * len(KERNELS) * 2 * len(DILATIONS)

    mel = torch.randn(1, MELS, FRAMES)
    exact = run(copy.deepcopy(theirs).double(), mel.double())
    their_float32, our_float32 = run(theirs, mel), run(ours, mel)
    our_float64 = run(copy.deepcopy(ours).double(), mel.double())
    assert our_float32[0].shape == (1, 1, FRAMES * 256)

    their_error = largest_error(their_float32[:1], exact[:1])
    our_error = largest_error(our_float32[:1], exact[:1])
    print(f"waveform, float32: error of torch {their_error:.1e}, of ours {our_error:.1e}")
    assert our_error <= 10 * their_error

    difference = largest_error(our_float64, exact)
    rounding = largest_error(their_float32, exact) * EPS64 / EPS32
    print(f"gradients, float64: difference {difference:.1e}, rounding explains {rounding:.1e}")
    assert difference <= 10 * rounding

    for name, call in (("inference", infer), ("forward and backward", run)):
        t, o = median_seconds(call, theirs, mel), median_seconds(call, ours, mel)
        print(f"{name}: torch {t * 1e3:.0f} ms, ours {o * 1e3:.0f} ms, {t / o:.2f}x")


if __name__ == "__main__":
    main()
