#include "plan.h"

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <numeric>

#include "../division.h"
#include "kernels.h"

namespace torch_conv1d::cuda {
namespace {

// Limits of a grid in its second and third dimension, and in its first. Kernels loop over what is beyond.
constexpr int64_t kMostBlocks = 65535, kMostFirstBlocks = (int64_t(1) << 31) - 1;
// Bytes of one load, the widest there is.
constexpr int64_t kLoadBytes = 16;
// A reduction is cut into parts until it has this many blocks, about twice what the largest devices run at a time, and into no more
// parts of one sum than kMostParts, so that adding them stays cheap.
constexpr int64_t kReductionBlocks = 2048, kMostParts = 256;
// depthwise_channels: positions of a thread. Its taps and its halo are loaded once for all of them.
constexpr int64_t kRun = 64, kShortestRun = 8;

// Shared memory that a block plans with: nine such blocks fit on a multiprocessor of 228 KiB. Where that is too little for one tap it may have
// all that a launch gets without asking.
constexpr int64_t kStageBytes = 24 << 10, kMostSharedBytes = 48 << 10;
// From this kernel size on, four neighbouring positions as rows save more loads of x than their ends cost.
constexpr int64_t kSlideTaps = 8, kSlide = 4;
// Layers of one group with more channels than this on both sides are left to cuDNN and cuBLAS, which use tensor cores. So are grouped layers of
// more than kMostGrouped channels a group: up to there one tile has all rows of a group, so that its source is read once.
constexpr int64_t kNarrow = 8, kMostGrouped = 64;
// A product of each sample has at least this many positions; shorter rows are torch's convolution, which takes all samples together.
constexpr int64_t kProductPositions = 64;
// correlate_mma: rows of a product, and the most products of a tile; see its budget of registers.
constexpr int64_t kProductRows = 16, kMostRowTiles = 4;
// The first architecture with the products that correlate_mma takes.
constexpr int64_t kTensorCores = 80;

int64_t element_bytes(DType dtype) { return dtype == DType::float64 ? 8 : dtype == DType::float32 ? 4 : 2; }

int64_t sum_bytes(DType dtype) { return dtype == DType::float64 ? 8 : 4; }

// torch's own convolution refuses rows without a position, so these are never left to it.
bool is_wide(const Conv1dProblem& p) {
  return std::min(p.c_in_per_group(), p.c_out_per_group()) > kNarrow && p.l_in > 0;
}
bool is_depthwise(const Conv1dProblem& p) { return p.c_in_per_group() == 1 && p.c_out_per_group() == 1; }

bool is_short_depthwise(const Conv1dProblem& p) {
  return is_depthwise(p) && p.kernel_size <= kDepthwiseTaps && p.stride == 1 && p.dilation == 1;
}

int64_t parts_of(int64_t items, int64_t blocks) {
  return std::clamp<int64_t>(
      kReductionBlocks / std::max<int64_t>(blocks, 1), 1, std::clamp<int64_t>(items, 1, kMostParts));
}

// Threads of a block along a row of `length` positions, 16 bytes each; a power of two, since sums are trees over it. The other threads
// of the block take other channels.
int64_t threads_of_row(int64_t length, int64_t vector) {
  return std::bit_floor(uint64_t(std::clamp<int64_t>(ceil_div(length, vector), 1, kDepthwiseThreads)));
}
// Positions that may stand before a row in its first block of 16 bytes: rows follow each other without a gap.
int64_t most_lead(int64_t length, int64_t vector) { return length % vector == 0 ? 0 : vector - 1; }

// Channels that a thread of depthwise_channels owns: neighbours of every position are loaded together if all of them are aligned.
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

Plan plan_depthwise(
    const Conv1dProblem& p, DType dtype, View source, int64_t out_length, bool channels_last, const Device& device) {
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

// Which of the two depthwise kernels can read `source` and write the result: its innermost dimension is that of the result.
bool reads(const Conv1dProblem& p, View source, int64_t length, bool channels_last) {
  if (channels_last) return (source.stride_c == 1 || p.c_in == 1) && ceil_div(p.c_in, 32) <= kMostBlocks;
  return source.stride_l == 1 || length == 1;
}

int64_t rows_of_thread(int64_t rows) { return rows == 1 ? 1 : rows <= 4 ? 4 : 8; }

constexpr Plan kAten{Algorithm::aten, "more than 8 channels a group on both sides: cuDNN and cuBLAS use tensor cores"};

// Taps of one phase are tap_step apart, which moves the source by offset_step.
int64_t tap_step_of(const Correlation& c) { return c.phases / std::gcd(c.step, c.phases); }
int64_t offset_step_of(const Correlation& c) { return c.step * tap_step_of(c) / c.phases; }

int64_t of_word(DType dtype) { return 4 / element_bytes(dtype); }
// The rows of a tile of products: as few tiles as there can be, as equal as they can be.
int64_t rows_of_tile(int64_t rows) {
  const int64_t row_tiles = ceil_div(rows, kProductRows);
  return kProductRows * ceil_div(row_tiles, ceil_div(row_tiles, kMostRowTiles));
}

constexpr Plan kMatmul{
    Algorithm::matmul, "one position at a time: the product of a matrix of weights, without a layout in between"};

// Whether forward and grad_input are products of matrices that torch computes as it would convolve: the permission for TF32 is the same, and in
// deterministic mode torch refuses products for which cuBLAS has not been configured.
bool is_product(
    const Conv1dProblem& p, DType dtype, View source, int64_t length, bool channels_last, const Device& device) {
  const bool pointwise = p.kernel_size == 1 && p.stride == 1 && p.pad_left + p.pad_right == 0 && p.groups == 1;
  const bool same_rules = !device.deterministic && (dtype != DType::float32 || device.tf32 == device.matmul_tf32);
  // With channels innermost the positions of all samples are one product.
  return pointwise && is_wide(p) && same_rules && (channels_last ? source.stride_c == 1 : length >= kProductPositions);
}

bool is_grouped(const Conv1dProblem& p) {
  return p.groups > 1 && std::max(p.c_in_per_group(), p.c_out_per_group()) <= kMostGrouped;
}
bool is_exact(DType dtype, const Device& device) {
  return dtype == DType::float64 || (dtype == DType::float32 && !device.tf32);
}

// forward and grad_input of a layer of more than kNarrow channels a group on both sides.
Plan plan_wide(
    const Conv1dProblem& p, const Correlation& c, DType dtype, View source, bool channels_last, const Device& device) {
  if (!is_grouped(p) || channels_last || (source.stride_l != 1 && c.source_length != 1)) return kAten;
  if (is_exact(dtype, device)) {
    const Plan plan = plan_correlate(c, dtype);
    return plan.algorithm == Algorithm::reference ? kAten : plan;
  }
  return device.architecture < kTensorCores ? kAten : plan_correlate_mma(c, dtype).value_or(kAten);
}

}  // namespace

const char* algorithm_name(Algorithm algorithm) {
  constexpr const char* kNames[] = {"reference", "depthwise_rows", "depthwise_channels",
                                    "correlate", "correlate_mma",  "outer",
                                    "outer_mma", "matmul",         "aten"};
  return kNames[int(algorithm)];
}

Grid grid_of(int64_t count) {
  constexpr int64_t kThreads = 128;
  return {{kThreads}, {std::clamp<int64_t>(ceil_div(count, kThreads), 1, kMostFirstBlocks)}};
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
  // A block of taps is all of them where that fits: the order of a sum is channels, then taps, so only then a stage may have several channels.
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

Plan plan_outer(const Conv1dProblem& p, DType dtype) {
  Plan plan{Algorithm::outer, "few channels a group: tiles of weights, summed over positions in shared memory"};
  plan.rows = rows_of_thread(p.c_out_per_group());
  // A thread for each weight of a tile and one for the bias; the tile has all taps of some channels, or some taps of one.
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

Plan plan_forward(const Conv1dProblem& p, DType dtype, View x, bool channels_last, const Device& device) {
  if (is_product(p, dtype, x, p.l_in, channels_last, device)) return kMatmul;
  if (is_wide(p)) return plan_wide(p, forward_correlation(p), dtype, x, channels_last, device);
  if (is_short_depthwise(p) && reads(p, x, p.l_in, channels_last))
    return plan_depthwise(p, dtype, x, p.l_out, channels_last, device);
  return plan_correlate(forward_correlation(p), dtype);
}

Plan plan_grad_input(const Conv1dProblem& p, DType dtype, View grad_y, bool channels_last, const Device& device) {
  if (is_product(p, dtype, grad_y, p.l_out, channels_last, device)) return kMatmul;
  if (is_wide(p)) return plan_wide(p, unfolded_grad_input(p), dtype, grad_y, channels_last, device);
  if (is_short_depthwise(p) && reads(p, grad_y, p.l_out, channels_last))
    return plan_depthwise(p, dtype, grad_y, p.l_in, channels_last, device);
  return plan_correlate(unfolded_grad_input(p), dtype);
}

Plan plan_grad_weight(const Conv1dProblem& p, DType dtype, View grad_y, View x, const Device& device) {
  if (!is_wide(p)) return plan_outer(p, dtype);
  const bool positions_innermost = (grad_y.stride_l == 1 || p.l_out == 1) && (x.stride_l == 1 || p.l_in == 1);
  const bool offered =
      is_grouped(p) && positions_innermost && !is_exact(dtype, device) && device.architecture >= kTensorCores;
  return offered ? plan_outer_mma(p, dtype).value_or(kAten) : kAten;
}

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

Outer outer_arguments(const Conv1dProblem& p, const Plan& plan) {
  const int64_t columns = plan.positions + (plan.taps - 1) * p.dilation / p.stride;
  // A layer without input channels still has a bias.
  const int64_t tiles =
      std::max<int64_t>(ceil_div(p.c_in_per_group(), plan.channels), 1) * ceil_div(p.kernel_size, plan.taps);
  return {p, int(plan.positions), int(plan.channels), int(plan.taps), columns, tiles};
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
