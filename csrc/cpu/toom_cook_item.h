// An item of grad_weight by Toom-Cook's filtering: the form of toom_cook.h, bilinear in weight and source, differentiated.
//
//     gradient[co, a, t, e] = sum over places i < m of A^T[i][a] * grad_y[co, (t * m + i) * d + e]
//     sum[co, c, a, g] = sum over n, t, e of gradient[co, a, t, e] * source[c, a, t + g * r / m, e]
//     grad_w[co, c, g * r + s] = sum over a of G[a][s] * sum[co, c, a, g]
//
// with (c, j) in the place of c, and tap (g * r + s) * stride + j of c as its tap, where there is a stride.
//
// At each point this is the outer tile, with columns (t, e) as its positions. The bias sums grad_y itself.
#pragma once

#include <algorithm>
#include <vector>

#include "grad_weight_call.h"
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
        g_rows_(ceil_div(b_.co_count, call.kernels.lanes) * call.kernels.lanes),
        positions_(tiles_of(call.plan.reduction.length) * form_.positions()),
        g_(call.kernels.outer_vectors * call.kernels.lanes * positions_),
        g_point_(g_rows_ * call.plan.reduction.runs * positions_ / kToomCookOutputs),
        gradient_(form_.points * g_point_),
        weights_(b_.ci_count * form_.tap_groups * form_.source_phases),
        sums_(form_.points * weights_ * g_rows_),
        bias_sums_(g_rows_),
        ones_(positions_) {}

  void run() const {
    std::fill_n(sums_.data(), form_.points * weights_ * g_rows_, T(0));
    std::fill_n(bias_sums_.data(), g_rows_, T(0));
    std::fill_n(ones_.data(), positions_, T(1));
    std::vector<int64_t> offsets;
    for (int64_t ci = 0; ci < b_.ci_count; ++ci)
      for (int64_t g = 0; g < form_.tap_groups; ++g)
        for (int64_t j = 0; j < form_.source_phases; ++j)
          offsets.push_back((ci * form_.source_phases + j) * row_ + g * form_.dilation);
    b_.for_each_block(call_, [&](int64_t n0, int64_t runs, int64_t lo0, int64_t length) {
      for (int64_t m = 0; m < runs && weights_; ++m)
        ToomCookSource<E>{form_,           call_.kernels,
                          call_.copy,      call_.x,
                          n0 + m,          b_.group0 * call_.c.channels + b_.ci0,
                          b_.ci_count,     lo0 / form_.positions(),
                          tiles_of(length)}
            .transform(x_.data() + m * sample_, row_, x_point_);
      const int64_t columns = tiles_of(length) * form_.dilation;
      for (int64_t co = 0; co < b_.co_count; co += width(co))
        for (int64_t m = 0; m < runs; ++m)
          transform_gradient(n0 + m, co, lo0, length, gradient_.data() + (co * runs + m * width(co)) * columns);
      multiply(offsets, runs, columns);
    });
    write();
  }

 private:
  static constexpr int64_t kRowsWritten = 16;

  // Columns that are summed in one chain. The rounding of a chain is amplified when its sum leaves the points, the more the
  // larger r is, so chains of 128, 64 and 32 keep the error near that of direct sums.
  int64_t chain() const { return int64_t(32) << (kMaxToomCookTaps - form_.taps); }

  int64_t tiles_of(int64_t length) const { return ceil_div(length, form_.positions()); }

  // Output channels of the tile that starts at co.
  int64_t width(int64_t co) const {
    const auto& kernels = call_.kernels;
    return std::min(kernels.outer_vectors, ceil_div(b_.co_count - co, kernels.lanes)) * kernels.lanes;
  }

  // The output channels of a tile, as lanes: to[a * g_point_ + column * width(co) + lane].
  void transform_gradient(int64_t n, int64_t co, int64_t lo0, int64_t length, T* to) const {
    const int64_t lanes = width(co), count = std::min(lanes, b_.co_count - co), run = form_.dilation * lanes;
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
    if (weights_)
      call_.kernels.transform_result_gradient[form_.taps](
          {g_.data(), kToomCookOutputs * run, offsets, T(0), to, run, g_point_, tiles_of(length), run});
    const int64_t first = 0;
    if (b_.has_bias)
      call_.kernels.outer[1][lanes / call_.kernels.lanes](
          {ones_.data(), 0, &first, g_.data(), 1, length, bias_sums_.data() + co, g_rows_});
  }

  void multiply(const std::vector<int64_t>& offsets, int64_t runs, int64_t columns) const {
    const auto& kernels = call_.kernels;
    const int64_t whole_runs = std::max<int64_t>(chain() / columns, 1);
    for (int64_t point = 0; point < form_.points; ++point)
      for (int64_t co = 0; co < b_.co_count; co += width(co))
        for (int64_t j = 0; j < weights_; j += kernels.outer_rows) {
          const int64_t rows = std::min(kernels.outer_rows, weights_ - j);
          const T* x = x_.data() + point * x_point_;
          const T* g = gradient_.data() + point * g_point_ + co * runs * columns;
          T* sum = sums_.data() + (point * weights_ + j) * g_rows_ + co;
          for (int64_t m = 0; m < runs; m += whole_runs)
            for (int64_t i = 0; i < columns; i += chain())
              kernels.outer[rows][width(co) / kernels.lanes](
                  {x + m * sample_ + i, sample_, offsets.data() + j, g + (m * columns + i) * width(co),
                   std::min(whole_runs, runs - m), std::min(chain(), columns - i), sum, g_rows_});
        }
  }

  void write() const {
    const int64_t co = b_.group0 * call_.c.rows + b_.co0;
    const int64_t taps = call_.c.taps, of_tap = form_.source_phases * g_rows_;
    if (weights_) {
      int64_t offsets[2 * kToomCookOutputs];
      for (int64_t a = 0; a < form_.points; ++a) offsets[a] = a * weights_ * g_rows_;
      const int64_t of_channel = form_.tap_groups * form_.taps * of_tap;
      const Scratch<T> result(b_.ci_count * of_channel);  // [channel][tap][j][output channel]
      call_.kernels.transform_weight_gradient[form_.taps](
          {sums_.data(), of_tap, offsets, T(0), result.data(), form_.taps * of_tap, of_tap,
           b_.ci_count * form_.tap_groups, of_tap});
      // Transposed a few output channels at a time, so that long rows of the result are written.
      const int64_t row = b_.ci_count * taps;
      const Scratch<T> rows(kRowsWritten * row);
      for (int64_t r = 0; r < b_.co_count; r += kRowsWritten) {
        const int64_t count = std::min(kRowsWritten, b_.co_count - r);
        for (int64_t ci = 0; ci < b_.ci_count; ++ci)
          call_.copy_sums.in(
              {rows.data() + ci * taps, row, 1, result.data() + ci * of_channel + r, 1, g_rows_, count, taps});
        call_.write_weights(b_.part, co + r, b_.ci0 * taps, rows.data(), row, 1, count, row);
      }
    }
    if (b_.has_bias) call_.write_bias(b_.part, co, bias_sums_.data(), 1, b_.co_count);
  }

  const GradWeightCall<E>& call_;
  const GradWeightBlock<E> b_;
  const ToomCookForm form_;
  const int64_t sample_, row_;  // columns of a run, and from one channel to the next
  const int64_t x_point_;
  const Scratch<T> x_;  // [point][channel][run][column]
  const int64_t g_rows_;
  const int64_t positions_;  // of a run
  const Scratch<T> g_;       // [position][lane], of one run and tile of output channels
  const int64_t g_point_;
  const Scratch<T> gradient_;  // [point][tile of output channels][run][column][lane]
  const int64_t weights_;      // (channel, tap group, j) of one output channel
  const Scratch<T> sums_;      // [point][channel][tap group][j][output channel]
  const Scratch<T> bias_sums_;
  const Scratch<T> ones_;
};

}  // namespace torch_conv1d::cpu
