"""Trains a small dilated TCN to remove noise from an electrocardiogram, twice: with torch.nn.Conv1d
and, from the same start, after convert(model). Saves the loss curves and a denoised piece as PNG.

    python examples/02_train_on_ecg.py [picture.png]

The record (1,024 samples) ships inside PyWavelets. Training amplifies rounding differences step by
step, so a third run, torch's in float64, tells what rounding does to the curve: our distance from
it has to be of the order of torch's own in float32.
"""

from __future__ import annotations

import copy
import sys
import time
from pathlib import Path

import matplotlib as mpl
import pywt
import torch
from torch import Tensor, nn

from torch_conv1d import convert

STEPS = 60
BATCH = 16
CHANNELS = 32
DILATIONS = (1, 2, 4, 8, 16, 32)


class DenoisingTCN(nn.Module):
    """Residual blocks whose dilations double: 127 samples of context on each side at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Conv1d(1, CHANNELS, 7, padding=3)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv1d(CHANNELS, CHANNELS, 5, padding=2 * dilation, dilation=dilation),
                nn.SiLU(),
                nn.Conv1d(CHANNELS, CHANNELS, 1),
            )
            for dilation in DILATIONS
        )
        self.decode = nn.Conv1d(CHANNELS, 1, 7, padding=3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.encode(x)
        for block in self.blocks:
            x = x + block(x)
        decoded: Tensor = self.decode(x)
        return decoded


def load_ecg() -> Tensor:
    ecg = torch.from_numpy(pywt.data.ecg()).double()
    return (ecg - ecg.mean()) / ecg.std()


def make_batch(ecg: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """(noisy, clean) records of shape (BATCH, 1, 1024), each starting somewhere else."""
    shifts = torch.randint(len(ecg), (BATCH,), generator=generator)
    clean = torch.stack([ecg.roll(int(shift)) for shift in shifts])[:, None]
    noise = torch.randn(clean.shape, generator=generator, dtype=clean.dtype)
    return clean + 0.5 * noise, clean


def train(model: nn.Module, ecg: Tensor, label: str) -> tuple[Tensor, float]:
    """The loss of every step, and the seconds that the steps took."""
    dtype = next(model.parameters()).dtype
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    generator = torch.Generator().manual_seed(0)
    losses = []
    seconds = 0.0
    for step in range(STEPS):
        noisy, clean = (t.to(dtype) for t in make_batch(ecg, generator))
        start = time.perf_counter()
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(noisy), clean)
        loss.backward()
        optimizer.step()
        seconds += time.perf_counter() - start
        losses.append(loss.detach().double())
        if (step + 1) % 10 == 0:
            print(
                f"\r{label:<28} step {step + 1}/{STEPS}, loss {loss.item():.4f}", end="", flush=True
            )
    print(f", {seconds:.2f} s")
    return torch.stack(losses), seconds


def save_picture(path: Path, ecg: Tensor, model: nn.Module, curves: dict[str, Tensor]) -> None:
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    noisy, clean = make_batch(ecg, torch.Generator().manual_seed(1))
    with torch.no_grad():
        denoised = model(noisy.float())
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4))
    for (label, losses), style in zip(curves.items(), ("-", "--"), strict=True):
        left.semilogy(losses, style, label=label)
    left.set(xlabel="step", ylabel="mean squared error", title="training")
    left.legend()
    right.plot(noisy[0, 0, :400], color="lightgray", label="noisy")
    right.plot(clean[0, 0, :400], label="clean")
    right.plot(denoised[0, 0, :400], label="denoised")
    right.set(xlabel="sample", title="after training")
    right.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def main() -> None:
    picture = Path(sys.argv[1] if len(sys.argv) > 1 else "ecg.png")
    torch.manual_seed(0)
    ecg = load_ecg()
    theirs = DenoisingTCN()
    ours = convert(copy.deepcopy(theirs))
    exact = copy.deepcopy(theirs).double()

    exact_losses, _ = train(exact, ecg, "torch.nn.Conv1d in float64")
    their_losses, their_seconds = train(theirs, ecg, "torch.nn.Conv1d")
    our_losses, our_seconds = train(ours, ecg, "torch_conv1d.Conv1d")

    their_error = ((their_losses - exact_losses) / exact_losses).abs().max().item()
    our_error = ((our_losses - exact_losses) / exact_losses).abs().max().item()
    print("\nlargest relative distance of a loss from the float64 curve:")
    print(f"  torch.nn.Conv1d {their_error:.1e}, torch_conv1d {our_error:.1e}")
    print(f"time of {STEPS} steps: {their_seconds:.2f} s and {our_seconds:.2f} s")
    assert our_error <= 10 * their_error, "the loss curve differs by more than rounding"
    assert our_losses[-1] < 0.2 * our_losses[0], "the model did not learn"

    save_picture(picture, ecg, ours, {"torch.nn.Conv1d": their_losses, "torch_conv1d": our_losses})
    print(f"saved {picture}")


if __name__ == "__main__":
    main()
