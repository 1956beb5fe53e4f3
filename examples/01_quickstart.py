"""The example of torch's documentation, by both modules: same output, same gradients.

python examples/01_quickstart.py
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from torch_conv1d import Conv1d


def output_and_gradients(layer: nn.Module, x: Tensor, grad_y: Tensor) -> list[Tensor]:
    x = x.clone().requires_grad_()
    y = layer(x)
    return [y.detach(), *torch.autograd.grad(y, [x, *layer.parameters()], grad_y)]


torch.manual_seed(0)
theirs = nn.Conv1d(16, 33, 3, stride=2)
ours = Conv1d(16, 33, 3, stride=2)
ours.load_state_dict(theirs.state_dict())

x = torch.randn(20, 16, 50)
y = ours(x)
print(f"{ours}: {tuple(x.shape)} -> {tuple(y.shape)}\n")
assert y.shape == (20, 33, 24)

# Each element is a sum of so many products; rounding a sum of m terms m times is a random walk of
# about sqrt(m) roundings, in units of the sum's typical size.
terms = {"output": 16 * 3, "grad_input": 33 * 3, "grad_weight": 20 * 24, "grad_bias": 20 * 24}
grad_y = torch.randn_like(y)
our_results = output_and_gradients(ours, x, grad_y)
their_results = output_and_gradients(theirs, x, grad_y)
print("difference from torch.nn.Conv1d, in units of the largest value")
for (name, m), a, b in zip(terms.items(), our_results, their_results, strict=True):
    difference = ((a - b).abs().max() / b.abs().max()).item()
    explained = torch.finfo(a.dtype).eps * m**0.5
    print(f"  {name:<12} {difference:.1e}  (rounding explains {explained:.1e})")
    assert difference <= explained

layer = Conv1d(4, 6, 3, stride=2, padding="causal", dtype=torch.float64)
x = torch.randn(2, 4, 11, dtype=torch.float64, requires_grad=True)
assert torch.autograd.gradcheck(layer, x)
assert torch.autograd.gradgradcheck(layer, x)
print(f"\ngradcheck and gradgradcheck in float64 passed: {layer}")
