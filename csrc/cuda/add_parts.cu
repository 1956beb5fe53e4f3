#include "kernels/add_parts.cuh"

#include <algorithm>
#include <bit>

#include "kernels.h"
#include "launch.h"

namespace torch_conv1d::cuda {

void launch_add_parts(
    const Conv1dProblem& p,
    DType dtype,
    int64_t parts,
    const void* partial,
    void* grad_w,
    void* grad_b,
    Stream stream) {
  const int64_t weights = p.c_in_per_group() * p.kernel_size;
  const int lanes = std::bit_ceil(unsigned(std::min<int64_t>(parts, kWarp)));
  const Grid grid = grid_of(p.c_out * (weights + 1) * lanes);
  with_element(dtype, [&](auto element) {
    using E = decltype(element);
    launch(
        grid, stream, add_parts<E>, static_cast<const Sum<E>*>(partial), parts, p.c_out, weights, lanes,
        static_cast<E*>(grad_w), static_cast<E*>(grad_b));
  });
}

}  // namespace torch_conv1d::cuda
