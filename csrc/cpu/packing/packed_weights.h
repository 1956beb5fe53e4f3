// The weights in the order in which the correlate and fir tiles read them,
//
//     [group][row tile][phase][channel][tap][row of the tile],
//
// or, for tiles that read them unpacked, [group][row tile] in the stored order: in the type that sums are made in, for
// as many row tiles at a time as CorrelationPlan holds. A call never needs room for all of them.
#pragma once

#include <algorithm>
#include <vector>

#include "../../correlation.h"
#include "../kernel_table.h"
#include "../parallel.h"
#include "../plan/plan.h"
#include "../scratch.h"
#include "pairs.h"
#include "panel.h"
#include "weights.h"

namespace torch_conv1d::cpu {

// Phases of a stride that are interleaved together.
constexpr int64_t kPhasesHeld = 8;

// How many phases from each on become the rows of one tile. Where a group has one row, they share the loads of the
// source if their taps have the same offsets; in up to kFirShift taps, correlate and fir have the same order.
template <class T>
std::vector<int64_t> joined_phases(const Correlation& c, const PanelLayout& layout, int64_t correlate_rows) {
  std::vector<int64_t> joined(size_t(c.phases), 1);
  if (c.rows > 1) return joined;
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

// Calls body(part) for what is held at a time, one after another.
template <class Body>
void for_held_tiles(const Correlation& c, const CorrelationPlan& plan, Body&& body) {
  for (int64_t group = 0; group < c.groups; group += plan.held_groups)
    for (int64_t tile = 0; tile < plan.row_tiles; tile += plan.held_tiles)
      body(RowTiles{
          group, std::min(plan.held_groups, c.groups - group), tile, std::min(plan.held_tiles, plan.row_tiles - tile)});
}

// Calls body(n0, block, q0) for the items of work of a part, in parallel.
template <class Body>
void for_items(const Correlation& c, const CorrelationPlan& plan, const RowTiles& part, Body&& body) {
  const int64_t tile_blocks = ceil_div(part.tiles, plan.tile_block);
  const int64_t q_blocks = ceil_div(c.q_total(), plan.q_block);
  const int64_t group_blocks = ceil_div(part.groups, plan.group_block);
  const int64_t items = ceil_div(c.n, plan.n_block) * group_blocks * q_blocks * tile_blocks;
  parallel_for(items, plan.worth_threads, [&](int64_t begin, int64_t end) {
    for (int64_t item = begin; item < end; ++item) {
      int64_t rest = item;
      const int64_t tile = rest % tile_blocks * plan.tile_block;
      const int64_t q0 = (rest /= tile_blocks) % q_blocks * plan.q_block;
      const int64_t group = (rest /= q_blocks) % group_blocks * plan.group_block;
      const RowTiles block{
          part.group0 + group, std::min(plan.group_block, part.groups - group), part.tile0 + tile,
          std::min(plan.tile_block, part.tiles - tile)};
      body(rest / group_blocks * plan.n_block, block, q0);
    }
  });
}

template <class E>
class PackedWeights {
  using T = SumOf<E>;

 public:
  // Without weights (null), nothing is packed.
  PackedWeights(
      const Correlation& c,
      const CorrelationPlan& plan,
      const std::vector<int64_t>& joined,
      const CopyKernels<E>& copy,
      const CopyKernels<T>& copy_sums,
      const E* w,
      const PairKernels* pairs = nullptr)
      : c_(c),
        plan_(plan),
        joined_(joined),
        copy_(copy),
        copy_sums_(copy_sums),
        pairs_(pairs),
        w_(w),
        row_(c.channels * c.taps),
        rows_follow_(c.phases == 1 && c.w_channel == c.taps),
        packed_(
            w ? plan.held_groups * std::min(plan.held_tiles * plan.tile_rows(), c.rows) * row_ + plan.row_unit - 1
              : 0) {}

  // Row tiles that are held, instead of those of the last call.
  void pack(const RowTiles& part) {
    first_row_ = part.group0 * c_.rows + plan_.row_begin(c_, part.tile0);
    parallel_for(part.groups * part.tiles, plan_.worth_threads, [&](int64_t begin, int64_t end) {
      if (c_.rows == 1 && c_.phases == 1) {  // the packed order is the stored one
        copy_.in(
            {packed_.data() + begin * row_, 0, 1, w_ + (part.group0 + begin) * row_, 0, 1, 1, (end - begin) * row_});
        return;
      }
      if (rows_follow_ || !plan_.pack_weights)
        for (int64_t i = begin; i < end; ++i) pack_rows(part.group0 + i / part.tiles, part.tile0 + i % part.tiles);
      else
        pack_by_channel(part, begin, end);
      if constexpr (std::is_same_v<E, BFloat16>)
        for (int64_t i = begin; pairs_ && i < end; ++i) join(part.group0 + i / part.tiles, part.tile0 + i % part.tiles);
    });
  }

  // The weights of a tile of `rows` rows, counted through the groups, from tap `tap0` in the order of phases on.
  WeightView<T> of(int64_t row, int64_t rows, int64_t tap0) const {
    const T* first = packed_.data() + (row - first_row_) * row_;
    if (!plan_.pack_weights) return stored_order(c_, first, rows, c_.channels);
    return {first + tap0 * c_.channels * rows, 0, 0};
  }

 private:
  // In grad_input the rows of a channel are neighbours, the next channel on another page. So runs of this many bytes of
  // a channel are read, long enough for the hardware to see them coming, and 64 KiB of them are taken apart at a time.
  static constexpr int64_t kRunBytes = 2 << 10, kChannels = 32;

  const E* stored(int64_t group, int64_t row, int64_t channel) const {
    return w_ + group * c_.w_group + row * c_.w_row + channel * c_.w_channel;
  }
  T* packed(int64_t group, int64_t row) const { return packed_.data() + (group * c_.rows + row - first_row_) * row_; }

  // A tile whose rows are neither apart in phases nor next to each other.
  void pack_rows(int64_t group, int64_t tile) const {
    const int64_t row = plan_.row_begin(c_, tile), rows = plan_.row_begin(c_, tile + 1) - row;
    if (plan_.pack_weights)
      copy_.in({packed(group, row), 1, rows, stored(group, row, 0), c_.w_row, 1, rows, row_});
    else
      in_sum_type(c_, copy_, stored(group, row, 0), rows, c_.channels, packed(group, row));
  }

  // Tiles [begin, end) of a part.
  void pack_by_channel(const RowTiles& part, int64_t begin, int64_t end) const {
    const int64_t channel_bytes = plan_.tile_rows() * c_.taps * int64_t(sizeof(T));
    const int64_t most = std::clamp<int64_t>(kRunBytes / channel_bytes, 1, part.tiles);
    const Scratch<T> split(
        std::min(kChannels, c_.channels) * (most * plan_.tile_rows() + PanelLayout::kAlignment) * c_.taps);
    for (int64_t i = begin, tiles; i < end; i += tiles) {
      const int64_t tile = i % part.tiles;
      tiles = std::min({most, end - i, part.tiles - tile});
      for (int64_t channel = 0; channel < c_.channels; channel += kChannels)
        pack_tiles(
            part.group0 + i / part.tiles, part.tile0 + tile, tiles, channel, std::min(kChannels, c_.channels - channel),
            split.data());
    }
  }

  // Some channels of neighbouring tiles, first as [tap][channel][row].
  void pack_tiles(int64_t group, int64_t tile0, int64_t tiles, int64_t channel, int64_t channels, T* split) const {
    const PanelLayout& layout = plan_.layout;
    const int64_t row0 = plan_.row_begin(c_, tile0), all_rows = plan_.row_begin(c_, tile0 + tiles) - row0;
    const int64_t split_row = innermost_row(all_rows), split_tap = channels * split_row;
    if (all_rows == 1)
      copy_.in({split, 1, split_tap, stored(group, row0, channel), c_.w_channel, 1, channels, c_.taps});
    else
      for (int64_t i = 0; i < channels; ++i)
        copy_.in(
            {split + i * split_row, 1, split_tap, stored(group, row0, channel + i), c_.w_row, 1, all_rows, c_.taps});
    for (int64_t tile = tile0; tile < tile0 + tiles; ++tile) {
      const int64_t row = plan_.row_begin(c_, tile), rows = plan_.row_begin(c_, tile + 1) - row;
      for (int64_t phase = 0; phase < c_.phases; phase += joined_[phase]) {
        const int64_t taps = layout.phase_taps(phase), joined = joined_[phase], width = joined * rows;
        T* block = packed(group, row) + (layout.phase_begin[phase] * c_.channels + channel * taps * joined) * rows;
        for (int64_t t = 0; t < taps; ++t)
          for (int64_t p = 0; p < joined; ++p)
            copy_sums_.in(
                {block + t * width + p * rows, taps * width, 1,
                 split + layout.tap_order[layout.phase_begin[phase + p] + t] * split_tap + row - row0, split_row, 1,
                 channels, rows});
      }
    }
  }

  // Two channels in the place of the first of them.
  void join(int64_t group, int64_t tile) const {
    const int64_t row0 = plan_.row_begin(c_, tile), rows = plan_.row_begin(c_, tile + 1) - row0;
    for (int64_t phase = 0; phase < c_.phases; ++phase)
      join_channels(
          *pairs_, packed(group, row0) + plan_.layout.phase_begin[phase] * c_.channels * rows,
          plan_.layout.phase_taps(phase) * rows, c_.channels);
  }

  const Correlation& c_;
  const CorrelationPlan& plan_;
  const std::vector<int64_t>& joined_;
  const CopyKernels<E>& copy_;
  const CopyKernels<T>& copy_sums_;
  const PairKernels* const pairs_;  // or null
  const E* const w_;
  const int64_t row_;        // weights of a row
  const bool rows_follow_;   // each other, in the packed order
  const Scratch<T> packed_;  // with room for the lanes beyond the last row
  int64_t first_row_ = 0;
};

}  // namespace torch_conv1d::cpu
