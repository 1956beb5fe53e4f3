#include <algorithm>
#include <cstdlib>

#include "../division.h"
#include "toom_cook.h"

namespace torch_conv1d::cpu {
namespace {

// Transforms cost as much as products with this many more channels and rows.
constexpr int64_t kTransforms = 20;
// A batch of one has to pay for the transformed weights: cheap for five taps, which save most, and dear, a position for
// every kWeightsOfPosition, where there are more elements than a thread keeps memory for.
constexpr int64_t kPositions = 128, kPositionsOfFiveTaps = 32;
constexpr int64_t kManyWeights = 1 << 20, kWeightsOfPosition = 1 << 13;
// A padding mode repeats a small part of a row: sums of as many positions at either end are kept until all are known.
constexpr int64_t kEnds = 16;
// Beside its result, a call may take 4 MiB for each thread: for the transformed source and its part of the shared weights this
// much, which leaves room for the products held.
constexpr int64_t kItemBytes = 13 << 18, kSharedBytes = 5 << 19;
// Columns of an item: enough for few of them to lie between samples or beyond the end.
constexpr int64_t kColumns = 288;

}  // namespace

bool saves_products(const Correlation& c, Algorithm algorithm) {
  if (algorithm == Algorithm::direct) return false;
  const int64_t stride = c.phases * c.source_stride;
  if (c.taps <= stride || (stride > 1 && std::abs(c.step) > 1)) return false;
  const ToomCookForm form(c);
  if (form.rows < 2) return false;  // a single row is the fir tile's
  // Products that save less than a quarter do not pay for more weights.
  const int64_t of_tile = form.points * form.tap_groups * stride, of_direct_sums = kToomCookOutputs * c.taps;
  if (of_tile * 5 > of_direct_sums * 4) return false;
  // Positions computed beyond the end of the result: a tile of each phase of the dilation at most.
  if (form.tiles * form.positions() * 4 > form.length * 5) return false;
  const int64_t products = form.rows * form.channels * form.tap_groups;
  return form.points * (products + kTransforms * (form.rows + form.channels)) <
         kToomCookOutputs * c.rows * c.channels * c.taps;
}

bool uses_toom_cook(const Correlation& c, Algorithm algorithm) {
  if (!saves_products(c, algorithm) || (c.fold_left + c.fold_right) * kEnds > c.out_length) return false;
  const ToomCookForm form(c);
  const int64_t weights = form.rows * form.channels * form.tap_groups * form.points;
  return form.length >= (form.taps == 5 ? kPositionsOfFiveTaps : kPositions) &&
         (weights <= kManyWeights || form.length >= weights / kWeightsOfPosition);
}

ToomCookForm::ToomCookForm(const Correlation& c)
    : phases(c.phases),
      source_phases(c.source_stride),
      rows(c.rows * phases),
      channels(c.channels * source_phases),
      tap_count(ceil_div(c.taps, phases * source_phases)),
      taps(tap_count <= kMaxToomCookTaps ? tap_count : kToomCookOutputs),
      points(kToomCookOutputs + taps - 1),
      tap_groups(ceil_div(tap_count, taps)),
      dilation(std::abs(c.step)),
      begin(floor_div(c.first - c.fold_left, phases) * phases - c.first),
      length(ceil_div(c.out_length + c.fold_right - begin, phases)),
      tiles(ceil_div(length, positions())),
      source(c) {
  source.phases = source.step = 1;
  source.taps = source_phases;
  source.first = floor_div(begin, phases) + c.offset(0) + std::min<int64_t>((tap_count - 1) * c.step, 0);
}

ToomCookPlan plan_toom_cook(const Correlation& c, int64_t sum_bytes, const Machine& machine) {
  ToomCookPlan plan(c);
  plan.row_unit = plan.phases <= machine.correlate_rows ? plan.phases : 1;
  plan.row_tiles = plan.row_unit == plan.phases ? ceil_div(c.rows, machine.correlate_rows / plan.phases)
                                                : c.rows * ceil_div(plan.phases, machine.correlate_rows);
  plan.tile_block = plan.row_tiles;

  // Few weights are transformed once; items that share many have less room for the source. More weights than that are transformed
  // by every item, those of a few row tiles just before they are used, for as many columns as there is room for.
  const int64_t rows = plan.most_rows();
  const int64_t tile_weights = plan.points * rows * plan.channels * plan.tap_groups;
  const int64_t weight_bytes = c.groups * plan.row_tiles * tile_weights * sum_bytes / machine.threads;
  plan.shared_weights = weight_bytes <= kSharedBytes;

  // The transformed source of a point meets all rows, and stays in the L2 cache beside the weights that pass through and
  // the products held.
  const int64_t tile = machine.lanes * machine.correlate_vectors[rows];
  const int64_t column_bytes = plan.points * plan.channels * sum_bytes;
  const int64_t fitting = plan.shared_weights
                              ? std::min(plan.points * machine.l2_bytes / 8, kItemBytes - weight_bytes) / column_bytes
                              : kItemBytes / column_bytes;
  const int64_t unit = fitting > tile ? tile : machine.lanes;
  const int64_t columns = std::clamp(fitting / unit * unit, unit, kColumns / tile * tile);
  // Equal parts: of the tiles, in whole vectors, or of the samples. Threads get equal shares of them, if need be in smaller parts.
  const int64_t most = std::max<int64_t>(columns / plan.dilation - plan.tap_groups + 1, 1);
  const int64_t least_parts = ceil_div(plan.tiles, most), rows_of_source = std::max<int64_t>(c.n * c.groups, 1);
  int64_t parts = least_parts;
  while (parts < 2 * least_parts && !shared_evenly(rows_of_source * parts, machine.threads)) ++parts;
  if (!shared_evenly(rows_of_source * parts, machine.threads)) parts = least_parts;
  const int64_t even = ceil_div(plan.tiles, parts) + plan.tap_groups - 1;
  plan.q_block = machine.threads > 1
                     ? ceil_div(plan.tiles, parts)
                     : std::min(most, ceil_div(even, machine.lanes) * machine.lanes - plan.tap_groups + 1);
  const int64_t samples =
      plan.q_block < plan.tiles ? 1 : std::max<int64_t>(columns / plan.sample_columns(plan.tiles), 1);
  const int64_t n = std::max<int64_t>(c.n, 1);
  plan.n_block = ceil_div(n, ceil_div(n, samples));
  // Weights that meet one block of positions belong to its item.
  if (plan.n_block >= n && plan.q_block >= plan.tiles) plan.shared_weights = false;
  const int64_t held = plan.points * rows * columns + (plan.shared_weights ? 0 : tile_weights);
  plan.held_tiles = std::max<int64_t>(machine.l2_bytes / 4 / sum_bytes / held, 1);

  const auto items = [&] {
    return ceil_div(c.n, plan.n_block) * c.groups * ceil_div(plan.tiles, plan.q_block) *
           ceil_div(plan.row_tiles, plan.tile_block);
  };
  while (!shared_evenly(items(), machine.threads) && plan.n_block > 1) plan.n_block = ceil_div(plan.n_block, 2);
  // Items of other rows transform the source once more.
  while (!shared_evenly(items(), machine.threads) && plan.tile_block > 1)
    plan.tile_block = ceil_div(plan.tile_block, 2);
  return plan;
}

}  // namespace torch_conv1d::cpu
