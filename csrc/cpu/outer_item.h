// An item of grad_weight whose lanes are output channels.
//
// Every weight of an output channel, counted as j = ci * kernel_size + k, meets the same grad_y; its x is the packed row
// of channel ci from tap k on. The bias is one more weight, whose x is a row of ones.
#pragma once

#include <algorithm>
#include <vector>

#include "../division.h"
#include "grad_weight_call.h"

namespace torch_conv1d::cpu {

template <class E>
class OuterItem {
  using T = SumOf<E>;

 public:
  OuterItem(const GradWeightCall<E>& call, const GradWeightBlock<E>& block)
      : call_(call),
        b_(block),
        x_run_((b_.ci_count + 1) * call.layout.row),
        x_(call.plan.reduction.runs * x_run_),
        g_rows_(ceil_div(b_.co_count, call.kernels.lanes) * call.kernels.lanes),
        g_size_(call.plan.reduction.runs * call.plan.reduction.length * g_rows_),
        g_(g_size_),
        sum_count_(b_.ci_count * call.c.taps + b_.has_bias),
        sums_(sum_count_ * g_rows_) {}

  void run() const {
    // Room that packing leaves alone: the row of ones, and output channels that round a tile up.
    for (int64_t m = 0; m < call_.plan.reduction.runs; ++m)
      std::fill_n(x_.data() + (m + 1) * x_run_ - call_.layout.row, call_.layout.row, T(1));
    if (g_rows_ > b_.co_count) std::fill_n(g_.data(), g_size_, T(0));
    std::fill_n(sums_.data(), sum_count_ * g_rows_, T(0));

    const std::vector<int64_t> offsets = offsets_of_weights();
    b_.for_each_block(call_, [&](int64_t n0, int64_t runs, int64_t lo0, int64_t length) {
      for (int64_t m = 0; m < runs; ++m) pack(n0 + m, m, runs, lo0, length);
      add(offsets, runs, length);
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

  // Sample n as run m.
  void pack(int64_t n, int64_t m, int64_t runs, int64_t lo0, int64_t length) const {
    if (b_.ci_count)
      pack_panel<E>(
          call_.c, call_.layout, call_.copy, call_.x, n, b_.group0 * call_.c.channels + b_.ci0, b_.ci_count, lo0,
          length, x_.data() + m * x_run_);
    const View& from = call_.grad_y;
    const E* g = static_cast<const E*>(from.data) + n * from.stride_n +
                 (b_.group0 * call_.c.rows + b_.co0) * from.stride_c + lo0 * from.stride_l;
    for (int64_t co = 0; co < b_.co_count; co += width(co))
      call_.copy.in(
          {g_.data() + (co * runs + m * width(co)) * length, 1, width(co), g + co * from.stride_c, from.stride_c,
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
    const int64_t co = b_.part * call_.p.c_out + b_.group0 * call_.c.rows + b_.co0;
    T* to = call_.w_sums + co * call_.weights + b_.ci0 * call_.c.taps;
    call_.copy_sums.in({to, call_.weights, 1, sums_.data(), 1, g_rows_, b_.co_count, weights});
    if (b_.has_bias)
      call_.copy_sums.in({call_.b_sums + co, 1, 1, &sums_[weights * g_rows_], 1, g_rows_, b_.co_count, 1});
  }

  const GradWeightCall<E>& call_;
  const GradWeightBlock<E> b_;
  const int64_t x_run_;
  const Scratch<T> x_;
  const int64_t g_rows_, g_size_;
  const Scratch<T> g_;
  const int64_t sum_count_;
  const Scratch<T> sums_;
};

}  // namespace torch_conv1d::cpu
