// grad_input of a kernel that is much longer than grad_y: a convolution has no first operand, so the kernel is grad_y, and
// the weights, whose taps are many positions, are the source. Sums have the terms and the order of correlate.
#include <algorithm>

#include "../drivers.h"
#include "../packing/grad_y_kernel.h"
#include "../scratch.h"

namespace torch_conv1d::cpu {
namespace {

// Of grad_y, copied for some of the samples.
constexpr int64_t kKernelBytes = 1 << 19;

}  // namespace

void filter_weights(const CorrelationOperands& o) {
  const Correlation exchanged = o.c.with_operands_exchanged();
  with_element(o.dtype, [&](auto element) {
    using E = decltype(element);
    const int64_t sample_bytes = exchanged.w_row * int64_t(sizeof(E));
    const int64_t samples = std::clamp<int64_t>(kKernelBytes / sample_bytes, 1, o.c.n);
    const Scratch<E> kernel(samples * exchanged.w_row);
    const E* const last = static_cast<const E*>(o.source.data) + (exchanged.taps - 1) * o.source.stride_l;
    E* const out = static_cast<E*>(o.out.data);
    for (int64_t n = 0; n < o.c.n; n += samples) {
      Correlation part = exchanged;
      part.rows = std::min(samples, o.c.n - n);
      copy_as_kernel(
          kernel.data(), last + n * o.source.stride_n, part.rows, o.source.stride_n, part.channels, o.source.stride_c,
          part.taps, -o.source.stride_l);
      correlate(
          {part,
           o.dtype,
           o.table,
           {o.w, o.c.w_row, o.c.w_channel, 1},
           kernel.data(),
           nullptr,
           {out + n * o.out.stride_n, o.out.stride_c, o.out.stride_n, o.out.stride_l},
           true});
    }
  });
}

}  // namespace torch_conv1d::cpu
