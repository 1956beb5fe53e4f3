// An item of grad_weight by Toom-Cook's filtering: the form of toom_cook.h, bilinear in weight and source,
// differentiated.
//
//     gradient[co, a, t, e] = sum over places i < m of A^T[i][a] * grad_y[co, (t * m + i) * d + e]
//     sum[co, c, a, g] = sum over n, t, e of gradient[co, a, t, e] * source[c, a, t + g * r / m, e]
//     grad_w[co, c, g * r + s] = sum over a of G[a][s] * sum[co, c, a, g]
//
// with (c, j) in the place of c, and tap (g * r + s) * stride + j of c as its tap, where there is a stride. Without
// that tap for s = r - 1, (c, g, j) has no sum at infinity, which meets no other s.
//
// At each point this is the outer tile, with columns (t, e) as its positions. The bias sums grad_y itself.
#pragma once

#include <algorithm>
#include <vector>

#include "../grad_weight/grad_weight_call.h"
#include "toom_cook_source.h"

namespace torch_conv1d::cpu {

template <class E>
class ToomCookItem {
  using T = SumOf<E>;

 public:
  ToomCookItem(const GradWeightCall<E>& call, const GradWeightBlock<E>& block)
      : call_(call),
        b_(block),
        form_(call.c),
        sample_(form_.sample_columns(tiles_of(call.plan.reduction.length))),
        row_(padded_row(call.plan.reduction.runs * sample_)),
        x_point_(b_.ci_count * form_.source_phases * row_),
        x_(form_.points * x_point_),
        held_(ceil_div(std::min(call.plan.co_held, b_.co_count), call.kernels.lanes) * call.kernels.lanes),
        positions_(tiles_of(call.plan.reduction.length) * form_.positions()),
        g_(tile_width() * positions_),
        g_point_(held_ * call.plan.reduction.runs * positions_ / kToomCookOutputs),
        gradient_(form_.points * g_point_),
        sums_(form_.points * weights(0) * held_),
        result_((b_.ci_count * call.c.taps + form_.taps * form_.source_phases) * held_),
        bias_sums_(held_),
        ones_(positions_) {
    for (int64_t point : {int64_t(0), last()})
      for (int64_t ci = 0; ci < b_.ci_count; ++ci)
        for (int64_t term = 0; term < form_.terms(point); ++term)
          offsets_[point > 0].push_back(
              (ci * form_.source_phases + term % form_.source_phases) * row_ +
              term / form_.source_phases * form_.dilation);
  }

  void run() const {
    std::fill_n(ones_.data(), positions_, T(1));
    for (int64_t co = 0; co < b_.co_count; co += held_) run_held(co, std::min(held_, b_.co_count - co));
  }

 private:
  int64_t last() const { return form_.points - 1; }
  // Of one output channel, (channel, tap group, j) that have sums at a point.
  int64_t weights(int64_t point) const { return b_.ci_count * form_.terms(point); }
  int64_t tile_width() const { return call_.kernels.outer_vectors * call_.kernels.lanes; }

  // Output channels [co0, co0 + count): all of them, or those held of the only block, whose x is transformed once.
  void run_held(int64_t co0, int64_t count) const {
    std::fill_n(sums_.data(), form_.points * weights(0) * held_, T(0));
    std::fill_n(bias_sums_.data(), held_, T(0));
    b_.for_each_block(call_, [&](int64_t n0, int64_t runs, int64_t lo0, int64_t length) {
      for (int64_t m = 0; m < runs && b_.ci_count && co0 == 0; ++m)
        ToomCookSource<E>{form_,           call_.kernels,
                          call_.copy,      call_.x,
                          n0 + m,          b_.group0 * call_.c.channels + b_.ci0,
                          b_.ci_count,     lo0 / form_.positions(),
                          tiles_of(length)}
            .transform(x_.data() + m * sample_, row_, x_point_);
      const int64_t columns = tiles_of(length) * form_.dilation;
      for (int64_t co = 0; co < count; co += tile_width())
        for (int64_t m = 0; m < runs; ++m)
          transform_gradient(
              n0 + m, co0 + co, lo0, length, gradient_.data() + (co * runs + m * width(count - co)) * columns,
              bias_sums_.data() + co);
      multiply(count, runs, columns);
    });
    write(co0, count);
  }

  // Columns that are summed in one chain. The rounding of a chain is amplified when its sum leaves the points, the more
  // the larger r is, so chains of 128, 64 and 32 keep the error near that of direct sums.
  int64_t chain() const { return int64_t(32) << (kMaxToomCookTaps - form_.taps); }

  int64_t tiles_of(int64_t length) const { return ceil_div(length, form_.positions()); }

  // Lanes of a tile, where so many output channels are left.
  int64_t width(int64_t left) const {
    const auto& kernels = call_.kernels;
    return std::min(kernels.outer_vectors, ceil_div(left, kernels.lanes)) * kernels.lanes;
  }

  // The output channels of a tile, as lanes: to[a * g_point_ + column * lanes + lane].
  void transform_gradient(int64_t n, int64_t co, int64_t lo0, int64_t length, T* to, T* bias_sums) const {
    const int64_t lanes = width(b_.co_count - co), count = std::min(lanes, b_.co_count - co),
                  run = form_.dilation * lanes;
    if (count < lanes) std::fill_n(g_.data(), positions_ * lanes, T(0));
    std::fill(g_.data() + length * lanes, g_.data() + tiles_of(length) * form_.positions() * lanes, T(0));
    const View& from = call_.grad_y;
    call_.copy.in(
        {g_.data(), 1, lanes,
         static_cast<const E*>(from.data) + n * from.stride_n +
             (b_.group0 * call_.c.rows + b_.co0 + co) * from.stride_c + lo0 * from.stride_l,
         from.stride_c, from.stride_l, count, length});
    int64_t offsets[kToomCookOutputs];
    for (int64_t i = 0; i < kToomCookOutputs; ++i) offsets[i] = i * run;
    if (b_.ci_count)
      call_.kernels.transform_result_gradient[form_.taps](
          {g_.data(), kToomCookOutputs * run, offsets, T(0), to, run, g_point_, tiles_of(length), run});
    const int64_t first = 0;
    if (b_.has_bias)
      call_.kernels.outer[1][lanes / call_.kernels.lanes](
          {ones_.data(), 0, &first, g_.data(), 1, length, bias_sums, held_});
  }

  void multiply(int64_t count, int64_t runs, int64_t columns) const {
    const auto& kernels = call_.kernels;
    const int64_t whole_runs = std::max<int64_t>(chain() / columns, 1);
    for (int64_t point = 0; point < form_.points; ++point)
      for (int64_t co = 0; co < count; co += tile_width())
        for (int64_t j = 0; j < weights(point); j += kernels.outer_rows) {
          const int64_t rows = std::min(kernels.outer_rows, weights(point) - j), lanes = width(count - co);
          const T* x = x_.data() + point * x_point_;
          const T* g = gradient_.data() + point * g_point_ + co * runs * columns;
          T* sum = sums_.data() + (point * weights(0) + j) * held_ + co;
          for (int64_t m = 0; m < runs; m += whole_runs)
            for (int64_t i = 0; i < columns; i += chain())
              kernels.outer[rows][lanes / kernels.lanes](
                  {x + m * sample_ + i, sample_, offsets_[point == last()].data() + j, g + (m * columns + i) * lanes,
                   std::min(whole_runs, runs - m), std::min(chain(), columns - i), sum, held_});
        }
  }

  void write(int64_t co0, int64_t count) const {
    const int64_t co = b_.group0 * call_.c.rows + b_.co0 + co0;
    const int64_t taps = call_.c.taps, of_tap = form_.source_phases * held_;
    if (b_.ci_count) {
      // To [channel][tap][output channel]: what taps beyond the kernel leave, those of the next channel overwrite.
      int64_t offsets[2 * kToomCookOutputs];
      for (int64_t a = 0; a < form_.points; ++a) offsets[a] = a * weights(0) * held_;
      for (int64_t ci = 0; ci < b_.ci_count; ++ci, offsets[last()] -= (form_.terms(0) - form_.terms(last())) * held_)
        call_.kernels.transform_weight_gradient[form_.taps](
            {sums_.data() + ci * form_.tap_groups * of_tap, of_tap, offsets, T(0), result_.data() + ci * taps * held_,
             form_.taps * of_tap, of_tap, form_.tap_groups, of_tap});
      call_.write_weights(b_.part, co, b_.ci0 * taps, result_.data(), 1, held_, count, b_.ci_count * taps);
    }
    if (b_.has_bias) call_.write_bias(b_.part, co, bias_sums_.data(), 1, count);
  }

  const GradWeightCall<E>& call_;
  const GradWeightBlock<E> b_;
  const ToomCookForm form_;
  const int64_t sample_, row_;  // columns of a run, and from one channel to the next
  const int64_t x_point_;
  const Scratch<T> x_;       // [point][channel][run][column]
  const int64_t held_;       // output channels whose sums are held
  const int64_t positions_;  // of a run
  const Scratch<T> g_;       // [position][lane], of one run and tile of output channels
  const int64_t g_point_;
  const Scratch<T> gradient_;  // [point][tile of output channels][run][column][lane]
  const Scratch<T> sums_;      // [point][channel][tap group][j][output channel]
  const Scratch<T> result_;    // [channel][tap][output channel]
  const Scratch<T> bias_sums_;
  const Scratch<T> ones_;
  std::vector<int64_t> offsets_[2];  // of (channel, tap group, j), at other points and at infinity
};

}  // namespace torch_conv1d::cpu
