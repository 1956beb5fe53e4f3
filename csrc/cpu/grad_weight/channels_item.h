// An item of grad_weight of groups of few channels, whose lanes are groups: above all of depthwise layers.
//
//   for every panel of positions:
//     transpose x and grad_y, unless they lie as lanes: [position][channel of a group][group]
//     sums += the products of all taps of all input channels with all output channels
#pragma once

#include <algorithm>
#include <vector>

#include "../../division.h"
#include "../packing/channel_rows.h"
#include "grad_weight_call.h"

namespace torch_conv1d::cpu {

// Rows are of elements R: E where both sides are read where they are, the type of the sums otherwise.
template <class E, class R>
class ChannelsItem {
  using T = SumOf<E>;
  // Positions that all channels meet before the next, so that memory is read in runs of whole rows.
  static constexpr int64_t kRun = 16;

 public:
  ChannelsItem(const GradWeightCall<E>& call, const GradWeightBlock<E>& block)
      : call_(call),
        b_(block),
        rows_(call.c.rows),
        channels_(call.c.channels),
        lanes_(call.kernels.lanes),
        x_(b_.groups,
           channels_,
           lanes_,
           std::is_same_v<E, R> && x_lies_as_lanes(call, block),
           call.plan.panel_length * call.p.stride + call.p.span()),
        width_(x_.width()),
        g_in_place_(std::is_same_v<E, R> && g_lies_as_lanes(call, block)),
        g_count_(g_in_place_ ? 0 : call.plan.panel_length * rows_ * width_),
        g_(g_count_),
        ones_(width_),
        row_sums_(call.weights + b_.has_bias),
        sums_(rows_ * row_sums_ * width_) {}

  static bool x_lies_as_lanes(const GradWeightCall<E>& call, const GradWeightBlock<E>& b) {
    const int64_t most = call.plan.from_memory ? taps_in_place(sizeof(T)) : kSummedTapsInPlace;
    return call.weights <= most && lie_as_lanes(call.x, b.groups, call.c.channels, call.kernels.lanes);
  }
  static bool g_lies_as_lanes(const GradWeightCall<E>& call, const GradWeightBlock<E>& b) {
    return lie_as_lanes(call.grad_y, b.groups, call.c.rows, call.kernels.lanes);
  }

  void run() {
    const Conv1dProblem& p = call_.p;
    R one;
    from_sum(T(1), one);
    std::fill_n(ones_.data(), width_, one);
    std::fill_n(sums_.data(), rows_ * row_sums_ * width_, T(0));
    if (width_ > b_.groups) std::fill_n(g_.data(), g_count_, R{});
    std::vector<int64_t> offsets;
    for (int64_t k = 0; k < call_.c.taps; ++k) offsets.push_back(k * p.dilation);
    b_.for_each_block(call_, [&](int64_t n0, int64_t runs, int64_t lo0, int64_t length) {
      for (int64_t n = n0; n < n0 + runs; ++n)
        for (int64_t lo = lo0; lo < lo0 + length; lo += call_.plan.panel_length) {
          const int64_t count = std::min(call_.plan.panel_length, lo0 + length - lo);
          if (call_.weights)
            x_.point_at(
                call_.copy, from_sample(call_.x, n, channels_), p.l_in, p.padding_mode, lo * p.stride - p.pad_left,
                (count - 1) * p.stride + p.span());
          add(offsets, n, lo, count);
        }
    });
    write();
  }

 private:
  // From the first channel of the item on, of groups of so many.
  View from_sample(const View& v, int64_t n, int64_t channels) const {
    return {
        static_cast<const E*>(v.data) + n * v.stride_n + b_.group0 * channels * v.stride_c, v.stride_n, v.stride_c,
        v.stride_l};
  }

  void add(const std::vector<int64_t>& offsets, int64_t n, int64_t lo0, int64_t length) const {
    const View view = from_sample(call_.grad_y, n, rows_);
    const E* from = static_cast<const E*>(view.data) + lo0 * view.stride_l;
    if constexpr (std::is_same_v<E, R>)
      if (g_in_place_) return add_rows(offsets, from, view.stride_l, length);
    if constexpr (std::is_same_v<R, T>)
      copy_channel_rows(call_.copy, g_.data(), rows_ * width_, width_, from, view, b_.groups, rows_, length);
    add_rows(offsets, g_.data(), rows_ * width_, length);
  }

  void add_rows(const std::vector<int64_t>& offsets, const R* g, int64_t g_row, int64_t length) const {
    const int64_t most = call_.plan.from_memory ? kRun : length;
    for (int64_t first = 0; first < length; first += most)
      add_run(
          offsets, x_.data() + first * call_.p.stride, g + first * g_row, g_row, std::min(most, length - first),
          first + 2 * most <= length ? most : 0);
  }

  void add_run(
      const std::vector<int64_t>& offsets, const R* const* x, const R* g, int64_t g_row, int64_t length, int64_t ahead)
      const {
    const auto& kernels = direct_kernels<R>(call_.table);
    const R* ones = ones_.data();
    constexpr int64_t kNoOffset = 0;
    const int64_t channels = call_.weights ? channels_ : 0;
    for (int64_t lane = 0; lane < width_;) {
      const int64_t vectors = std::min(call_.kernels.channel_vectors, (width_ - lane) / lanes_);
      for (int64_t row = 0; row < rows_; ++row) {
        const R* const its_g = g + row * width_ + lane;
        T* sum = &sums_[row * row_sums_ * width_ + lane];
        for (int64_t channel = 0; channel < channels; ++channel)
          for (int64_t k = 0, taps; k < call_.c.taps; k += taps, sum += taps * width_) {
            taps = std::min(kernels.channel_taps, call_.c.taps - k);
            kernels.channel_sums[taps][vectors](
                {x, call_.p.stride, offsets.data() + k, channel * width_ + lane, its_g, g_row, sum, width_, length,
                 k + taps == call_.c.taps ? ahead : 0, std::min(call_.p.stride, call_.p.span())});
          }
        // The bias is one more weight, whose x is a row of ones.
        if (b_.has_bias)
          kernels.channel_sums[1][vectors]({&ones, 0, &kNoOffset, lane, its_g, g_row, sum, width_, length, 0, 0});
      }
      lane += vectors * lanes_;
    }
  }

  void write() const {
    for (int64_t row = 0; row < rows_; ++row) {
      const int64_t co = b_.group0 * rows_ + row;
      const T* const sums = &sums_[row * row_sums_ * width_];
      call_.write_weights(b_.part, co, 0, sums, 1, width_, b_.groups, call_.weights, rows_);
      if (b_.has_bias) call_.write_bias(b_.part, co, sums + call_.weights * width_, 1, b_.groups, rows_);
    }
  }

  const GradWeightCall<E>& call_;
  const GradWeightBlock<E> b_;
  const int64_t rows_, channels_, lanes_;
  ChannelRows<E, R> x_;
  const int64_t width_;
  const bool g_in_place_;
  const int64_t g_count_;
  const Scratch<R> g_, ones_;
  const int64_t row_sums_;  // weights of an output channel, and its bias
  const Scratch<T> sums_;   // [output channel of a group][weight, then the bias][group]
};

}  // namespace torch_conv1d::cpu
