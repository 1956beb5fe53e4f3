// From a plan to a launch: the element type of a dtype, and a grid with its errors.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <stdexcept>
#include <string>

#include "plan.h"

namespace torch_conv1d::cuda {

// Calls fn with a value of the element type of `dtype`, one that tensor cores multiply: all but float64.
template <class Fn>
void with_factor(DType dtype, Fn&& fn) {
  switch (dtype) {
    case DType::bfloat16:
      return fn(__nv_bfloat16());
    case DType::float16:
      return fn(__half());
    default:
      return fn(float());
  }
}

// The same for every dtype.
template <class Fn>
void with_element(DType dtype, Fn&& fn) {
  if (dtype == DType::float64)
    fn(double());
  else
    with_factor(dtype, fn);
}

template <class... Parameters, class... Arguments>
void launch(const Grid& grid, cudaStream_t stream, void (*kernel)(Parameters...), const Arguments&... arguments) {
  const auto dim = [](const Dim3& d) { return dim3(unsigned(d.x), unsigned(d.y), unsigned(d.z)); };
  cudaLaunchConfig_t config = {};
  config.gridDim = dim(grid.blocks);
  config.blockDim = dim(grid.threads);
  config.dynamicSmemBytes = grid.shared_bytes;
  config.stream = stream;
  const cudaError_t error = cudaLaunchKernelEx(&config, kernel, Parameters(arguments)...);
  if (error == cudaSuccess) return;
  cudaGetLastError();  // or the next launch, of whomever, is blamed for it
  throw std::runtime_error(std::string("torch_conv1d: a kernel did not start: ") + cudaGetErrorString(error));
}

}  // namespace torch_conv1d::cuda
