// The plans of correlate and correlate_mma.
#include <bit>
#include <cstdlib>
#include <numeric>

#include "launch_limits.h"

namespace torch_conv1d::cuda {
namespace {

// From this kernel size on, four neighbouring positions as rows save more loads of x than their ends cost.
constexpr int64_t kSlideTaps = 8, kSlide = 4;

// Taps of one phase are tap_step apart, which moves the source by offset_step.
int64_t tap_step_of(const Correlation& c) { return c.phases / std::gcd(c.step, c.phases); }
int64_t offset_step_of(const Correlation& c) { return c.step * tap_step_of(c) / c.phases; }

}  // namespace

Correlation unfolded_grad_input(const Conv1dProblem& p) {
  Correlation c = grad_input_correlation(p);
  c.fold_left = c.fold_right = 0;
  return c;
}

Correlate correlate_arguments(const Correlation& c, const Plan& plan, View source, MutableView out) {
  Correlate a{c, source, out};
  a.tap_step = tap_step_of(c);
  a.offset_step = offset_step_of(c);
  a.channel_block = int(plan.channels);
  a.tap_block = int(plan.taps);
  const int64_t planes = planes_of(c, plan.slide);
  const int64_t extent = std::max<int64_t>(plan.taps - 1, 0) * std::abs(a.offset_step);
  const int64_t weights = plan.channels * plan.taps * plan.rows * plan.grid.threads.y;
  a.columns = plan.positions + extent / planes;
  // Whole 16 bytes, for the wide loads of weights.
  a.shared_of_group = ceil_div(weights + plan.channels * planes * a.columns, 4) * 4;
  return a;
}

Plan plan_correlate(const Correlation& c, DType dtype) {
  const bool slides = c.rows == 1 && c.phases == 1 && c.source_stride == 1 && std::abs(c.step) == 1 &&
                      c.taps >= kSlideTaps && c.out_length >= kSlide;
  Plan plan{
      Algorithm::correlate, slides
                                ? "one row a group and a long kernel: neighbouring positions share the loads of a tile"
                                : "tiles of channels x positions in shared memory"};
  plan.slide = slides ? kSlide : 1;
  plan.rows = slides ? kSlide : rows_of_thread(c.rows);
  const int64_t positions = slides ? 2 : 4;  // of a thread
  const int64_t q_total = slides ? ceil_div(c.out_length, kSlide) : c.q_total();

  // Threads: rows that share a tile of the source, positions, and what is left over takes other groups.
  Dim3& threads = plan.grid.threads;
  threads.y = slides ? 1 : std::clamp<int64_t>(ceil_div(c.rows, plan.rows), 1, 4);
  threads.x = kCorrelateThreads / std::bit_ceil(uint64_t(threads.y));
  threads.x = std::min<int64_t>(threads.x, std::bit_ceil(uint64_t(std::max<int64_t>(ceil_div(q_total, positions), 4))));
  threads.z = std::clamp<int64_t>(c.groups, 1, kCorrelateThreads / (threads.x * threads.y));

  const auto bytes = [&](int64_t channels, int64_t taps) {
    plan.channels = channels;
    plan.taps = taps;
    plan.positions = threads.x * positions;
    return correlate_arguments(c, plan, {}, {}).shared_of_group * threads.z * sum_bytes(dtype);
  };
  // A block of taps is all of them where that fits: the order of a sum is channels, then taps, so only then a stage may
  // have several channels.
  const int64_t all_taps = ceil_div(c.taps, tap_step_of(c)) + plan.slide - 1;
  int64_t taps = all_taps;
  while (taps > 1 && bytes(1, taps) > kStageBytes) taps = ceil_div(taps, 2);
  while (threads.z > 1 && bytes(1, taps) > kStageBytes) threads.z = ceil_div(threads.z, 2);
  while (threads.x > 4 && bytes(1, taps) > kMostSharedBytes) threads.x /= 2;
  plan.grid.shared_bytes = bytes(1, taps);
  if (plan.grid.shared_bytes > kMostSharedBytes)
    return {Algorithm::reference, "a stride too large for a tile in shared memory"};
  if (taps == all_taps) {
    const int64_t channels =
        std::clamp<int64_t>(kStageBytes / plan.grid.shared_bytes, 1, std::max<int64_t>(c.channels, 1));
    plan.grid.shared_bytes = bytes(channels, taps);
  }
  const int64_t row_tiles = slides ? 1 : ceil_div(c.rows, plan.rows * threads.y);
  plan.grid.blocks = {
      ceil_div(q_total, plan.positions) * c.phases,
      std::clamp<int64_t>(ceil_div(c.groups, threads.z) * row_tiles, 1, kMostBlocks), std::min(c.n, kMostBlocks)};
  return plan;
}

CorrelateMma correlate_mma_arguments(
    const Correlation& c, const Plan& plan, DType dtype, View source, MutableView out) {
  const int64_t planes = c.source_stride;
  const int64_t columns = plan.positions + std::max<int64_t>(plan.taps - 1, 0) * std::abs(offset_step_of(c)) / planes;
  const int64_t positions = planes * columns;
  return {
      c, source, out, tap_step_of(c), offset_step_of(c), int(word_blocks(plan.channels, of_word(dtype))), columns,
      // 2 beyond a multiple of 8, which the kernel gives the reason for.
      positions + modulo(2 - positions, 8)};
}

std::optional<Plan> plan_correlate_mma(const Correlation& c, DType dtype) {
  Plan plan{Algorithm::correlate_mma, "groups of matrix products: tensor cores on tiles of channels x positions"};
  plan.rows = rows_of_tile(c.rows);
  const int64_t row_blocks = ceil_div(c.rows, plan.rows);
  plan.taps = ceil_div(c.taps, tap_step_of(c));
  Grid& grid = plan.grid;
  grid.threads = {32, std::clamp<int64_t>(ceil_div(c.q_total(), kWarpPositions), 1, kCorrelateMmaThreads / 32)};
  plan.positions = grid.threads.y * kWarpPositions;

  const int64_t blocks = word_blocks(c.channels, of_word(dtype));
  const auto bytes = [&](int64_t stage_blocks) {
    plan.channels = stage_blocks * 8 * of_word(dtype);
    const CorrelateMma a = correlate_mma_arguments(c, plan, dtype, {}, {});
    return 4 * ((8 * stage_blocks - 1) * a.pitch + c.source_stride * a.columns);
  };
  grid.shared_bytes = bytes(1);
  if (grid.shared_bytes > kMostSharedBytes) return std::nullopt;
  grid.shared_bytes = bytes(std::clamp<int64_t>(kStageBytes / grid.shared_bytes, 1, std::max<int64_t>(blocks, 1)));
  grid.blocks = {
      ceil_div(c.q_total(), plan.positions) * c.phases, std::clamp<int64_t>(c.groups * row_blocks, 1, kMostBlocks),
      std::min(c.n, kMostBlocks)};
  plan.workspace_bytes = c.groups * row_blocks * plan.rows * blocks * 32 * c.taps;
  return plan;
}

}  // namespace torch_conv1d::cuda
