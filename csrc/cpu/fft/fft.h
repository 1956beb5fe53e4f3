// Depthwise layers of stride 1 with long kernels, through the frequency domain. With d = |step|, a row of taps
//
//     h[k * d] = w[k]  (step > 0),   h[(taps - 1 - k) * d] = w[k]  (step < 0),   zeros elsewhere,   0 <= j < span
//
// and blocks of `step` results, block b reads u[j] = source[b * step + first_offset + j], j < length, and
//
//     out[b * step + i] = sum over j of h[j] * u[i + j] = inverse(transform(u) * conj(transform(h)))[i],   i < step
//
// because i + j < step + span - 1 <= length wraps nowhere (overlap-save). It is linear in h, so that with the block's
// gradient g, zeros from `step` on,
//
//     grad_h = inverse(sum over samples and blocks of transform(u) * conj(transform(g)))
#pragma once

#include "../../correlation.h"
#include "../kernel_table.h"
#include "../plan/plan.h"

namespace torch_conv1d::cpu {

struct FftForm {
  explicit FftForm(const Correlation& c);

  int64_t length;      // of a transform
  int64_t step;        // results of a block
  int64_t blocks;      // of a row
  double cost;         // of one sample, weights included, in multiply-adds of direct sums
  Correlation source;  // one tap, which reads the first position of a block
};

// Decided by the layer and the length of its result: never by the batch or the machine.
bool uses_fft(const Correlation& c, Algorithm algorithm);

// grad_weight of a problem whose forward_correlation suits.
void fft_grad_weight(const Conv1dProblem& p, DType dtype, const KernelTable& table, View grad_y, View x, void* grad_w);

}  // namespace torch_conv1d::cpu
