// An item of grad_weight whose lanes are positions.
//
// Weight j = ci * kernel_size + k of an output channel is the product of two rows: grad_y, and x of channel ci from tap k
// on. kDotLanes partial sums of each stay apart until the end.
#pragma once

#include <algorithm>
#include <vector>

#include "../division.h"
#include "grad_weight_call.h"
#include "spans.h"

namespace torch_conv1d::cpu {

template <class E>
class DotItem {
  using T = SumOf<E>;

  // Positions of a few rows of grad_y that stay in the L1 cache until all taps have met them.
  static constexpr int64_t kResident = 4096 / sizeof(T);

 public:
  DotItem(const GradWeightCall<E>& call, const GradWeightBlock<E>& block)
      : call_(call),
        b_(block),
        rows_(b_.groups * b_.co_count),
        x_(b_.groups * b_.ci_count * call.layout.row),
        g_row_(call.layout.padded(call.plan.panel_length)),
        g_rows_(b_.groups > 1 ? rows_ : std::min(rows_, call.plan.g_block)),
        g_(g_rows_ * g_row_),
        weights_(b_.ci_count * call.c.taps),
        sums_(rows_ * (weights_ + b_.has_bias) * kDotLanes<T>),
        bias_sums_(sums_.data() + rows_ * weights_ * kDotLanes<T>) {}

  void run() const {
    std::fill_n(sums_.data(), rows_ * (weights_ + b_.has_bias) * kDotLanes<T>, T(0));
    const std::vector<int64_t> in_panel = offsets_of_weights(call_.layout.row, call_.layout.tap_at);
    const std::vector<int64_t> in_source = offsets_of_weights(call_.x.stride_c, call_.layout.tap_offset);
    std::vector<Span> spans;
    b_.for_each_block(call_, [&](int64_t n0, int64_t runs, int64_t lo0, int64_t length) {
      spans.clear();
      const bool direct = call_.plan.direct != DirectTile::none;
      cut_spans(call_.c, direct, call_.plan.panel_length, kNarrowness<E> * kDotLanes<T>, lo0, length, spans);
      for (int64_t n = n0; n < n0 + runs; ++n)
        for (const Span& span : spans) add(n, span, span.packed ? in_panel : in_source);
    });
    write();
  }

 private:
  // Where the x of each weight of a group starts.
  std::vector<int64_t> offsets_of_weights(int64_t row, const std::vector<int64_t>& tap) const {
    std::vector<int64_t> offsets;
    offsets.reserve(size_t(weights_));
    for (int64_t ci = 0; ci < b_.ci_count; ++ci)
      for (int64_t k = 0; k < call_.c.taps; ++k) offsets.push_back(ci * row + tap[size_t(k)]);
    return offsets;
  }

  void add(int64_t n, const Span& span, const std::vector<int64_t>& offsets) const {
    const View &x = call_.x, &g = call_.grad_y;
    const int64_t channel = b_.group0 * call_.c.channels + b_.ci0;
    const E* g_source = static_cast<const E*>(g.data) + n * g.stride_n +
                        (b_.group0 * call_.c.rows + b_.co0) * g.stride_c + span.q0 * g.stride_l;
    if (!span.packed && call_.plan.direct > DirectTile::sums) {
      const E* x_source =
          static_cast<const E*>(x.data) + n * x.stride_n + channel * x.stride_c + span.q0 * call_.c.source_stride;
      return add_directly(x_source, offsets, g_source, span.q_len);
    }
    const T* x_rows = x_.data();
    int64_t x_group = b_.ci_count * call_.layout.row;
    if (span.packed)
      for (int64_t group = 0; group < b_.groups && b_.ci_count; ++group)
        pack_panel<E>(
            call_.c, call_.layout, call_.copy, x, n, channel + group * call_.c.channels, b_.ci_count, span.q0,
            span.q_len, x_.data() + group * x_group);
    if constexpr (std::is_same_v<E, T>)
      if (!span.packed) {
        x_rows = static_cast<const T*>(x.data) + n * x.stride_n + channel * x.stride_c + span.q0;
        x_group = call_.c.channels * x.stride_c;
      }
    for (int64_t row = 0; row < rows_; row += g_rows_, g_source += g_rows_ * g.stride_c) {
      const int64_t rows = std::min(g_rows_, rows_ - row);
      int64_t done = 0;
      // Where grad_y has more rows than x, its whole vectors are read where they are.
      if constexpr (std::is_same_v<E, T>)
        if (!span.packed || (g.stride_l == 1 && rows_ > b_.groups * b_.ci_count)) {
          done = span.q_len / kDotLanes<T> * kDotLanes<T>;
          if (done) add_rows(x_rows, x_group, offsets, row, rows, g_source, g.stride_c, done);
        }
      if (const int64_t left = span.q_len - done) {
        call_.copy.in({g_.data(), g_row_, 1, g_source + done * g.stride_l, g.stride_c, g.stride_l, rows, left});
        add_rows(x_rows + done, x_group, offsets, row, rows, g_.data(), g_row_, left);
      }
    }
  }

  // Rows [first, first + rows) of the item: of a single group, or of all of its groups.
  void add_rows(
      const T* x,
      int64_t x_group,
      const std::vector<int64_t>& offsets,
      int64_t first,
      int64_t rows,
      const T* g,
      int64_t g_row,
      int64_t length) const {
    const bool is_fir = b_.co_count == 1 && b_.ci_count == 1 && call_.c.unit_step() == 1;
    const int64_t step = std::min(b_.co_count, rows);
    for (int64_t row = 0; row < rows; row += step, x += x_group, g += step * g_row)
      if (is_fir)
        add_fir(x + offsets[0], g, length, &sums_[(first + row) * weights_ * kDotLanes<T>]);
      else
        add_group(x, offsets, first + row, step, g, g_row, length);
    if (is_fir) add_bias(first, rows, g - rows * g_row, g_row, length);
  }

  // The same by tiles for elements of tensors: of one output channel a group, and of taps of one input channel.
  void add_directly(const E* x, const std::vector<int64_t>& offsets, const E* g, int64_t length) const {
    const auto& kernels = direct_kernels<E>(call_.table);
    const int64_t taps = call_.c.taps;
    for (int64_t row = 0; row < rows_; ++row, x += call_.c.channels * call_.x.stride_c, g += call_.grad_y.stride_c) {
      for (int64_t j = 0; j < weights_;) {
        const int64_t count = std::min(kernels.dot_taps, taps - j % taps);
        kernels.dot[int(call_.plan.direct)][count](
            {x, offsets.data() + j, g, length, &sums_[(row * weights_ + j) * kDotLanes<T>]});
        j += count;
      }
      T* const bias_sum = bias_sums_ + row * kDotLanes<T>;
      if constexpr (kNarrowness<E> > 1) {
        if (b_.has_bias) kernels.row_sum({nullptr, nullptr, g, length, bias_sum});
      } else {
        if (b_.has_bias) call_.kernels.row_sums[1]({g, 0, length, bias_sum});
      }
    }
  }

  void add_group(
      const T* x,
      const std::vector<int64_t>& offsets,
      int64_t first,
      int64_t count,
      const T* g,
      int64_t g_row,
      int64_t length) const {
    const auto& kernels = call_.kernels;
    for (int64_t row = 0; row < count; row += kernels.dot_rows, g += kernels.dot_rows * g_row) {
      const int64_t rows = std::min(kernels.dot_rows, count - row);
      const int64_t tiles = ceil_div(weights_, kernels.dot_taps[rows]);
      for (int64_t i = 0; i < length; i += kResident) {
        // Each tile of taps has a share of what comes next fetched: of the same rows, or of those that follow.
        const int64_t positions = std::min(kResident, length - i);
        const int64_t ahead = i + kResident < length ? kResident : kernels.dot_rows * g_row - i;
        for (int64_t tile = 0; tile < tiles; ++tile) {
          const int64_t j = tile * weights_ / tiles;
          kernels.dot[rows][(tile + 1) * weights_ / tiles - j](
              {x + i, offsets.data() + j, g + i, g_row, positions,
               &sums_[((first + row) * weights_ + j) * kDotLanes<T>], weights_, ahead, tile, tiles});
        }
        add_bias(first + row, rows, g + i, g_row, positions);
      }
    }
  }

  void add_bias(int64_t first, int64_t count, const T* g, int64_t g_row, int64_t length) const {
    const auto& kernels = call_.kernels;
    for (int64_t row = 0; b_.has_bias && row < count; row += kernels.row_sums_rows)
      kernels.row_sums[std::min(kernels.row_sums_rows, count - row)](
          {g + row * g_row, g_row, length, bias_sums_ + (first + row) * kDotLanes<T>});
  }

  // Taps kDotLanes apart share their loads, as many as a tile takes; of the last ones, one less may exist.
  void add_fir(const T* x, const T* g, int64_t length, T* sums) const {
    const auto& kernels = call_.kernels;
    constexpr int64_t kStep = kDotLanes<T>;
    const auto add_taps = [&](int64_t begin, int64_t end, int64_t shared) {
      for (int64_t t = begin; t < end && shared;) {
        const int64_t taps = std::min(kernels.fir_dot_taps[shared], end - t);
        kernels.fir_dot[shared][taps]({x + t, g, length, sums + t * kStep});
        t += taps;
      }
    };
    for (int64_t t = 0; t < weights_; t += kernels.fir_dot_shared * kStep) {
      const int64_t count = std::min(weights_ - t, kernels.fir_dot_shared * kStep), shared = ceil_div(count, kStep);
      const int64_t last = count - (shared - 1) * kStep;
      add_taps(t, t + last, shared);
      add_taps(t + last, t + kStep, shared - 1);
    }
  }

  // The lanes of each of `count` sums, as a balanced tree, into its first.
  static void add_lanes(T* sums, int64_t count) {
    for (T* lanes = sums; lanes < sums + count * kDotLanes<T>; lanes += kDotLanes<T>)
      for (int64_t half = kDotLanes<T> / 2; half; half /= 2)
        for (int64_t i = 0; i < half; ++i) lanes[i] += lanes[i + half];
  }

  void write() const {
    const int64_t co = b_.group0 * call_.c.rows + b_.co0;
    add_lanes(sums_.data(), rows_ * (weights_ + b_.has_bias));
    call_.write_weights(
        b_.part, co, b_.ci0 * call_.c.taps, sums_.data(), weights_ * kDotLanes<T>, kDotLanes<T>, rows_, weights_);
    if (b_.has_bias) call_.write_bias(b_.part, co, bias_sums_, kDotLanes<T>, rows_);
  }

  const GradWeightCall<E>& call_;
  const GradWeightBlock<E> b_;
  const int64_t rows_;  // output channels of all groups of the item
  const Scratch<T> x_;
  const int64_t g_row_, g_rows_;  // that are packed at a time
  const Scratch<T> g_;
  const int64_t weights_;  // of an output channel
  const Scratch<T> sums_;
  T* const bias_sums_;
};

}  // namespace torch_conv1d::cpu
