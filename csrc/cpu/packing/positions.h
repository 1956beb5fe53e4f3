// Positions as rows of channels, [position][channel], for tiles whose lanes are rows of the result: padding, layout and
// dtype end here.
#pragma once

#include <algorithm>

#include "../../correlation.h"
#include "../../padding.h"
#include "../kernel_table.h"

namespace torch_conv1d::cpu {

// Positions [first, first + count) of some channels of sample n, some of them outside the source; rows are `row`
// elements apart.
template <class E>
void pack_positions(
    const Correlation& c,
    const CopyKernels<E>& copy,
    const View& source,
    int64_t n,
    int64_t channel,
    int64_t channels,
    int64_t first,
    int64_t count,
    SumOf<E>* to,
    int64_t row) {
  const E* from = static_cast<const E*>(source.data) + n * source.stride_n + channel * source.stride_c;
  const auto copy_positions = [&](int64_t at, int64_t position, int64_t positions) {
    // Where nothing lies between them, they are one row.
    const bool joined = row == channels && source.stride_l == channels && source.stride_c == 1;
    const int64_t pieces = joined ? 1 : positions, length = joined ? positions * channels : channels;
    copy.in(
        {to + at * row, row, 1, from + position * source.stride_l, source.stride_l, source.stride_c, pieces, length});
  };
  const int64_t begin = std::clamp<int64_t>(-first, 0, count);
  const int64_t end = std::clamp<int64_t>(c.source_length - first, begin, count);
  if (begin < end) copy_positions(begin, first + begin, end - begin);
  const auto copy_outside = [&](int64_t i) {
    const int64_t position =
        first + i < c.source_end ? padded_source(first + i, c.source_length, c.source_padding) : -1;
    if (position < 0)
      std::fill_n(to + i * row, channels, SumOf<E>(0));
    else
      copy_positions(i, position, 1);
  };
  for (int64_t i = 0; i < begin; ++i) copy_outside(i);
  for (int64_t i = end; i < count; ++i) copy_outside(i);
}

}  // namespace torch_conv1d::cpu
