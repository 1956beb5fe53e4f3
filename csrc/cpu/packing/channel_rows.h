// Positions of a source as pointers to rows of consecutive channels, for tiles whose lanes are channels.
#pragma once

#include <algorithm>
#include <type_traits>
#include <vector>

#include "../../correlation.h"
#include "../../padding.h"
#include "../kernel_table.h"
#include "../scratch.h"

namespace torch_conv1d::cpu {

// Rows of `channels` channels for positions [first, first + count) of one sample, some of them outside the source. Where
// channels are neighbours in memory, are of the type of the sums and fill whole vectors, rows are those of the source.
template <class E>
class ChannelRows {
  using T = SumOf<E>;

 public:
  ChannelRows(int64_t channels, int64_t lanes, bool in_place, int64_t most)
      : channels_(channels),
        width_((channels + lanes - 1) / lanes * lanes),
        in_place_(in_place),
        zeros_(width_),
        copies_(in_place ? 0 : most * width_),
        rows_(size_t(most)) {
    std::fill_n(zeros_.data(), width_, T(0));
    // Lanes beyond the last channel are computed, and left out of the result.
    if (width_ > channels && !in_place) std::fill_n(copies_.data(), most * width_, T(0));
  }

  static bool in_place(const View& source, int64_t channels, int64_t lanes) {
    return std::is_same_v<E, T> && source.stride_c == 1 && channels % lanes == 0;
  }

  int64_t width() const { return width_; }
  const T* const* data() const { return rows_.data(); }

  // `source` begins at the first channel of the sample.
  void point_at(
      const CopyKernels<E>& copy, View source, int64_t length, PaddingMode padding, int64_t first, int64_t count) {
    const E* from = static_cast<const E*>(source.data);
    const auto copy_rows = [&](int64_t to, int64_t position, int64_t rows) {
      copy.in(
          {copies_.data() + to * width_, 1, width_, from + position * source.stride_l, source.stride_c, source.stride_l,
           channels_, rows});
    };
    const int64_t begin = std::clamp<int64_t>(-first, 0, count),
                  end = std::clamp<int64_t>(length - first, begin, count);
    if (!in_place_ && begin < end) copy_rows(begin, first + begin, end - begin);
    for (int64_t i = 0; i < count; ++i) {
      const int64_t position = padded_source(first + i, length, padding);
      if constexpr (std::is_same_v<E, T>)
        if (in_place_ && position >= 0) {
          rows_[size_t(i)] = from + position * source.stride_l;
          continue;
        }
      // What a padding mode repeats is a second pointer to a row that is here already, as a rule.
      const bool is_here = position >= first + begin && position < first + end;
      const int64_t at = is_here ? position - first : i;
      rows_[size_t(i)] = position < 0 ? zeros_.data() : copies_.data() + at * width_;
      if (position >= 0 && !is_here) copy_rows(i, position, 1);
    }
  }

 private:
  const int64_t channels_, width_;
  const bool in_place_;
  const Scratch<T> zeros_, copies_;
  std::vector<const T*> rows_;
};

}  // namespace torch_conv1d::cpu
