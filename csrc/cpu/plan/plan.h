// Selection is a pure function of the problem and of a few facts of the machine; it runs nothing, and says why.
//
// Plans decide what is computed when and by whom, never the order of a sum: results do not depend on them.
#pragma once

#include <string>

#include "../../correlation.h"
#include "../../division.h"
#include "../conv1d_cpu.h"
#include "../kernel_table.h"
#include "../packing/panel.h"
#include "../parallel.h"

namespace torch_conv1d::cpu {

// Size of the second-level cache of a core, in bytes.
int64_t l2_cache_bytes();

struct Machine {
  int64_t lanes;                     // of a vector
  int64_t correlate_rows;            // most rows of a correlate tile
  const int64_t* correlate_vectors;  // vectors of a tile of [rows]
  int64_t channel_vectors;           // of a tile whose lanes are channels
  int64_t innermost_vectors;         // of a tile whose lanes are rows
  int64_t outer_rows;                // of an outer tile
  int64_t l2_bytes;
  int64_t threads;
};

template <class T>
Machine machine_with(const ArithmeticKernels<T>& kernels) {
  return {
      kernels.lanes,
      kernels.correlate_rows,
      kernels.correlate_vectors,
      kernels.channel_vectors,
      kernels.innermost_vectors,
      kernels.outer_rows,
      l2_cache_bytes(),
      num_threads()};
}

// Blocks of one forward or grad_input call. An item of work covers n_block samples (layout.width of them side by side
// in each panel), group_block groups, q_block positions (of every phase) and tile_block row tiles of each group.
struct CorrelationPlan {
  int64_t row_tiles;     // of a group; their heights differ by one unit at most
  int64_t row_units;     // of a group: rows, or where lanes are rows, vectors of them
  int64_t row_unit = 1;  // rows of a unit
  int64_t n_block, group_block, q_block, tile_block;
  bool pack_weights;
  // Packed weights that are held at a time: those of all row tiles of held_groups groups, or of held_tiles row tiles of
  // one.
  int64_t held_groups, held_tiles;
  bool worth_threads;
  // Positions whose tiles read nothing outside the source may read it where it is; only the others are packed then.
  DirectTile direct;
  bool to_memory;        // whether the result is more than the caches hold
  bool passes;           // whether all row tiles pass over a block that the L2 cache holds, or few over one in memory
  bool from_memory;      // whether these few read more than the caches hold
  int64_t panel_length;  // positions of a panel: q_block, or less where there are direct tiles
  PanelLayout layout;    // of panel_length positions

  int64_t row_begin(const Correlation& c, int64_t tile) const {
    return std::min(tile * row_units / row_tiles * row_unit, c.rows);
  }
  int64_t tile_rows() const { return ceil_div(row_units, row_tiles) * row_unit; }  // of the largest
};

// What the data in memory allow: rows whose positions are neighbours, on both sides; or positions whose channels are,
// on both sides.
struct DataFacts {
  bool unit_stride;
  int64_t narrowness;  // of the source
  bool channels_innermost = false;
  bool source_innermost = false;  // of the source at least; in grad_weight, of x or grad_y
  int64_t source_row = 0;         // elements from one channel of the source to the next
  bool pairs = false;             // of bfloat16 may be multiplied in the time of one product
  bool samples_follow = false;    // on both sides, as their positions do: all positions are equally far apart
};

// The ways to carry out forward and grad_input, in the order in which they are asked for; drivers.h says what each is
// for.
enum class Way {
  fft,
  weights,
  innermost_pairs,
  pairs,
  toom_cook,
  channels,
  thin_stored,
  tap_rows,
  thin,
  few_positions,
  innermost,
  fir_rows,
  correlate,
};
struct Choice {
  Way way;
  Correlation c;  // with the taps that it computes, and samples joined
};
Choice choose_way(
    const Correlation& layer, Algorithm algorithm, int64_t sum_bytes, DataFacts data, const Machine& machine);

// Whether positions should be channels, or rows, of (N, C, 1) tensors: contiguous rows have it so in memory, and this way
// has the same sums, chains in the order of channels, then taps; as long as working memory holds so many channels.
bool positions_are_channels(const Correlation& c, Way way, int64_t sum_bytes, const Machine& machine);

// The tiles that read the source where it is, `lanes` sums in a vector, and the most positions at either end that have
// to be packed all the same.
struct DirectReads {
  DirectReads(const Correlation& c, int64_t sum_bytes, DataFacts data, int64_t lanes);

  DirectTile tile = DirectTile::none;
  bool possible;  // for tiles of sums, had they not too many products
  int64_t end_length;
};

// Whether there are several rows so short that they may leave lanes idle, and not much more of the source than they
// read.
bool has_short_rows(const Correlation& c);

// Whether channels should be multiplied in pairs, of bfloat16. Sums depend on it, so it does not depend on the batch.
bool channels_are_pairs(const Correlation& c, DataFacts data);

// Of a correlation, how many channels to take at a time: of one group, whose sums go on in the rows of the result.
int64_t channels_at_a_time(const Correlation& c, int64_t sum_bytes, DataFacts data, const Machine& machine);
// Of a correlation with what is outside.
CorrelationPlan plan_correlation(const Correlation& c, int64_t sum_bytes, DataFacts data, const Machine& machine);

// Whether correlate should read the channels of a second tensor, with weights of their own, in the same pass: those of
// one row, in tiles that read neighbouring positions.
bool reads_two_tensors(const Correlation& c, bool unit_stride);

// Whether lanes should be rows of the result because channels are innermost on both sides; the plan then, where a panel
// is [position][channel].
bool lanes_are_innermost_rows(const Correlation& c, int64_t sum_bytes, DataFacts data, const Machine& machine);
CorrelationPlan plan_innermost(const Correlation& c, int64_t sum_bytes, const Machine& machine);
// From one position of such a panel to the next: positions a multiple of 2 KiB apart would compete for the same lines
// of the L1 cache.
inline int64_t innermost_row(int64_t channels) {
  return channels % 512 ? channels : channels + PanelLayout::kAlignment;
}
// Whether there are so few positions, or phases of them, that lanes should be rows of the result, whatever the layouts:
// weights are packed while the rows of an item meet all positions of n_block samples. An item covers band_tiles row
// tiles, of whose weights those of channel_block channels are packed at a time.
struct FewPositionsPlan {
  int64_t row_units, row_tiles;  // as in CorrelationPlan,
  int64_t lanes;                 // in units of vectors
  int64_t n_block, band_tiles, channel_block;
  int64_t positions;  // of a sample that are read, inside the source or outside
  bool worth_threads;
  bool from_memory;    // whether the weights are more than the L2 cache holds
  PanelLayout layout;  // of its taps alone

  int64_t row_begin(const Correlation& c, int64_t tile) const {
    return std::min(tile * row_units / row_tiles * lanes, c.rows);
  }
};
bool has_few_positions(const Correlation& c, int64_t sum_bytes, DataFacts data, const Machine& machine);
FewPositionsPlan plan_few_positions(const Correlation& c, int64_t sum_bytes, const Machine& machine);

// Whether the taps of grad_input are so many more than the positions of grad_y that it should be the kernel, and w the
// source (filter_weights.cpp).
bool filters_weights(const Correlation& c, int64_t sum_bytes);

// Whether taps are rows (tap_rows.cpp): those of a single row of many channels, and of a few in grad_input if more of a
// row is padding than that costs. Sums depend on it, so it depends on the problem alone, and for several rows, where
// the length counts, it is not direct.
bool taps_are_rows(const Correlation& c, Algorithm algorithm);
// The same, with fewer products than Toom-Cook's filtering has: most of a row is padding.
bool taps_are_fewer_products(const Correlation& c, Algorithm algorithm);

// Taps that share their loads: tile.taps of them. They read what is `begin` positions from those of the result, and
// `extra` more than one tap does.
struct TapTile {
  int64_t first, taps;
  int64_t begin, extra;
};

// An item of work covers panel.width samples, side by side, and row_block rows of one group, at q_block positions (of
// every phase).
struct TapRowsPlan {
  int64_t q_block, row_block;
  int64_t rows_held, channel_block;  // rows whose z is held at a time, and channels of a panel
  bool worth_threads;
  bool direct;       // the source is read where it is, in vectors that begin at multiples of them
  bool from_memory;  // it is more than the caches hold, and in rows that tiles can fetch
  std::vector<TapTile> tiles;
  int64_t first_offset;              // of the first tile
  int64_t z_row;                     // from the sums of one tap to those of the next
  std::vector<int64_t> phase_begin;  // as in PanelLayout
  std::vector<int64_t> z_at;         // where the first position finds its sums, for each tap by phase
  Correlation one_tap;               // that reads what it gives
  PanelLayout panel;                 // of this one
};

// Of a correlation with what is outside.
TapRowsPlan plan_tap_rows(const Correlation& c, int64_t sum_bytes, DataFacts data, const Machine& machine);

// Whether the result of a group is one row of a few channels, which is computed on its own (fir_rows.cpp); then, of a
// correlation with what is outside, the positions of group_block groups that are an item.
struct FirRowsPlan {
  int64_t q_block, group_block;
  bool worth_threads;
  bool to_memory;  // whether the result is more than the L2 cache holds
};
bool tiles_end_with_rows(const Correlation& c, int64_t sum_bytes, DataFacts data, const Machine& machine);
FirRowsPlan plan_fir_rows(const Correlation& c, int64_t sum_bytes, const Machine& machine);

// Below this many multiply-adds a second thread costs more than it saves.
constexpr double kThreadWork = 1 << 18;

// A thread may have so much of an equal share of the work: less would cost more in narrow tiles, halos and packing.
constexpr double kEvenShare = 1.08;

// Whether so many items are equal shares for the threads: a multiple of them, or so many that one more or less is
// little.
inline bool shared_evenly(int64_t items, int64_t threads) {
  return double(ceil_div(items, threads) * threads) <= kEvenShare * double(items);
}

// Whether there are so few positions in all that lanes are rows of the result; or, in grad_input where each position
// meets one tap at most, the weights of a channel as they are stored.
bool lanes_are_rows(const Correlation& c, int64_t sum_bytes);
bool lanes_are_stored_weights(const Correlation& c, int64_t sum_bytes);

// Whether grad_weight has so few positions in all that their operands are fewer than the sums, which are then stored
// once, where they belong; lanes are the weights of an output channel.
bool sums_few_positions(const Conv1dProblem& p);

// Rows of channels that so many taps read are read where they are. More taps share loads among those that are so many
// apart, in copies next to each other: the rows themselves, a number of bytes apart that is often a power of two, compete
// for the same sets of the L1 cache.
constexpr int64_t taps_in_place(int64_t sum_bytes) { return 64 / sum_bytes; }
// The same of grad_weight, if it does not come from memory.
constexpr int64_t kSummedTapsInPlace = 8;

// A depthwise layer whose lanes are channels, or one of few channels a group whose lanes are groups. An item of work
// covers q_block positions of channel_block lanes; the last block has what is less than a vector more.
struct ChannelsPlan {
  int64_t channel_block, channel_blocks, q_block;
  bool worth_threads;
  bool from_memory;  // rows that are read in place, or written, are more than the L2 cache holds
};

// Whether lanes should be channels: those that are neighbours in memory, on both sides or in the source of forward and
// grad_input, or whose rows are short. Sums of grad_weight depend on it, so it depends on the problem alone, not on the
// machine.
bool lanes_are_channels(const Correlation& c, int64_t sum_bytes, DataFacts data);
// Whether there are groups enough, whose taps are near enough, for groups of a few channels to be lanes.
bool fill_lanes(const Correlation& c, int64_t sum_bytes);
// The same of forward and grad_input, whose sums do not depend on it, for short rows and depth multipliers; and of
// grad_weight, which has no result to transpose.
bool filters_channels(const Correlation& c, int64_t sum_bytes, DataFacts data);
bool sums_by_channels(const Correlation& c, int64_t sum_bytes, DataFacts data);
// `copies`: of an item, source or result are copied, in so many parts.
ChannelsPlan plan_channels(const Correlation& c, int64_t sum_bytes, int64_t parts, bool copies, const Machine& machine);

// How the reduction over (n, lo) of grad_weight is cut. Sums depend on these numbers, so they follow from the shape of
// the problem alone: not from the machine, its caches or its threads.
enum class GradWeightLanes {
  positions,        // the dot tiles
  output_channels,  // the outer tile
  weights,          // the correlate tile
  channels,         // the tile of depthwise layers, of groups of few channels too
  transformed,      // the outer tile on operands transformed by Toom-Cook's filtering
};
struct ReductionPlan {
  GradWeightLanes lanes;
  int64_t runs, length;  // a block is `length` positions of each of `runs` samples,
  bool together;         // which stand side by side, so that it is the sum over (position, sample) instead
  int64_t blocks_per_sample, blocks;
  bool pairs;     // outer: of positions are multiplied at a time, of bfloat16
  int64_t parts;  // consecutive blocks form a part; the sums of the parts are added in order
};

// Whether grad_weight should be the forward pass of another layer, whose kernel is grad_y (grad_weight_correlation): there
// are so many taps that they fill lanes, and few positions.
bool sums_by_filtering(const Conv1dProblem& p, Algorithm algorithm, int64_t sum_bytes, DataFacts data);

// grad_weight of a stride of 1 is that of another layer as well, in which x and grad_y have changed places: with li =
// lo + k * dilation - pad_left, lo = li + (K - 1 - k) * dilation - ((K - 1) * dilation - pad_left). Its padding may be
// negative.
Conv1dProblem exchanged_problem(const Conv1dProblem& p);
// Whether that is less work: because input channels fill lanes, or rows of tiles, that output channels do not.
bool exchanges_operands(const Conv1dProblem& p, Algorithm algorithm, int64_t sum_bytes, DataFacts data);

// The blocks of the result; they change no sum. An item of work is one part of the reduction for group_block groups,
// co_block output channels and ci_block input channels of each.
struct GradWeightPlan {
  ReductionPlan reduction;
  int64_t group_block, co_block, ci_block;
  int64_t co_held;  // outer, transformed: output channels whose sums are held at a time
  bool worth_threads;
  bool in_place;         // dot: the outer tile makes its sums, from grad_y where it is, whose channels are innermost
  DirectTile direct;     // dot: as in CorrelationPlan, for x and grad_y alike
  int64_t panel_length;  // positions of a panel: those of a block, or less where there are direct tiles
  int64_t g_block;       // dot: rows of grad_y that are packed at a time
  bool from_memory;      // channels: as in ChannelsPlan
  int64_t j_block;       // weights: of an output channel, whose columns are packed at a time
};

ReductionPlan plan_reduction(const Conv1dProblem& p, Algorithm algorithm, int64_t sum_bytes, DataFacts data);
GradWeightPlan plan_grad_weight(
    const Conv1dProblem& p, Algorithm algorithm, int64_t sum_bytes, DataFacts data, const Machine& machine);

}  // namespace torch_conv1d::cpu
