// One row a group: of fir_rows.cpp and channels.cpp.
#include <algorithm>

#include "../../division.h"
#include "block_sizes.h"

namespace torch_conv1d::cpu {
namespace {

// Positions of an item whose lanes are channels: enough to forget the positions that it shares with its neighbours.
constexpr int64_t kChannelPositions = 256;
// Up to this distance from the first tap to the last, the positions of a few channels fit the L2 cache.
constexpr int64_t kChannelSpan = 2048;
// With more taps a phase, a transposed source is transposed into rows whose taps share loads, instead of the result.
constexpr int64_t kChannelTaps = 32;

// Rows of fewer bytes of sums than this, as long as fewer samples than fill half of a cache line stand side by side,
// are transposed: lanes are idle otherwise, or every row has an end to pack. So are those of a stride, whose phases are
// another copy, of any number of samples; of a few, up to twice as long.
constexpr int64_t kTransposedRow = 256, kFewSamples = 8;

// Up to so many bytes of sums a row of grad_y, transposing a row and what it meets takes less time than packing its
// ends and loading, storing and adding up 64 bytes of sums for each tap; less where several taps share a load.
constexpr int64_t kSummedRow = 1024, kSummedFirRow = 768;

// Depth multipliers: up to so many channels of a group, whose first, second ... are rows of lanes each, or rows of a
// group.
constexpr int64_t kMultiplier = 4;

// A sixth of the lanes may be idle.
bool groups_fill_lanes(const Correlation& c, int64_t lanes) {
  return c.groups >= lanes && 5 * (ceil_div(c.groups, lanes) * lanes) <= 6 * c.groups;
}

// Each product loads an element, so that more of them repay transposing both sides, where rows of a tile share loads.
bool lanes_are_groups(const Correlation& c, int64_t sum_bytes, DataFacts data) {
  const int64_t parts = c.rows * c.channels;
  return data.channels_innermost && (c.rows == 1 || c.channels == 1) && parts <= kMultiplier &&
         parts * c.taps <= kDirectProducts * c.phases && c.last_offset() - c.first_offset() < kChannelPositions &&
         groups_fill_lanes(c, 64 / sum_bytes);
}

}  // namespace

bool tiles_end_with_rows(const Correlation& result, int64_t sum_bytes, DataFacts data, const Machine& machine) {
  const Correlation c = result.with_outside();
  const int64_t lanes = 64 / sum_bytes;
  const int64_t threads = c.multiply_adds() > kThreadWork ? machine.threads : 1;
  const int64_t samples =
      samples_together(c, sum_bytes, machine, machine.lanes * machine.correlate_vectors[1], threads);
  const DirectTile tile = DirectReads(c, sum_bytes, data, machine.lanes).tile;
  return c.rows == 1 && c.channels < kTapRowsChannels && data.unit_stride && c.q_total() >= lanes &&
         c.phases * lanes <= kDirectPositions && !(result.folds() && c.out_length > kDirectPositions) &&
         samples < kFewSamplesTogether &&
         (tile <= DirectTile::sums || (tile == DirectTile::doubled && data.narrowness == 1));
}

FirRowsPlan plan_fir_rows(const Correlation& c, int64_t sum_bytes, const Machine& machine) {
  FirRowsPlan plan;
  plan.worth_threads = c.multiply_adds() > kThreadWork;
  plan.to_memory = c.n * c.groups * c.out_length * sum_bytes > machine.l2_bytes;
  const int64_t threads = plan.worth_threads ? machine.threads : 1, q_total = c.q_total();
  // A row that is folded is computed as a whole.
  int64_t parts = c.folds() ? 1 : ceil_div(q_total * c.phases * c.source_stride, kDirectPositions);
  const auto set_parts = [&](int64_t count) {
    parts = count;
    plan.q_block = ceil_div(ceil_div(q_total, parts), machine.lanes) * machine.lanes;
  };
  set_parts(parts);
  const int64_t group_bytes = (c.channels * c.source_stride + c.phases) * plan.q_block * sum_bytes;
  plan.group_block = std::clamp<int64_t>(kDirectBytes / group_bytes, 1, c.groups);
  const auto items = [&] { return c.n * ceil_div(c.groups, plan.group_block) * ceil_div(q_total, plan.q_block); };
  while (!shared_evenly(items(), threads) && plan.group_block > 1) plan.group_block = ceil_div(plan.group_block, 2);
  while (!shared_evenly(items(), threads) && !c.folds() && plan.q_block >= 16 * machine.lanes) set_parts(parts * 2);
  return plan;
}

bool reads_two_tensors(const Correlation& c, bool unit_stride) {
  return c.rows == 1 && c.channels == 1 && unit_stride && c.q_total() >= kShortRow;
}

bool fill_lanes(const Correlation& c, int64_t sum_bytes) {
  return c.groups >= 64 / sum_bytes && c.last_offset() - c.first_offset() < kChannelSpan;
}

bool lanes_are_channels(const Correlation& c, int64_t sum_bytes, DataFacts data) {
  const int64_t lanes = 64 / sum_bytes;
  const bool short_rows = c.q_total() < lanes && !c.folds();
  return c.rows == 1 && c.channels == 1 && fill_lanes(c, sum_bytes) &&
         (data.channels_innermost || (data.source_innermost && c.taps <= kChannelTaps * c.phases) || short_rows);
}

bool filters_channels(const Correlation& c, int64_t sum_bytes, DataFacts data) {
  if (lanes_are_channels(c, sum_bytes, data) || lanes_are_groups(c, sum_bytes, data)) return true;
  const int64_t lanes = 64 / sum_bytes, row_bytes = c.q_total() * sum_bytes;
  if (c.rows > 1 || c.channels > 1 || c.folds() || !groups_fill_lanes(c, lanes) ||
      c.last_offset() - c.first_offset() >= kChannelSpan)
    return false;
  const bool few = c.n < kFewSamples;
  if (c.source_stride > 1) return row_bytes < (few ? 2 : 1) * kTransposedRow;
  // Phases are written an element at a time, which costs more than idle lanes of samples side by side alone.
  return few && row_bytes * (c.n < kFewSamplesTogether ? c.phases : 1) < kTransposedRow;
}

bool sums_by_channels(const Correlation& c, int64_t sum_bytes, DataFacts data) {
  const int64_t lanes = 64 / sum_bytes;
  const bool shares = c.unit_step() == 1 && c.taps > lanes;
  const bool short_rows = c.q_total() * sum_bytes <= (shares ? kSummedFirRow : kSummedRow) && c.source_stride <= c.taps;
  // Of one side with channels innermost, the other one is transposed into lanes: a block of channels at a time, not a
  // row.
  return lanes_are_channels(c, sum_bytes, data) ||
         ((short_rows || data.source_innermost) && c.rows == 1 && c.channels == 1 && fill_lanes(c, sum_bytes));
}

ChannelsPlan plan_channels(
    const Correlation& c, int64_t sum_bytes, int64_t parts, bool copies, const Machine& machine) {
  ChannelsPlan plan;
  plan.worth_threads = c.multiply_adds() > kThreadWork;
  const int64_t tile = machine.lanes * machine.channel_vectors;
  // The rows of x that neighbouring positions share stay in the L1 cache, beside the weights if many taps do.
  const int64_t whole = c.groups / machine.lanes * machine.lanes;
  const int64_t panel = c.taps > taps_in_place(sum_bytes) ? kL1Panel : 2 * kL1Panel;
  plan.channel_block =
      std::clamp<int64_t>(panel / (c.taps * parts * sum_bytes) / tile * tile, std::min(tile, whole), whole);
  plan.q_block = std::min(kChannelPositions, std::max<int64_t>(c.q_total(), 1));
  if (copies) {
    // The positions of all phases of the fewest channels, and then more of these.
    const int64_t least = std::min(tile, whole), position_bytes = c.phases * sum_bytes;
    plan.q_block = std::clamp<int64_t>(kTransposedBytes / (least * position_bytes), 1, plan.q_block);
    plan.channel_block = std::min(
        plan.channel_block, std::max(kTransposedBytes / (plan.q_block * position_bytes * parts) / tile * tile, least));
  }
  plan.from_memory = c.taps <= taps_in_place(sum_bytes) &&
                     c.n * c.groups * (c.source_length + c.out_length) * sum_bytes > machine.l2_bytes;
  const int64_t wanted = plan.worth_threads && machine.threads > 1 ? 8 * machine.threads : 1;
  const auto items = [&] { return c.n * ceil_div(whole, plan.channel_block) * ceil_div(c.q_total(), plan.q_block); };
  while (items() < wanted && plan.q_block > 16) plan.q_block = ceil_div(plan.q_block, 2);
  while (items() < wanted && plan.channel_block > tile)
    plan.channel_block = ceil_div(plan.channel_block / 2, tile) * tile;
  plan.channel_blocks = ceil_div(whole, plan.channel_block);
  return plan;
}

}  // namespace torch_conv1d::cpu
