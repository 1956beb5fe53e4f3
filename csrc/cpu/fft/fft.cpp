// The block loops of filtering in the frequency domain.
//
//   for every item (channels, part of the blocks of all samples), in parallel:
//     transform the weights of the channels
//     for a few blocks at a time: pack, transform, multiply, transform back, copy into the result
//
// Transforms of an item share calls, because each call plans anew; what a call reads and writes is bounded by
// kCallBytes.
#include "fft.h"

#include <algorithm>

#include "../../division.h"
#include "../dispatch.h"
#include "../drivers.h"
#include "../packing/panel.h"
#include "../parallel.h"
#include "../scratch.h"
#include "real_fft.h"

namespace torch_conv1d::cpu {
namespace {

constexpr int64_t kCallBytes = 256 << 10;
// The gradient of a few weights is summed in up to kParts parts, so that threads have something to share.
constexpr int64_t kParts = 8;

// What all three derivatives share. A call transforms rows of `operands` tensors for each of its channels and blocks.
template <class E>
class FftCall {
 public:
  using T = SumOf<E>;

  FftCall(const Correlation& c, const KernelTable& table, int64_t operands)
      : kernels(arithmetic_kernels<E>(table)),
        copy(copy_kernels<E>(table)),
        c(c),
        form(c),
        layout(form.source, form.length, kernels.lanes),
        spectrum(spectrum_elements(form.length)),
        rows(std::max<int64_t>(kCallBytes / int64_t(sizeof(T)) / form.length / operands, 1)),
        channel_blocks(std::min(ceil_div(ceil_div(c.groups, rows), threads()) * threads(), c.groups)),
        block_count(std::max<int64_t>(rows / ceil_div(c.groups, channel_blocks), 1)),
        total_blocks(c.n * form.blocks) {}

  static int64_t threads() { return num_threads(); }
  int64_t first_channel(int64_t channel_block) const { return channel_block * c.groups / channel_blocks; }

  // Calls fn(first channel, channels, part) for every item.
  template <class Fn>
  void for_each_item(int64_t parts, Fn&& fn) const {
    parallel_for(channel_blocks * parts, true, [&](int64_t begin, int64_t end) {
      for (int64_t item = begin; item < end; ++item) {
        const int64_t channel = first_channel(item / parts);
        fn(channel, first_channel(item / parts + 1) - channel, item % parts);
      }
    });
  }
  // Calls fn(first block, blocks) for a few blocks of a part at a time.
  template <class Fn>
  void for_each_call(int64_t part, int64_t parts, Fn&& fn) const {
    const int64_t end = (part + 1) * total_blocks / parts;
    for (int64_t block = part * total_blocks / parts; block < end; block += block_count)
      fn(block, std::min(block_count, end - block));
  }

  int64_t sample(int64_t block) const { return block / form.blocks; }
  int64_t first_result(int64_t block) const { return block % form.blocks * form.step; }
  int64_t results(int64_t block) const { return std::min(form.step, c.out_length - first_result(block)); }

  // The positions that a block reads.
  void pack(View source, int64_t block, int64_t channel, int64_t channels, T* to) const {
    pack_panel<E>(
        form.source, layout, copy, source, sample(block), channel, channels, first_result(block), form.length, to);
  }

  const ArithmeticKernels<T>& kernels;
  const CopyKernels<E>& copy;
  const Correlation& c;
  const FftForm form;
  const PanelLayout layout;
  const int64_t spectrum;        // elements of one
  const int64_t rows;            // of each operand of a call
  const int64_t channel_blocks;  // equal parts of the channels, as many for every thread
  const int64_t block_count;     // blocks of a call
  const int64_t total_blocks;    // of all samples
};

template <class E>
void filter(const FftCall<E>& call, View source, const E* w, const SumOf<E>* bias, MutableView out) {
  using T = SumOf<E>;
  const Correlation& c = call.c;
  const FftForm& form = call.form;
  const int64_t row = call.layout.row, dilation = std::abs(c.step);
  const int64_t parts = std::clamp<int64_t>(call.threads() / call.channel_blocks, 1, call.total_blocks);
  call.for_each_item(parts, [&](int64_t channel0, int64_t channels, int64_t part) {
    const Scratch<T> packed(call.block_count * channels * row);
    std::fill_n(packed.data(), channels * row, T(0));
    for (int64_t channel = 0; channel < channels; ++channel) {
      const E* taps = w + (channel0 + channel) * c.w_group;
      for (int64_t k = 0; k < c.taps; ++k)
        packed[channel * row + k * dilation] = to_sum(taps[c.step > 0 ? k : c.taps - 1 - k]);
    }
    const TransformedRows<T> weights = transform_rows(packed.data(), channels, row, form.length);
    call.for_each_call(part, parts, [&](int64_t block0, int64_t blocks) {
      for (int64_t i = 0; i < blocks; ++i)
        call.pack(source, block0 + i, channel0, channels, packed.data() + i * channels * row);
      const TransformedRows<T> x = transform_rows(packed.data(), blocks * channels, row, form.length);
      for (int64_t i = 0; i < blocks; ++i) {
        T* product = x.data + i * channels * call.spectrum;
        call.kernels.multiply_spectra({product, nullptr, product, weights.data, channels * call.spectrum / 2});
      }
      const TransformedRows<T> y = invert_rows(x.data, blocks * channels, form.length);
      for (int64_t i = 0; i < blocks; ++i) {
        const int64_t block = block0 + i, results = call.results(block);
        T* from = y.data + i * channels * form.length;
        for (int64_t channel = 0; bias && channel < channels; ++channel)
          for (int64_t j = 0; j < results; ++j) from[channel * form.length + j] += bias[channel0 + channel];
        E* to = static_cast<E*>(out.data) + call.sample(block) * out.stride_n + channel0 * out.stride_c +
                call.first_result(block) * out.stride_l;
        call.copy.out({to, out.stride_c, out.stride_l, from, form.length, 1, channels, results});
      }
    });
  });
}

template <class E>
void sum_gradient(const FftCall<E>& call, View grad_y, View x, E* grad_w) {
  using T = SumOf<E>;
  const Correlation& c = call.c;
  const FftForm& form = call.form;
  const int64_t row = call.layout.row, spectrum = call.spectrum;
  // From the shape alone, because sums depend on it. A part fills a call, and its sums do not.
  const int64_t parts = std::clamp<int64_t>(
      c.groups * call.total_blocks / call.rows, 1, std::clamp<int64_t>(4 * call.rows / c.groups, 1, kParts));

  const auto write = [&](int64_t channel0, int64_t channels, T* sums) {
    const TransformedRows<T> h = invert_rows(sums, channels, form.length);
    call.copy.out({grad_w + channel0 * c.taps, c.taps, 1, h.data, form.length, c.step, channels, c.taps});
  };
  const Scratch<T> part_sums(parts > 1 ? parts * c.groups * spectrum : 0);
  call.for_each_item(parts, [&](int64_t channel0, int64_t channels, int64_t part) {
    const int64_t elements = channels * spectrum;
    const Scratch<T> own_sums(parts > 1 ? 0 : elements), packed(2 * call.block_count * channels * row);
    T* sums = parts > 1 ? part_sums.data() + part * c.groups * spectrum + channel0 * spectrum : own_sums.data();
    std::fill_n(sums, elements, T(0));
    call.for_each_call(part, parts, [&](int64_t block0, int64_t blocks) {
      for (int64_t i = 0; i < blocks; ++i) {
        call.pack(x, block0 + i, channel0, channels, packed.data() + 2 * i * channels * row);
        T* g = packed.data() + (2 * i + 1) * channels * row;
        const int64_t block = block0 + i, results = call.results(block);
        call.copy.in(
            {g, row, 1,
             static_cast<const E*>(grad_y.data) + call.sample(block) * grad_y.stride_n + channel0 * grad_y.stride_c +
                 call.first_result(block) * grad_y.stride_l,
             grad_y.stride_c, grad_y.stride_l, channels, results});
        for (int64_t channel = 0; channel < channels; ++channel)
          std::fill(g + channel * row + results, g + channel * row + form.length, T(0));
      }
      const TransformedRows<T> spectra = transform_rows(packed.data(), 2 * blocks * channels, row, form.length);
      for (int64_t i = 0; i < blocks; ++i) {
        const T* u = spectra.data + 2 * i * elements;
        call.kernels.multiply_spectra({sums, sums, u, u + elements, elements / 2});
      }
    });
    if (parts == 1) write(channel0, channels, sums);
  });
  if (parts == 1) return;
  T* sums = part_sums.data();
  for (int64_t part = 1; part < parts; ++part)
    for (int64_t i = 0; i < c.groups * spectrum; ++i) sums[i] += sums[part * c.groups * spectrum + i];
  write(0, c.groups, sums);
}

}  // namespace

void fft_filter(const CorrelationOperands& o) {
  with_element(o.dtype, [&](auto element) {
    using E = decltype(element);
    filter(
        FftCall<E>(o.c, o.table, 1), o.source, static_cast<const E*>(o.w), static_cast<const SumOf<E>*>(o.bias), o.out);
  });
}

void fft_grad_weight(const Conv1dProblem& p, DType dtype, const KernelTable& table, View grad_y, View x, void* grad_w) {
  const Correlation c = forward_correlation(p);
  with_element(dtype, [&](auto element) {
    using E = decltype(element);
    sum_gradient(FftCall<E>(c, table, 2), grad_y, x, static_cast<E*>(grad_w));
  });
}

}  // namespace torch_conv1d::cpu
