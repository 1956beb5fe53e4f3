// grad_input of a padding mode that repeats positions: a row is computed as if the positions outside existed. The sums
// near its ends are kept, in the type that sums are made in, until all are there; then those outside are added to the
// positions that they repeat, in ascending order, and the ends are rounded.
#pragma once

#include <algorithm>

#include "../../correlation.h"
#include "../../padding.h"
#include "../kernel_table.h"
#include "../parallel.h"
#include "../scratch.h"

namespace torch_conv1d::cpu {

// Adds the sums outside a row, position p of which is the `width` neighbours from row[p * width] on, to the positions
// that they repeat.
template <class T>
void fold_outside(const Correlation& c, T* row, int64_t width = 1) {
  const auto add_run = [](T* to, const T* from, int64_t count) {
    for (int64_t i = 0; i < count; ++i) to[i] += from[i];
  };
  // Those on one side of the row repeat positions in one direction or the other, or one position.
  const auto add = [&](int64_t begin, int64_t end) {
    if (begin == end) return;
    const T* const outside = row + begin * width;
    T* const first = row + padded_source(begin, c.out_length, c.fold) * width;
    const bool reflects = c.fold == PaddingMode::reflect;
    if (c.fold == PaddingMode::circular)
      add_run(first, outside, (end - begin) * width);
    else if (reflects && width == 1)
      for (int64_t i = 0; i < end - begin; ++i) first[-i] += outside[i];
    else
      for (int64_t i = 0; i < (end - begin) * width; i += width)
        add_run(first - (reflects ? i : 0), outside + i, width);
  };
  add(-c.fold_left, 0);
  add(c.out_length, c.out_length + c.fold_right);
}

template <class E>
class FoldedEnds {
  using T = SumOf<E>;

 public:
  // Without ends of rows that are finished as a whole.
  explicit FoldedEnds(const Correlation& c, bool whole_rows = false)
      : c_(c),
        rows_(c.groups * c.rows),
        any_(c.folds() && !whole_rows),
        left_end_(c.fold_reach()),
        right_begin_(std::max(c.out_length - left_end_, left_end_)),
        length_(kept_of_row(c)),
        ends_(any_ ? c.n * rows_ * length_ : 0) {}

  // The samples of a call whose ends take about 1 MiB.
  static int64_t samples(const Correlation& c) {
    if (!c.folds()) return std::max<int64_t>(c.n, 1);
    return std::max<int64_t>((1 << 20) / (c.groups * c.rows * kept_of_row(c) * int64_t(sizeof(T))), 1);
  }

  // Whether there is something to keep of positions [begin, end).
  bool take(int64_t begin, int64_t end) const { return any_ && (begin < left_end_ || end > right_begin_); }

  // Of a channel of the result: the sum of position first + i * step is sums[i * between], for i < count.
  void keep(
      int64_t n, int64_t channel, int64_t first, int64_t step, const T* sums, int64_t between, int64_t count) const {
    T* ends = ends_.data() + (n * rows_ + channel) * length_;
    const auto keep_between = [&](int64_t begin, int64_t end) {
      const int64_t last = std::min(ceil_div(end - first, step), count);
      for (int64_t i = std::max<int64_t>(ceil_div(begin - first, step), 0); i < last; ++i)
        ends[at(first + i * step)] = sums[i * between];
    };
    keep_between(-c_.fold_left, left_end_);
    keep_between(right_begin_, c_.out_length + c_.fold_right);
  }

  // Writes the ends of all rows.
  void fold(const CopyKernels<E>& copy, MutableView out, bool worth_threads) const {
    if (!any_) return;
    parallel_for(c_.n * rows_, worth_threads, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        T* ends = ends_.data() + row * length_;
        const auto add = [&](int64_t position) {
          ends[at(padded_source(position, c_.out_length, c_.fold))] += ends[at(position)];
        };
        for (int64_t position = -c_.fold_left; position < 0; ++position) add(position);
        for (int64_t position = 0; position < c_.fold_right; ++position) add(c_.out_length + position);
        E* to = static_cast<E*>(out.data) + row / rows_ * out.stride_n + row % rows_ * out.stride_c;
        const auto write = [&](int64_t first, int64_t last) {
          copy.out({to + first * out.stride_l, 0, out.stride_l, ends + at(first), 0, 1, 1, last - first});
        };
        write(0, left_end_);
        write(right_begin_, c_.out_length);
      }
    });
  }

 private:
  // What is kept of a row: [-fold_left, left_end) and [right_begin, out_length + fold_right), one after the other.
  static int64_t kept_of_row(const Correlation& c) {
    return c.fold_left + std::min(2 * c.fold_reach(), c.out_length) + c.fold_right;
  }
  int64_t at(int64_t position) const {
    return c_.fold_left + (position < left_end_ ? position : position - right_begin_ + left_end_);
  }

  const Correlation& c_;
  const int64_t rows_;
  const bool any_;
  const int64_t left_end_, right_begin_, length_;
  const Scratch<T> ends_;  // [sample][channel], of length_
};

}  // namespace torch_conv1d::cpu
