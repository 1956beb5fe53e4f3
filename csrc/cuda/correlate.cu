#include "kernels/correlate.cuh"

#include "launch.h"

namespace torch_conv1d::cuda {

void launch_correlate(
    const Plan& plan, const Correlate& a, DType dtype, const void* w, const void* bias, Stream stream) {
  with_element(dtype, [&](auto element) {
    using E = decltype(element);
    // Rows x positions of a thread: 4 sums hide no latency but their own, so 32 of them where there are rows enough.
    const auto kernel = plan.slide > 1   ? correlate<E, 4, 2, true>
                        : plan.rows == 1 ? correlate<E, 1, 4, false>
                        : plan.rows == 4 ? correlate<E, 4, 4, false>
                                         : correlate<E, 8, 4, false>;
    launch(plan.grid, stream, kernel, a, static_cast<const E*>(w), static_cast<const E*>(bias));
  });
}

}  // namespace torch_conv1d::cuda
