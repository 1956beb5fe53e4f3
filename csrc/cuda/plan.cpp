// Which kernel runs: the rules. How it runs is in plan_*.cpp.
#include <limits>

#include "launch_limits.h"

namespace torch_conv1d::cuda {
namespace {

// Layers of one group with more channels than this on both sides are left to cuDNN and cuBLAS, which use tensor cores.
// So are grouped layers of more than kMostGrouped channels a group: up to there one tile has all rows of a group, so
// that its source is read once.
constexpr int64_t kNarrow = 8, kMostGrouped = 64;
// A product of each sample has at least this many positions; shorter rows are torch's convolution, which takes all
// samples together. All products together have no more than torch lets cuBLAS count.
constexpr int64_t kProductPositions = 64, kMostProductPositions = std::numeric_limits<int32_t>::max();
// The first architecture with the products that correlate_mma takes.
constexpr int64_t kTensorCores = 80;

// torch's own convolution refuses rows without a position, so these are never left to it.
bool is_wide(const Conv1dProblem& p) {
  return std::min(p.c_in_per_group(), p.c_out_per_group()) > kNarrow && p.l_in > 0;
}

constexpr Plan kAten{Algorithm::aten, "more than 8 channels a group on both sides: cuDNN and cuBLAS use tensor cores"};
constexpr Plan kMatmul{
    Algorithm::matmul, "one position at a time: the product of a matrix of weights, without a layout in between"};

// Whether forward and grad_input are products of matrices that torch computes as it would convolve: the permission for
// TF32 is the same, and in deterministic mode torch refuses products for which cuBLAS has not been configured.
bool is_product(
    const Conv1dProblem& p, DType dtype, View source, int64_t length, bool channels_last, const Device& device) {
  const bool pointwise = p.kernel_size == 1 && p.stride == 1 && p.pad_left + p.pad_right == 0 && p.groups == 1;
  const bool same_rules = !device.deterministic && (dtype != DType::float32 || device.tf32 == device.matmul_tf32);
  // With channels innermost the positions of all samples are one product.
  return pointwise && is_wide(p) && same_rules && p.n * length <= kMostProductPositions &&
         (channels_last ? source.stride_c == 1 : length >= kProductPositions);
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

Plan plan_forward(const Conv1dProblem& p, DType dtype, View x, bool channels_last, const Device& device) {
  if (is_product(p, dtype, x, p.l_in, channels_last, device)) return kMatmul;
  if (is_wide(p)) return plan_wide(p, forward_correlation(p), dtype, x, channels_last, device);
  const auto depthwise = plan_depthwise(p, dtype, x, p.l_in, p.l_out, channels_last, device);
  return depthwise ? *depthwise : plan_correlate(forward_correlation(p), dtype);
}

Plan plan_grad_input(const Conv1dProblem& p, DType dtype, View grad_y, bool channels_last, const Device& device) {
  if (is_product(p, dtype, grad_y, p.l_out, channels_last, device)) return kMatmul;
  if (is_wide(p)) return plan_wide(p, unfolded_grad_input(p), dtype, grad_y, channels_last, device);
  const auto depthwise = plan_depthwise(p, dtype, grad_y, p.l_out, p.l_in, channels_last, device);
  return depthwise ? *depthwise : plan_correlate(unfolded_grad_input(p), dtype);
}

Plan plan_grad_weight(const Conv1dProblem& p, DType dtype, View grad_y, View x, const Device& device) {
  if (!is_wide(p)) return plan_outer(p, dtype);
  const bool positions_innermost = (grad_y.stride_l == 1 || p.l_out == 1) && (x.stride_l == 1 || p.l_in == 1);
  const bool offered =
      is_grouped(p) && positions_innermost && !is_exact(dtype, device) && device.architecture >= kTensorCores;
  return offered ? plan_outer_mma(p, dtype).value_or(kAten) : kAten;
}

}  // namespace torch_conv1d::cuda
