// Samples of short rows, side by side: [channel][position][sample], so that vectors lie along all of a position's
// samples.
#pragma once

#include "../conv1d_cpu.h"
#include "../kernel_table.h"

namespace torch_conv1d::cpu {

// Calls fn(run, elements) for every run of `length`, or once for all of them, where they follow each other.
template <class Fn>
void for_each_run(bool follow, int64_t runs, int64_t length, Fn&& fn) {
  if (follow) fn(int64_t(0), runs * length);
  for (int64_t run = 0; run < runs && !follow; ++run) fn(run, length);
}

// `count` samples of `channels` channels and `length` positions, with room for `width` of them; `source` begins with
// the first. Channels and positions keep the order that they have in memory, so that all of a sample is one run as a
// rule.
template <class E>
View gather_samples(
    const CopyKernels<E>& copy,
    View source,
    int64_t count,
    int64_t width,
    int64_t channels,
    int64_t length,
    SumOf<E>* to) {
  const bool by_channel = source.stride_l <= source.stride_c;
  const int64_t runs = by_channel ? channels : length, run_length = by_channel ? length : channels;
  const int64_t run_stride = by_channel ? source.stride_c : source.stride_l;
  const int64_t stride = by_channel ? source.stride_l : source.stride_c;
  for_each_run(run_stride == run_length * stride, runs, run_length, [&](int64_t run, int64_t elements) {
    copy.in(
        {to + run * run_length * width, 1, width, static_cast<const E*>(source.data) + run * run_stride,
         source.stride_n, stride, count, elements});
  });
  return {to, 0, (by_channel ? length : 1) * width, (by_channel ? 1 : channels) * width};
}

// The reverse, for rows of results that are `from_row` apart; `out` begins with the first.
template <class E>
void scatter_samples(
    const CopyKernels<E>& copy,
    const SumOf<E>* from,
    int64_t from_row,
    int64_t width,
    MutableView out,
    int64_t count,
    int64_t rows,
    int64_t length) {
  const bool follow = out.stride_c == length * out.stride_l && from_row == length * width;
  for_each_run(follow, rows, length, [&](int64_t row, int64_t elements) {
    copy.out(
        {static_cast<E*>(out.data) + row * out.stride_c, out.stride_n, out.stride_l, from + row * from_row, 1, width,
         count, elements});
  });
}

}  // namespace torch_conv1d::cpu
