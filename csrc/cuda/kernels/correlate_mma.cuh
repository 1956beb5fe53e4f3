// forward and grad_input on tensor cores: an implicit product of matrices without im2col. Rows are channels of the
// result, columns its positions, and the inner dimension is (blocks of 8 words of channels, taps):
//
//     out[row, q] += sum over word of w[row, word, k] * source[word, q * source_stride + offset(k)]
//
// A stage copies the source of some channels, with the halo of all taps, into shared memory as tile[word][position],
// where positions are in planes as tile.cuh has them. A tap is then an offset into the same tile: K multiplications use
// what one im2col column would. Words of 2 channels are made on the way, which no copy of whole bytes (cp.async) and no
// aligned transposition (ldmatrix) could do; the other blocks of the multiprocessor hide the latency.
//
// Column n of product j of a warp is its position 8 * (n / 2) + 2 * j + n % 2. So a lane ends with 8 neighbouring
// positions of a row, which it stores as 16 bytes. Its loads of b meet no bank twice if pitch % 8 == 2, pitch being the
// words from one row of the tile to the next: lane (g, t) reads bank
//
//     t * pitch + 8 * (g / 2) + g % 2 + constant
//
// Weights were packed as fragments of a, so that a warp reads 512 bytes in a row; the warps of a block read the same
// ones, from L1 after the first. With 16 R rows x 32 positions of a warp a step costs 512 R + 1024 bytes of L1 for 4 R
// products: at 128 bytes and half a product a cycle, R = 3 takes 20 cycles of loads beside 24 of products. Registers:
// 16 R sums, 4 R + 2 operands, 140 at most with the addresses on sm_90: three blocks of a multiprocessor. Two taps a
// turn of the loop, as compilers like it, would spill on sm_100.
#pragma once

#include "../kernels.h"
#include "mma.cuh"

namespace torch_conv1d::cuda {

// packed[group][tile of row_tiles * 16 rows][block of words][tap][row tile][lane], from weights as correlation.h
// numbers them.
template <class E>
__global__ void pack_fragments(Correlation c, int row_tiles, int64_t count, const E* w, RowFragment<E>* packed) {
  const int64_t blocks = word_blocks(c.channels, kOfWord<E>), tiles = ceil_div(c.rows, row_tiles * kMmaRows);
  for (int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += int64_t(gridDim.x) * blockDim.x) {
    // Neighbours in a warp are neighbours in w: taps.
    int64_t rest = i;
    const auto next = [&rest](int64_t size) {
      const int64_t index = rest % size;
      rest /= size;
      return index;
    };
    const int64_t tap = next(c.taps);
    const int lane = int(next(kWarp));
    const int64_t row_tile = next(row_tiles), block = next(blocks), tile = next(tiles), group = rest;
    RowFragment<E> fragment;
#pragma unroll
    for (int j = 0; j < 4 * kOfWord<E>; ++j) {
      const int reg = j / kOfWord<E>, element = j % kOfWord<E>;
      const int64_t row = (tile * row_tiles + row_tile) * kMmaRows + lane / 4 + 8 * (reg % 2);
      const int64_t channel = (block * kMmaWords + lane % 4 + 4 * (reg / 2)) * kOfWord<E> + element;
      const int64_t at = group * c.w_group + row * c.w_row + channel * c.w_channel + tap;
      fragment.value[reg].value[element] = row < c.rows && channel < c.channels ? to_factor(w[at]) : from_sum<E>(0);
    }
    packed[((((group * tiles + tile) * blocks + block) * c.taps + tap) * row_tiles + row_tile) * kWarp + lane] =
        fragment;
  }
}

// block (lanes, warps), grid (phases and positions, groups and tiles of rows, samples).
template <class E, int ROW_TILES>
__global__ void __launch_bounds__(kCorrelateMmaThreads, 1)
    correlate_mma(CorrelateMma a, const RowFragment<E>* packed, const E* bias) {
  constexpr int PRODUCTS = kWarpPositions / kMmaColumns;
  const Correlation& c = a.correlation;
  const int lane = threadIdx.x, g = lane / 4, t = lane % 4;
  const int thread = threadIdx.y * kWarp + lane, threads = kWarp * blockDim.y;
  const int planes = int(c.source_stride), columns = int(a.columns), pitch = int(a.pitch);
  Word<E>* const tile = shared_memory<Word<E>>();
  const Word<E>* const of_lane = tile + t * pitch + threadIdx.y * kWarpPositions + g / 2 * 8 + g % 2;

  const int64_t phase = blockIdx.x % c.phases, first_q = blockIdx.x / c.phases * (blockDim.y * kWarpPositions);
  // The taps of this phase are first_tap, first_tap + tap_step, ...
  int64_t first_tap = 0;
  while (first_tap < c.taps && c.phase(first_tap) != phase) ++first_tap;
  const int taps = int(ceil_div(c.taps - first_tap, a.tap_step));
  const int first_offset = a.offset_step < 0 && taps > 0 ? int((1 - taps) * a.offset_step) : 0;
  const int64_t first_position = first_q * planes + c.offset(first_tap) - first_offset;

  const int64_t row_blocks = ceil_div(c.rows, ROW_TILES * kMmaRows), blocks = word_blocks(c.channels, kOfWord<E>);
  for (int64_t work = blockIdx.y; work < c.groups * row_blocks; work += gridDim.y)
    for (int64_t n = blockIdx.z; n < c.n; n += gridDim.z) {
      const int64_t group = work / row_blocks, first_row = work % row_blocks * (ROW_TILES * kMmaRows);
      float sums[ROW_TILES][PRODUCTS][4];
#pragma unroll
      for (int r = 0; r < ROW_TILES; ++r)
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const int64_t row = first_row + r * kMmaRows + g + 8 * (i / 2);
          const float init = bias && row < c.rows ? to_sum(bias[group * c.rows + row]) : 0;
#pragma unroll
          for (int j = 0; j < PRODUCTS; ++j) sums[r][j][i] = init;
        }

      const RowFragment<E>* of_block = packed + (work * blocks * c.taps + first_tap) * ROW_TILES * kWarp + lane;
      for (int64_t block = 0; block < blocks; block += a.word_blocks) {
        const int stage_words = int(std::min<int64_t>(a.word_blocks, blocks - block)) * kMmaWords;
        __syncthreads();
        for (int word = 0; word < stage_words; ++word) {
          const int64_t channel = (block * kMmaWords + word) * kOfWord<E>;
          const E* const data = pointer_to<E>(a.source, n, group * c.channels + channel, 0);
          Word<E>* row = tile + word * pitch;
          for (int plane = 0; plane < planes; ++plane, row += columns)
            for (int column = thread; column < columns; column += threads) {
              const int64_t position =
                  padded_position(first_position + int64_t(column) * planes + plane, c.source_length, c.source_padding);
              Word<E> value;
#pragma unroll
              for (int i = 0; i < kOfWord<E>; ++i)
                value.value[i] = position >= 0 && channel + i < c.channels
                                     ? to_factor(data[i * a.source.stride_c + position * a.source.stride_l])
                                     : from_sum<E>(0);
              row[column] = value;
            }
        }
        __syncthreads();
        for (int word = 0; word < stage_words; word += kMmaWords, of_block += c.taps * (ROW_TILES * kWarp)) {
          const RowFragment<E>* of_tap = of_block;
          TileWalk walk(first_offset, int(a.offset_step), planes);
#pragma unroll 1
          for (int tap = 0; tap < taps; ++tap, walk.next(), of_tap += a.tap_step * (ROW_TILES * kWarp)) {
            RowFragment<E> rows[ROW_TILES];
#pragma unroll
            for (int r = 0; r < ROW_TILES; ++r) rows[r] = of_tap[r * kWarp];
            const Word<E>* const at = of_lane + word * pitch + walk.plane * columns + walk.column;
#pragma unroll
            for (int j = 0; j < PRODUCTS; ++j) {
              const ColumnFragment<E> positions = {at[2 * j], at[2 * j + 4 * pitch]};
#pragma unroll
              for (int r = 0; r < ROW_TILES; ++r) mma(sums[r][j], rows[r], positions);
            }
          }
        }
      }

      const int64_t position = (first_q + threadIdx.y * kWarpPositions + 8 * t) * c.phases + phase;
      const int64_t step = c.phases * a.out.stride_l;
#pragma unroll
      for (int i = 0; i < 2 * ROW_TILES; ++i) {
        const int64_t row = first_row + i / 2 * kMmaRows + g + 8 * (i % 2);
        if (row >= c.rows) continue;
        Pack<8, E> values;
#pragma unroll
        for (int j = 0; j < 8; ++j) values.value[j] = from_sum<E>(sums[i / 2][j / 2][2 * (i % 2) + j % 2]);
        E* const out = pointer_to<E>(a.out, n, group * c.rows + row, position);
        if (step == 1 && position + 8 <= c.out_length && reinterpret_cast<uintptr_t>(out) % 16 == 0) {
          *reinterpret_cast<Pack<8, E>*>(out) = values;
        } else {
#pragma unroll
          for (int j = 0; j < 8; ++j)
            if (position + j * c.phases < c.out_length) out[j * step] = values.value[j];
        }
      }
    }
}

}  // namespace torch_conv1d::cuda
