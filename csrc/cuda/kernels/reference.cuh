// The definition, one thread an element (a warp for each weight): any problem, any strides. Ends the list of
// candidates, and computes the edges of grad_input under padding modes that repeat positions.
#pragma once

#include "../kernels.h"
#include "device.cuh"

namespace torch_conv1d::cuda {

__device__ inline int64_t thread_of_grid() { return int64_t(blockIdx.x) * blockDim.x + threadIdx.x; }
__device__ inline int64_t threads_of_grid() { return int64_t(gridDim.x) * blockDim.x; }

template <class E>
__global__ void reference_forward(Conv1dProblem p, View x, const E* w, const E* bias, MutableView y) {
  for (int64_t i = thread_of_grid(); i < p.n * p.c_out * p.l_out; i += threads_of_grid()) {
    const int64_t lo = i % p.l_out, co = i / p.l_out % p.c_out, n = i / p.l_out / p.c_out;
    const int64_t first_channel = co / p.c_out_per_group() * p.c_in_per_group();
    const E* taps = w + co * p.c_in_per_group() * p.kernel_size;
    Sum<E> sum = bias ? to_sum(bias[co]) : Sum<E>(0);
    for (int64_t ci = 0; ci < p.c_in_per_group(); ++ci)
      for (int64_t k = 0; k < p.kernel_size; ++k, ++taps) {
        const int64_t li = padded_source(lo * p.stride + k * p.dilation - p.pad_left, p.l_in, p.padding_mode);
        const Sum<E> value = li < 0 ? Sum<E>(0) : to_sum(*pointer_to<E>(x, n, first_channel + ci, li));
        sum = std::fma(to_sum(*taps), value, sum);
      }
    *pointer_to<E>(y, n, co, lo) = from_sum<E>(sum);
  }
}

// Calls fn with li and then with every position of the padded row that repeats it.
template <class Fn>
__device__ inline void for_each_image(const Conv1dProblem& p, int64_t li, Fn&& fn) {
  const int64_t left_end = -p.pad_left, right_end = p.l_in + p.pad_right;
  fn(li);
  const auto if_padding = [&](int64_t position) {
    if (position >= left_end && position < right_end && (position < 0 || position >= p.l_in)) fn(position);
  };
  switch (p.padding_mode) {
    case PaddingMode::reflect:
      if_padding(-li);
      if_padding(2 * (p.l_in - 1) - li);
      break;
    case PaddingMode::replicate:
      for (int64_t position = -1; li == 0 && position >= left_end; --position) fn(position);
      for (int64_t position = p.l_in; li == p.l_in - 1 && position < right_end; ++position) fn(position);
      break;
    case PaddingMode::circular:
      if_padding(li - p.l_in);
      if_padding(li + p.l_in);
      break;
    default:
      break;
  }
}

template <class E>
__global__ void reference_grad_input(Conv1dProblem p, View grad_y, const E* w, MutableView grad_x, Edges edges) {
  const int64_t positions = edges.left + edges.right;
  for (int64_t i = thread_of_grid(); i < p.n * p.c_in * positions; i += threads_of_grid()) {
    const int64_t edge = i % positions, c = i / positions % p.c_in, n = i / positions / p.c_in;
    const int64_t li = edge < edges.left ? edge : p.l_in - positions + edge;
    const int64_t ci = c % p.c_in_per_group(), first_channel = c / p.c_in_per_group() * p.c_out_per_group();
    Sum<E> total = 0;
    for_each_image(p, li, [&](int64_t position) {
      Sum<E> sum = 0;
      for (int64_t co = first_channel; co < first_channel + p.c_out_per_group(); ++co) {
        const E* taps = w + (co * p.c_in_per_group() + ci) * p.kernel_size;
        for (int64_t k = 0; k < p.kernel_size; ++k) {
          const int64_t steps = position + p.pad_left - k * p.dilation;
          if (steps >= 0 && steps % p.stride == 0 && steps / p.stride < p.l_out)
            sum = std::fma(to_sum(taps[k]), to_sum(*pointer_to<E>(grad_y, n, co, steps / p.stride)), sum);
        }
      }
      total += sum;
    });
    *pointer_to<E>(grad_x, n, c, li) = from_sum<E>(total);
  }
}

// A warp sums one weight, 32 positions at a time. The bias is one more weight of its channel, whose x is a row of ones.
template <class E>
__global__ void reference_grad_weight(Conv1dProblem p, View grad_y, View x, E* grad_w, E* grad_b) {
  const int64_t weights = p.c_in_per_group() * p.kernel_size;
  const int lane = threadIdx.x % kWarp;
  for (int64_t i = thread_of_grid() / kWarp; i < p.c_out * (weights + 1); i += threads_of_grid() / kWarp) {
    const int64_t co = i / (weights + 1), weight = i % (weights + 1);
    const bool is_bias = weight == weights;
    E* const result = is_bias ? grad_b : grad_w;
    if (!result) continue;
    const int64_t ci = co / p.c_out_per_group() * p.c_in_per_group() + weight / p.kernel_size;
    const int64_t first = weight % p.kernel_size * p.dilation - p.pad_left;
    Sum<E> sum = 0;
    for (int64_t n = 0; n < p.n; ++n)
      for (int64_t lo = lane; lo < p.l_out; lo += kWarp) {
        const int64_t li = is_bias ? -1 : padded_source(lo * p.stride + first, p.l_in, p.padding_mode);
        const Sum<E> value = is_bias ? Sum<E>(1) : li < 0 ? Sum<E>(0) : to_sum(*pointer_to<E>(x, n, ci, li));
        sum = std::fma(value, to_sum(*pointer_to<E>(grad_y, n, co, lo)), sum);
      }
    sum = sum_of_lanes(sum, kWarp);
    if (lane == 0) result[is_bias ? co : co * weights + weight] = from_sum<E>(sum);
  }
}

}  // namespace torch_conv1d::cuda
