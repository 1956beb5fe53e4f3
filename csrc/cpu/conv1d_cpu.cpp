// The three derivatives: the active instruction set's kernels, or the reference loops.
#include "conv1d_cpu.h"

#include <algorithm>

#include "dispatch.h"
#include "drivers.h"
#include "fft/fft.h"
#include "grad_weight/grad_weight.h"
#include "packing/folded_ends.h"
#include "plan/plan.h"
#include "reference.h"
#include "scratch.h"
#include "toom_cook/toom_cook.h"

namespace torch_conv1d::cpu {
namespace {

// `count` elements in the type that sums are made in: those of the caller, if they are.
template <class E>
class AsSums {
  using T = SumOf<E>;

 public:
  AsSums(const KernelTable& table, const void* data, int64_t count)
      : converted_(data && !std::is_same_v<E, T> ? count : 0),
        data_(
            std::is_same_v<E, T> ? static_cast<const T*>(data)
            : data               ? converted_.data()
                                 : nullptr) {
    if (data_ != data)
      copy_kernels<E>(table).in({converted_.data(), 0, 1, static_cast<const E*>(data), 0, 1, 1, count});
  }
  const T* data() const { return data_; }

 private:
  const Scratch<T> converted_;
  const T* const data_;
};

void run_correlation(
    const Correlation& c,
    DType dtype,
    Algorithm algorithm,
    const KernelTable& table,
    View source,
    const void* w,
    const void* bias,
    MutableView out) {
  if (c.n == 0 || c.rows == 0 || c.out_length == 0) return;
  // The position after the only one of a sample is that of the next sample.
  if (c.pointwise() && c.out_length == 1) source.stride_l = source.stride_n, out.stride_l = out.stride_n;
  with_element(dtype, [&](auto element) {
    using E = decltype(element);
    using T = SumOf<E>;
    const DataFacts data{
        .unit_stride = source.stride_l == 1 && out.stride_l == 1,
        .narrowness = kNarrowness<E>,
        .channels_innermost = (source.stride_c == 1 || c.groups * c.channels == 1) && out.stride_c == 1,
        .source_innermost = source.stride_c == 1,
        .pairs = multiplies_pairs<E>(table, algorithm),
        .samples_follow =
            source.stride_n == c.source_length * source.stride_l && out.stride_n == c.out_length * out.stride_l};
    const Machine machine = machine_with(arithmetic_kernels<E>(table));
    const auto [way, computed] = choose_way(c, algorithm, sizeof(T), data, machine);
    if (positions_are_channels(c, way, sizeof(T), machine)) {
      const auto join = [&](auto& view, int64_t channels) {
        const bool contiguous = view.stride_l == 1 && (view.stride_c == c.taps || channels == 1);
        if (contiguous) view.stride_c = 1;
        return contiguous;
      };
      if (c.step == 1 ? join(source, c.groups * c.channels) : join(out, c.groups * c.rows))
        return run_correlation(c.with_positions_as_channels(), dtype, algorithm, table, source, w, bias, out);
    }
    // In the order of Way.
    static constexpr CorrelationDriver* kDrivers[] = {
        fft_filter, innermost_pairs, correlate_pairs, toom_cook,           filter_channels, thin_stored,
        tap_rows,   correlate_thin,  few_positions,   correlate_innermost, fir_rows,        correlate};
    static_assert(std::size(kDrivers) == size_t(Way::correlate) + 1);
    const E* const weights = static_cast<const E*>(w) + (computed.first - c.first) / c.step;
    const AsSums<E> inits(table, bias, c.groups * c.rows);
    const int64_t samples = FoldedEnds<E>::samples(c);
    for (int64_t n = 0; n < computed.n; n += samples) {
      Correlation part = computed;
      part.n = std::min(samples, computed.n - n);
      View from = source;
      MutableView to = out;
      from.data = static_cast<const E*>(source.data) + n * source.stride_n;
      to.data = static_cast<E*>(out.data) + n * out.stride_n;
      kDrivers[int(way)]({part, dtype, table, from, weights, inits.data(), to});
    }
  });
}

// Rows of some taps, from the first of them on, become rows of all taps, the others zero: in place, a few rows at a
// time, the last ones first.
template <class E>
void spread_taps(E* w, int64_t rows, int64_t some, int64_t first, int64_t taps) {
  constexpr int64_t kRows = 64;
  const Scratch<E> held(kRows * some);
  for (int64_t end = rows, count; end > 0; end -= count) {
    count = std::min(kRows, end);
    E* const to = w + (end - count) * taps;
    // Stores wait for their lines, and the hardware does not look so far back.
    const int64_t before = std::min(kRows * taps, to - w);
    for (int64_t i = 1; i <= before; i += 64 / int64_t(sizeof(E))) __builtin_prefetch(to - i, 1);
    std::copy_n(w + (end - count) * some, count * some, held.data());
    std::fill_n(to, count * taps, E{});
    for (int64_t k = 0; k < some; ++k)
      for (int64_t row = 0; row < count; ++row) to[row * taps + first + k] = held[row * some + k];
  }
}

}  // namespace

void forward(
    const Conv1dProblem& p, DType dtype, Algorithm algorithm, View x, const void* w, const void* bias, MutableView y) {
  if (const KernelTable* table = active().kernels)
    run_correlation(forward_correlation(p), dtype, algorithm, *table, x, w, bias, y);
  else
    reference::forward(p, dtype, x, w, bias, y);
}

bool forward_of_two(
    const Conv1dProblem& p,
    DType dtype,
    Algorithm algorithm,
    View x1,
    const void* w1,
    View x2,
    const void* w2,
    const void* bias,
    MutableView y) {
  const KernelTable* table = active().kernels;
  const Correlation c = forward_correlation(p);
  const bool alike = x1.stride_n == x2.stride_n && x1.stride_c == x2.stride_c && x1.stride_l == x2.stride_l;
  if (!table || !alike || uses_fft(c, algorithm) || !reads_two_tensors(c, x1.stride_l == 1 && y.stride_l == 1))
    return false;
  return with_element(dtype, [&](auto element) {
    using E = decltype(element);
    const intptr_t bytes = reinterpret_cast<intptr_t>(x2.data) - reinterpret_cast<intptr_t>(x1.data);
    if (bytes % int64_t(sizeof(E))) return false;
    x1.tensors = 2;
    x1.to_next = bytes / int64_t(sizeof(E));
    const Scratch<E> w(2 * c.groups * c.taps);  // [channel][tensor][tap]
    for (int64_t row = 0; row < c.groups; ++row) {
      std::copy_n(static_cast<const E*>(w1) + row * c.taps, c.taps, &w[2 * row * c.taps]);
      std::copy_n(static_cast<const E*>(w2) + row * c.taps, c.taps, &w[(2 * row + 1) * c.taps]);
    }
    Conv1dProblem both = p;
    both.c_in *= 2;
    run_correlation(forward_correlation(both), dtype, algorithm, *table, x1, w.data(), bias, y);
    return true;
  });
}

void grad_input(
    const Conv1dProblem& p, DType dtype, Algorithm algorithm, View grad_y, const void* w, MutableView grad_x) {
  if (const KernelTable* table = active().kernels)
    run_correlation(grad_input_correlation(p), dtype, algorithm, *table, grad_y, w, nullptr, grad_x);
  else
    reference::grad_input(p, dtype, grad_y, w, grad_x);
}

void grad_weight(
    const Conv1dProblem& p, DType dtype, Algorithm algorithm, View grad_y, View x, void* grad_w, void* grad_b) {
  const KernelTable* table = active().kernels;
  if (!table) return reference::grad_weight(p, dtype, grad_y, x, grad_w, grad_b);
  const Conv1dProblem met = with_met_taps(p);
  void* const met_w = grad_w;
  if (grad_w && uses_fft(forward_correlation(met), algorithm)) {
    fft_grad_weight(met, dtype, *table, grad_y, x, grad_w);
    grad_w = nullptr;
  }
  sum_grad_weight(met, dtype, algorithm, *table, grad_y, x, grad_w, grad_b);
  if (met_w && met.kernel_size < p.kernel_size)
    with_element(dtype, [&](auto element) {
      const int64_t first_tap = (p.pad_left - met.pad_left) / p.dilation;
      spread_taps(
          static_cast<decltype(element)*>(met_w), p.c_out * p.c_in_per_group(), met.kernel_size, first_tap,
          p.kernel_size);
    });
}

}  // namespace torch_conv1d::cpu
