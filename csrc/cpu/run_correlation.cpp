// forward and grad_input in the way that choose_way chooses.
#include <algorithm>

#include "dispatch.h"
#include "drivers.h"
#include "packing/folded_ends.h"
#include "plan/plan.h"
#include "scratch.h"

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

}  // namespace

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
        fft_filter, filter_weights, innermost_pairs, correlate_pairs,     toom_cook, filter_channels, thin_stored,
        tap_rows,   correlate_thin, few_positions,   correlate_innermost, fir_rows,  correlate};
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

}  // namespace torch_conv1d::cpu
