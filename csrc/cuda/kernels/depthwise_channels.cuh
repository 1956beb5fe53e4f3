// Depthwise layers whose channels are innermost: a thread owns V neighbouring channels and slides along the row, so a
// position is loaded once by a thread, and neighbouring threads load neighbouring channels.
//
// The window of the last TAPS positions is an array whose slots are reused in turn: the loop over positions is unrolled
// TAPS times, which makes every slot a register. V = kOwned is 16 bytes of channels, less where the registers of TAPS x
// V taps, window and (backward) sums of taps would be more than 96: 16-bit elements with 8 taps.
#pragma once

#include "depthwise.cuh"

namespace torch_conv1d::cuda {

template <class E, int TAPS>
constexpr int kOwned = 16 / int(sizeof(E)) < 32 / TAPS ? 16 / int(sizeof(E)) : 32 / TAPS;

template <class E, int V>
struct alignas(sizeof(E) * V) Channels {
  E element[V];
};

template <class E, int V>
__device__ inline void to_sums(const Channels<E, V>& channels, Sum<E> (&values)[V]) {
#pragma unroll
  for (int i = 0; i < V; ++i) values[i] = to_sum(channels.element[i]);
}
template <class E, int V>
__device__ inline Channels<E, V> from_sums(const Sum<E> (&values)[V]) {
  Channels<E, V> channels;
#pragma unroll
  for (int i = 0; i < V; ++i) channels.element[i] = from_sum<E>(values[i]);
  return channels;
}

// V neighbouring channels of one sample.
template <class E, int V>
struct Rows {
  const E* data;  // their position 0
  int64_t stride, length;
  PaddingMode padding;

  __device__ Rows(const View& view, int64_t n, int64_t c, int64_t length, PaddingMode padding)
      : data(pointer_to<E>(view, n, c, 0)), stride(view.stride_l), length(length), padding(padding) {}

  __device__ Channels<E, V> operator[](int64_t position) const {
    const int64_t source = padded_position(position, length, padding);
    if (source >= 0) return *reinterpret_cast<const Channels<E, V>*>(data + source * stride);
    const Sum<E> zeros[V] = {};
    return from_sums<E, V>(zeros);
  }
};
template <class E, int V>
__device__ inline void store(const MutableView& view, int64_t n, int64_t c, int64_t l, const Sum<E> (&values)[V]) {
  *reinterpret_cast<Channels<E, V>*>(pointer_to<E>(view, n, c, l)) = from_sums<E, V>(values);
}

// Tap k of channel i; those from kernel_size on are zero, and not used.
template <int TAPS, int V, class E>
__device__ inline void load_taps_of_channels(const E* w, int kernel_size, bool reversed, Sum<E> (&taps)[TAPS][V]) {
#pragma unroll
  for (int i = 0; i < V; ++i) {
    Sum<E> of_channel[TAPS];
    load_taps(w + i * kernel_size, kernel_size, reversed, of_channel);
#pragma unroll
    for (int k = 0; k < TAPS; ++k) taps[k][i] = of_channel[k];
  }
}

// grid (runs of positions, channels, samples), block (V channels, runs of `positions` positions).
template <class E, int TAPS, int V>
__global__ void __launch_bounds__(kDepthwiseThreads, 1)
    depthwise_channels(Depthwise a, const E* w, const E* bias, int positions) {
  const int64_t c = (int64_t(blockIdx.y) * blockDim.x + threadIdx.x) * V;
  const int64_t begin = (int64_t(blockIdx.x) * blockDim.y + threadIdx.y) * positions;
  const int64_t end = std::min(begin + positions, a.out_length);
  if (c >= a.channels || begin >= end) return;
  Sum<E> taps[TAPS][V], init[V];
  load_taps_of_channels(w + c * a.kernel_size, a.kernel_size, a.reversed, taps);
#pragma unroll
  for (int i = 0; i < V; ++i) init[i] = bias ? to_sum(bias[c + i]) : Sum<E>(0);

  for (int64_t n = blockIdx.z; n < a.n; n += gridDim.z) {
    const Rows<E, V> source(a.source, n, c, a.source_length, a.padding);
    Sum<E> window[TAPS][V];
#pragma unroll
    for (int k = 0; k < TAPS - 1; ++k) to_sums(source[begin + a.first + k], window[k]);
    for (int64_t q = begin; q < end; q += TAPS) {
      // The loads of TAPS positions are under way before the first of them is used.
      Channels<E, V> next[TAPS];
#pragma unroll
      for (int u = 0; u < TAPS; ++u) next[u] = source[q + u + a.first + TAPS - 1];
#pragma unroll
      for (int u = 0; u < TAPS; ++u) {
        to_sums(next[u], window[(u + TAPS - 1) % TAPS]);
        Sum<E> sums[V];
#pragma unroll
        for (int i = 0; i < V; ++i) sums[i] = init[i];
#pragma unroll
        for (int k = 0; k < TAPS; ++k)
          if (k < a.kernel_size) {
#pragma unroll
            for (int i = 0; i < V; ++i) sums[i] = std::fma(taps[k][i], window[(u + k) % TAPS][i], sums[i]);
          }
        if (q + u < end) store<E, V>(a.out, n, c, q + u, sums);
      }
    }
  }
}

// grid (channels, parts), block (V channels, runs of `positions` positions); a tile is the runs of a block.
// partial[part][c][k], and [c][kernel_size] for the bias; shared memory holds V * (TAPS + 1) sums a thread.
template <class E, int TAPS, int V>
__global__ void __launch_bounds__(kDepthwiseThreads, 1)
    depthwise_channels_backward(DepthwiseBackward a, int positions, int64_t parts, const E* w, Sum<E>* partial) {
  const int64_t first_channel = int64_t(blockIdx.x) * blockDim.x * V, c = first_channel + threadIdx.x * V;
  const int64_t part = blockIdx.y;
  Sum<E> taps[TAPS][V], grad_taps[TAPS][V] = {}, grad_bias[V] = {};
  if (c < a.channels) {
    load_taps_of_channels(w + c * a.kernel_size, a.kernel_size, false, taps);
    int64_t item = part * a.n * a.tiles / parts;
    const int64_t items_end = (part + 1) * a.n * a.tiles / parts;
    for (int64_t n = item / a.tiles, tile = item % a.tiles; item < items_end; ++item, ++tile) {
      if (tile == a.tiles) tile = 0, ++n;
      const Rows<E, V> x(a.x, n, c, a.l_in, a.padding), grad_y(a.grad_y, n, c, a.l_out, PaddingMode::zeros);
      const int64_t begin = a.v_begin + (tile * blockDim.y + threadIdx.y) * positions;
      const int64_t end = std::min(begin + positions, a.v_end);

      // Position lo of grad_y is in slot (lo - begin - pad_left) mod TAPS.
      Sum<E> window[TAPS][V];
#pragma unroll
      for (int k = 1; k < TAPS; ++k) to_sums(grad_y[begin + a.pad_left - k], window[TAPS - k]);
      for (int64_t v = begin; v < end; v += TAPS) {
        Channels<E, V> next_x[TAPS], next_grad[TAPS];
#pragma unroll
        for (int u = 0; u < TAPS; ++u) {
          next_x[u] = x[v + u];
          next_grad[u] = grad_y[v + u + a.pad_left];
        }
#pragma unroll
        for (int u = 0; u < TAPS; ++u) {
          Sum<E> values[V], sums[V] = {};
          to_sums(next_grad[u], window[u]);
          to_sums(next_x[u], values);
          const bool of_this_run = v + u < end;
#pragma unroll
          for (int k = 0; k < TAPS; ++k)
            if (k < a.kernel_size && of_this_run) {
#pragma unroll
              for (int i = 0; i < V; ++i) {
                const Sum<E> grad = window[(u + TAPS - k) % TAPS][i];
                sums[i] = std::fma(taps[k][i], grad, sums[i]);
                grad_taps[k][i] = std::fma(values[i], grad, grad_taps[k][i]);
                if (k == a.bias_tap) grad_bias[i] += grad;
              }
            }
          if (of_this_run && v + u >= 0 && v + u < a.l_in) store<E, V>(a.grad_x, n, c, v + u, sums);
        }
      }
    }
  }

  // The runs of a block are added in order. sums[run][k][channel]: neighbouring threads use neighbouring words.
  Sum<E>* const sums = shared_memory<Sum<E>>();
  const int channels = blockDim.x * V, of_run = channels * (TAPS + 1);
#pragma unroll
  for (int k = 0; k <= TAPS; ++k)
#pragma unroll
    for (int i = 0; i < V; ++i)
      sums[threadIdx.y * of_run + k * channels + threadIdx.x * V + i] =
          k < TAPS ? grad_taps[k % TAPS][i] : grad_bias[i];
  __syncthreads();
  const int threads = blockDim.x * blockDim.y, taps_and_bias = a.kernel_size + 1;
  for (int i = threadIdx.y * blockDim.x + threadIdx.x; i < channels * taps_and_bias; i += threads) {
    const int channel = i / taps_and_bias, k = i % taps_and_bias;
    Sum<E> sum = 0;
    for (unsigned run = 0; run < blockDim.y; ++run)
      sum += sums[run * of_run + (k < a.kernel_size ? k : TAPS) * channels + channel];
    if (first_channel + channel < a.channels)
      partial[(part * a.channels + first_channel + channel) * taps_and_bias + k] = sum;
  }
}

}  // namespace torch_conv1d::cuda
