// The contract of every kernel: what it computes, its arguments, and the function that launches it as a plan says.
// kernels/ has the kernels, the .cu file of the same name instantiates them for the dtypes.
#pragma once

#include "../correlation.h"
#include "conv1d_cuda.h"

namespace torch_conv1d::cuda {

// The definition. grad_input computes the first `left` and the last `right` positions of every row.
struct Edges {
  int64_t left, right;
};
void launch_reference_forward(
    const Conv1dProblem& p, DType dtype, View x, const void* w, const void* bias, MutableView y, Stream stream);
void launch_reference_grad_input(
    const Conv1dProblem& p, DType dtype, View grad_y, const void* w, MutableView grad_x, Edges edges, Stream stream);
void launch_reference_grad_weight(
    const Conv1dProblem& p, DType dtype, View grad_y, View x, void* grad_w, void* grad_b, Stream stream);

// Depthwise layers with up to 8 taps, at stride 1 and dilation 1:
//
//     out[n, c, q] = bias[c] + sum over k of w[c, k] * source[n, c, q + first + k]
//
// forward has source = x; grad_input has source = grad_y and reversed taps: with k' = K - 1 - k the identity of
// problem.h gives lo = li + pad_left - (K - 1) + k'.
constexpr int64_t kDepthwiseTaps = 8;
constexpr int64_t kDepthwiseThreads = 128;  // of a block
struct Depthwise {
  int64_t n, channels;
  int kernel_size;
  bool reversed;  // the taps
  View source;
  int64_t source_length;
  PaddingMode padding;  // of the source
  int64_t first;
  MutableView out;
  int64_t out_length;
};
// None where another kernel has to do it.
std::optional<Plan> plan_depthwise(
    const Conv1dProblem& p,
    DType dtype,
    View source,
    int64_t source_length,
    int64_t out_length,
    bool channels_last,
    const Device& device);
void launch_depthwise_rows(
    const Plan& plan, const Depthwise& a, DType dtype, const void* w, const void* bias, Stream stream);
void launch_depthwise_channels(
    const Plan& plan, const Depthwise& a, DType dtype, const void* w, const void* bias, Stream stream);

// All gradients of the same layers in one walk over the positions v of the row,
//
//     grad_x[n, c, v] = sum over k of w[c, k] * grad_y[n, c, v + pad_left - k]
//     grad_w[c, k] = sum over n, v of x[n, c, v] * grad_y[n, c, v + pad_left - k]
//
// which share a window of grad_y; grad_b sums grad_y at one tap. Where no tap meets every grad_y within the row, v
// walks over the padded row. The sums of weights are left in `partial`, for launch_add_parts.
struct DepthwiseBackward {
  int64_t n, channels;
  int kernel_size;
  View grad_y, x;
  MutableView grad_x;
  int64_t l_in, l_out, pad_left;
  PaddingMode padding;
  int64_t v_begin = 0, v_end = 0;
  int bias_tap = 0;
  int64_t tiles = 0;  // of a sample; n * tiles of them are cut into plan.parts parts
};
DepthwiseBackward depthwise_backward(const Conv1dProblem& p, const Plan& plan, View grad_y, View x, MutableView grad_x);
void launch_depthwise_rows_backward(
    const Plan& plan, const DepthwiseBackward& a, DType dtype, const void* w, void* partial, Stream stream);
void launch_depthwise_channels_backward(
    const Plan& plan, const DepthwiseBackward& a, DType dtype, const void* w, void* partial, Stream stream);

// forward and grad_input of any layer: the operation of correlation.h, without its folds.
//
// A result of one row a group gives a tile no second row to share the loads of the source with. If its taps are one
// position apart, it slides: `slide` neighbouring positions of the result become the rows,
//
//     out[q * slide + j] = init + sum over c, taps t of w[c, t - j] * source[c, q * slide + offset(t)]
//
// the same sums in the same order; row j leaves out the taps where t - j is none of the kernel. Where offsets go down,
// so do the rows: row j is position q * slide + slide - 1 - j, and offset(t) = offset(0) + slide - 1 - t.
constexpr int64_t kCorrelateThreads = 128;
struct Correlate {
  Correlation correlation;
  View source;
  MutableView out;
  // Taps of one phase are tap_step apart, which moves the source by offset_step.
  int64_t tap_step = 1, offset_step = 1;
  // What is in shared memory at a time: blocks of channels and taps; columns of a plane of the tile; numbers of one
  // group.
  int channel_block = 0, tap_block = 0;
  int64_t columns = 0, shared_of_group = 0;
};
Plan plan_correlate(const Correlation& c, DType dtype);
Correlation unfolded_grad_input(const Conv1dProblem& p);
// Positions of the source that are in different planes of the tile.
constexpr int64_t planes_of(const Correlation& c, int64_t slide) { return slide > 1 ? slide : c.source_stride; }
Correlate correlate_arguments(const Correlation& c, const Plan& plan, View source, MutableView out);
void launch_correlate(
    const Plan& plan, const Correlate& a, DType dtype, const void* w, const void* bias, Stream stream);

// The same on tensor cores, in bfloat16, float16, and in float32 by rounding to TF32 first. `workspace` receives the
// weights, as the multiply-adds of kernels/mma.cuh take them.
constexpr int64_t kCorrelateMmaThreads = 128, kWarpPositions = 32;
// The inner dimension comes in blocks of 8 words of `of_word` channels.
constexpr int64_t word_blocks(int64_t channels, int64_t of_word) { return ceil_div(channels, 8 * of_word); }
struct CorrelateMma {
  Correlation correlation;
  View source;
  MutableView out;
  int64_t tap_step, offset_step;  // as in Correlate
  // What is in shared memory at a time: blocks of words; columns of a plane of the tile; words between its rows.
  int word_blocks;
  int64_t columns, pitch;
};
std::optional<Plan> plan_correlate_mma(const Correlation& c, DType dtype);
CorrelateMma correlate_mma_arguments(const Correlation& c, const Plan& plan, DType dtype, View source, MutableView out);
void launch_correlate_mma(
    const Plan& plan,
    const CorrelateMma& a,
    DType dtype,
    const void* w,
    const void* bias,
    void* workspace,
    Stream stream);

// The sums of grad_weight and grad_bias of any layer, left in `partial` for launch_add_parts.
constexpr int64_t kOuterThreads = 128;
struct Outer {
  Conv1dProblem problem;
  // What is in shared memory at a time: positions of grad_y, and the x that channel_block x tap_block weights need.
  int positions, channel_block, tap_block;
  int64_t columns, weight_tiles;
};
Plan plan_outer(const Conv1dProblem& p, DType dtype);
Outer outer_arguments(const Conv1dProblem& p, const Plan& plan);
void launch_outer(const Plan& plan, const Outer& a, DType dtype, View grad_y, View x, void* partial, Stream stream);

// The same on tensor cores.
constexpr int64_t kOuterMmaThreads = 128, kWarpWeights = 64;
struct OuterMma {
  Conv1dProblem problem;
  // What is in shared memory at a time: positions of grad_y, and the x that channel_block x tap_block weights need.
  int positions, channel_block, tap_block;
  // Words of a plane of x; words between rows of x and of grad_y.
  int64_t columns, pitch, grad_pitch, weight_tiles;
};
std::optional<Plan> plan_outer_mma(const Conv1dProblem& p, DType dtype);
OuterMma outer_mma_arguments(const Conv1dProblem& p, const Plan& plan, DType dtype);
void launch_outer_mma(
    const Plan& plan, const OuterMma& a, DType dtype, View grad_y, View x, void* partial, Stream stream);

// partial[part][co][weight], where the last weight of each output channel is its bias -> grad_w, grad_b; the latter may
// be null.
void launch_add_parts(
    const Conv1dProblem& p, DType dtype, int64_t parts, const void* partial, void* grad_w, void* grad_b, Stream stream);

}  // namespace torch_conv1d::cuda
