// The plans of outer and outer_mma.
#include <bit>

#include "launch_limits.h"

namespace torch_conv1d::cuda {

Outer outer_arguments(const Conv1dProblem& p, const Plan& plan) {
  const int64_t columns = plan.positions + (plan.taps - 1) * p.dilation / p.stride;
  // A layer without input channels still has a bias.
  const int64_t tiles =
      std::max<int64_t>(ceil_div(p.c_in_per_group(), plan.channels), 1) * ceil_div(p.kernel_size, plan.taps);
  return {p, int(plan.positions), int(plan.channels), int(plan.taps), columns, tiles};
}

Plan plan_outer(const Conv1dProblem& p, DType dtype) {
  Plan plan{Algorithm::outer, "few channels a group: tiles of weights, summed over positions in shared memory"};
  plan.rows = rows_of_thread(p.c_out_per_group());
  // A thread for each weight of a tile and one for the bias; the tile has all taps of some channels, or some taps of
  // one.
  plan.taps = std::min(p.kernel_size, kOuterThreads - 1);
  plan.channels =
      plan.taps == p.kernel_size
          ? std::clamp<int64_t>((kOuterThreads - 1) / p.kernel_size, 1, std::max<int64_t>(p.c_in_per_group(), 1))
          : 1;
  plan.positions = std::clamp<int64_t>(std::bit_ceil(uint64_t(p.l_out)), 32, 256);
  const auto bytes = [&] {
    const int64_t columns = outer_arguments(p, plan).columns;
    return (plan.positions * plan.rows + plan.channels * p.stride * columns) * sum_bytes(dtype);
  };
  while (bytes() > kStageBytes && plan.positions > 64) plan.positions /= 2;
  while (bytes() > kStageBytes && plan.channels > 1) plan.channels = ceil_div(plan.channels, 2);
  while (bytes() > kStageBytes && plan.positions > 16) plan.positions /= 2;
  while (bytes() > kStageBytes && plan.taps > 1) plan.taps = ceil_div(plan.taps, 2);
  if (bytes() > kMostSharedBytes) return {Algorithm::reference, "a stride too large for a tile in shared memory"};

  Grid& grid = plan.grid;
  grid.threads.x = plan.channels * plan.taps + 1;
  grid.threads.y = kOuterThreads / grid.threads.x;
  grid.shared_bytes = std::max(bytes(), grid.threads.x * grid.threads.y * plan.rows * sum_bytes(dtype));
  grid.blocks.x = p.groups * ceil_div(p.c_out_per_group(), plan.rows) * outer_arguments(p, plan).weight_tiles;
  plan.parts = parts_of(p.n * ceil_div(p.l_out, plan.positions), grid.blocks.x);
  grid.blocks.y = plan.parts;
  plan.workspace_bytes = plan.parts * p.c_out * (p.c_in_per_group() * p.kernel_size + 1) * sum_bytes(dtype);
  return plan;
}

OuterMma outer_mma_arguments(const Conv1dProblem& p, const Plan& plan, DType dtype) {
  const int64_t of_words = of_word(dtype);
  // The last elements of the last words are position plan.positions - 1 of the last tap.
  const int64_t columns = plan.positions - 8 * (of_words - 1) + (plan.taps - 1) * p.dilation / p.stride;
  const int64_t words = p.stride * columns, grad_words = plan.positions / of_words;
  const int64_t tiles =
      std::max<int64_t>(ceil_div(p.c_in_per_group(), plan.channels), 1) * ceil_div(p.kernel_size, plan.taps);
  // Rows are 4 beyond a multiple of 8 words apart, which the kernel gives the reason for.
  const auto pitch = [](int64_t words) { return words + modulo(4 - words, 8); };
  return {p, int(plan.positions), int(plan.channels), int(plan.taps), columns, pitch(words), pitch(grad_words), tiles};
}

std::optional<Plan> plan_outer_mma(const Conv1dProblem& p, DType dtype) {
  Plan plan{Algorithm::outer_mma, "groups of matrix products: tensor cores on tiles of weights"};
  constexpr int64_t kWarps = kOuterMmaThreads / 32, kWeights = kWarps * kWarpWeights;
  plan.rows = rows_of_tile(p.c_out_per_group());
  // The tile has all taps of some channels, or some taps of one.
  plan.taps = std::min(p.kernel_size, kWeights);
  plan.channels = plan.taps == p.kernel_size
                      ? std::clamp<int64_t>(kWeights / p.kernel_size, 1, std::max<int64_t>(p.c_in_per_group(), 1))
                      : 1;
  plan.positions = std::clamp<int64_t>(std::bit_ceil(uint64_t(p.l_out)), 16, 128);
  const auto bytes = [&] {
    const OuterMma a = outer_mma_arguments(p, plan, dtype);
    return 4 * (plan.rows * a.grad_pitch + (plan.channels - 1) * a.pitch + p.stride * a.columns);
  };
  while (bytes() > kStageBytes && plan.positions > 64) plan.positions /= 2;
  while (bytes() > kStageBytes && plan.channels > 1) plan.channels = ceil_div(plan.channels, 2);
  while (bytes() > kStageBytes && plan.positions > 16) plan.positions /= 2;
  while (bytes() > kStageBytes && plan.taps > 1) plan.taps = ceil_div(plan.taps, 2);
  if (bytes() > kMostSharedBytes) return std::nullopt;

  Grid& grid = plan.grid;
  grid.threads = {32, ceil_div(plan.channels * plan.taps, kWarpWeights)};
  grid.shared_bytes = bytes();
  grid.blocks.x =
      p.groups * ceil_div(p.c_out_per_group(), plan.rows) * outer_mma_arguments(p, plan, dtype).weight_tiles;
  plan.parts = parts_of(p.n * ceil_div(p.l_out, plan.positions), grid.blocks.x);
  grid.blocks.y = plan.parts;
  plan.workspace_bytes = plan.parts * p.c_out * (p.c_in_per_group() * p.kernel_size + 1) * sum_bytes(dtype);
  return plan;
}

}  // namespace torch_conv1d::cuda
