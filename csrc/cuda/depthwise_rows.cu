#include "kernels/depthwise_rows.cuh"

#include "launch.h"

namespace torch_conv1d::cuda {

void launch_depthwise_rows(
    const Plan& plan, const Depthwise& a, DType dtype, const void* w, const void* bias, Stream stream) {
  with_element(dtype, [&](auto element) {
    using E = decltype(element);
    const auto kernel = a.kernel_size <= 4 ? depthwise_rows<E, 4> : depthwise_rows<E, 8>;
    launch(plan.grid, stream, kernel, a, static_cast<const E*>(w), static_cast<const E*>(bias));
  });
}

void launch_depthwise_rows_backward(
    const Plan& plan, const DepthwiseBackward& a, DType dtype, const void* w, void* partial, Stream stream) {
  with_element(dtype, [&](auto element) {
    using E = decltype(element);
    const auto kernel = a.kernel_size <= 4 ? depthwise_rows_backward<E, 4> : depthwise_rows_backward<E, 8>;
    launch(plan.grid, stream, kernel, a, plan.parts, static_cast<const E*>(w), static_cast<Sum<E>*>(partial));
  });
}

}  // namespace torch_conv1d::cuda
