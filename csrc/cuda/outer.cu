#include "kernels/outer.cuh"

#include "launch.h"

namespace torch_conv1d::cuda {

void launch_outer(const Plan& plan, const Outer& a, DType dtype, View grad_y, View x, void* partial, Stream stream) {
  with_element(dtype, [&](auto element) {
    using E = decltype(element);
    const auto kernel = plan.rows == 1 ? outer<E, 1> : plan.rows == 4 ? outer<E, 4> : outer<E, 8>;
    launch(plan.grid, stream, kernel, a, plan.parts, grad_y, x, static_cast<Sum<E>*>(partial));
  });
}

}  // namespace torch_conv1d::cuda
