// Depthwise layers whose positions are innermost: a thread owns one aligned block of 16 bytes of a row of the result.
//
// Rows start anywhere, so the source is read in its own aligned blocks and shifted in registers. The shift is the same
// for the whole row, so its branches are uniform, and free where rows are aligned. Blocks overlap by the halo; the
// second read of a block hits L1.
//
// Registers of the largest instantiation (16-bit elements, 8 taps): 3 blocks of 4, a window of 24, 8 taps, 8 sums.
#pragma once

#include "depthwise.cuh"

namespace torch_conv1d::cuda {

template <class E>
constexpr int kBlock = 16 / sizeof(E);

template <class E>
struct alignas(16) Block {
  E element[kBlock<E>];
};

// Elements from the last 16-byte boundary to element `position` of a row.
template <class E>
__device__ inline int misalignment(const E* row, int64_t position = 0) {
  return int((reinterpret_cast<uintptr_t>(row) / sizeof(E) + uintptr_t(position)) % kBlock<E>);
}

// values[i] = values[i + shift] for a shift below 2 * STEP, one of its bits after the other. STEP is a template
// argument, because an array stays in registers only if every index is a constant early in compilation.
template <int STEP, int SIZE, class T>
__device__ inline void shift_left(T (&values)[SIZE], int shift) {
  if constexpr (STEP > 0) {
    if (shift & STEP) {
#pragma unroll
      for (int i = 0; i < SIZE - STEP; ++i) values[i] = values[i + STEP];
    }
    shift_left<STEP / 2>(values, shift);
  }
}

// window[i] = row[first + i] with its padding.
template <int COUNT, class E>
__device__ inline void load_window(
    const E* row, int64_t length, PaddingMode padding, int64_t first, Sum<E> (&window)[COUNT]) {
  constexpr int V = kBlock<E>, BLOCKS = (V - 1 + COUNT + V - 1) / V;
  const int shift = misalignment(row, first);
  // All loads first: conversions wait for them together.
  Block<E> blocks[BLOCKS];
#pragma unroll
  for (int b = 0; b < BLOCKS; ++b) {
    const int64_t position = first - shift + b * V;
    if (b * V >= shift + COUNT) continue;
    if (position >= 0 && position + V <= length) {
      blocks[b] = *reinterpret_cast<const Block<E>*>(row + position);
    } else {
#pragma unroll
      for (int i = 0; i < V; ++i) {
        const int64_t source = padded_position(position + i, length, padding);
        blocks[b].element[i] = source < 0 ? from_sum<E>(0) : row[source];
      }
    }
  }
  Sum<E> values[BLOCKS * V];
#pragma unroll
  for (int i = 0; i < BLOCKS * V; ++i) values[i] = to_sum(blocks[i / V].element[i % V]);
  shift_left<V / 2>(values, shift);
#pragma unroll
  for (int i = 0; i < COUNT; ++i) window[i] = values[i];
}

// row[first + i] = values[i] for the positions inside of the row; row + first is at a 16-byte boundary.
template <class E>
__device__ inline void store_block(E* row, int64_t length, int64_t first, const Sum<E> (&values)[kBlock<E>]) {
  constexpr int V = kBlock<E>;
  Block<E> block;
#pragma unroll
  for (int i = 0; i < V; ++i) block.element[i] = from_sum<E>(values[i]);
  if (first >= 0 && first + V <= length) {
    *reinterpret_cast<Block<E>*>(row + first) = block;
  } else {
#pragma unroll
    for (int i = 0; i < V; ++i)
      if (first + i >= 0 && first + i < length) row[first + i] = block.element[i];
  }
}

// grid (blocks of positions, channels, samples), block (blocks of 16 bytes, channels).
template <class E, int TAPS>
__global__ void __launch_bounds__(kDepthwiseThreads, 1) depthwise_rows(Depthwise a, const E* w, const E* bias) {
  constexpr int V = kBlock<E>;
  const int64_t block = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  for (int64_t n = blockIdx.z; n < a.n; n += gridDim.z)
    for (int64_t c = int64_t(blockIdx.y) * blockDim.y + threadIdx.y; c < a.channels; c += gridDim.y * blockDim.y) {
      E* const out = pointer_to<E>(a.out, n, c, 0);
      const int64_t q = block * V - misalignment(out);
      if (q >= a.out_length) continue;

      Sum<E> window[V + TAPS - 1], taps[TAPS], sums[V];
      load_window(pointer_to<E>(a.source, n, c, 0), a.source_length, a.padding, q + a.first, window);
      load_taps(w + c * a.kernel_size, a.kernel_size, a.reversed, taps);
      const Sum<E> init = bias ? to_sum(bias[c]) : Sum<E>(0);
#pragma unroll
      for (int i = 0; i < V; ++i) sums[i] = init;
#pragma unroll
      for (int k = 0; k < TAPS; ++k)
        if (k < a.kernel_size) {
#pragma unroll
          for (int i = 0; i < V; ++i) sums[i] = std::fma(taps[k], window[i + k], sums[i]);
        }
      store_block(out, a.out_length, q, sums);
    }
}

// grid (channels, parts), block (blocks of 16 bytes, a power of two; channels). partial[part][c][k], and
// [c][kernel_size] for the bias; shared memory holds kernel_size + 1 sums a warp where a row has several.
template <class E, int TAPS>
__global__ void __launch_bounds__(kDepthwiseThreads, 1)
    depthwise_rows_backward(DepthwiseBackward a, int64_t parts, const E* w, Sum<E>* partial) {
  constexpr int V = kBlock<E>;
  const int64_t c = int64_t(blockIdx.x) * blockDim.y + threadIdx.y, part = blockIdx.y;
  const int bias_tap = a.kernel_size - 1 - a.bias_tap;
  // Reversed taps: tap k of the window is tap kernel_size - 1 - k of the kernel.
  Sum<E> taps[TAPS], grad_taps[TAPS] = {}, grad_bias = 0;
  if (c < a.channels) {
    load_taps(w + c * a.kernel_size, a.kernel_size, true, taps);
    int64_t item = part * a.n * a.tiles / parts;
    const int64_t end = (part + 1) * a.n * a.tiles / parts;
    for (int64_t n = item / a.tiles, tile = item % a.tiles; item < end; ++item, ++tile) {
      if (tile == a.tiles) tile = 0, ++n;
      E* const grad_x = pointer_to<E>(a.grad_x, n, c, 0);
      // The last 16-byte boundary at or before v_begin, which is 0 or negative.
      const int lead = misalignment(grad_x);
      const int64_t start = -lead - (V - 1 - a.v_begin - lead) / V * V;
      const int64_t v = start + (tile * blockDim.x + threadIdx.x) * V;
      if (v >= a.v_end) continue;

      Sum<E> grad_y[V + TAPS - 1], x[V], sums[V] = {};
      load_window(pointer_to<E>(a.x, n, c, 0), a.l_in, a.padding, v, x);
      load_window(
          pointer_to<E>(a.grad_y, n, c, 0), a.l_out, PaddingMode::zeros, v + a.pad_left - (a.kernel_size - 1), grad_y);
#pragma unroll
      for (int k = 0; k < TAPS; ++k)
        if (k < a.kernel_size) {
#pragma unroll
          for (int i = 0; i < V; ++i) {
            sums[i] = std::fma(taps[k], grad_y[i + k], sums[i]);
            grad_taps[k] = std::fma(x[i], grad_y[i + k], grad_taps[k]);
          }
          if (k == bias_tap) {
#pragma unroll
            for (int i = 0; i < V; ++i) grad_bias += grad_y[i + k];
          }
        }
      store_block(grad_x, a.l_in, v, sums);
    }
  }

  // The threads of a row: a tree over the lanes of a warp, then the warps in order.
  const int lanes = blockDim.x < kWarp ? blockDim.x : kWarp, warps = blockDim.x / lanes;
  const int warp = threadIdx.x / lanes;
  Sum<E>* const of_row = shared_memory<Sum<E>>() + threadIdx.y * warps * (TAPS + 1);
#pragma unroll
  for (int k = 0; k <= TAPS; ++k) {
    const Sum<E> sum = sum_of_lanes(k < TAPS ? grad_taps[k < TAPS ? k : 0] : grad_bias, lanes);
    if (threadIdx.x % lanes == 0) of_row[warp * (TAPS + 1) + k] = sum;
  }
  __syncthreads();
  for (int k = threadIdx.x; c < a.channels && k <= a.kernel_size; k += blockDim.x) {
    Sum<E> sum = 0;
    for (int i = 0; i < warps; ++i) sum += of_row[i * (TAPS + 1) + (k < a.kernel_size ? a.kernel_size - 1 - k : TAPS)];
    partial[(part * a.channels + c) * (a.kernel_size + 1) + k] = sum;
  }
}

}  // namespace torch_conv1d::cuda
