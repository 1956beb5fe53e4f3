// A plan and operands -> the launches of one call.
#include "conv1d_cuda.h"

#include <algorithm>
#include <stdexcept>

#include "kernels.h"

namespace torch_conv1d::cuda {
namespace {

// Plans count on the alignment of results.
void require_alignment(const MutableView& result) {
  if (reinterpret_cast<uintptr_t>(result.data) % 16 != 0)
    throw std::invalid_argument("torch_conv1d: expected a result aligned to 16 bytes");
}

Depthwise depthwise_forward(const Conv1dProblem& p, View x, MutableView y) {
  return {p.n, p.c_in, int(p.kernel_size), false, x, p.l_in, p.padding_mode, -p.pad_left, y, p.l_out};
}
Depthwise depthwise_grad_input(const Conv1dProblem& p, View grad_y, MutableView grad_x) {
  const int64_t first = p.pad_left - (p.kernel_size - 1);
  return {p.n, p.c_in, int(p.kernel_size), true, grad_y, p.l_out, PaddingMode::zeros, first, grad_x, p.l_in};
}

// The positions of x that a padding mode repeats. Every fast grad_input takes the padding as zeros; these are written
// again.
Edges repeated_positions(const Conv1dProblem& p) {
  Edges edges{0, 0};
  switch (p.padding_mode) {
    case PaddingMode::reflect:
      edges = {p.pad_left + 1, p.pad_right + 1};
      break;
    case PaddingMode::replicate:
      edges = {1, 1};
      break;
    case PaddingMode::circular:
      edges = {p.pad_right, p.pad_left};
      break;
    default:
      break;
  }
  edges.left = std::min(edges.left, p.l_in);
  edges.right = std::min(edges.right, p.l_in - edges.left);
  return edges;
}

void fold_back(const Conv1dProblem& p, DType dtype, View grad_y, const void* w, MutableView grad_x, Stream stream) {
  const Edges edges = repeated_positions(p);
  if (p.pad_left + p.pad_right > 0 && edges.left + edges.right > 0)
    launch_reference_grad_input(p, dtype, grad_y, w, grad_x, edges, stream);
}

}  // namespace

void forward(
    const Plan& plan,
    const Conv1dProblem& p,
    DType dtype,
    View x,
    const void* w,
    const void* bias,
    MutableView y,
    void* workspace,
    Stream stream) {
  require_alignment(y);
  switch (plan.algorithm) {
    case Algorithm::depthwise_rows:
      return launch_depthwise_rows(plan, depthwise_forward(p, x, y), dtype, w, bias, stream);
    case Algorithm::depthwise_channels:
      return launch_depthwise_channels(plan, depthwise_forward(p, x, y), dtype, w, bias, stream);
    case Algorithm::correlate:
      return launch_correlate(plan, correlate_arguments(forward_correlation(p), plan, x, y), dtype, w, bias, stream);
    case Algorithm::correlate_mma:
      return launch_correlate_mma(
          plan, correlate_mma_arguments(forward_correlation(p), plan, dtype, x, y), dtype, w, bias, workspace, stream);
    default:
      return launch_reference_forward(p, dtype, x, w, bias, y, stream);
  }
}

void grad_input(
    const Plan& plan,
    const Conv1dProblem& p,
    DType dtype,
    View grad_y,
    const void* w,
    MutableView grad_x,
    void* workspace,
    Stream stream) {
  require_alignment(grad_x);
  switch (plan.algorithm) {
    case Algorithm::depthwise_rows:
      launch_depthwise_rows(plan, depthwise_grad_input(p, grad_y, grad_x), dtype, w, nullptr, stream);
      break;
    case Algorithm::depthwise_channels:
      launch_depthwise_channels(plan, depthwise_grad_input(p, grad_y, grad_x), dtype, w, nullptr, stream);
      break;
    case Algorithm::correlate:
      launch_correlate(
          plan, correlate_arguments(unfolded_grad_input(p), plan, grad_y, grad_x), dtype, w, nullptr, stream);
      break;
    case Algorithm::correlate_mma:
      launch_correlate_mma(
          plan, correlate_mma_arguments(unfolded_grad_input(p), plan, dtype, grad_y, grad_x), dtype, w, nullptr,
          workspace, stream);
      break;
    default:
      return launch_reference_grad_input(p, dtype, grad_y, w, grad_x, {p.l_in, 0}, stream);
  }
  fold_back(p, dtype, grad_y, w, grad_x, stream);
}

void grad_weight(
    const Plan& plan,
    const Conv1dProblem& p,
    DType dtype,
    View grad_y,
    View x,
    void* grad_w,
    void* grad_b,
    void* workspace,
    Stream stream) {
  if (plan.algorithm == Algorithm::reference)
    return launch_reference_grad_weight(p, dtype, grad_y, x, grad_w, grad_b, stream);
  if (plan.algorithm == Algorithm::outer)
    launch_outer(plan, outer_arguments(p, plan), dtype, grad_y, x, workspace, stream);
  else
    launch_outer_mma(plan, outer_mma_arguments(p, plan, dtype), dtype, grad_y, x, workspace, stream);
  launch_add_parts(p, dtype, plan.parts, workspace, grad_w, grad_b, stream);
}

void backward(
    const Plan& plan,
    const Conv1dProblem& p,
    DType dtype,
    View grad_y,
    View x,
    const void* w,
    MutableView grad_x,
    void* grad_w,
    void* grad_b,
    void* workspace,
    Stream stream) {
  require_alignment(grad_x);
  const DepthwiseBackward a = depthwise_backward(p, plan, grad_y, x, grad_x);
  if (plan.algorithm == Algorithm::depthwise_rows)
    launch_depthwise_rows_backward(plan, a, dtype, w, workspace, stream);
  else
    launch_depthwise_channels_backward(plan, a, dtype, w, workspace, stream);
  launch_add_parts(p, dtype, plan.parts, workspace, grad_w, grad_b, stream);
  fold_back(p, dtype, grad_y, w, grad_x, stream);
}

}  // namespace torch_conv1d::cuda
