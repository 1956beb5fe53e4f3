// Weights of some rows and channels of a group, in the type that sums are made in.
#pragma once

#include <type_traits>

#include "../../correlation.h"
#include "../kernel_table.h"

namespace torch_conv1d::cpu {

// Weight (r, channel c, tap k) is data[r * row + c * channel + k].
template <class T>
struct WeightView {
  const T* data;
  int64_t row, channel;
};

// A dense copy of `rows` rows and `channels` channels in the order of all of them: channels of a row are neighbours in
// forward, rows of a channel in grad_input.
template <class T>
WeightView<T> stored_order(const Correlation& c, const T* data, int64_t rows, int64_t channels) {
  return c.w_row >= c.w_channel ? WeightView<T>{data, channels * c.taps, c.taps}
                                : WeightView<T>{data, c.taps, rows * c.taps};
}

// Those from `w` on: where they are, or converted, in their order, into `converted`.
template <class E>
WeightView<SumOf<E>> in_sum_type(
    const Correlation& c, const CopyKernels<E>& copy, const E* w, int64_t rows, int64_t channels, SumOf<E>* converted) {
  if constexpr (std::is_same_v<E, SumOf<E>>) {
    return {w, c.w_row, c.w_channel};
  } else {
    if (c.w_channel > c.w_row && c.w_row > c.taps) {  // some of the taps
      for (int64_t channel = 0; channel < channels; ++channel)
        copy.in({converted + channel * rows * c.taps, c.taps, 1, w + channel * c.w_channel, c.w_row, 1, rows, c.taps});
      return stored_order<SumOf<E>>(c, converted, rows, channels);
    }
    const bool by_row = c.w_row >= c.w_channel;
    const int64_t runs = by_row ? rows : channels, run = (by_row ? channels : rows) * c.taps;
    copy.in({converted, run, 1, w, by_row ? c.w_row : c.w_channel, 1, runs, run});
    return stored_order<SumOf<E>>(c, converted, rows, channels);
  }
}

}  // namespace torch_conv1d::cpu
