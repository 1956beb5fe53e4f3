#include "plan.h"

#include <unistd.h>

#include <algorithm>

#include "../division.h"

namespace torch_conv1d::cpu {
namespace {

// A panel this small stays in the L1 cache (32 KiB or more) beside the weights of a tile.
constexpr int64_t kL1Panel = 16 << 10;
// Positions that make it worth while to keep a panel that small: each sum of a tile is loaded and stored once a block.
constexpr int64_t kL1Positions = 512;
// Below this many multiply-adds a second thread costs more than it saves.
constexpr double kThreadWork = 1 << 18;
// Up to this many samples of one vector of positions each, packing the weights costs more than it saves.
constexpr int64_t kUnpackedSamples = 4;
// From this kernel size on, sliding saves more loads than the interleaving of its result costs.
constexpr int64_t kSlideKernel = 32;

// grad_weight. From this many output channels in a group they fill the lanes of a vector.
constexpr int64_t kOuterChannels = 8;
// Positions of a block: long enough to hide the loads and stores of the sums, short enough for L2.
constexpr int64_t kOuterPositions = 256, kDotPositions = 1024;
// A small result is summed in up to kParts parts, so that threads have something to share.
constexpr int64_t kParts = 16, kPartElements = 1 << 16;

}  // namespace

int64_t l2_cache_bytes() {
  static const int64_t bytes = [] {
    long reported = 0;
#if defined(_SC_LEVEL2_CACHE_SIZE)
    reported = sysconf(_SC_LEVEL2_CACHE_SIZE);
#endif
    return std::clamp<int64_t>(reported > 0 ? reported : 512 << 10, 256 << 10, 2 << 20);
  }();
  return bytes;
}

Correlation choose_form(const Correlation& c, const Machine& machine) {
  const bool slides = c.can_slide() && c.kernel_size >= kSlideKernel && c.out_length >= kSlide * machine.lanes;
  return slides ? c.sliding(kSlide) : c;
}

CorrelationPlan plan_correlation(const Correlation& c, int64_t sum_bytes, bool unit_stride, const Machine& machine) {
  CorrelationPlan plan;
  plan.row_tiles = ceil_div(c.rows, machine.correlate_rows);
  plan.worth_threads = c.multiply_adds() > kThreadWork;
  // Weights that meet a few vectors of positions in all are read where they are.
  plan.pack_weights = c.phases > 1 || c.out_length > machine.lanes || c.n > kUnpackedSamples;
  const int64_t threads = plan.worth_threads ? machine.threads : 1;

  // Positions: the longest block whose panel fits its cache, in equal parts that are whole tiles.
  const int64_t q_total = c.q_total();
  const int64_t tile = machine.lanes * (c.slide > 1 ? machine.slide_vectors
                                                    : machine.correlate_vectors[ceil_div(c.rows, plan.row_tiles)]);
  const auto part = [&](int64_t parts) {
    const int64_t length = ceil_div(q_total, parts), unit = length > tile ? tile : machine.lanes;
    return ceil_div(length, unit) * unit;
  };
  int64_t parts = 1;
  const auto set_parts = [&](int64_t count) {
    parts = count;
    plan.q_block = part(parts);
    plan.layout = PanelLayout(c, plan.q_block, machine.lanes);
  };
  const auto panel_bytes = [&] { return std::max<int64_t>(c.channels * plan.layout.row * sum_bytes, 1); };
  set_parts(1);
  const int64_t whole_bytes = panel_bytes();
  while (panel_bytes() > kL1Panel && plan.q_block >= 2 * kL1Positions) set_parts(parts * 2);
  if (panel_bytes() > kL1Panel) {
    const int64_t most = machine.l2_bytes / 2;
    set_parts(ceil_div(whole_bytes, most));
    while (panel_bytes() > most && plan.q_block > tile) set_parts(parts + 1 + parts / 8);
  }

  // Small rows share an item: several groups (with channels innermost, enough of them to fill cache lines), then
  // several samples, which meet the same weights.
  const int64_t group_bytes = unit_stride ? kL1Panel : 4 * kL1Panel;
  plan.group_block = std::clamp<int64_t>(group_bytes / panel_bytes(), 1, c.groups);
  plan.n_block = 1;
  if (plan.q_block >= q_total && plan.group_block == c.groups)
    plan.n_block = std::clamp<int64_t>(machine.l2_bytes / 2 / (panel_bytes() * c.groups), 1, std::max<int64_t>(c.n, 1));
  plan.tile_block = plan.row_tiles;

  // Enough items for every thread to get an equal share of them: give up sharing first, then split positions, then rows.
  const auto items = [&] {
    return ceil_div(c.n, plan.n_block) * ceil_div(c.groups, plan.group_block) * ceil_div(q_total, plan.q_block) *
           ceil_div(plan.row_tiles, plan.tile_block);
  };
  const int64_t wanted = threads > 1 ? 8 * threads : 1;
  while (items() < wanted && plan.n_block > 1) plan.n_block = ceil_div(plan.n_block, 2);
  while (items() < wanted && plan.group_block > 1) plan.group_block = ceil_div(plan.group_block, 2);
  while (items() < wanted && plan.q_block >= 16 * machine.lanes) set_parts(parts * 2);
  while (items() < wanted && plan.tile_block > 1) plan.tile_block = ceil_div(plan.tile_block, 2);
  return plan;
}

ReductionPlan plan_reduction(const Conv1dProblem& p) {
  ReductionPlan r;
  r.lanes_are_positions = p.c_out_per_group() < kOuterChannels;
  const int64_t positions = r.lanes_are_positions ? kDotPositions : kOuterPositions;
  r.blocks_per_sample = std::max<int64_t>(ceil_div(p.l_out, positions), 1);
  r.length = ceil_div(p.l_out, r.blocks_per_sample);
  r.runs = std::clamp<int64_t>(positions / std::max<int64_t>(p.l_out, 1), 1, std::max<int64_t>(p.n, 1));
  r.blocks = ceil_div(p.n, r.runs) * r.blocks_per_sample;
  const int64_t elements = p.c_out * (p.c_in_per_group() * p.kernel_size + 1);
  r.parts = std::clamp<int64_t>(
      kPartElements / std::max<int64_t>(elements, 1), 1, std::min(kParts, std::max<int64_t>(r.blocks, 1)));
  return r;
}

GradWeightPlan plan_grad_weight(const Conv1dProblem& p, int64_t sum_bytes, const Machine& machine) {
  GradWeightPlan plan;
  plan.reduction = plan_reduction(p);
  const ReductionPlan& r = plan.reduction;
  const double multiply_adds = double(p.n) * p.l_out * p.c_out * p.c_in_per_group() * p.kernel_size;
  plan.worth_threads = multiply_adds > kThreadWork;
  const int64_t wanted = plan.worth_threads && machine.threads > 1 ? 4 * machine.threads : 1;

  // The x panel, the transposed grad_y and the sums of an item share the L2 cache.
  const Correlation c = forward_correlation(p);
  const int64_t row_bytes = PanelLayout(c, r.length, machine.lanes).row * r.runs * sum_bytes;
  const int64_t lanes = r.lanes_are_positions ? 64 / sum_bytes : 1;
  const int64_t sums_bytes = p.c_out_per_group() * p.kernel_size * lanes * sum_bytes;
  const int64_t share = machine.l2_bytes / 4;
  const auto fit = [&](int64_t bytes, int64_t most) {
    return std::clamp<int64_t>(share / std::max<int64_t>(bytes, 1), 1, std::max<int64_t>(most, 1));
  };
  plan.ci_block = fit(std::max(row_bytes, r.lanes_are_positions ? sums_bytes : 0), p.c_in_per_group());
  plan.co_block = r.lanes_are_positions ? p.c_out_per_group() : fit(r.runs * r.length * sum_bytes, p.c_out_per_group());
  plan.group_block = 1;
  if (r.lanes_are_positions && plan.ci_block == p.c_in_per_group())
    plan.group_block = fit(4 * std::max(row_bytes, sums_bytes) * p.c_in_per_group(), p.groups);

  const auto items = [&] {
    return r.parts * ceil_div(p.groups, plan.group_block) * ceil_div(p.c_out_per_group(), plan.co_block) *
           ceil_div(p.c_in_per_group(), plan.ci_block);
  };
  while (items() < wanted && plan.group_block > 1) plan.group_block = ceil_div(plan.group_block, 2);
  while (items() < wanted && plan.ci_block > 8) plan.ci_block = ceil_div(plan.ci_block, 2);
  while (items() < wanted && !r.lanes_are_positions && plan.co_block > 64) plan.co_block = ceil_div(plan.co_block, 2);
  return plan;
}

}  // namespace torch_conv1d::cpu
