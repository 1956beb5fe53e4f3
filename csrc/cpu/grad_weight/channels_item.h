// An item of grad_weight of a depthwise layer whose lanes are channels.
#pragma once

#include <algorithm>
#include <vector>

#include "../../division.h"
#include "../packing/channel_rows.h"
#include "grad_weight_call.h"

namespace torch_conv1d::cpu {

template <class E>
class ChannelsItem {
  using T = SumOf<E>;

 public:
  ChannelsItem(const GradWeightCall<E>& call, const GradWeightBlock<E>& block)
      : call_(call),
        b_(block),
        lanes_(call.kernels.lanes),
        x_count_(call.plan.panel_length * call.p.stride + call.p.span()),
        x_(b_.groups,
           lanes_,
           call.weights <= kTapsInPlace && ChannelRows<E>::in_place(call.x, b_.groups, lanes_),
           x_count_),
        width_(x_.width()),
        g_in_place_(ChannelRows<E>::in_place(call.grad_y, b_.groups, lanes_)),
        g_(g_in_place_ ? 0 : call.plan.panel_length * width_),
        ones_(width_),
        sums_((call.weights + 1) * width_) {}

  void run() {
    const Conv1dProblem& p = call_.p;
    std::fill_n(ones_.data(), width_, T(1));
    std::fill_n(sums_.data(), (call_.weights + 1) * width_, T(0));
    if (!g_in_place_) std::fill_n(g_.data(), call_.plan.panel_length * width_, T(0));
    std::vector<int64_t> offsets;
    for (int64_t k = 0; k < call_.weights; ++k) offsets.push_back(k * p.dilation);
    b_.for_each_block(call_, [&](int64_t n0, int64_t runs, int64_t lo0, int64_t length) {
      for (int64_t n = n0; n < n0 + runs; ++n)
        for (int64_t lo = lo0; lo < lo0 + length; lo += call_.plan.panel_length) {
          const int64_t count = std::min(call_.plan.panel_length, lo0 + length - lo);
          if (call_.weights)
            x_.point_at(
                call_.copy, from_sample(call_.x, n), p.l_in, p.padding_mode, lo * p.stride - p.pad_left,
                (count - 1) * p.stride + p.span());
          add(offsets, n, lo, count);
        }
    });
    write();
  }

 private:
  View from_sample(const View& v, int64_t n) const {
    return {
        static_cast<const E*>(v.data) + n * v.stride_n + b_.group0 * v.stride_c, v.stride_n, v.stride_c, v.stride_l};
  }

  void add(const std::vector<int64_t>& offsets, int64_t n, int64_t lo0, int64_t length) const {
    const View view = from_sample(call_.grad_y, n);
    const E* from = static_cast<const E*>(view.data) + lo0 * view.stride_l;
    if constexpr (std::is_same_v<E, T>)
      if (g_in_place_) {
        add_rows(offsets, from, view.stride_l, length);
        return;
      }
    call_.copy.in({g_.data(), 1, width_, from, view.stride_c, view.stride_l, b_.groups, length});
    add_rows(offsets, g_.data(), width_, length);
  }

  void add_rows(const std::vector<int64_t>& offsets, const T* g, int64_t g_row, int64_t length) const {
    const auto& kernels = call_.kernels;
    const T* ones = ones_.data();
    constexpr int64_t kNoOffset = 0;
    for (int64_t channel = 0; channel < width_;) {
      const int64_t vectors = std::min(kernels.channel_vectors, (width_ - channel) / lanes_);
      for (int64_t k = 0; k < call_.weights; k += kernels.channel_taps)
        kernels.channel_sums[std::min(kernels.channel_taps, call_.weights - k)][vectors](
            {x_.data(), call_.p.stride, offsets.data() + k, channel, g + channel, g_row, &sums_[k * width_ + channel],
             width_, length});
      // The bias is one more weight, whose x is a row of ones.
      if (b_.has_bias)
        kernels.channel_sums[1][vectors](
            {&ones, 0, &kNoOffset, channel, g + channel, g_row, &sums_[call_.weights * width_ + channel], width_,
             length});
      channel += vectors * lanes_;
    }
  }

  void write() const {
    call_.write_weights(b_.part, b_.group0, 0, sums_.data(), 1, width_, b_.groups, call_.weights);
    if (b_.has_bias) call_.write_bias(b_.part, b_.group0, &sums_[call_.weights * width_], 1, b_.groups);
  }

  const GradWeightCall<E>& call_;
  const GradWeightBlock<E> b_;
  const int64_t lanes_, x_count_;
  ChannelRows<E> x_;
  const int64_t width_;
  const bool g_in_place_;
  const Scratch<T> g_, ones_, sums_;
};

}  // namespace torch_conv1d::cpu
