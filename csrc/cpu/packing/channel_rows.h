// Positions of a source as pointers to rows of channels, for tiles whose lanes are channels, or groups of a few of
// them.
#pragma once

#include <algorithm>
#include <type_traits>
#include <vector>

#include "../../correlation.h"
#include "../../padding.h"
#include "../kernel_table.h"
#include "../scratch.h"

namespace torch_conv1d::cpu {

// to[position * row + channel * width + group] = `count` positions of `groups` groups of `channels` channels, from the
// first of them on.
template <class E>
void copy_channel_rows(
    const CopyKernels<E>& copy,
    SumOf<E>* to,
    int64_t row,
    int64_t width,
    const E* from,
    const View& strides,
    int64_t groups,
    int64_t channels,
    int64_t count) {
  if (strides.stride_c == 1 && channels > 1)
    for (int64_t i = 0; i < count; ++i)
      copy.in({to + i * row, 1, width, from + i * strides.stride_l, channels, 1, groups, channels});
  else
    for (int64_t channel = 0; channel < channels; ++channel)
      copy.in(
          {to + channel * width, 1, row, from + channel * strides.stride_c, channels * strides.stride_c,
           strides.stride_l, groups, count});
}

// Rows, [channel of a group][group], for positions [first, first + count) of one sample, some of them outside the
// source. Where the channels of all groups are neighbours in memory, rows of elements of the source, R = E, may be its
// own; those of the type of the sums are copies otherwise.
template <class E, class R>
class ChannelRows {
 public:
  ChannelRows(int64_t groups, int64_t channels, int64_t lanes, bool in_place, int64_t most)
      : groups_(groups),
        channels_(channels),
        most_(most),
        width_((groups + lanes - 1) / lanes * lanes),
        row_((channels * width_ + kLine - 1) / kLine / 2 * 2 * kLine + kLine),
        in_place_(in_place),
        zeros_(channels * width_),
        copies_(in_place ? 0 : most * row_),
        rows_(size_t(channels * most)) {
    std::fill_n(zeros_.data(), channels * width_, R{});
    // Lanes beyond the last group are computed, and left out of the result.
    if (width_ > groups && !in_place) std::fill_n(copies_.data(), most * row_, R{});
  }

  int64_t width() const { return width_; }  // of one channel
  // By position; those of the next channel of a group follow, `most` pointers further.
  const R* const* data() const { return rows_.data(); }
  // From one copy to the next, all positions in turn: an odd number of cache lines, so that those of a few channels
  // share the sets of the L1 cache evenly.
  int64_t row() const { return row_; }

  // `source` begins at the first channel of the sample.
  void point_at(
      const CopyKernels<E>& copy, View source, int64_t length, PaddingMode padding, int64_t first, int64_t count) {
    const E* from = static_cast<const E*>(source.data);
    if constexpr (std::is_same_v<E, R>)
      if (in_place_) {
        for (int64_t i = 0; i < count; ++i) {
          const int64_t position = padded_source(first + i, length, padding);
          rows_[size_t(i)] = position < 0 ? zeros_.data() : from + position * source.stride_l;
        }
        return;
      }
    if constexpr (std::is_same_v<R, SumOf<E>>) {
      const auto copy_rows = [&](int64_t to, int64_t position, int64_t rows) {
        copy_channel_rows(
            copy, copies_.data() + to * row_, row_, width_, from + position * source.stride_l, source, groups_,
            channels_, rows);
      };
      const int64_t begin = std::clamp<int64_t>(-first, 0, count),
                    end = std::clamp<int64_t>(length - first, begin, count);
      if (begin < end) copy_rows(begin, first + begin, end - begin);
      for (int64_t i = 0; i < count; ++i) {
        R* const copied = copies_.data() + i * row_;
        rows_[size_t(i)] = copied;
        if (i >= begin && i < end) continue;
        const int64_t position = padded_source(first + i, length, padding);
        if (position < 0)
          std::fill_n(copied, channels_ * width_, R(0));
        else if (position >= first + begin && position < first + end)  // what a padding mode repeats, as a rule
          std::copy_n(copies_.data() + (position - first) * row_, channels_ * width_, copied);
        else
          copy_rows(i, position, 1);
      }
      for (int64_t channel = 1; channel < channels_; ++channel)
        for (int64_t i = 0; i < count; ++i) rows_[size_t(channel * most_ + i)] = rows_[size_t(i)] + channel * width_;
    }
  }

 private:
  static constexpr int64_t kLine = 64 / int64_t(sizeof(R));

  const int64_t groups_, channels_, most_, width_, row_;
  const bool in_place_;
  const Scratch<R> zeros_, copies_;
  std::vector<const R*> rows_;
};

// Whether the channels of `groups` groups are lanes where they are.
inline bool lie_as_lanes(const View& source, int64_t groups, int64_t channels, int64_t lanes) {
  return source.stride_c == 1 && channels == 1 && groups % lanes == 0;
}

}  // namespace torch_conv1d::cpu
