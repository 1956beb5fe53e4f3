#include <algorithm>
#include <cstdlib>

#include "../division.h"
#include "toom_cook.h"

namespace torch_conv1d::cpu {
namespace {

// Transforms cost about as much as 5 channels and 5 rows of products; three taps save least.
constexpr int64_t kChannels = 32, kChannelsOfThreeTaps = 48;
// A batch of one has to pay for the transformed weights: cheap for five taps, which save most, and dear, a position for
// every kWeightsOfPosition, where there are more elements than a thread keeps memory for.
constexpr int64_t kPositions = 128, kPositionsOfFiveTaps = 32;
constexpr int64_t kManyWeights = 1 << 20, kWeightsOfPosition = 1 << 13;
// Columns of an item: enough for few of them to lie between samples or beyond the end.
constexpr int64_t kColumns = 288;

}  // namespace

bool uses_toom_cook(const Correlation& c, Algorithm algorithm) {
  if (algorithm == Algorithm::direct) return false;
  if (c.phases > 1 || c.source_stride > 1 || c.fold_left + c.fold_right > 0) return false;
  if (c.taps < 3 || std::min(c.rows, c.channels) < (c.taps == 3 ? kChannelsOfThreeTaps : kChannels)) return false;
  const ToomCookForm form(c);
  const int64_t weights = c.rows * c.channels * form.tap_groups * form.points;
  if (c.out_length < (c.taps == 5 ? kPositionsOfFiveTaps : kPositions)) return false;
  if (weights > kManyWeights && c.out_length < weights / kWeightsOfPosition) return false;
  // Positions computed beyond the end of the result: a tile of each phase at most.
  return form.tiles * form.positions() * 4 <= c.out_length * 5;
}

ToomCookForm::ToomCookForm(const Correlation& c)
    : taps(c.taps == 3 || c.taps == 5 ? c.taps : kToomCookOutputs),
      points(kToomCookOutputs + taps - 1),
      tap_groups(ceil_div(c.taps, taps)),
      dilation(std::abs(c.step)),
      tiles(ceil_div(c.out_length, positions())),
      source(c) {
  source.first = c.first_offset();
  source.step = source.taps = 1;
}

ToomCookPlan plan_toom_cook(const Correlation& c, int64_t sum_bytes, const Machine& machine) {
  ToomCookPlan plan(c);
  plan.row_tiles = ceil_div(c.rows, machine.correlate_rows);
  plan.tile_block = plan.row_tiles;
  plan.worth_threads = true;

  // The transformed source of a point meets all rows, and stays in the L2 cache beside the weights that pass through and
  // the products held.
  const int64_t rows = ceil_div(c.rows, plan.row_tiles);
  const int64_t tile = machine.lanes * machine.correlate_vectors[rows];
  const int64_t columns =
      std::clamp(machine.l2_bytes / 8 / sum_bytes / c.channels / tile * tile, tile, kColumns / tile * tile);
  plan.held_tiles = std::max<int64_t>(machine.l2_bytes / 4 / sum_bytes / (plan.points * rows * columns), 1);
  // Equal parts: of the tiles, in whole vectors, or of the samples.
  const int64_t most = std::max<int64_t>(columns / plan.dilation - plan.tap_groups + 1, 1);
  const int64_t even = ceil_div(plan.tiles, ceil_div(plan.tiles, most)) + plan.tap_groups - 1;
  plan.q_block = std::min(most, ceil_div(even, machine.lanes) * machine.lanes - plan.tap_groups + 1);
  const int64_t samples =
      plan.q_block < plan.tiles ? 1 : std::max<int64_t>(columns / plan.sample_columns(plan.tiles), 1);
  const int64_t n = std::max<int64_t>(c.n, 1);
  plan.n_block = ceil_div(n, ceil_div(n, samples));
  const int64_t wanted = machine.threads > 1 ? 8 * machine.threads : 1;
  const auto items = [&] {
    return ceil_div(c.n, plan.n_block) * c.groups * ceil_div(plan.tiles, plan.q_block) *
           ceil_div(plan.row_tiles, plan.tile_block);
  };
  while (items() < wanted && plan.n_block > 1) plan.n_block = ceil_div(plan.n_block, 2);
  while (items() < wanted && plan.tile_block > 1) plan.tile_block = ceil_div(plan.tile_block, 2);
  return plan;
}

}  // namespace torch_conv1d::cpu
