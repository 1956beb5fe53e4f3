// The panel: rows of the source, copied so that a tap is an offset and nothing else.
//
// A panel row holds one channel for q in [q0, q0 + q_len). It is a list of segments; a segment is every
// source_stride-th position of the padded source, so that loads are contiguous whatever the stride. Taps that
// read overlapping positions share a segment (a stride of s makes s of them); taps further apart than a block
// (a large dilation) get one each, which bounds a row by taps * q_len.
//
// Where rows are short, a position of a row is one of `width` samples, which stand side by side: their rows are one
// that a tile reads without a gap, with taps `width` times as far apart.
//
// Padding, padding mode, stride, layout and dtype end here: no kernel knows them.
#pragma once

#include <cstdint>
#include <vector>

#include "../../correlation.h"
#include "../kernel_table.h"

namespace torch_conv1d::cpu {

// A panel this small stays in the L1 cache (32 KiB or more) beside the weights of a tile.
constexpr int64_t kL1Panel = 16 << 10;

struct Segment {
  int64_t offset;           // source position of its first element, relative to q0 * source_stride
  int64_t base;             // where it starts in the row
  int64_t extra;            // positions beyond the q_len that every tap needs
  int64_t first_tap, taps;  // that read it, counted in the order of residues and offsets

  bool operator<(const Segment& other) const { return offset < other.offset; }
};

struct PanelLayout {
  PanelLayout() = default;
  PanelLayout(const Correlation& c, int64_t q_len, int64_t lanes, int64_t width = 1);

  // Segments and rows start at cache lines (for float; at every second one for double).
  static constexpr int64_t kAlignment = 16;

  int64_t row = 0;              // elements from one channel to the next
  int64_t segment_spacing = 0;  // and from one segment to the next
  int64_t lanes = 1, width = 1;
  std::vector<Segment> segments;
  std::vector<int64_t> tap_order;    // taps k by phase, ascending within one
  std::vector<int64_t> tap_at;       // where each of these starts in the row,
  std::vector<int64_t> tap_offset;   // and in the source
  std::vector<int64_t> phase_begin;  // range of each phase in the two above; phases + 1 entries

  int64_t phase_taps(int64_t phase) const { return phase_begin[size_t(phase) + 1] - phase_begin[size_t(phase)]; }

  // Tiles read whole vectors: a row has this much room for q_len positions.
  int64_t padded(int64_t q_len) const { return (q_len * width + lanes - 1) / lanes * lanes; }
};

// Fills `channels` rows with positions q in [q0, q0 + q_len) of sample n, channels first_channel and following. A
// source whose samples stand side by side has them as neighbours, and counts them as one sample.
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
    SumOf<E>* panel);

}  // namespace torch_conv1d::cpu
