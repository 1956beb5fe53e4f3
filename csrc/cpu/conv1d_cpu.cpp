// The three derivatives: the active instruction set's kernels, or the reference loops.
#include "conv1d_cpu.h"

#include "correlate.h"
#include "dispatch.h"
#include "grad_weight.h"
#include "reference.h"
#include "toom_cook.h"

namespace torch_conv1d::cpu {

void forward(
    const Conv1dProblem& p, DType dtype, Algorithm algorithm, View x, const void* w, const void* bias, MutableView y) {
  const Correlation c = forward_correlation(p);
  if (const KernelTable* table = active().kernels)
    (uses_toom_cook(c, algorithm) ? toom_cook : correlate)(c, dtype, *table, x, w, bias, y);
  else
    reference::forward(p, dtype, x, w, bias, y);
}

void grad_input(
    const Conv1dProblem& p, DType dtype, Algorithm algorithm, View grad_y, const void* w, MutableView grad_x) {
  const Correlation c = grad_input_correlation(p);
  if (const KernelTable* table = active().kernels)
    (uses_toom_cook(c, algorithm) ? toom_cook : correlate)(c, dtype, *table, grad_y, w, nullptr, grad_x);
  else
    reference::grad_input(p, dtype, grad_y, w, grad_x);
}

void grad_weight(const Conv1dProblem& p, DType dtype, Algorithm, View grad_y, View x, void* grad_w, void* grad_b) {
  if (const KernelTable* table = active().kernels)
    sum_grad_weight(p, dtype, *table, grad_y, x, grad_w, grad_b);
  else
    reference::grad_weight(p, dtype, grad_y, x, grad_w, grad_b);
}

}  // namespace torch_conv1d::cpu
