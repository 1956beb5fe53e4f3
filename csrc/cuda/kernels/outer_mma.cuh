// grad_weight on tensor cores: rows are output channels of a group, columns its weights (ci, k), the inner dimension is
// positions,
//
//     grad_w[co, (ci, k)] = sum over n, lo of grad_y[n, co, lo] * x[n, ci, lo * stride + k * dilation - pad_left]
//
// A stage is `positions` positions of one sample. A word of two elements holds positions 8 apart, so that the eight
// words of a product are eight positions in a row, and neighbouring lanes read neighbouring words:
//
//     grad_tile[row][8 * b + w]  = positions 8 * H * b + w + 8 * (0 ... H - 1)                       H elements of a word
//     tile[channel][plane][c]    = positions c + 8 * (0 ... H - 1) of the plane, planes as in tile.cuh
//
// Words of x overlap: every tap, whatever its offset, finds words that start where it does. With rows 4 words beyond a
// multiple of 8 apart lane (g, t) of eight channels reads bank 4 * g + t. The bias is one more product, whose columns
// are ones. Every warp has all rows and its own columns: with 16 R rows and 64 columns of a warp a step costs 512 R +
// 2048 bytes of shared memory for 8 R products. Registers: 32 R sums, 4 R of the bias, 4 R + 2 operands, 8 offsets: 222
// for R = 4, so two blocks of a multiprocessor.
#pragma once

#include "../kernels.h"
#include "mma.cuh"

namespace torch_conv1d::cuda {

// Rows of words, of the `channels` channels that follow `channel`. STEP: positions from the first of 8 words to the
// next 8.
template <class E, int STEP>
__device__ inline void stage_words(
    const View& view,
    int64_t n,
    int64_t channel,
    int64_t length,
    PaddingMode padding,
    int64_t first,
    int channels,
    int planes,
    int columns,
    int pitch,
    int thread,
    int threads,
    Word<E>* tile) {
  for (int row = 0; row < channels; ++row, tile += pitch) {
    const E* const data = pointer_to<E>(view, n, channel + row, 0);
    for (int plane = 0; plane < planes; ++plane)
      for (int column = thread; column < columns; column += threads) {
        Word<E> word;
#pragma unroll
        for (int i = 0; i < kOfWord<E>; ++i) {
          const int64_t in_plane = column / 8 * STEP + column % 8 + 8 * i;
          const int64_t position = padded_position(first + in_plane * planes + plane, length, padding);
          word.value[i] = position < 0 ? from_sum<E>(0) : to_factor(data[position * view.stride_l]);
        }
        tile[plane * columns + column] = word;
      }
  }
}

// block (lanes, warps), grid (groups, tiles of rows and of weights; parts). partial is that of launch_add_parts.
template <class E, int ROW_TILES>
__global__ void __launch_bounds__(kOuterMmaThreads, 1)
    outer_mma(OuterMma a, int64_t parts, View grad_y, View x, float* partial) {
  constexpr int ROWS = ROW_TILES * kMmaRows, PRODUCTS = kWarpWeights / kMmaColumns, STEP = kMmaWords * kOfWord<E>;
  const Conv1dProblem& p = a.problem;
  const int lane = threadIdx.x, g = lane / 4, t = lane % 4;
  const int thread = threadIdx.y * kWarp + lane, threads = kWarp * blockDim.y;
  const int planes = int(p.stride), columns = int(a.columns), pitch = int(a.pitch), grad_pitch = int(a.grad_pitch);
  Word<E>* const grad_tile = shared_memory<Word<E>>();
  Word<E>* const tile = grad_tile + ROWS * grad_pitch;

  const int64_t row_tiles = ceil_div(p.c_out_per_group(), ROWS), tap_tiles = ceil_div(p.kernel_size, a.tap_block);
  const int64_t weight_tile = blockIdx.x % a.weight_tiles;
  const int64_t first_channel = weight_tile / tap_tiles * a.channel_block,
                first_tap = weight_tile % tap_tiles * a.tap_block;
  const int64_t first_row = blockIdx.x / a.weight_tiles % row_tiles * ROWS,
                group = blockIdx.x / a.weight_tiles / row_tiles;
  const int channels = int(std::min<int64_t>(a.channel_block, p.c_in_per_group() - first_channel));
  const int rows = int(std::min<int64_t>(ROWS, p.c_out_per_group() - first_row));

  // Columns of this warp, and whether column `of_warp` is a weight that exists.
  const int products = ceil_div(ceil_div(a.channel_block * a.tap_block, kMmaColumns), blockDim.y);
  const auto channel_of = [&](int of_warp) { return (threadIdx.y * products * kMmaColumns + of_warp) / a.tap_block; };
  const auto tap_of = [&](int of_warp) { return (threadIdx.y * products * kMmaColumns + of_warp) % a.tap_block; };
  const auto exists = [&](int of_warp) {
    return int(channel_of(of_warp)) < channels && first_tap + tap_of(of_warp) < p.kernel_size;
  };
  int at[PRODUCTS];
#pragma unroll
  for (int j = 0; j < PRODUCTS; ++j) {
    const int column = j * kMmaColumns + g, offset = int(tap_of(column) * p.dilation);
    at[j] = t + (exists(column) ? channel_of(column) * pitch + offset % planes * columns + offset / planes : 0);
  }
  const bool has_bias = weight_tile == 0 && threadIdx.y == 0;
  ColumnFragment<E> ones;
#pragma unroll
  for (int i = 0; i < 2 * kOfWord<E>; ++i) ones.value[i / kOfWord<E>].value[i % kOfWord<E>] = from_sum<E>(1);

  float sums[ROW_TILES][PRODUCTS][4] = {}, bias[ROW_TILES][4] = {};
  const int64_t tiles = ceil_div(p.l_out, a.positions);
  int64_t item = int64_t(blockIdx.y) * p.n * tiles / parts;
  const int64_t end = (int64_t(blockIdx.y) + 1) * p.n * tiles / parts;
  for (; item < end; ++item) {
    const int64_t n = item / tiles, first = item % tiles * a.positions;
    const int count = int(std::min<int64_t>(a.positions, p.l_out - first));
    __syncthreads();
    // Zeros follow the last position of a row.
    stage_words<E, STEP>(
        grad_y, n, group * p.c_out_per_group() + first_row, p.l_out, PaddingMode::zeros, first, rows, 1,
        a.positions / kOfWord<E>, grad_pitch, thread, threads, grad_tile);
    stage_words<E, kMmaWords>(
        x, n, group * p.c_in_per_group() + first_channel, p.l_in, p.padding_mode,
        first * p.stride + first_tap * p.dilation - p.pad_left, channels, planes, columns, pitch, thread, threads,
        tile);
    __syncthreads();
    for (int block = 0; block * STEP < count; ++block) {
      RowFragment<E> grads[ROW_TILES];
#pragma unroll
      for (int r = 0; r < ROW_TILES; ++r)
#pragma unroll
        for (int i = 0; i < 4; ++i)
          grads[r].value[i] =
              grad_tile[(r * kMmaRows + g + 8 * (i % 2)) * grad_pitch + block * kMmaWords + t + 4 * (i / 2)];
#pragma unroll
      for (int j = 0; j < PRODUCTS; ++j)
        if (j < products) {
          const Word<E>* const words = tile + at[j] + block * STEP;
          const ColumnFragment<E> positions = {words[0], words[4]};
#pragma unroll
          for (int r = 0; r < ROW_TILES; ++r) mma(sums[r][j], grads[r], positions);
        }
      if (has_bias) {
#pragma unroll
        for (int r = 0; r < ROW_TILES; ++r) mma(bias[r], grads[r], ones);
      }
    }
  }

  const int64_t weights = p.c_in_per_group() * p.kernel_size;
#pragma unroll
  for (int r = 0; r < ROW_TILES; ++r)
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int row = r * kMmaRows + g + 8 * (i / 2);
      if (row >= rows) continue;
      float* const out =
          partial + (blockIdx.y * p.c_out + group * p.c_out_per_group() + first_row + row) * (weights + 1);
#pragma unroll
      for (int j = 0; j < PRODUCTS; ++j) {
        const int column = j * kMmaColumns + 2 * t + i % 2;
        if (j < products && exists(column))
          out[(first_channel + channel_of(column)) * p.kernel_size + first_tap + tap_of(column)] = sums[r][j][i];
      }
      if (has_bias && t == 0 && i % 2 == 0) out[weights] = bias[r][i];
    }
}

}  // namespace torch_conv1d::cuda
