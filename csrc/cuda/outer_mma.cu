#include "kernels/outer_mma.cuh"

#include "launch.h"

namespace torch_conv1d::cuda {

void launch_outer_mma(
    const Plan& plan, const OuterMma& a, DType dtype, View grad_y, View x, void* partial, Stream stream) {
  with_factor(dtype, [&](auto element) {
    using E = decltype(element);
    const auto kernel = plan.rows == 16   ? outer_mma<E, 1>
                        : plan.rows == 32 ? outer_mma<E, 2>
                        : plan.rows == 48 ? outer_mma<E, 3>
                                          : outer_mma<E, 4>;
    launch(plan.grid, stream, kernel, a, plan.parts, grad_y, x, static_cast<float*>(partial));
  });
}

}  // namespace torch_conv1d::cuda
