// grad_y as a kernel.
#pragma once

#include <cstdint>

namespace torch_conv1d::cpu {

// [row][channel][tap], from elements so far apart in grad_y.
template <class E>
void copy_as_kernel(
    E* to,
    const E* from,
    int64_t rows,
    int64_t from_row,
    int64_t channels,
    int64_t from_channel,
    int64_t taps,
    int64_t from_tap) {
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t channel = 0; channel < channels; ++channel) {
      const E* const first = from + row * from_row + channel * from_channel;
      for (int64_t t = 0; t < taps; ++t) *to++ = first[t * from_tap];
    }
}

}  // namespace torch_conv1d::cpu
