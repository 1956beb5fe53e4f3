// The weights in the order in which the correlate and fir tiles read them,
//
//     [group][row tile][phase][channel][tap][row of the tile],
//
// for as many row tiles at a time as CorrelationPlan holds: a call never needs room for all of them.
#pragma once

#include <algorithm>
#include <vector>

#include "../correlation.h"
#include "kernel_table.h"
#include "panel.h"
#include "parallel.h"
#include "plan.h"
#include "scratch.h"

namespace torch_conv1d::cpu {

// Phases of a stride that are interleaved together.
constexpr int64_t kPhasesHeld = 8;

// How many phases from each on become the rows of one tile. Where a group has one row, they share the loads of the source
// if their taps have the same offsets; in up to kFirShift taps, correlate and fir have the same order.
template <class T>
std::vector<int64_t> joined_phases(const Correlation& c, const PanelLayout& layout, int64_t correlate_rows) {
  std::vector<int64_t> joined(size_t(c.phases), 1);
  if (c.rows > 1 || c.fold_left + c.fold_right > 0) return joined;
  for (int64_t phase = 0; phase < c.phases; phase += joined[phase]) {
    const auto offsets = layout.tap_offset.begin() + layout.phase_begin[phase];
    const int64_t taps = layout.phase_taps(phase);
    const int64_t end = std::min({c.phases, phase / kPhasesHeld * kPhasesHeld + kPhasesHeld, phase + correlate_rows});
    const auto joins = [&](int64_t p) {
      return layout.phase_taps(p) == taps &&
             std::equal(offsets, offsets + taps, layout.tap_offset.begin() + layout.phase_begin[p]);
    };
    while (taps <= kFirShift<T> && phase + joined[phase] < end && joins(phase + joined[phase])) ++joined[phase];
  }
  return joined;
}

// Row tiles of some groups: all of each, or some of a single one.
struct RowTiles {
  int64_t group0, groups, tile0, tiles;
};

template <class T>
class PackedWeights {
 public:
  // Without weights (null), nothing is packed.
  PackedWeights(
      const Correlation& c,
      const CorrelationPlan& plan,
      const std::vector<int64_t>& joined,
      const CopyKernels<T>& copy,
      const T* w)
      : c_(c),
        plan_(plan),
        joined_(joined),
        copy_(copy),
        w_(w),
        row_(c.channels * c.taps),
        rows_follow_(c.phases == 1 && c.w_channel == c.taps),
        channel_block_(rows_follow_ ? std::max<int64_t>(c.channels, 1) : kChannels),
        packed_(
            w ? plan.held_groups * std::min(plan.held_tiles * plan.tile_rows(), c.rows) * row_ + plan.row_unit - 1
              : 0) {}

  // Row tiles that are held, instead of those of the last call.
  void pack(const RowTiles& part) {
    first_row_ = part.group0 * c_.rows + plan_.row_begin(c_, part.tile0);
    parallel_for(part.groups * part.tiles, plan_.worth_threads, [&](int64_t begin, int64_t end) {
      for (int64_t channel = 0; channel < c_.channels; channel += channel_block_)
        for (int64_t i = begin; i < end; ++i)
          pack_tile(
              part.group0 + i / part.tiles, part.tile0 + i % part.tiles, channel,
              std::min(channel_block_, c_.channels - channel));
    });
  }

  // The weights of a tile of `rows` rows, counted through the groups, from tap `tap0` in the order of phases on.
  const T* of(int64_t row, int64_t rows, int64_t tap0) const {
    return packed_.data() + (row - first_row_) * row_ + tap0 * c_.channels * rows;
  }

 private:
  // In grad_input the rows of a channel are neighbours, the next channel on another page: few channels meet all tiles.
  static constexpr int64_t kChannels = 32;

  void pack_tile(int64_t group, int64_t tile, int64_t channel, int64_t channels) const {
    const PanelLayout& layout = plan_.layout;
    const int64_t row0 = plan_.row_begin(c_, tile), rows = plan_.row_begin(c_, tile + 1) - row0;
    const T* from = w_ + group * c_.w_group + row0 * c_.w_row + channel * c_.w_channel;
    T* to = packed_.data() + (group * c_.rows + row0 - first_row_) * row_;
    if (rows_follow_) {
      copy_.in({to + channel * c_.taps * rows, 1, rows, from, c_.w_row, 1, rows, channels * c_.taps});
      return;
    }
    for (int64_t phase = 0; phase < c_.phases; phase += joined_[phase]) {
      const int64_t taps = layout.phase_taps(phase), joined = joined_[phase], width = joined * rows;
      T* block = to + (layout.phase_begin[phase] * c_.channels + channel * taps * joined) * rows;
      for (int64_t t = 0; t < taps; ++t)
        for (int64_t p = 0; p < joined; ++p)
          copy_.in(
              {block + t * width + p * rows, taps * width, 1,
               from + layout.tap_order[layout.phase_begin[phase + p] + t], c_.w_channel, c_.w_row, channels, rows});
    }
  }

  const Correlation& c_;
  const CorrelationPlan& plan_;
  const std::vector<int64_t>& joined_;
  const CopyKernels<T>& copy_;
  const T* const w_;
  const int64_t row_;       // weights of a row
  const bool rows_follow_;  // each other, in the packed order
  const int64_t channel_block_;
  const Scratch<T> packed_;  // with room for the lanes beyond the last row
  int64_t first_row_ = 0;
};

}  // namespace torch_conv1d::cpu
