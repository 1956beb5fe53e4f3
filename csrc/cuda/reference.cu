#include "kernels/reference.cuh"

#include "launch.h"

namespace torch_conv1d::cuda {

void launch_reference_forward(
    const Conv1dProblem& p, DType dtype, View x, const void* w, const void* bias, MutableView y, Stream stream) {
  with_element(dtype, [&](auto element) {
    using E = decltype(element);
    launch(
        grid_of(p.n * p.c_out * p.l_out), stream, reference_forward<E>, p, x, static_cast<const E*>(w),
        static_cast<const E*>(bias), y);
  });
}

void launch_reference_grad_input(
    const Conv1dProblem& p, DType dtype, View grad_y, const void* w, MutableView grad_x, Edges edges, Stream stream) {
  with_element(dtype, [&](auto element) {
    using E = decltype(element);
    const int64_t elements = p.n * p.c_in * (edges.left + edges.right);
    launch(grid_of(elements), stream, reference_grad_input<E>, p, grad_y, static_cast<const E*>(w), grad_x, edges);
  });
}

void launch_reference_grad_weight(
    const Conv1dProblem& p, DType dtype, View grad_y, View x, void* grad_w, void* grad_b, Stream stream) {
  with_element(dtype, [&](auto element) {
    using E = decltype(element);
    const int64_t elements = p.c_out * (p.c_in_per_group() * p.kernel_size + 1);
    launch(
        grid_of(elements * kWarp), stream, reference_grad_weight<E>, p, grad_y, x, static_cast<E*>(grad_w),
        static_cast<E*>(grad_b));
  });
}

}  // namespace torch_conv1d::cuda
