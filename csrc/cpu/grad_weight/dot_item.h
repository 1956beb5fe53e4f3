// An item of grad_weight whose lanes are positions.
//
// Weight j = ci * kernel_size + k of an output channel is the product of two rows: grad_y, and x of channel ci from tap
// k on. kDotLanes partial sums of each stay apart until the end. The bias is one more weight of `dot`, whose x is a row
// of ones: no pass of its own.
#pragma once

#include <algorithm>
#include <vector>

#include "../../division.h"
#include "../packing/spans.h"
#include "fir_dot_tiles.h"
#include "grad_weight_call.h"

namespace torch_conv1d::cpu {

template <class E>
class DotItem {
  using T = SumOf<E>;

 public:
  DotItem(const GradWeightCall<E>& call, const GradWeightBlock<E>& block)
      : call_(call),
        b_(block),
        rows_(b_.groups * b_.co_count),
        is_fir_(b_.co_count == 1 && b_.ci_count == 1 && call.c.unit_step() == 1),
        held_(std::clamp<int64_t>(
            kL1Panel / std::max<int64_t>(b_.ci_count * call.layout.row * int64_t(sizeof(T)), 1), 1, b_.groups)),
        x_(held_ * b_.ci_count * call.layout.row + kDotLanes<T>),
        g_row_(call.layout.padded(call.plan.panel_length)),
        g_rows_(b_.groups > 1 ? held_ * b_.co_count : std::min(rows_, call.plan.g_block)),
        g_(g_rows_ * g_row_),
        weights_(b_.ci_count * call.c.taps),
        fir_(call.kernels, is_fir_ ? weights_ : 0, call.plan.direct == DirectTile::none),
        sum_row_(is_fir_ ? fir_.sums() : weights_ + b_.has_bias),
        sum_count_(rows_ * (sum_row_ + (is_fir_ && b_.has_bias))),
        sums_(ceil_div(sum_count_, kDotLanes<T>) * kDotLanes<T> * kDotLanes<T>),
        bias_at_(is_fir_ ? rows_ * sum_row_ : weights_),
        bias_row_(is_fir_ ? 1 : sum_row_),
        tile_rows_(rows_of_tile()),
        resident_(resident_positions()),
        ones_(b_.has_bias && !is_fir_ ? resident_ : 0) {}

  void run() const {
    std::fill_n(sums_.data(), sum_count_ * kDotLanes<T>, T(0));
    if (b_.has_bias && !is_fir_) std::fill_n(ones_.data(), resident_, T(1));
    std::vector<int64_t> in_panel = offsets_of_weights(call_.layout.row, call_.layout.tap_at);
    std::vector<int64_t> in_source = offsets_of_weights(call_.x.stride_c, call_.layout.tap_offset);
    std::vector<Span> spans;
    b_.for_each_block(call_, [&](int64_t n0, int64_t runs, int64_t lo0, int64_t length) {
      spans.clear();
      const bool direct = call_.plan.direct != DirectTile::none;
      cut_spans(call_.c, direct, call_.plan.panel_length, kNarrowness<E> * kDotLanes<T>, lo0, length, spans);
      for (int64_t n = n0; n < n0 + runs; ++n)
        for (const Span& span : spans)
          for (int64_t group = 0; group < b_.groups; group += held_)
            add(n, span, group, std::min(held_, b_.groups - group), span.packed ? in_panel : in_source);
    });
    write();
  }

 private:
  // Where the x of each weight of a group starts; that of the bias is found as it is read.
  std::vector<int64_t> offsets_of_weights(int64_t row, const std::vector<int64_t>& tap) const {
    std::vector<int64_t> offsets;
    offsets.reserve(size_t(weights_ + 1));
    for (int64_t ci = 0; ci < b_.ci_count; ++ci)
      for (int64_t k = 0; k < call_.c.taps; ++k) offsets.push_back(ci * row + tap[size_t(k)]);
    offsets.push_back(0);
    return offsets;
  }

  // Of `groups` groups of the item.
  void add(int64_t n, const Span& span, int64_t first, int64_t groups, std::vector<int64_t>& offsets) const {
    const View &x = call_.x, &g = call_.grad_y;
    const int64_t group0 = b_.group0 + first, channel = group0 * call_.c.channels + b_.ci0;
    const int64_t all_rows = groups * b_.co_count, first_row = first * b_.co_count;
    const E* const x_source =
        static_cast<const E*>(x.data) + n * x.stride_n + channel * x.stride_c + span.q0 * call_.c.source_stride;
    const E* g_source = static_cast<const E*>(g.data) + n * g.stride_n + (group0 * call_.c.rows + b_.co0) * g.stride_c +
                        span.q0 * g.stride_l;
    if (!span.packed && call_.plan.direct > DirectTile::sums)
      return add_directly(x_source, offsets, g_source, span.q_len, first_row, all_rows);
    const T* x_rows = x_.data();
    int64_t x_group = b_.ci_count * call_.layout.row;
    if (span.packed && b_.ci_count)
      pack_panel<E>(
          call_.c, call_.layout, call_.copy, x, n, channel, groups * b_.ci_count, span.q0, span.q_len, x_.data());
    const T* ahead = nullptr;
    if constexpr (std::is_same_v<E, T>) {
      ahead = x_source + (span.packed ? held_ * x.stride_c : FirDotTiles<T>::kAhead);
      if (!span.packed) {
        x_rows = x_source;
        x_group = call_.c.channels * x.stride_c;
      }
    }
    // Where grad_y has more rows than x, or meets many taps, it is read where it is. A last vector that is not whole
    // reaches into the next row; of the last rows of the item it is copied.
    const bool many_groups = b_.groups > 1;
    for (int64_t row = 0; row < all_rows; row += g_rows_, g_source += g_rows_ * g.stride_c) {
      const int64_t rows = std::min(g_rows_, all_rows - row);
      const int64_t last_rows = many_groups ? b_.co_count : row + rows == all_rows ? 1 : 0;
      int64_t before = 0, whole = 0;
      if constexpr (std::is_same_v<E, T>)
        if (!span.packed || (g.stride_l == 1 && (is_fir_ || rows_ > b_.groups * b_.ci_count))) {
          whole = span.q_len / kDotLanes<T> * kDotLanes<T>;
          before = whole == span.q_len ? rows : g.stride_c >= kDotLanes<T> ? rows - last_rows : 0;
          add_rows(x_rows, x_group, offsets, first_row + row, before, g_source, g.stride_c, span.q_len, ahead);
        }
      if (before == rows) continue;
      const T* x_last = x_rows + (many_groups ? before / last_rows * x_group : 0);
      const E* g_last = g_source + before * g.stride_c;
      if constexpr (std::is_same_v<E, T>)
        if (whole)
          add_rows(
              x_last, x_group, offsets, first_row + row + before, rows - before, g_last, g.stride_c, whole, nullptr);
      const int64_t left = span.q_len - whole;
      call_.copy.in({g_.data(), g_row_, 1, g_last + whole * g.stride_l, g.stride_c, g.stride_l, rows - before, left});
      add_rows(
          x_last + whole, x_group, offsets, first_row + row + before, rows - before, g_.data(), g_row_, left, nullptr);
    }
  }

  // Rows [first, first + rows) of the item: of a single group, or of all of its groups.
  void add_rows(
      const T* x,
      int64_t x_group,
      std::vector<int64_t>& offsets,
      int64_t first,
      int64_t rows,
      const T* g,
      int64_t g_row,
      int64_t length,
      const T* ahead) const {
    const int64_t step = std::min(b_.co_count, rows);
    for (int64_t row = 0; row < rows; row += step, x += x_group, g += step * g_row)
      if (is_fir_)
        fir_.add(
            x + offsets[0], g, length, &sums_[(first + row) * sum_row_ * kDotLanes<T>],
            ahead ? ahead + row * call_.x.stride_c : nullptr);
      else
        add_group(x, offsets, first + row, step, g, g_row, length);
    if (is_fir_) add_bias(first, rows, g - rows * g_row, g_row, length);
  }

  // The same by tiles for elements of tensors: of one output channel a group, and of taps of one input channel.
  void add_directly(
      const E* x, const std::vector<int64_t>& offsets, const E* g, int64_t length, int64_t first, int64_t rows) const {
    const auto& kernels = direct_kernels<E>(call_.table);
    const int64_t taps = call_.c.taps;
    for (int64_t row = first; row < first + rows;
         ++row, x += call_.c.channels * call_.x.stride_c, g += call_.grad_y.stride_c) {
      for (int64_t j = 0; j < weights_;) {
        const int64_t count = std::min(kernels.dot_taps, taps - j % taps);
        kernels.dot[int(call_.plan.direct)][count](
            {x, offsets.data() + j, g, length, &sums_[(row * sum_row_ + j) * kDotLanes<T>]});
        j += count;
      }
      T* const bias_sum = bias_sum_of(row);
      if constexpr (kNarrowness<E> > 1) {
        if (b_.has_bias) kernels.row_sum({nullptr, nullptr, g, length, bias_sum});
      } else {
        if (b_.has_bias) call_.kernels.row_sums[1]({g, 0, length, bias_sum});
      }
    }
  }

  // The tile with the fewest loads for each row of grad_y, which every pass loads, while rows share those of x.
  int64_t rows_of_tile() const {
    const auto& kernels = call_.kernels;
    const int64_t count = weights_ + b_.has_bias;
    const auto loads = [&](int64_t rows) {
      return double(ceil_div(count, kernels.dot_taps[rows])) + double(count) / double(rows);
    };
    int64_t best = 1;
    for (int64_t rows = 2; rows <= std::min(kernels.dot_rows, b_.co_count); ++rows)
      if (loads(rows) <= loads(best)) best = rows;
    return best;
  }

  // Positions of x, of a tile's rows of grad_y and of ones that stay in the L1 cache until all taps have met them; of so
  // many rows that these would be few, x comes from the L2 cache.
  int64_t resident_positions() const {
    constexpr int64_t kBytes = kL1Panel / 4 * 7, kFew = 32 * kDotLanes<T>, kMost = 64 * kDotLanes<T>;
    const int64_t x_rows = ceil_div(b_.ci_count * call_.layout.row, call_.plan.panel_length);
    const int64_t fitting = kBytes / int64_t(sizeof(T)) / (x_rows + tile_rows_ + 1) / kDotLanes<T> * kDotLanes<T>;
    return fitting < kFew ? kMost : std::min(fitting, kMost);
  }

  void add_group(
      const T* x,
      std::vector<int64_t>& offsets,
      int64_t first,
      int64_t count,
      const T* g,
      int64_t g_row,
      int64_t length) const {
    const auto& kernels = call_.kernels;
    for (int64_t row = 0; row < count; row += tile_rows_, g += tile_rows_ * g_row) {
      const int64_t rows = std::min(tile_rows_, count - row);
      const int64_t tiles = ceil_div(sum_row_, kernels.dot_taps[rows]);
      for (int64_t i = 0; i < length; i += resident_) {
        // Each tile of taps has a share of what comes next fetched: of the same rows, or of those that follow.
        const int64_t positions = std::min(resident_, length - i);
        const int64_t ahead = i + resident_ < length ? resident_ : tile_rows_ * g_row - i;
        if (b_.has_bias) offsets[size_t(weights_)] = ones_.data() - (x + i);
        for (int64_t tile = 0; tile < tiles; ++tile) {
          const int64_t j = tile * sum_row_ / tiles;
          kernels.dot[rows][(tile + 1) * sum_row_ / tiles - j](
              {x + i, offsets.data() + j, g + i, g_row, positions,
               &sums_[((first + row) * sum_row_ + j) * kDotLanes<T>], sum_row_, ahead, tile, tiles});
        }
      }
    }
  }

  // Of rows of a single channel.
  void add_bias(int64_t first, int64_t count, const T* g, int64_t g_row, int64_t length) const {
    const auto& kernels = call_.kernels;
    for (int64_t row = 0; b_.has_bias && row < count; row += kernels.row_sums_rows)
      kernels.row_sums[std::min(kernels.row_sums_rows, count - row)](
          {g + row * g_row, g_row, length, bias_sum_of(first + row)});
  }
  T* bias_sum_of(int64_t row) const { return sums_.data() + (bias_at_ + row * bias_row_) * kDotLanes<T>; }

  void write() const {
    const int64_t co = b_.group0 * call_.c.rows + b_.co0;
    call_.kernels.lane_sums(sums_.data(), sum_count_);
    call_.write_weights(b_.part, co, b_.ci0 * call_.c.taps, sums_.data(), sum_row_, 1, rows_, weights_);
    if (b_.has_bias) call_.write_bias(b_.part, co, sums_.data() + bias_at_, bias_row_, rows_);
  }

  const GradWeightCall<E>& call_;
  const GradWeightBlock<E> b_;
  const int64_t rows_;  // output channels of all groups of the item
  const bool is_fir_;
  const int64_t held_;  // groups that are packed at a time
  const Scratch<T> x_;
  const int64_t g_row_, g_rows_;  // that are packed at a time
  const Scratch<T> g_;
  const int64_t weights_;  // of an output channel
  const FirDotTiles<T> fir_;
  const int64_t sum_row_, sum_count_;
  const Scratch<T> sums_;  // [row][weight, then the bias]; of rows of a single channel the bias follows all rows
  const int64_t bias_at_, bias_row_;  // where those of the bias are, and from one row to the next
  const int64_t tile_rows_, resident_;
  const Scratch<T> ones_;
};

}  // namespace torch_conv1d::cpu
