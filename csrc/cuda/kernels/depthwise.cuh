// What the depthwise kernels share. They are instantiated for up to 4 and up to 8 taps; a tap that a kernel lacks is
// skipped, not multiplied by zero.
#pragma once

#include <algorithm>

#include "../kernels.h"
#include "device.cuh"

namespace torch_conv1d::cuda {

// Taps of one channel; those from kernel_size on are zero, and not used.
template <int TAPS, class E>
__device__ inline void load_taps(const E* w, int kernel_size, bool reversed, Sum<E> (&taps)[TAPS]) {
#pragma unroll
  for (int k = 0; k < TAPS; ++k) taps[k] = k < kernel_size ? to_sum(w[reversed ? kernel_size - 1 - k : k]) : Sum<E>(0);
}

}  // namespace torch_conv1d::cuda
