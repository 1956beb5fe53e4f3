// x of a block of the reduction, packed: what items whose lanes are channels or weights read.
#pragma once

#include <algorithm>
#include <vector>

#include "../packing/pairs.h"
#include "../packing/samples.h"
#include "grad_weight_call.h"

namespace torch_conv1d::cpu {

// Panels of `samples` samples, or one of all of them where they stand side by side; each with room for one more row.
template <class E>
class PackedSource {
  using T = SumOf<E>;

 public:
  PackedSource(const GradWeightCall<E>& call, const GradWeightBlock<E>& block, int64_t samples)
      : call_(call),
        b_(block),
        together_(call.plan.reduction.together),
        channels_(b_.groups * b_.ci_count),
        gathered_(together_ ? channels_ * call.c.source_length * call.layout.width : 0),
        panel_((channels_ + 1) * call.layout.row),
        panels_(samples / call.layout.width),
        x_(panels_ * panel_) {}

  const T* data() const { return x_.data(); }
  int64_t panel() const { return panel_; }  // from one panel to the next
  int64_t panels() const { return panels_; }
  T* last_row(int64_t m) const { return x_.data() + (m + 1) * panel_ - call_.layout.row; }

  // Where the x of each weight of the first group, counted as j = ci * kernel_size + k, starts.
  std::vector<int64_t> offsets() const {
    std::vector<int64_t> offsets;
    for (int64_t ci = 0; ci < b_.ci_count; ++ci)
      for (int64_t k = 0; k < call_.c.taps; ++k) offsets.push_back(ci * call_.layout.row + call_.layout.tap_at[k]);
    return offsets;
  }

  // Of `runs` samples from n0 on.
  void pack(int64_t n0, int64_t runs, int64_t lo0, int64_t length) const {
    const int64_t first_channel = b_.group0 * call_.c.channels + b_.ci0;
    if (!together_) {
      for (int64_t m = 0; m < runs; ++m)
        pack_panel<E>(
            call_.c, call_.layout, call_.copy, call_.x, n0 + m, first_channel, channels_, lo0, length,
            x_.data() + m * panel_);
      join(runs);
      return;
    }
    // Zeros for samples that are missing, to be multiplied by zeros.
    View from = call_.x;
    from.data = static_cast<const E*>(from.data) + n0 * from.stride_n + first_channel * from.stride_c;
    const int64_t width = call_.layout.width;
    if (runs < width) std::fill_n(gathered_.data(), channels_ * call_.c.source_length * width, T(0));
    const View samples =
        gather_samples<E>(call_.copy, from, runs, width, channels_, call_.c.source_length, gathered_.data());
    pack_panel<T>(call_.c, call_.layout, call_.copy_sums, samples, 0, 0, channels_, lo0, length, x_.data());
    join(1);
  }

 private:
  void join(int64_t panels) const {
    if constexpr (std::is_same_v<E, BFloat16>)
      for (int64_t m = 0; m < panels && call_.plan.reduction.pairs; ++m)
        join_neighbours(*call_.table.pairs, x_.data() + m * panel_, call_.layout.row, channels_, call_.layout.row);
  }

  const GradWeightCall<E>& call_;
  const GradWeightBlock<E>& b_;
  const bool together_;
  const int64_t channels_;  // of several groups, all of each
  const Scratch<T> gathered_;
  const int64_t panel_, panels_;
  const Scratch<T> x_;
};

}  // namespace torch_conv1d::cpu
