// Of innermost.cpp, few_positions.cpp and thin.cpp, whose lanes are rows of the result; panels of the first two are
// [position][channel].
#include <algorithm>

#include "../../division.h"
#include "block_sizes.h"

namespace torch_conv1d::cpu {
namespace {

// Positions of an item whose lanes are rows: a few tiles, which share the loads of the weights from the L2 cache.
constexpr int64_t kInnermostPositions = 48;
// Tiles of fewer sums than this wait for them. They have as many positions as correlate's have rows, unless samples have
// fewer; those of correlate have all positions of several samples.
constexpr int64_t kSumsInFlight = 8;
// Where vectors are partly empty, correlate can be faster, in spite of turning panels and sums round: its time for a
// vector of products, and for an element that is turned, in that of a vector of products of tiles whose lanes are rows.
constexpr double kPanelProduct = 1.1, kTurnedElement = 0.33;
// Rows of the result whose sums are held for all positions: four cache lines, so that the weights of a channel are read
// in runs.
constexpr int64_t kBandBytes = 256;
// Of their weights, those of a phase that stay in the L1 cache for all positions.
constexpr int64_t kPhaseBytes = 24 << 10;
// Positions and sums of a sample that is more than the L2 cache holds: as much as the working memory of a call allows.
constexpr int64_t kPassingBytes = 3 << 20;
// Up to this many positions in all, packing weights in correlate's order costs more than turning positions round and
// back: in forward, of vectors of a cache line, in grad_input of a stride of 1, and where channels are innermost anyway. Phases of a stride are
// better off at any number, because nothing interleaves them; as long as weights that are packed again for some of the
// samples meet so many positions.
constexpr int64_t kFewForward = 112, kFewGradInput = 256, kFewInnermost = 56, kRepackedPositions = 64;
// Positions are turned round for at least so many rows, or half as many as there are of them.
constexpr int64_t kTurningRows = 64;
// Forward packs weights by transposing them. Of fewer lanes times positions, reading them where they are is faster.
constexpr int64_t kTransposedLanes = 64;
// Where channels are innermost, so that this turns a panel and results round, sums of so many products repay it.
constexpr int64_t kTurnedProducts = 128;
// Positions of tiles: samples that make lower ones stand side by side in correlate instead.
constexpr int64_t kLowTile = 4, kHighTile = 6;

// Positions of the source from the first to the last that q_len positions of the result read.
int64_t read_positions(const Correlation& c, int64_t q_len) {
  return (q_len - 1) * c.source_stride + c.last_offset() - c.first_offset() + 1;
}

// Bytes of a panel [position][channel] for q_len positions of the result.
int64_t innermost_bytes(const Correlation& c, int64_t sum_bytes, int64_t groups, int64_t q_len) {
  return read_positions(c, q_len) * innermost_row(groups * c.channels) * sum_bytes;
}

// Samples of which the sums of a band and the positions that they read share the L2 cache. In grad_input, whose weights
// are packed in runs, a single one may be more, as long as what a band reads of it is less than its weights.
int64_t samples_of_band(const Correlation& c, int64_t sum_bytes, const Machine& machine) {
  const int64_t q_total = c.q_total(), read = read_positions(c, q_total);
  const int64_t sample_bytes = q_total * c.phases * kBandBytes + read * c.groups * c.channels * sum_bytes;
  const bool passes = c.w_channel > c.w_row && read * sum_bytes <= kBandBytes * c.taps;
  if (c.n == 1 && passes && sample_bytes <= kPassingBytes) return 1;
  return std::min(machine.l2_bytes * 3 / 4 / sample_bytes, c.n);
}

// Whether forward's positions fill tiles of correlate that read each weight once, where it is: packing one takes longer
// than so few products.
bool reads_stored_weights(const Correlation& c, int64_t sum_bytes, const Machine& machine) {
  const int64_t positions = c.n * c.q_total(), vectors = ceil_div(positions, machine.lanes);
  const int64_t lanes = vectors * machine.lanes;
  if (vectors > kStoredVectors || c.w_row < c.w_channel) return false;
  return c.taps > 1 && lanes * sum_bytes <= 64 ? 2 * positions > lanes : 8 * positions >= 7 * lanes;
}

// The same where channels are innermost; of several samples it does not pay.
bool turns_to_stored_weights(const Correlation& c, int64_t sum_bytes, const Machine& machine) {
  return c.n == 1 && c.channels * c.taps >= kTurnedProducts && reads_stored_weights(c, sum_bytes, machine);
}

}  // namespace

bool lanes_are_innermost_rows(const Correlation& c, int64_t sum_bytes, DataFacts data, const Machine& machine) {
  if (!data.channels_innermost || c.rows <= 1 || 2 * c.rows < machine.lanes ||
      turns_to_stored_weights(c, sum_bytes, machine) ||
      innermost_bytes(c, sum_bytes, 1, kInnermostPositions) > machine.l2_bytes / 2)
    return false;
  const int64_t vectors = ceil_div(c.rows, machine.lanes), of_tile = std::min(vectors, machine.innermost_vectors);
  if (c.n > 1 && has_short_rows(c) && c.q_total() * of_tile < kSumsInFlight) return false;
  // Vectors of products for a position, in the time of full tiles.
  const double products = double(c.channels * c.taps) / double(c.phases);
  const double waits = std::max(double(kSumsInFlight) / double(machine.correlate_rows * of_tile), 1.0);
  const double panel_products = kPanelProduct * double(c.rows) / double(machine.lanes) * products;
  const double turned = double(c.channels * c.source_stride + c.rows);
  return c.n * c.q_total() <= kFewInnermost ||
         double(vectors) * waits * products <= panel_products + kTurnedElement * turned;
}

CorrelationPlan plan_innermost(const Correlation& c, int64_t sum_bytes, const Machine& machine) {
  CorrelationPlan plan;
  plan.row_unit = machine.lanes;
  plan.row_units = ceil_div(c.rows, machine.lanes);
  plan.row_tiles = ceil_div(plan.row_units, machine.innermost_vectors);
  plan.worth_threads = c.multiply_adds() > kThreadWork;
  const int64_t threads = plan.worth_threads ? machine.threads : 1, q_total = c.q_total();
  const int64_t most_groups = hold_weights(c, sum_bytes, plan);
  // Groups that fill cache lines; positions whose panel and results stay in the L2 cache.
  plan.group_block =
      std::clamp<int64_t>(ceil_div(PanelLayout::kAlignment, std::max<int64_t>(c.channels, 1)), 1, most_groups);
  int64_t parts = 1;
  const auto set_parts = [&](int64_t count) {
    parts = count;
    plan.q_block = ceil_div(q_total, parts);
  };
  const auto bytes = [&] {
    return innermost_bytes(c, sum_bytes, plan.group_block, plan.q_block) +
           plan.group_block * c.rows * c.phases * plan.q_block * sum_bytes;
  };
  set_parts(1);
  while (bytes() > machine.l2_bytes / 2 && plan.q_block > kInnermostPositions) set_parts(parts + 1 + parts / 8);
  plan.tile_block = plan.held_tiles;
  const auto items = [&] {
    return c.n * ceil_div(most_groups, plan.group_block) * ceil_div(q_total, plan.q_block) *
           ceil_div(plan.held_tiles, plan.tile_block);
  };
  while (!shared_evenly(items(), threads) && plan.group_block > 1) plan.group_block = ceil_div(plan.group_block, 2);
  while (!shared_evenly(items(), threads) && plan.q_block >= 2 * kInnermostPositions) set_parts(parts * 2);
  while (!shared_evenly(items(), threads) && plan.tile_block > 1) plan.tile_block = ceil_div(plan.tile_block, 2);
  plan.held_groups = most_groups / plan.group_block * plan.group_block;
  plan.n_block = 1;
  plan.pack_weights = true;
  plan.layout = PanelLayout(c, plan.q_block, machine.lanes);  // of its taps alone
  return plan;
}

bool has_few_positions(const Correlation& c, int64_t sum_bytes, DataFacts data, const Machine& machine) {
  const int64_t q_total = c.q_total(), positions = c.n * q_total;
  if (c.rows <= 1 || c.channels == 0 || positions == 0) return false;
  // Rows that repay turning so many positions round, in tiles that are not low.
  if (2 * c.rows < std::min(positions, 2 * kTurningRows)) return false;
  if (c.n > 1 && q_total < kLowTile * ceil_div(q_total, kHighTile)) return false;
  const int64_t samples = samples_of_band(c, sum_bytes, machine);
  if (data.channels_innermost)
    return samples == c.n && positions <= kFewInnermost && !turns_to_stored_weights(c, sum_bytes, machine);
  if (c.w_row > c.w_channel) {
    // Vectors of half a cache line read each line of the weights twice; rows that meet evict each other in between.
    const int64_t vector_bytes = machine.lanes * sum_bytes;
    const bool evicted = vector_bytes < 64 && weight_rows_meet(c, sum_bytes / data.narrowness);
    return samples == c.n && !evicted && positions <= kFewForward * vector_bytes / 64 &&
           positions * machine.lanes > kTransposedLanes && !reads_stored_weights(c, sum_bytes, machine);
  }
  if (c.phases == 1) return samples == c.n && positions <= kFewGradInput;
  return samples == c.n || samples * q_total >= kRepackedPositions;
}

FewPositionsPlan plan_few_positions(const Correlation& c, int64_t sum_bytes, const Machine& machine) {
  FewPositionsPlan plan;
  plan.lanes = machine.lanes;
  plan.worth_threads = c.multiply_adds() > kThreadWork;
  plan.row_units = ceil_div(c.rows, machine.lanes);
  plan.row_tiles = ceil_div(plan.row_units, machine.innermost_vectors);
  const auto units = [&] { return ceil_div(plan.row_units, plan.row_tiles); };
  plan.band_tiles = std::clamp<int64_t>(kBandBytes / (units() * machine.lanes * sum_bytes), 1, plan.row_tiles);
  const int64_t threads = plan.worth_threads ? machine.threads : 1;
  const auto even = [&] { return shared_evenly(c.groups * ceil_div(plan.row_tiles, plan.band_tiles), threads); };
  while (!even() && plan.band_tiles > 1) plan.band_tiles = ceil_div(plan.band_tiles, 2);
  while (!even() && units() > 1) ++plan.row_tiles;
  const int64_t channel_bytes = units() * plan.band_tiles * machine.lanes * ceil_div(c.taps, c.phases) * sum_bytes;
  plan.channel_block = std::clamp<int64_t>(kPhaseBytes / channel_bytes, 1, c.channels);
  plan.from_memory = c.groups * c.rows * c.channels * c.taps * sum_bytes > machine.l2_bytes;
  plan.positions = read_positions(c, c.q_total());
  plan.n_block = ceil_div(c.n, ceil_div(c.n, samples_of_band(c, sum_bytes, machine)));
  plan.layout = PanelLayout(c, c.q_total(), machine.lanes);
  return plan;
}

bool lanes_are_rows(const Correlation& c, int64_t sum_bytes) {
  // Of several channels with few taps each, the weights before or after those of a row are read with them.
  const bool neighbours = c.w_channel == c.taps ? c.channels * c.taps * sum_bytes >= 16 : c.channels > 1;
  const int64_t positions = c.n * c.q_total();
  return positions > 0 && positions <= kThinPositions && c.rows >= thin_rows(sum_bytes) && c.phases == 1 &&
         !c.folds() && neighbours;
}

bool lanes_are_stored_weights(const Correlation& c, int64_t sum_bytes) {
  const int64_t positions = c.n * c.source_length;
  return positions > 0 && positions <= kThinPositions && c.w_channel > c.w_row &&
         (c.source_length == 1 || c.taps == 1) && !c.folds() && c.rows * c.taps >= thin_rows(sum_bytes);
}

}  // namespace torch_conv1d::cpu
