#include <algorithm>
#include <cstdlib>

#include "../division.h"
#include "toom_cook.h"

namespace torch_conv1d::cpu {
namespace {

// Transforms cost about as much as 5 channels and 5 rows of products.
constexpr int64_t kChannels = 32;
// A batch of one has to pay for the transformed weights.
constexpr int64_t kPositions = 32;
// Columns of products that an item holds: a row tile of them, at all points, fits the L1 cache.
constexpr int64_t kColumns = 192;

}  // namespace

bool uses_toom_cook(const Correlation& c, Algorithm algorithm) {
  if (algorithm == Algorithm::direct) return false;
  if (c.phases > 1 || c.source_stride > 1 || c.fold_left + c.fold_right > 0) return false;
  if (c.taps < 3 || c.rows < kChannels || c.channels < kChannels || c.out_length < kPositions) return false;
  // Positions computed beyond the end of the result: a tile of each phase at most.
  const int64_t positions = kToomCookOutputs * std::abs(c.step);
  return ceil_div(c.out_length, positions) * positions * 4 <= c.out_length * 5;
}

ToomCookPlan plan_toom_cook(const Correlation& c, int64_t sum_bytes, const Machine& machine) {
  ToomCookPlan plan;
  plan.taps = c.taps == 3 || c.taps == 5 ? c.taps : kToomCookOutputs;
  plan.points = kToomCookOutputs + plan.taps - 1;
  plan.tap_groups = ceil_div(c.taps, plan.taps);
  plan.dilation = std::abs(c.step);
  plan.tiles = ceil_div(c.out_length, plan.positions());
  plan.row_tiles = ceil_div(c.rows, machine.correlate_rows);
  plan.tile_block = plan.row_tiles;
  plan.worth_threads = true;

  // Tiles come one stride apart; their positions are n consecutive ones of each phase, of which the last r - 1 <= m belong
  // to the next tile.
  plan.source = c;
  plan.source.source_stride = plan.positions();
  plan.source.taps = 2 * plan.positions();
  if (c.step < 0) plan.source.first += (c.taps - 1) * c.step;
  plan.source.step = 1;

  // The transformed source shares the L2 cache with the weights that pass through.
  const int64_t tile = machine.lanes * machine.correlate_vectors[ceil_div(c.rows, plan.row_tiles)];
  const int64_t fitting = machine.l2_bytes / 2 / (sum_bytes * plan.points * c.channels);
  const int64_t columns = std::clamp(fitting / tile * tile, tile, kColumns);
  const int64_t parts = ceil_div(plan.tiles, std::max<int64_t>(columns / plan.dilation - plan.tap_groups + 1, 1));
  plan.q_block = ceil_div(plan.tiles, parts);
  plan.n_block =
      std::clamp<int64_t>(columns / (plan.dilation * plan.segment(plan.q_block)), 1, std::max<int64_t>(c.n, 1));
  const int64_t wanted = machine.threads > 1 ? 8 * machine.threads : 1;
  const auto items = [&] {
    return ceil_div(c.n, plan.n_block) * c.groups * ceil_div(plan.tiles, plan.q_block) *
           ceil_div(plan.row_tiles, plan.tile_block);
  };
  while (items() < wanted && plan.n_block > 1) plan.n_block = ceil_div(plan.n_block, 2);
  while (items() < wanted && plan.tile_block > 1) plan.tile_block = ceil_div(plan.tile_block, 2);
  plan.layout = PanelLayout(plan.source, plan.segment(plan.q_block), machine.lanes);
  return plan;
}

}  // namespace torch_conv1d::cpu
