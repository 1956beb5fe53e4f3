// forward and grad_input of a few positions in all: each weight is read once, where it is.
//
//   gather what the taps of every position meet: [group][channel][tap][position]
//   for every tile of rows, in parallel: one tile, the whole sum of each position
#include "thin.h"

#include <vector>

#include "../division.h"
#include "../padding.h"
#include "dispatch.h"
#include "parallel.h"
#include "plan.h"
#include "scratch.h"

namespace torch_conv1d::cpu {
namespace {

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
  for (int64_t channel = 0; channel < c.groups * c.channels; ++channel, row += source.stride_c)
    for (const int64_t at : from) *to++ = at < 0 ? SumOf<E>(0) : to_sum(row[at]);
}

template <class E>
void run(
    const Correlation& c,
    const KernelTable& table,
    View source,
    const SumOf<E>* w,
    const SumOf<E>* bias,
    MutableView out) {
  using T = SumOf<E>;
  const ArithmeticKernels<T>& kernels = arithmetic_kernels<E>(table);
  const bool transposed = c.w_row == 1, follow = c.w_channel == c.taps;  // weights of a row follow each other
  const int64_t positions = c.n * c.q_total(), width = thin_rows(sizeof(T), transposed, positions);
  const int64_t blocks = ceil_div(c.rows, width);
  const int64_t group_size = c.channels * c.taps * positions;
  const Scratch<T> x(c.groups * group_size);
  gather<E>(c, source, x.data());
  const auto kernel = kernels.thin[transposed][positions];
  parallel_for(c.groups * blocks, c.multiply_adds() > kThreadWork, [&](int64_t begin, int64_t end) {
    const Scratch<T> sums(positions * width);
    for (int64_t item = begin; item < end; ++item) {
      const int64_t group = item / blocks, first = item % blocks * width;
      // The last tile starts where it ends with the last row.
      const int64_t row0 = std::min(first, c.rows - width), row = group * c.rows + row0, skip = first - row0;
      kernel(
          {w + group * c.w_group + row0 * c.w_row, c.w_row, c.w_channel, follow ? 1 : c.channels,
           follow ? c.channels * c.taps : c.taps, x.data() + group * group_size, bias ? bias + row : nullptr,
           sums.data(), width});
      for (int64_t n = 0; n < c.n; ++n)
        copy_kernels<E>(table).out(
            {static_cast<E*>(out.data) + n * out.stride_n + (row + skip) * out.stride_c, out.stride_c, out.stride_l,
             &sums[n * c.q_total() * width + skip], 1, width, width - skip, c.q_total()});
    }
  });
}

}  // namespace

void correlate_thin(
    const Correlation& c,
    DType dtype,
    const KernelTable& table,
    View source,
    const void* w,
    const void* bias,
    MutableView out) {
  with_element(dtype, [&](auto element) {
    using T = SumOf<decltype(element)>;
    run<decltype(element)>(c, table, source, static_cast<const T*>(w), static_cast<const T*>(bias), out);
  });
}

}  // namespace torch_conv1d::cpu
