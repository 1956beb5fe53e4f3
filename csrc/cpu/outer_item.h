// An item of grad_weight whose lanes are output channels.
//
// Every weight of an output channel, counted as j = ci * kernel_size + k, meets the same grad_y; its x is the packed row
// of channel ci from tap k on. The bias is one more weight, whose x is a row of ones.
#pragma once

#include <algorithm>
#include <vector>

#include "../division.h"
#include "grad_weight_call.h"
#include "samples.h"

namespace torch_conv1d::cpu {

template <class E>
class OuterItem {
  using T = SumOf<E>;

 public:
  OuterItem(const GradWeightCall<E>& call, const GradWeightBlock<E>& block)
      : call_(call),
        b_(block),
        together_(call.plan.reduction.together),
        gathered_(together_ ? b_.ci_count * call.c.source_length * call.layout.width : 0),
        x_run_((b_.ci_count + 1) * call.layout.row),
        x_runs_(call.plan.reduction.runs / call.layout.width),
        x_(x_runs_ * x_run_),
        g_rows_(ceil_div(b_.co_count, call.kernels.lanes) * call.kernels.lanes),
        g_size_(call.plan.reduction.runs * call.plan.reduction.length * g_rows_),
        g_(g_size_),
        sum_count_(b_.ci_count * call.c.taps + b_.has_bias),
        sums_(sum_count_ * g_rows_) {}

  void run() const {
    // Room that packing leaves alone: the row of ones, and output channels that round a tile up.
    for (int64_t m = 0; m < x_runs_; ++m)
      std::fill_n(x_.data() + (m + 1) * x_run_ - call_.layout.row, call_.layout.row, T(1));
    if (g_rows_ > b_.co_count) std::fill_n(g_.data(), g_size_, T(0));
    std::fill_n(sums_.data(), sum_count_ * g_rows_, T(0));

    const std::vector<int64_t> offsets = offsets_of_weights();
    b_.for_each_block(call_, [&](int64_t n0, int64_t runs, int64_t lo0, int64_t length) {
      if (together_) {
        if (b_.ci_count) pack_together(n0, runs, lo0, length);
        if (runs < call_.layout.width) std::fill_n(g_.data(), g_size_, T(0));
        for (int64_t m = 0; m < runs; ++m) pack_grad_y(n0 + m, m, call_.layout.width, lo0, length, g_size_ / g_rows_);
        add(offsets, 1, length * call_.layout.width);
      } else {
        for (int64_t m = 0; m < runs; ++m) {
          if (b_.ci_count)
            pack_panel<E>(
                call_.c, call_.layout, call_.copy, call_.x, n0 + m, first_channel(), b_.ci_count, lo0, length,
                x_.data() + m * x_run_);
          pack_grad_y(n0 + m, m * length, 1, lo0, length, runs * length);
        }
        add(offsets, runs, length);
      }
    });
    write();
  }

 private:
  // Where the x of weight j starts; the row of ones comes last.
  std::vector<int64_t> offsets_of_weights() const {
    std::vector<int64_t> offsets;
    offsets.reserve(size_t(sum_count_));
    for (int64_t ci = 0; ci < b_.ci_count; ++ci)
      for (int64_t k = 0; k < call_.c.taps; ++k) offsets.push_back(ci * call_.layout.row + call_.layout.tap_at[k]);
    if (b_.has_bias) offsets.push_back(x_run_ - call_.layout.row);
    return offsets;
  }

  // Output channels of the tile that starts at co; grad_y is packed tile by tile.
  int64_t width(int64_t co) const {
    const auto& kernels = call_.kernels;
    return std::min(kernels.outer_vectors, ceil_div(b_.co_count - co, kernels.lanes)) * kernels.lanes;
  }

  int64_t first_channel() const { return b_.group0 * call_.c.channels + b_.ci0; }

  // x of `runs` samples from n0 on; zeros for those that are missing, to be multiplied by zeros.
  void pack_together(int64_t n0, int64_t runs, int64_t lo0, int64_t length) const {
    View from = call_.x;
    from.data = static_cast<const E*>(from.data) + n0 * from.stride_n + first_channel() * from.stride_c;
    const int64_t width = call_.layout.width;
    if (runs < width) std::fill_n(gathered_.data(), b_.ci_count * call_.c.source_length * width, T(0));
    const View samples =
        gather_samples<E>(call_.copy, from, runs, width, b_.ci_count, call_.c.source_length, gathered_.data());
    pack_panel<T>(call_.c, call_.layout, call_.copy_sums, samples, 0, 0, b_.ci_count, lo0, length, x_.data());
  }

  // Position lo0 + i of sample n becomes position first + i * step of `positions`.
  void pack_grad_y(int64_t n, int64_t first, int64_t step, int64_t lo0, int64_t length, int64_t positions) const {
    const View& from = call_.grad_y;
    const E* g = static_cast<const E*>(from.data) + n * from.stride_n +
                 (b_.group0 * call_.c.rows + b_.co0) * from.stride_c + lo0 * from.stride_l;
    for (int64_t co = 0; co < b_.co_count; co += width(co))
      call_.copy.in(
          {g_.data() + co * positions + first * width(co), 1, step * width(co), g + co * from.stride_c, from.stride_c,
           from.stride_l, std::min(width(co), b_.co_count - co), length});
  }

  void add(const std::vector<int64_t>& offsets, int64_t runs, int64_t length) const {
    const auto& kernels = call_.kernels;
    for (int64_t co = 0; co < b_.co_count; co += width(co))
      for (int64_t j = 0; j < sum_count_; j += kernels.outer_rows) {
        const int64_t rows = std::min(kernels.outer_rows, sum_count_ - j);
        kernels.outer[rows][width(co) / kernels.lanes](
            {x_.data(), x_run_, offsets.data() + j, g_.data() + co * runs * length, runs, length,
             sums_.data() + j * g_rows_ + co, g_rows_});
      }
  }

  void write() const {
    const int64_t weights = b_.ci_count * call_.c.taps;
    const int64_t co = b_.group0 * call_.c.rows + b_.co0;
    call_.write_weights(b_.part, co, b_.ci0 * call_.c.taps, sums_.data(), 1, g_rows_, b_.co_count, weights);
    if (b_.has_bias) call_.write_bias(b_.part, co, &sums_[weights * g_rows_], 1, b_.co_count);
  }

  const GradWeightCall<E>& call_;
  const GradWeightBlock<E> b_;
  const bool together_;
  const Scratch<T> gathered_;
  const int64_t x_run_, x_runs_;
  const Scratch<T> x_;
  const int64_t g_rows_, g_size_;
  const Scratch<T> g_;
  const int64_t sum_count_;
  const Scratch<T> sums_;
};

}  // namespace torch_conv1d::cpu
