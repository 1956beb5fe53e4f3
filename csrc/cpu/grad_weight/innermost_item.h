// An item of grad_weight that is summed as by `dot`, of grad_y whose channels are innermost: it is the transposed tile
// of `outer` as it lies. The kDotLanes partial sums of dot, each of every kDotLanes-th position, are made one after
// another, in the same chains.
//
//   for every panel of positions: pack x, which stays in the L1 cache
//     for every partial sum, and every tile of output channels, which holds all weights: add the products of its positions
//   add the partial sums, lane i and lane i + half first
#pragma once

#include <algorithm>
#include <vector>

#include "../../division.h"
#include "packed_source.h"

namespace torch_conv1d::cpu {

template <class T>
class InnermostItem {
 public:
  InnermostItem(const GradWeightCall<T>& call, const GradWeightBlock<T>& block)
      : call_(call),
        b_(block),
        x_(call, b_, 1),
        offsets_(x_.offsets()),
        sum_count_(b_.ci_count * call.c.taps + b_.has_bias),
        sums_(kDotLanes<T> * sum_count_ * b_.co_count) {
    if (b_.has_bias) offsets_.push_back(x_.panel() - call.layout.row);
  }

  void run() const {
    const int64_t size = sum_count_ * b_.co_count, panel = call_.plan.panel_length;
    std::fill_n(sums_.data(), kDotLanes<T> * size, T(0));
    std::fill_n(x_.last_row(0), call_.layout.row, T(1));
    b_.for_each_block(call_, [&](int64_t n0, int64_t runs, int64_t lo0, int64_t length) {
      for (int64_t n = n0; n < n0 + runs; ++n)
        for (int64_t lo = lo0; lo < lo0 + length; lo += panel) {
          const int64_t count = std::min(panel, lo0 + length - lo);
          if (b_.ci_count) x_.pack(n, 1, lo, count);
          for (int64_t chain = 0; chain < std::min(kDotLanes<T>, count); ++chain)
            add(n, lo + chain, ceil_div(count - chain, kDotLanes<T>), chain, &sums_[chain * size]);
        }
    });
    for (int64_t half = kDotLanes<T> / 2; half; half /= 2)
      for (int64_t i = 0; i < half * size; ++i) sums_[i] += sums_[half * size + i];
    write();
  }

 private:
  // `count` positions from lo on, to the partial sum `chain`.
  void add(int64_t n, int64_t lo, int64_t count, int64_t chain, T* sums) const {
    const auto& kernels = call_.kernels;
    const View& v = call_.grad_y;
    const int64_t step = kDotLanes<T> * v.stride_l, tile = kernels.outer_vectors * kernels.lanes;
    const T* g = static_cast<const T*>(v.data) + n * v.stride_n + lo * v.stride_l + b_.group0 * call_.c.rows + b_.co0;
    for (int64_t co = 0; co < b_.co_count; co += tile) {
      const int64_t vectors = std::min(kernels.outer_vectors, (b_.co_count - co) / kernels.lanes);
      OuterArgs<T> args{x_.data() + chain, 0,           offsets_.data(), g + co, 1, count,
                        sums + co,         b_.co_count, kDotLanes<T>,    step};
      if (co + tile < b_.co_count) {
        // The lines of the next tile, whose rows are more than the hardware follows.
        const int64_t lines = ceil_div(tile * int64_t(sizeof(T)), int64_t(64));
        args.next = reinterpret_cast<const char*>(g + co + tile);
        args.next_row = step * int64_t(sizeof(T));
        args.next_rows = count;
        args.next_count = lines * count;
        args.next_each = lines * kOuterFetches;
      }
      kernels.outer_in_place[sum_count_][vectors](args);
    }
  }

  void write() const {
    const int64_t co = b_.group0 * call_.c.rows + b_.co0, weights = b_.ci_count * call_.c.taps;
    call_.write_weights(b_.part, co, b_.ci0 * call_.c.taps, sums_.data(), 1, b_.co_count, b_.co_count, weights);
    if (b_.has_bias) call_.write_bias(b_.part, co, &sums_[weights * b_.co_count], 1, b_.co_count);
  }

  const GradWeightCall<T>& call_;
  const GradWeightBlock<T>& b_;
  const PackedSource<T> x_;
  std::vector<int64_t> offsets_;  // of each weight, then of the bias
  const int64_t sum_count_;       // rows of a tile
  const Scratch<T> sums_;         // [partial sum][weight, then the bias][output channel]
};

}  // namespace torch_conv1d::cpu
