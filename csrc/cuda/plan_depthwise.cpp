// The plans of depthwise_rows and depthwise_channels.
#include <bit>

#include "launch_limits.h"

namespace torch_conv1d::cuda {
namespace {

// Bytes of one load, the widest there is.
constexpr int64_t kLoadBytes = 16;
// depthwise_channels: positions of a thread. Its taps and its halo are loaded once for all of them.
constexpr int64_t kRun = 64, kShortestRun = 8;

bool is_short_depthwise(const Conv1dProblem& p) {
  return p.c_in_per_group() == 1 && p.c_out_per_group() == 1 && p.kernel_size <= kDepthwiseTaps && p.stride == 1 &&
         p.dilation == 1;
}

// Which of the two depthwise kernels can read `source` and write the result: its innermost dimension is that of the
// result.
bool reads(const Conv1dProblem& p, View source, int64_t length, bool channels_last) {
  if (channels_last) return (source.stride_c == 1 || p.c_in == 1) && ceil_div(p.c_in, 32) <= kMostBlocks;
  return source.stride_l == 1 || length == 1;
}

// Threads of a block along a row of `length` positions, 16 bytes each; a power of two, since sums are trees over it.
// The other threads of the block take other channels.
int64_t threads_of_row(int64_t length, int64_t vector) {
  return std::bit_floor(uint64_t(std::clamp<int64_t>(ceil_div(length, vector), 1, kDepthwiseThreads)));
}
// Positions that may stand before a row in its first block of 16 bytes: rows follow each other without a gap.
int64_t most_lead(int64_t length, int64_t vector) { return length % vector == 0 ? 0 : vector - 1; }

// Channels that a thread of depthwise_channels owns: neighbours of every position are loaded together if all of them
// are aligned.
int64_t owned_channels(const Conv1dProblem& p, DType dtype, std::initializer_list<View> operands) {
  const int64_t taps = p.kernel_size <= 4 ? 4 : 8, size = element_bytes(dtype);
  const int64_t owned = std::min(kLoadBytes / size, 32 / taps);
  const auto aligned = [&](const View& v) {
    return v.stride_l % owned == 0 && v.stride_n % owned == 0 &&
           reinterpret_cast<uintptr_t>(v.data) % (owned * size) == 0;
  };
  return p.c_in % owned == 0 && std::all_of(operands.begin(), operands.end(), aligned) ? owned : 1;
}
// x threads of a block own channels, the others take other positions.
Dim3 threads_of_channels(int64_t channels, int64_t owned) {
  const int64_t x = std::clamp<int64_t>(ceil_div(channels, owned), 1, 32);
  return {x, kDepthwiseThreads / x};
}

}  // namespace

std::optional<Plan> plan_depthwise(
    const Conv1dProblem& p,
    DType dtype,
    View source,
    int64_t source_length,
    int64_t out_length,
    bool channels_last,
    const Device& device) {
  if (!is_short_depthwise(p) || !reads(p, source, source_length, channels_last)) return std::nullopt;
  const int64_t vector = kLoadBytes / element_bytes(dtype);
  if (!channels_last) {
    Plan plan{
        Algorithm::depthwise_rows, "depthwise, short kernel, positions innermost: a thread loads 16 bytes of a row"};
    plan.vector = vector;
    plan.grid.threads.x = threads_of_row(out_length, vector);
    plan.grid.threads.y = kDepthwiseThreads / plan.grid.threads.x;
    plan.positions = plan.grid.threads.x * vector;
    plan.grid.blocks = {
        ceil_div(out_length + most_lead(out_length, vector), plan.positions),
        std::min(ceil_div(p.c_in, plan.grid.threads.y), kMostBlocks), std::min(p.n, kMostBlocks)};
    return plan;
  }
  Plan plan{
      Algorithm::depthwise_channels, "depthwise, short kernel, channels innermost: a thread slides along the row"};
  plan.vector = owned_channels(p, dtype, {source});
  plan.grid.threads = threads_of_channels(p.c_in, plan.vector);
  const auto blocks_with = [&](int64_t run) {
    return Dim3{
        ceil_div(out_length, plan.grid.threads.y * run), ceil_div(p.c_in, plan.grid.threads.x * plan.vector),
        std::min(p.n, kMostBlocks)};
  };
  // Several blocks for each multiprocessor, if shorter runs can give them.
  plan.positions = kRun;
  plan.grid.blocks = blocks_with(kRun);
  const auto count = [&] { return plan.grid.blocks.x * plan.grid.blocks.y * plan.grid.blocks.z; };
  while (plan.positions > kShortestRun && count() < 8 * device.multiprocessors)
    plan.grid.blocks = blocks_with(plan.positions /= 2);
  return plan;
}

DepthwiseBackward depthwise_backward(
    const Conv1dProblem& p, const Plan& plan, View grad_y, View x, MutableView grad_x) {
  DepthwiseBackward a{p.n, p.c_in, int(p.kernel_size), grad_y, x, grad_x, p.l_in, p.l_out, p.pad_left, p.padding_mode};
  // At tap pad_left, v meets lo = v. Zero padding of at most a kernel needs no v beyond the row: x is zero there.
  if (p.padding_mode == PaddingMode::zeros && p.pad_left + p.pad_right < p.kernel_size) {
    a.v_begin = 0, a.v_end = p.l_in, a.bias_tap = int(p.pad_left);
  } else {
    a.v_begin = -p.pad_left, a.v_end = p.l_in + p.pad_right, a.bias_tap = 0;
  }
  const bool rows = plan.algorithm == Algorithm::depthwise_rows;
  // The blocks of 16 bytes start at a boundary, which v_begin need not be.
  const int64_t lead = !rows ? 0 : a.v_begin < 0 ? plan.vector - 1 : most_lead(p.l_in, plan.vector);
  a.tiles = ceil_div(a.v_end - a.v_begin + lead, plan.positions);
  return a;
}

std::optional<Plan> plan_backward(const Conv1dProblem& p, DType dtype, View grad_y, View x, bool channels_last) {
  if (!is_short_depthwise(p) || !reads(p, grad_y, p.l_out, channels_last) || !reads(p, x, p.l_in, channels_last))
    return std::nullopt;
  Plan plan;
  const int64_t taps = p.kernel_size <= 4 ? 4 : 8;
  Grid& grid = plan.grid;
  if (channels_last) {
    plan = {Algorithm::depthwise_channels, "depthwise, short kernel, channels innermost: all gradients in one pass"};
    plan.vector = owned_channels(p, dtype, {grad_y, x});
    grid.threads = threads_of_channels(p.c_in, plan.vector);
    plan.positions = grid.threads.y * kRun;
    grid.blocks.x = ceil_div(p.c_in, grid.threads.x * plan.vector);
    grid.shared_bytes = grid.threads.x * grid.threads.y * plan.vector * (taps + 1) * sum_bytes(dtype);
  } else {
    plan = {Algorithm::depthwise_rows, "depthwise, short kernel, positions innermost: all gradients in one pass"};
    plan.vector = kLoadBytes / element_bytes(dtype);
    grid.threads.x = threads_of_row(p.l_in, plan.vector);
    grid.threads.y = kDepthwiseThreads / grid.threads.x;
    plan.positions = grid.threads.x * plan.vector;
    grid.blocks.x = ceil_div(p.c_in, grid.threads.y);
    grid.shared_bytes = kDepthwiseThreads / std::min<int64_t>(grid.threads.x, 32) * (taps + 1) * sum_bytes(dtype);
  }
  plan.parts = parts_of(p.n * depthwise_backward(p, plan, grad_y, x, {}).tiles, grid.blocks.x);
  grid.blocks.y = plan.parts;
  plan.workspace_bytes = plan.parts * p.c_out * (p.kernel_size + 1) * sum_bytes(dtype);
  return plan;
}

}  // namespace torch_conv1d::cuda
