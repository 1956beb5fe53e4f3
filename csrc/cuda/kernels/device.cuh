// What every kernel stands on: element types and their sums, views, shared memory, the index of a thread.
//
// Kernels include CUDA's headers and nothing of torch; tests/cuda_shim has headers of the same names with which g++
// compiles them.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cmath>
#include <type_traits>

#include "../../padding.h"
#include "../../tensor_view.h"

namespace torch_conv1d::cuda {

constexpr int kWarp = 32;

// bfloat16 and float16 sum in float; a result is rounded once.
template <class E>
using Sum = std::conditional_t<std::is_same_v<E, double>, double, float>;

__device__ inline float to_sum(float value) { return value; }
__device__ inline double to_sum(double value) { return value; }
__device__ inline float to_sum(__nv_bfloat16 value) { return __bfloat162float(value); }
__device__ inline float to_sum(__half value) { return __half2float(value); }

template <class E>
__device__ inline E from_sum(Sum<E> sum) {
  if constexpr (std::is_same_v<E, __nv_bfloat16>)
    return __float2bfloat16_rn(sum);
  else if constexpr (std::is_same_v<E, __half>)
    return __float2half_rn(sum);
  else
    return sum;
}

// The element (n, c, l) of a view whose elements are of type E.
template <class E>
__device__ inline const E* pointer_to(const View& view, int64_t n, int64_t c, int64_t l) {
  return static_cast<const E*>(view.data) + (n * view.stride_n + c * view.stride_c + l * view.stride_l);
}
template <class E>
__device__ inline E* pointer_to(const MutableView& view, int64_t n, int64_t c, int64_t l) {
  return static_cast<E*>(view.data) + (n * view.stride_n + c * view.stride_c + l * view.stride_l);
}

// Where `position` of a padded row is in the row, or -1 for a zero. Tiles and windows ask for positions beyond the
// padding too, which no result needs: zeros.
__device__ inline int64_t padded_position(int64_t position, int64_t length, PaddingMode padding) {
  const int64_t source = padded_source(position, length, padding);
  return source < length ? source : -1;
}

// Dynamic shared memory is the only one that kernels use.
template <class T>
__device__ inline T* shared_memory() {
  extern __shared__ __align__(16) unsigned char shared_bytes[];
  return reinterpret_cast<T*>(shared_bytes);
}

// The sum of `value` over the `lanes` (a power of two up to 32) neighbouring lanes, in every one of them: a balanced
// tree, so the order is fixed. All lanes of the warp call it.
template <class T>
__device__ inline T sum_of_lanes(T value, int lanes) {
  for (int step = lanes / 2; step > 0; step /= 2) value += __shfl_xor_sync(0xffffffff, value, step);
  return value;
}

}  // namespace torch_conv1d::cuda
