// The three derivatives: the active instruction set's kernels, or the reference loops.
#include "conv1d_cpu.h"

#include <algorithm>

#include "dispatch.h"
#include "drivers.h"
#include "fft/fft.h"
#include "grad_weight/grad_weight.h"
#include "plan/plan.h"
#include "reference.h"
#include "scratch.h"

namespace torch_conv1d::cpu {
namespace {

// Rows of some taps, from the first of them on, become rows of all taps, the others zero: in place, a few rows at a
// time, the last ones first.
template <class E>
void spread_taps(E* w, int64_t rows, int64_t some, int64_t first, int64_t taps) {
  constexpr int64_t kRows = 64;
  const Scratch<E> held(kRows * some);
  for (int64_t end = rows, count; end > 0; end -= count) {
    count = std::min(kRows, end);
    E* const to = w + (end - count) * taps;
    // Stores wait for their lines, and the hardware does not look so far back.
    const int64_t before = std::min(kRows * taps, to - w);
    for (int64_t i = 1; i <= before; i += 64 / int64_t(sizeof(E))) __builtin_prefetch(to - i, 1);
    std::copy_n(w + (end - count) * some, count * some, held.data());
    std::fill_n(to, count * taps, E{});
    for (int64_t k = 0; k < some; ++k)
      for (int64_t row = 0; row < count; ++row) to[row * taps + first + k] = held[row * some + k];
  }
}

}  // namespace

void forward(
    const Conv1dProblem& p, DType dtype, Algorithm algorithm, View x, const void* w, const void* bias, MutableView y) {
  if (const KernelTable* table = active().kernels)
    run_correlation(forward_correlation(p), dtype, algorithm, *table, x, w, bias, y);
  else
    reference::forward(p, dtype, x, w, bias, y);
}

bool forward_of_two(
    const Conv1dProblem& p,
    DType dtype,
    Algorithm algorithm,
    View x1,
    const void* w1,
    View x2,
    const void* w2,
    const void* bias,
    MutableView y) {
  const KernelTable* table = active().kernels;
  const Correlation c = forward_correlation(p);
  const bool alike = x1.stride_n == x2.stride_n && x1.stride_c == x2.stride_c && x1.stride_l == x2.stride_l;
  if (!table || !alike || uses_fft(c, algorithm) || !reads_two_tensors(c, x1.stride_l == 1 && y.stride_l == 1))
    return false;
  return with_element(dtype, [&](auto element) {
    using E = decltype(element);
    const intptr_t bytes = reinterpret_cast<intptr_t>(x2.data) - reinterpret_cast<intptr_t>(x1.data);
    if (bytes % int64_t(sizeof(E))) return false;
    x1.tensors = 2;
    x1.to_next = bytes / int64_t(sizeof(E));
    const Scratch<E> w(2 * c.groups * c.taps);  // [channel][tensor][tap]
    for (int64_t row = 0; row < c.groups; ++row) {
      std::copy_n(static_cast<const E*>(w1) + row * c.taps, c.taps, &w[2 * row * c.taps]);
      std::copy_n(static_cast<const E*>(w2) + row * c.taps, c.taps, &w[(2 * row + 1) * c.taps]);
    }
    Conv1dProblem both = p;
    both.c_in *= 2;
    run_correlation(forward_correlation(both), dtype, algorithm, *table, x1, w.data(), bias, y);
    return true;
  });
}

void grad_input(
    const Conv1dProblem& p, DType dtype, Algorithm algorithm, View grad_y, const void* w, MutableView grad_x) {
  if (const KernelTable* table = active().kernels)
    run_correlation(grad_input_correlation(p), dtype, algorithm, *table, grad_y, w, nullptr, grad_x);
  else
    reference::grad_input(p, dtype, grad_y, w, grad_x);
}

void grad_weight(
    const Conv1dProblem& p, DType dtype, Algorithm algorithm, View grad_y, View x, void* grad_w, void* grad_b) {
  const KernelTable* table = active().kernels;
  if (!table) return reference::grad_weight(p, dtype, grad_y, x, grad_w, grad_b);
  const Conv1dProblem met = with_met_taps(p);
  void* const met_w = grad_w;
  if (grad_w && uses_fft(forward_correlation(met), algorithm)) {
    fft_grad_weight(met, dtype, *table, grad_y, x, grad_w);
    grad_w = nullptr;
  }
  sum_grad_weight(met, dtype, algorithm, *table, grad_y, x, grad_w, grad_b);
  if (met_w && met.kernel_size < p.kernel_size)
    with_element(dtype, [&](auto element) {
      const int64_t first_tap = (p.pad_left - met.pad_left) / p.dilation;
      spread_taps(
          static_cast<decltype(element)*>(met_w), p.c_out * p.c_in_per_group(), met.kernel_size, first_tap,
          p.kernel_size);
    });
}

}  // namespace torch_conv1d::cpu
