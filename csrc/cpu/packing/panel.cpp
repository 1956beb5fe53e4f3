#include "panel.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "../../division.h"
#include "../../padding.h"
#include "fetch.h"

namespace torch_conv1d::cpu {
namespace {

template <class T>
void zero_columns(T* panel, int64_t row, int64_t rows, int64_t columns) {
  if (columns > 0)
    for (int64_t r = 0; r < rows; ++r) std::memset(panel + r * row, 0, columns * sizeof(T));
}

}  // namespace

PanelLayout::PanelLayout(const Correlation& c, int64_t q_len, int64_t lanes_, int64_t width_)
    : lanes(lanes_), width(width_) {
  // Counted by phase, then placed, which moves the begin of each phase to its end: that of the next.
  phase_begin.assign(c.phases + 1, 0);
  for (int64_t k = 0; k < c.taps; ++k) ++phase_begin[c.phase(k) + 1];
  std::partial_sum(phase_begin.begin(), phase_begin.end(), phase_begin.begin());
  tap_order.resize(c.taps);
  tap_offset.resize(c.taps);
  for (int64_t k = 0; k < c.taps; ++k) {
    const int64_t i = phase_begin[c.phase(k)]++;
    tap_order[i] = k;
    tap_offset[i] = c.offset(k);
  }
  std::copy_backward(phase_begin.begin(), phase_begin.end() - 1, phase_begin.end());
  phase_begin[0] = 0;

  // Taps whose offsets agree modulo the stride read the same positions, in the order of their offsets.
  struct Tap {
    int64_t residue, offset, index;
    bool operator<(const Tap& other) const {
      return residue != other.residue ? residue < other.residue : offset < other.offset;
    }
  };
  std::vector<Tap> taps;
  taps.reserve(c.taps);
  for (int64_t i = 0; i < c.taps; ++i) {
    const int64_t index = c.step < 0 ? c.taps - 1 - i : i;
    taps.push_back({modulo(tap_offset[index], c.source_stride), tap_offset[index], index});
  }
  const auto sort = [](auto& all) {  // most are in order
    if (!std::is_sorted(all.begin(), all.end())) std::sort(all.begin(), all.end());
  };
  sort(taps);
  int64_t longest = 0;
  for (int64_t j = 0; j < c.taps; ++j) {
    const Tap& tap = taps[j];
    const bool follows = j && tap.residue == taps[j - 1].residue;
    const bool shares = follows && (tap.offset - taps[j - 1].offset) / c.source_stride * width <= padded(q_len);
    if (!shares) {
      // The first segments of all phases begin next to each other, where that makes none much longer: they are packed
      // together.
      const int64_t start = c.first_offset() + modulo(tap.offset - c.first_offset(), c.source_stride);
      const bool near = !follows && 8 * (tap.offset - start) <= c.source_stride * q_len;
      segments.push_back({near ? start : tap.offset, 0, 0, j, 0});
    }
    Segment& segment = segments.back();
    segment.extra = (tap.offset - segment.offset) / c.source_stride;
    ++segment.taps;
    longest = std::max(longest, segment.extra);
  }
  // In the order of their offsets and equally spaced, so that the segments of a stride are the transpose of the source.
  segment_spacing = (padded(q_len) + longest * width + kAlignment - 1) / kAlignment * kAlignment;
  if (segment_spacing % 512 == 0) segment_spacing += kAlignment;
  sort(segments);
  tap_at.resize(c.taps);
  for (Segment& segment : segments) {
    segment.base = row;
    row += segment_spacing;
    for (int64_t j = segment.first_tap; j < segment.first_tap + segment.taps; ++j)
      tap_at[taps[j].index] = segment.base + (taps[j].offset - segment.offset) / c.source_stride * width;
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
  const int64_t stride = c.source_stride, first = q0 * stride, width = layout.width;
  // Columns [begin, end) of a segment lie inside the source: of most all, which takes no division to know.
  const auto begin_of = [&](const Segment& s) {
    const int64_t start = first + s.offset;
    return start >= 0 ? 0 : std::min(ceil_div(-start, stride), q_len + s.extra);
  };
  const auto end_of = [&](const Segment& s) {
    const int64_t start = first + s.offset, count = q_len + s.extra;
    if (start + (count - 1) * stride < c.source_length) return count;
    return std::clamp<int64_t>(ceil_div(c.source_length - start, stride), begin_of(s), count);
  };
  for (size_t i = 0; i < layout.segments.size();) {
    // Segments of consecutive offsets in rows of neighbours are copied together, as far as all of them lie inside.
    size_t after = i;
    int64_t common_begin = 0, common_end = q_len + layout.segments[i].extra;
    do {
      common_begin = std::max(common_begin, begin_of(layout.segments[after]));
      common_end = std::min(common_end, end_of(layout.segments[after]));
      ++after;
    } while (after < layout.segments.size() && after - i < size_t(stride) &&
             layout.segments[after].offset == layout.segments[after - 1].offset + 1);
    const bool together = width == 1 && source.stride_l == 1 && after - i > 1 && common_begin < common_end;
    if (together) {
      constexpr int64_t kAhead = 2;
      const E* row = from + first + layout.segments[i].offset + common_begin * stride;
      for (int64_t channel = 0; channel < channels; ++channel, row += source.stride_c) {
        fetch_rows(row + kAhead * source.stride_c, 0, 1, (common_end - common_begin) * stride);
        copy.in(
            {panel + channel * layout.row + layout.segments[i].base + common_begin, layout.segment_spacing, 1, row, 1,
             stride, int64_t(after - i), common_end - common_begin});
      }
    }
    for (; i < after; ++i) {
      const Segment& segment = layout.segments[i];
      const int64_t start = first + segment.offset, count = q_len + segment.extra;
      const int64_t begin = begin_of(segment), end = end_of(segment);
      SumOf<E>* to = panel + segment.base;
      // Columns whose positions are `between` apart.
      const auto copy_columns = [&](int64_t column, int64_t position, int64_t between, int64_t columns) {
        // Samples side by side are neighbours, and so are positions where there is no stride.
        const int64_t step = between * source.stride_l, neighbours = width == 1 || step == width ? columns : 1;
        for (int64_t done = 0; done < columns; done += neighbours)
          copy.in(
              {to + (column + done) * width, layout.row, 1, from + position * source.stride_l + done * step,
               source.stride_c, width == 1 ? step : 1, channels, neighbours * width});
      };
      const int64_t done_begin = together ? common_begin : end, done_end = together ? common_end : end;
      copy_columns(begin, start + begin * stride, stride, done_begin - begin);
      copy_columns(done_end, start + done_end * stride, stride, end - done_end);
      int64_t last = end;
      if (c.source_padding == PaddingMode::zeros) {
        zero_columns(to, layout.row, channels, begin * width);
      } else {
        // Those on one side of the source are equally far apart in it, in one direction or the other, or all the same.
        const auto copy_outside = [&](int64_t first_column, int64_t last_column) {
          const auto source_at = [&](int64_t column) {
            return padded_source(start + column * stride, c.source_length, c.source_padding);
          };
          const int64_t columns = last_column - first_column, position = source_at(first_column);
          copy_columns(first_column, position, columns > 1 ? source_at(first_column + 1) - position : 0, columns);
        };
        last = std::clamp(ceil_div(c.source_end - start, stride), end, count);
        copy_outside(0, begin);
        copy_outside(end, last);
      }
      zero_columns(to + last * width, layout.row, channels, (count - last - q_len) * width + layout.padded(q_len));
    }
  }
}

#define INSTANTIATE(E)                                                                                         \
  template void pack_panel<E>(                                                                                 \
      const Correlation&, const PanelLayout&, const CopyKernels<E>&, View, int64_t, int64_t, int64_t, int64_t, \
      int64_t, SumOf<E>*);
INSTANTIATE(float)
INSTANTIATE(double)
INSTANTIATE(BFloat16)
INSTANTIATE(Float16)
#undef INSTANTIATE

}  // namespace torch_conv1d::cpu
