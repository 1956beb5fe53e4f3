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
//
// A result of one row a group gives a tile no second row to share the loads of x with. If its taps are one position
// apart, it slides: `slide` consecutive positions of the result become the rows,
//
//     out[q * slide + j] = init + sum over c, taps t of w[c, t - j] * source[c, q * slide + offset(t)]
//
// the same sums in the same order; row j of the tile leaves out the taps where t - j is none of the kernel.
#pragma once

#include "conv1d_cpu.h"
#include "division.h"

namespace torch_conv1d::cpu {

struct Correlation {
  int64_t n, groups;
  int64_t rows, channels;  // per group
  int64_t kernel_size;
  int64_t taps;  // kernel_size, or kernel_size + slide - 1
  int64_t slide = 1;
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

  int64_t phase(int64_t k) const { return modulo(-(first + k * step), phases); }
  int64_t offset(int64_t k) const { return (first + k * step + phase(k)) / phases; }
  // Positions of the result for one q, and the number of q that cover it.
  int64_t out_step() const { return phases * slide; }
  int64_t q_total() const { return (out_length + out_step() - 1) / out_step(); }
  double multiply_adds() const {
    return double(n) * groups * rows * channels * kernel_size * (out_length / phases + 1);
  }

  bool can_slide() const {
    return rows == 1 && phases == 1 && source_stride == 1 && (step == 1 || step == -1) && fold_left + fold_right == 0;
  }
  // The same correlation with `positions` consecutive positions as the rows of a tile. Where the taps run backwards
  // (step == -1), so do the rows: row j is position positions - 1 - j.
  Correlation sliding(int64_t positions) const;
};

Correlation forward_correlation(const Conv1dProblem& p);
Correlation grad_input_correlation(const Conv1dProblem& p);

}  // namespace torch_conv1d::cpu
