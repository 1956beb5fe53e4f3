#include "panel.h"

#include <algorithm>
#include <cstring>

#include "padding.h"

namespace torch_conv1d::cpu {
namespace {

int64_t ceil_div(int64_t a, int64_t b) { return a > 0 ? (a + b - 1) / b : -(-a / b); }

int64_t modulo(int64_t a, int64_t b) {
  const int64_t rest = a % b;
  return rest < 0 ? rest + b : rest;
}

template <class T>
void zero_columns(T* panel, int64_t row, int64_t rows, int64_t columns) {
  if (columns > 0)
    for (int64_t r = 0; r < rows; ++r) std::memset(panel + r * row, 0, columns * sizeof(T));
}

}  // namespace

PanelLayout::PanelLayout(const Correlation& c, int64_t q_len, int64_t lanes_) : row(0), lanes(lanes_) {
  phase_begin.assign(c.phases + 1, 0);
  for (int64_t k = 0; k < c.taps; ++k) ++phase_begin[c.phase(k) + 1];
  for (int64_t p = 0; p < c.phases; ++p) phase_begin[p + 1] += phase_begin[p];
  tap_order.resize(c.taps);
  std::vector<int64_t> next(phase_begin.begin(), phase_begin.end() - 1);
  for (int64_t k = 0; k < c.taps; ++k) tap_order[next[c.phase(k)]++] = k;

  // Taps whose offsets agree modulo the stride read the same positions, in the order of their offsets.
  std::vector<int64_t> by_offset(c.taps);
  for (int64_t i = 0; i < c.taps; ++i) by_offset[i] = i;
  const auto offset = [&](int64_t i) { return c.offset(tap_order[i]); };
  const auto residue = [&](int64_t i) { return modulo(offset(i), c.source_stride); };
  std::sort(by_offset.begin(), by_offset.end(), [&](int64_t a, int64_t b) {
    return residue(a) != residue(b) ? residue(a) < residue(b) : offset(a) < offset(b);
  });
  tap_at.resize(c.taps);
  for (int64_t j = 0; j < c.taps; ++j) {
    const int64_t i = by_offset[j], previous = j ? by_offset[j - 1] : 0;
    const bool shares = j && residue(i) == residue(previous) &&
                        (offset(i) - offset(previous)) / c.source_stride <= padded(q_len);
    if (!shares) segments.push_back({offset(i), row, 0});
    Segment& segment = segments.back();
    segment.extra = (offset(i) - segment.offset) / c.source_stride;
    tap_at[i] = segment.base + segment.extra;
    row = (tap_at[i] + padded(q_len) + kAlignment - 1) / kAlignment * kAlignment;
  }
  // Rows a multiple of 2 or 4 KiB apart would compete for the same few lines of the L1 cache.
  if (row % 512 == 0) row += kAlignment;
}

template <class E>
void pack_panel(
    const Correlation& c,
    const PanelLayout& layout,
    const CopyKernels<E>& copy,
    View source,
    int64_t n,
    int64_t first_channel,
    int64_t channels,
    int64_t q0,
    int64_t q_len,
    SumOf<E>* panel) {
  const E* from = static_cast<const E*>(source.data) + n * source.stride_n + first_channel * source.stride_c;
  for (const Segment& segment : layout.segments) {
    const int64_t start = q0 * c.source_stride + segment.offset;
    const int64_t count = q_len + segment.extra;
    SumOf<E>* to = panel + segment.base;
    // Columns [begin, end) lie inside the source.
    const int64_t begin = std::clamp<int64_t>(ceil_div(-start, c.source_stride), 0, count);
    const int64_t end = std::clamp<int64_t>(ceil_div(c.source_length - start, c.source_stride), begin, count);
    const auto copy_columns = [&](int64_t column, int64_t position, int64_t columns) {
      copy.in({to + column, layout.row, 1, from + position * source.stride_l, source.stride_c,
               c.source_stride * source.stride_l, channels, columns});
    };
    if (end > begin) copy_columns(begin, start + begin * c.source_stride, end - begin);
    if (c.source_padding == PaddingMode::zeros) {
      zero_columns(to, layout.row, channels, begin);
      zero_columns(to + end, layout.row, channels, count - end);
    } else {
      const auto copy_outside = [&](int64_t i) {
        copy_columns(i, padded_source(start + i * c.source_stride, c.source_length, c.source_padding), 1);
      };
      for (int64_t i = 0; i < begin; ++i) copy_outside(i);
      for (int64_t i = end; i < count; ++i) copy_outside(i);
    }
    zero_columns(to + count, layout.row, channels, layout.padded(q_len) - q_len);
  }
}

#define INSTANTIATE(E)                                                                                              \
  template void pack_panel<E>(                                                                                      \
      const Correlation&, const PanelLayout&, const CopyKernels<E>&, View, int64_t, int64_t, int64_t, int64_t, int64_t, \
      SumOf<E>*);
INSTANTIATE(float)
INSTANTIATE(double)
INSTANTIATE(BFloat16)
INSTANTIATE(Float16)
#undef INSTANTIATE

}  // namespace torch_conv1d::cpu
