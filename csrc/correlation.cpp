#include "correlation.h"

#include <algorithm>
#include <cstdlib>
#include <numeric>
#include <utility>

namespace torch_conv1d {

Correlation forward_correlation(const Conv1dProblem& p) {
  Correlation c;
  c.n = p.n;
  c.groups = p.groups;
  c.rows = p.c_out_per_group();
  c.channels = p.c_in_per_group();
  c.taps = p.kernel_size;
  c.source_length = p.l_in;
  c.source_stride = p.l_out > 1 ? p.stride : 1;
  c.source_padding = p.padding_mode;
  c.source_end = p.l_in + p.pad_right;
  c.out_length = p.l_out;
  c.phases = 1;
  c.first = -p.pad_left;
  c.step = p.dilation;
  c.w_row = c.channels * c.taps;
  c.w_group = c.rows * c.w_row;
  c.w_channel = c.taps;
  c.fold_left = c.fold_right = 0;
  c.fold = PaddingMode::zeros;
  return c;
}

Correlation grad_input_correlation(const Conv1dProblem& p) {
  Correlation c;
  c.n = p.n;
  c.groups = p.groups;
  c.rows = p.c_in_per_group();
  c.channels = p.c_out_per_group();
  c.taps = p.kernel_size;
  c.source_length = p.l_out;
  c.source_stride = 1;
  c.source_padding = PaddingMode::zeros;
  c.source_end = c.source_length;
  c.out_length = p.l_in;
  // A stride beyond the padded row leaves one position of grad_y, whatever the stride.
  c.phases = std::min(p.stride, p.l_in + p.pad_left + p.pad_right);
  c.first = p.pad_left;
  c.step = -p.dilation;
  c.w_row = c.taps;
  c.w_channel = c.rows * c.taps;
  c.w_group = c.channels * c.w_channel;
  const bool folds = p.padding_mode != PaddingMode::zeros;
  c.fold_left = folds ? p.pad_left : 0;
  c.fold_right = folds ? p.pad_right : 0;
  c.fold = p.padding_mode;
  return c;
}

Correlation grad_weight_correlation(const Conv1dProblem& p) {
  Conv1dProblem exchanged = p;
  exchanged.n = p.c_in;
  exchanged.c_in = p.n;
  exchanged.stride = p.dilation;
  exchanged.dilation = p.stride;
  exchanged.kernel_size = p.l_out;
  exchanged.l_out = p.kernel_size;
  return forward_correlation(exchanged);
}

int64_t Correlation::fold_reach() const {
  if (!folds()) return 0;
  return fold == PaddingMode::replicate ? 1 : std::min(std::max(fold_left, fold_right) + 1, out_length);
}

Correlation Correlation::with_outside() const {
  Correlation c = *this;
  c.first -= lead();
  c.out_length += lead() + fold_right;
  return c;
}

Correlation Correlation::with_met_taps() const {
  if (rows == 1 || step > 0) return *this;
  // Offsets fall with the taps. At least one is left.
  const Correlation whole = with_outside();
  const auto met = [&](int64_t k) { return whole.offset(k) < source_length && whole.offset(k) + whole.q_total() > 0; };
  int64_t begin = 0, end = taps;
  while (begin + 1 < end && !met(begin)) ++begin;
  while (begin + 1 < end && !met(end - 1)) --end;
  Correlation c = *this;
  c.first += begin * step;
  c.taps = end - begin;
  return c;
}

Correlation Correlation::with_samples_joined() const {
  Correlation c = *this;
  c.n = std::min<int64_t>(n, 1);
  c.source_length = c.source_end = c.out_length = n * out_length;
  return c;
}

Correlation Correlation::with_positions_as_channels() const {
  Correlation c = *this;
  (step == 1 ? c.channels : c.rows) *= taps;
  (step == 1 ? c.w_channel : c.w_row) = 1;
  c.taps = c.source_length = c.source_end = c.source_stride = c.out_length = c.phases = 1;
  return c;
}

Correlation Correlation::with_operands_exchanged() const {
  Correlation c = *this;
  std::swap(c.n, c.rows);
  std::swap(c.taps, c.source_length);
  c.source_end = c.source_length;
  c.phases = -step;
  c.step = phases;
  c.first -= (c.taps - 1) * c.step;
  c.w_channel = c.taps;
  c.w_row = c.channels * c.taps;
  c.w_group = c.rows * c.w_row;
  return c;
}

int64_t Correlation::unit_step() const {
  // Taps of a phase are phases / gcd(step, phases) apart, so their offsets are step / gcd(step, phases) apart.
  const int64_t between = step / std::gcd(step, phases);
  return std::abs(between) == source_stride ? between / source_stride : 0;
}

}  // namespace torch_conv1d
