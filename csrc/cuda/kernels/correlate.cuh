// forward and grad_input of any layer, as the one operation of correlation.h: tiles of ROWS channels x POSITIONS
// positions a thread.
//
// A stage is a block of channels x taps: the rows of the source go to shared memory as a tile of `source_stride`
// planes, the weights as [channel][tap][row], so that the ROWS of a thread are one or two wide loads that its whole
// warp shares. Each tap then costs POSITIONS + ROWS / 4 loads for ROWS x POSITIONS multiply-adds: 6 for 32 in the
// widest tile, which leaves the FMA units the bottleneck.
//
// Every result is one chain over channels, then taps, whatever the tile. SLIDE: the rows are neighbouring positions of
// one channel.
#pragma once

#include "../kernels.h"
#include "tile.cuh"

namespace torch_conv1d::cuda {

// block (positions, rows, groups), grid (phases and positions, groups and rows, samples).
template <class E, int ROWS, int POSITIONS, bool SLIDE>
__global__ void __launch_bounds__(kCorrelateThreads, 1) correlate(Correlate a, const E* w, const E* bias) {
  const Correlation& c = a.correlation;
  const int lanes = blockDim.x, thread = threadIdx.y * lanes + threadIdx.x, threads = lanes * blockDim.y;
  const int block_rows = ROWS * blockDim.y, row_in_block = ROWS * threadIdx.y;
  const int planes = int(planes_of(c, SLIDE ? ROWS : 1)), columns = int(a.columns);
  Sum<E>* const weights = shared_memory<Sum<E>>() + threadIdx.z * a.shared_of_group;
  Sum<E>* const tile = weights + a.channel_block * a.tap_block * block_rows;

  const int64_t phase = blockIdx.x % c.phases, first_q = blockIdx.x / c.phases * (lanes * POSITIONS);
  // The taps of this phase are first_tap, first_tap + tap_step, ...
  int64_t first_tap = 0;
  while (first_tap < c.taps && c.phase(first_tap) != phase) ++first_tap;
  const int64_t taps = SLIDE ? c.taps + ROWS - 1 : ceil_div(c.taps - first_tap, a.tap_step);
  const int64_t slide_back = SLIDE && c.step < 0 ? ROWS - 1 : 0;
  const int tap_offset = int(a.offset_step < 0 ? -a.offset_step : a.offset_step);

  const int64_t row_tiles = SLIDE ? 1 : ceil_div(c.rows, block_rows);
  for (int64_t work = blockIdx.y; work < ceil_div(c.groups, blockDim.z) * row_tiles; work += gridDim.y)
    for (int64_t n = blockIdx.z; n < c.n; n += gridDim.z) {
      const int64_t group = work / row_tiles * blockDim.z + threadIdx.z, first_row = work % row_tiles * block_rows;
      const bool active = group < c.groups;
      Sum<E> sums[ROWS][POSITIONS];
#pragma unroll
      for (int r = 0; r < ROWS; ++r) {
        const int64_t row = SLIDE ? 0 : first_row + row_in_block + r;
        const Sum<E> init = bias && active && row < c.rows ? to_sum(bias[group * c.rows + row]) : Sum<E>(0);
#pragma unroll
        for (int i = 0; i < POSITIONS; ++i) sums[r][i] = init;
      }

      for (int64_t channel = 0; channel < c.channels; channel += a.channel_block)
        for (int64_t tap = 0; tap < taps; tap += a.tap_block) {
          const int stage_channels = int(std::min<int64_t>(a.channel_block, c.channels - channel));
          const int stage_taps = int(std::min<int64_t>(a.tap_block, taps - tap));
          const int64_t offset = c.offset(first_tap) + slide_back + tap * a.offset_step;
          const int first_offset = a.offset_step < 0 ? (stage_taps - 1) * tap_offset : 0;
          __syncthreads();
          if (active) {
            stage_rows<E>(
                a.source, n, group * c.channels + channel, c.source_length, c.source_padding,
                first_q * planes + offset - first_offset, stage_channels, planes, columns, thread, threads, tile);
            for (int i = thread; i < stage_channels * stage_taps * block_rows; i += threads) {
              const int r = i % block_rows, t = i / block_rows % stage_taps, s = i / block_rows / stage_taps;
              const int64_t row = SLIDE ? 0 : first_row + r;
              const int64_t k = SLIDE ? tap + t - r : first_tap + (tap + t) * a.tap_step;
              const bool exists = row < c.rows && k >= 0 && k < c.taps;
              const int64_t at = group * c.w_group + row * c.w_row + (channel + s) * c.w_channel + k;
              weights[(s * a.tap_block + t) * block_rows + r] = exists ? to_sum(w[at]) : Sum<E>(0);
            }
          }
          __syncthreads();
          if (!active) continue;
          for (int s = 0; s < stage_channels; ++s) {
            const Sum<E>* const row_of_tile = tile + s * planes * columns + threadIdx.x;
            TileWalk walk(first_offset, int(a.offset_step), planes);
            for (int t = 0; t < stage_taps; ++t, walk.next()) {
              const Sum<E>* const at = row_of_tile + walk.plane * columns + walk.column;
              Sum<E> x[POSITIONS];
#pragma unroll
              for (int i = 0; i < POSITIONS; ++i) x[i] = at[i * lanes];
              const auto taps_of_rows = *reinterpret_cast<const Pack<ROWS, Sum<E>>*>(
                  weights + (s * a.tap_block + t) * block_rows + row_in_block);
              const int64_t k = tap + t;
              if (!SLIDE || (k >= ROWS - 1 && k < c.taps)) {
#pragma unroll
                for (int r = 0; r < ROWS; ++r)
#pragma unroll
                  for (int i = 0; i < POSITIONS; ++i) sums[r][i] = std::fma(taps_of_rows.value[r], x[i], sums[r][i]);
              } else {
            // Where the rows begin and end, some of them have no tap here: left out, since zero times infinity is not
            // zero.
#pragma unroll
                for (int r = 0; r < ROWS; ++r)
                  if (k >= r && k - r < c.taps) {
#pragma unroll
                    for (int i = 0; i < POSITIONS; ++i) sums[r][i] = std::fma(taps_of_rows.value[r], x[i], sums[r][i]);
                  }
              }
            }
          }
        }

#pragma unroll
      for (int r = 0; r < ROWS; ++r) {
        const int64_t row = SLIDE ? 0 : first_row + row_in_block + r;
        if (!active || row >= c.rows) continue;
#pragma unroll
        for (int i = 0; i < POSITIONS; ++i) {
          const int64_t q = first_q + threadIdx.x + i * lanes;
          // Sliding backwards, the last row is the first position.
          const int64_t position = SLIDE ? q * ROWS + (c.step < 0 ? ROWS - 1 - r : r) : q * c.phases + phase;
          if (position < c.out_length)
            *pointer_to<E>(a.out, n, group * c.rows + row, position) = from_sum<E>(sums[r][i]);
        }
      }
    }
}

}  // namespace torch_conv1d::cuda
