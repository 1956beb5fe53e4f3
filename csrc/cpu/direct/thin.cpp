// forward and grad_input of a few positions in all: each weight is read once, where it is.
//
//   gather what the taps of every position meet: [group][channel][tap][position]
//   for every tile of rows, in parallel: one tile, the whole sum of each position
//
// grad_input, where each position of the result meets one tap at most:
//
//   for a few rows at a time, in parallel: sums[position of grad_y][row][tap] over all channels; to their positions
#include <algorithm>
#include <vector>

#include "../../division.h"
#include "../../padding.h"
#include "../dispatch.h"
#include "../drivers.h"
#include "../packing/weights.h"
#include "../parallel.h"
#include "../plan/plan.h"
#include "../scratch.h"

namespace torch_conv1d::cpu {
namespace {

// Sums that stay in the L1 cache while the weights of all channels pass.
constexpr int64_t kSumBytes = 16 << 10;
// Channels whose weights are converted at a time.
constexpr int64_t kConvertedChannels = 8;

// What tap t of position i meets goes to to[(channel * taps + t) * positions + i], for the channels of all groups.
// Position i of all is position i % q_total of sample i / q_total.
template <class E>
void gather(const Correlation& c, View source, SumOf<E>* to) {
  const int64_t positions = c.n * c.q_total();
  std::vector<int64_t> from;  // [tap][position], -1 for a zero
  for (int64_t t = 0; t < c.taps; ++t)
    for (int64_t i = 0; i < positions; ++i) {
      const int64_t q = i % c.q_total();
      const int64_t at = padded_source(q * c.source_stride + c.offset(t), c.source_length, c.source_padding);
      from.push_back(at < 0 ? -1 : i / c.q_total() * source.stride_n + at * source.stride_l);
    }
  const E* row = static_cast<const E*>(source.data);
  for (int64_t channel = 0; channel < c.groups * c.channels; ++channel, row += source.stride_c) {
    for (const int64_t at : from) *to++ = at < 0 ? SumOf<E>(0) : to_sum(row[at]);
  }
}

template <class E>
void run(
    const Correlation& c, const KernelTable& table, View source, const E* w, const SumOf<E>* bias, MutableView out) {
  using T = SumOf<E>;
  const ArithmeticKernels<T>& kernels = arithmetic_kernels<E>(table);
  const int64_t positions = c.n * c.q_total(), width = thin_rows(sizeof(T));
  const int64_t blocks = ceil_div(c.rows, width);
  const int64_t group_size = c.channels * c.taps * positions;
  const Scratch<T> x(c.groups * group_size);
  gather<E>(c, source, x.data());
  const auto kernel = kernels.thin[positions];
  parallel_for(c.groups * blocks, c.multiply_adds() > kThreadWork, [&](int64_t begin, int64_t end) {
    const Scratch<T> sums(positions * width);
    const Scratch<T> converted(std::is_same_v<E, T> ? 0 : width * c.channels * c.taps);
    for (int64_t item = begin; item < end; ++item) {
      const int64_t group = item / blocks, first = item % blocks * width;
      // The last tile starts where it ends with the last row.
      const int64_t row0 = std::min(first, c.rows - width), row = group * c.rows + row0, skip = first - row0;
      const WeightView<T> weights = in_sum_type(
          c, copy_kernels<E>(table), w + group * c.w_group + row0 * c.w_row, width, c.channels, converted.data());
      const bool follow = weights.channel == c.taps;  // weights of a row follow each other
      kernel(
          {weights.data, weights.row, weights.channel, follow ? 1 : c.channels, follow ? c.channels * c.taps : c.taps,
           x.data() + group * group_size, bias ? bias + row : nullptr, sums.data(), width});
      for (int64_t n = 0; n < c.n; ++n)
        copy_kernels<E>(table).out(
            {static_cast<E*>(out.data) + n * out.stride_n + (row + skip) * out.stride_c, out.stride_c, out.stride_l,
             &sums[n * c.q_total() * width + skip], 1, width, width - skip, c.q_total()});
    }
  });
}

// Position of the result of tap k at position lo of grad_y: lo * phases - first - k * step. One of lo and k is always
// 0.
template <class E>
void run_stored(const Correlation& c, const KernelTable& table, View source, const E* w, MutableView out) {
  using T = SumOf<E>;
  const CopyKernels<E>& copy = copy_kernels<E>(table);
  const int64_t positions = c.n * c.source_length;
  const Scratch<T> x(c.groups * c.channels * positions);  // [group][channel][position]
  for (int64_t n = 0; n < c.n; ++n)
    copy.in(
        {x.data() + n * c.source_length, 1, positions, static_cast<const E*>(source.data) + n * source.stride_n,
         source.stride_l, source.stride_c, c.source_length, c.groups * c.channels});

  const int64_t steps = c.taps == 1 ? c.source_length : c.taps, step = c.taps == 1 ? c.phases : -c.step;
  const int64_t begin = std::clamp<int64_t>(ceil_div(c.first, step), 0, steps);
  const int64_t end = std::clamp<int64_t>(ceil_div(c.out_length + c.first, step), begin, steps);
  const bool worth_threads = c.multiply_adds() > kThreadWork;
  const int64_t least_rows = ceil_div(thin_rows(sizeof(T)), c.taps);
  const int64_t blocks = std::clamp<int64_t>(
      std::max(
          ceil_div(positions * c.rows * c.taps * int64_t(sizeof(T)), kSumBytes),
          int64_t(worth_threads ? num_threads() : 1)),
      1, c.rows / least_rows);
  const int64_t sum_row = ceil_div(c.rows, blocks) * c.taps;
  constexpr bool kConverts = !std::is_same_v<E, T>;
  const int64_t channels_at_once = kConverts ? kConvertedChannels : c.channels;
  parallel_for(c.groups * blocks, worth_threads, [&](int64_t first_item, int64_t last_item) {
    const Scratch<T> sums(positions * sum_row), converted(kConverts ? channels_at_once * sum_row : 0);
    for (int64_t item = first_item; item < last_item; ++item) {
      const int64_t group = item / blocks, block = item % blocks, row0 = block * c.rows / blocks;
      const int64_t rows = (block + 1) * c.rows / blocks - row0, columns = rows * c.taps;
      std::fill_n(sums.data(), positions * sum_row, T(0));
      for (int64_t channel = 0; channel < c.channels; channel += channels_at_once) {
        const int64_t channels = std::min(channels_at_once, c.channels - channel);
        const WeightView<T> weights = in_sum_type(
            c, copy, w + group * c.w_group + row0 * c.w_row + channel * c.w_channel, rows, channels, converted.data());
        arithmetic_kernels<E>(table).thin_sums[positions](
            {weights.data, weights.channel, x.data() + (group * c.channels + channel) * positions, channels, columns,
             sums.data(), sum_row});
      }
      for (int64_t n = 0; n < c.n; ++n) {
        E* to = static_cast<E*>(out.data) + n * out.stride_n + (group * c.rows + row0) * out.stride_c;
        const T zero = 0, *from = &sums[n * c.source_length * sum_row];
        if (end - begin < c.out_length) copy.out({to, out.stride_c, out.stride_l, &zero, 0, 0, rows, c.out_length});
        const int64_t from_step = c.taps == 1 ? sum_row : 1;
        copy.out(
            {to + (begin * step - c.first) * out.stride_l, out.stride_c, step * out.stride_l, from + begin * from_step,
             c.taps, from_step, rows, end - begin});
      }
    }
  });
}

}  // namespace

void correlate_thin(const CorrelationOperands& o) {
  with_element(o.dtype, [&](auto element) {
    using E = decltype(element);
    run<E>(o.c, o.table, o.source, static_cast<const E*>(o.w), static_cast<const SumOf<E>*>(o.bias), o.out);
  });
}

void thin_stored(const CorrelationOperands& o) {
  with_element(o.dtype, [&](auto element) {
    using E = decltype(element);
    run_stored<E>(o.c, o.table, o.source, static_cast<const E*>(o.w), o.out);
  });
}

}  // namespace torch_conv1d::cpu
