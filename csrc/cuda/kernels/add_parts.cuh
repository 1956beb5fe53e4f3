// The end of every grad_weight: partial[part][co][weight], with the bias as the last weight of its channel, summed over
// the parts.
#pragma once

#include "device.cuh"

namespace torch_conv1d::cuda {

// `lanes` (a power of two up to 32) threads share the parts of an element. grad_b may be null.
template <class E>
__global__ void add_parts(
    const Sum<E>* partial, int64_t parts, int64_t channels, int64_t weights, int lanes, E* grad_w, E* grad_b) {
  const int64_t elements = channels * (weights + 1);
  const int64_t element = (int64_t(blockIdx.x) * blockDim.x + threadIdx.x) / lanes;
  const int lane = threadIdx.x % lanes;
  Sum<E> sum = 0;
  for (int64_t part = lane; element < elements && part < parts; part += lanes)
    sum += partial[part * elements + element];
  sum = sum_of_lanes(sum, lanes);
  if (element >= elements || lane != 0) return;
  const int64_t co = element / (weights + 1), weight = element % (weights + 1);
  if (weight == weights) {
    if (grad_b) grad_b[co] = from_sum<E>(sum);
  } else {
    grad_w[co * weights + weight] = from_sum<E>(sum);
  }
}

}  // namespace torch_conv1d::cuda
