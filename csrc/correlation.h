// forward and grad_input as one operation. For rows r (channels of the result) of every group,
//
//     out[q * phases + phase] = init + sum over channels c, taps k of this phase of
//                               w[r, c, k] * source[c, q * source_stride + offset(k)]
//
// forward     rows = output channels, source = x:       one phase, source_stride = stride, offset = k*dilation - pad_left
// grad_input  rows = input channels,  source = grad_y:  stride phases, source_stride = 1. With li = q*stride + phase the
//             identity of problem.h gives lo = q + (phase + pad_left - k*dilation) / stride, for the taps that divide.
//
// so a strided convolution never meets an inserted zero: its grad_input is `stride` small dense ones, interleaved.
#pragma once

#include <algorithm>

#include "division.h"
#include "problem.h"

namespace torch_conv1d {

struct Correlation {
  int64_t n, groups;
  int64_t rows, channels;  // per group
  int64_t taps;
  int64_t source_length, source_stride;
  PaddingMode source_padding;  // what stands outside the source,
  int64_t source_end;          // up to here; zeros after it
  int64_t out_length, phases;
  // Tap k starts at first + k * step, counted in steps of 1 / phases of a source position.
  int64_t first, step;
  // Weight (group, row, channel, k) is at w[group * w_group + row * w_row + channel * w_channel + k].
  int64_t w_group, w_row, w_channel;
  // Positions of the result outside [0, out_length), which a padding mode folds back into it.
  int64_t fold_left, fold_right;
  PaddingMode fold;

  bool folds() const { return fold_left + fold_right > 0; }
  // How many positions from either end of the result may be folded to.
  int64_t fold_reach() const;
  // The same with those outside as part of the result: fold_right after it, and lead() before it, so that phases stay
  // what they are.
  int64_t lead() const { return (fold_left + phases - 1) / phases * phases; }
  Correlation with_outside() const;

  // grad_input of several rows with the taps alone that meet grad_y at some position; all of the others. (In forward,
  // weights that are not finite count where they meet zeros; one row adds its taps in an order that depends on their
  // number.)
  Correlation with_met_taps() const;

  // Whether each position meets the one of the source, with a single tap; and then, of samples that follow each other as
  // their positions do, one sample of all of these.
  bool pointwise() const { return taps == 1 && phases * source_stride == 1 && !first && source_length == out_length; }
  Correlation with_samples_joined() const;

  // Whether a row is as long as the kernel and meets it once: that of the source, for the only position of the result, or
  // of the result, from the only position of the source; and then a layer of single taps on rows of one position, whose
  // channels, or rows, are the channels and positions of the long side.
  bool taps_meet_a_row() const {
    return taps > 1 && !first && !folds() &&
           (step == 1 ? out_length == 1 && source_length == taps
                      : step == -1 && source_length == 1 && out_length == taps);
  }
  Correlation with_positions_as_channels() const;

  // grad_input of one group, without a padding mode, as the same sums in the same order with the operands exchanged: the
  // source is w, with input channels as samples, and the kernel is grad_y, with samples as rows and, from the last
  // position to the first, taps.
  Correlation with_operands_exchanged() const;

  constexpr int64_t phase(int64_t k) const { return phases == 1 ? 0 : modulo(-(first + k * step), phases); }
  constexpr int64_t offset(int64_t k) const {
    return phases == 1 ? first + k * step : (first + k * step + phase(k)) / phases;
  }
  constexpr int64_t first_offset() const { return std::min(offset(0), offset(taps - 1)); }
  constexpr int64_t last_offset() const { return std::max(offset(0), offset(taps - 1)); }
  constexpr int64_t q_total() const { return (out_length + phases - 1) / phases; }
  double multiply_adds() const { return double(n) * groups * rows * channels * taps * (out_length / phases + 1); }
  // 1 or -1 if taps of a phase that follow each other read positions that do, in this order; otherwise 0.
  int64_t unit_step() const;
};

Correlation forward_correlation(const Conv1dProblem& p);
Correlation grad_input_correlation(const Conv1dProblem& p);
// grad_weight of one group: the source is x, with input channels as samples and samples as channels; the kernel is
// grad_y, [output channel][sample][position], and positions of the result are taps.
Correlation grad_weight_correlation(const Conv1dProblem& p);

}  // namespace torch_conv1d
