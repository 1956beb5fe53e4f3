// grad_weight of any layer: grad_w[co, ci, k] = sum over n, lo of x[n, ci, lo * stride + k * dilation - pad_left] *
// grad_y[n, co, lo].
//
// A thread owns one weight (ci, k) of ROWS output channels of a group. A stage is `positions` positions of one sample:
// x as a tile of `stride` planes, grad_y as [position][row]. The threads of a block are weights x slices; a slice takes
// every so-many-th position, and the slices are added in order at the end. One load of x and ROWS / 4 wide ones of
// grad_y, shared by the warp, serve ROWS multiply-adds. The bias is one more weight, whose x is a row of ones.
#pragma once

#include "../kernels.h"
#include "tile.cuh"

namespace torch_conv1d::cuda {

// block (weights, slices), grid (groups, rows and weights; parts). partial is that of launch_add_parts.
template <class E, int ROWS>
__global__ void __launch_bounds__(kOuterThreads, 1)
    outer(Outer a, int64_t parts, View grad_y, View x, Sum<E>* partial) {
  const Conv1dProblem& p = a.problem;
  const int thread = threadIdx.y * blockDim.x + threadIdx.x, threads = blockDim.x * blockDim.y;
  Sum<E>* const grad_tile = shared_memory<Sum<E>>();
  Sum<E>* const tile = grad_tile + a.positions * ROWS;

  const int64_t row_tiles = ceil_div(p.c_out_per_group(), ROWS);
  const int64_t tap_tiles = ceil_div(p.kernel_size, a.tap_block);
  const int64_t weight_tiles = a.weight_tiles, weight_tile = blockIdx.x % weight_tiles;
  const int64_t first_channel = weight_tile / tap_tiles * a.channel_block,
                first_tap = weight_tile % tap_tiles * a.tap_block;
  const int64_t first_row = blockIdx.x / weight_tiles % row_tiles * ROWS, group = blockIdx.x / weight_tiles / row_tiles;
  const int channels = int(std::min<int64_t>(a.channel_block, p.c_in_per_group() - first_channel));
  const int rows = int(std::min<int64_t>(ROWS, p.c_out_per_group() - first_row));

  // The weight of this thread; one thread too many in x is the bias.
  const int channel = threadIdx.x / a.tap_block, tap = threadIdx.x % a.tap_block;
  const bool is_bias = channel == a.channel_block;
  const bool is_weight = channel < channels && first_tap + tap < p.kernel_size;
  const int planes = int(p.stride), columns = int(a.columns), offset = int(tap * p.dilation);
  const Sum<E>* const of_weight =
      tile + ((is_weight ? channel : 0) * planes + offset % planes) * columns + offset / planes;

  Sum<E> sums[ROWS] = {};
  const int64_t tiles = ceil_div(p.l_out, a.positions);
  int64_t item = int64_t(blockIdx.y) * p.n * tiles / parts;
  const int64_t end = (int64_t(blockIdx.y) + 1) * p.n * tiles / parts;
  for (; item < end; ++item) {
    const int64_t n = item / tiles, first = item % tiles * a.positions;
    const int count = int(std::min<int64_t>(a.positions, p.l_out - first));
    __syncthreads();
    stage_rows<E>(
        x, n, group * p.c_in_per_group() + first_channel, p.l_in, p.padding_mode,
        first * p.stride + first_tap * p.dilation - p.pad_left, channels, planes, columns, thread, threads, tile);
#pragma unroll
    for (int r = 0; r < ROWS; ++r) {
      const E* const from = pointer_to<E>(grad_y, n, group * p.c_out_per_group() + first_row + r, first);
      for (int i = thread; r < rows && i < count; i += threads)
        grad_tile[i * ROWS + r] = to_sum(from[i * grad_y.stride_l]);
    }
    __syncthreads();
    if (!is_weight && !is_bias) continue;
    for (int i = threadIdx.y; i < count; i += blockDim.y) {
      const Sum<E> value = is_bias ? Sum<E>(1) : of_weight[i];
      const auto grads = *reinterpret_cast<const Pack<ROWS, Sum<E>>*>(grad_tile + i * ROWS);
#pragma unroll
      for (int r = 0; r < ROWS; ++r) sums[r] = std::fma(value, grads.value[r], sums[r]);
    }
  }

  // sums[slice][row][weight]
  __syncthreads();
  Sum<E>* const slices = shared_memory<Sum<E>>();
#pragma unroll
  for (int r = 0; r < ROWS; ++r) slices[(threadIdx.y * ROWS + r) * blockDim.x + threadIdx.x] = sums[r];
  __syncthreads();
  const int64_t weights = p.c_in_per_group() * p.kernel_size;
  const int64_t weight = is_bias ? weights : (first_channel + channel) * p.kernel_size + first_tap + tap;
  if (!is_weight && !(is_bias && weight_tile == 0)) return;
  for (int r = threadIdx.y; r < rows; r += blockDim.y) {
    Sum<E> sum = 0;
    for (unsigned slice = 0; slice < blockDim.y; ++slice) sum += slices[(slice * ROWS + r) * blockDim.x + threadIdx.x];
    const int64_t co = group * p.c_out_per_group() + first_row + r;
    partial[(blockIdx.y * p.c_out + co) * (weights + 1) + weight] = sum;
  }
}

}  // namespace torch_conv1d::cuda
