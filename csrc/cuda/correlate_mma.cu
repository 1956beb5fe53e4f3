#include "kernels/correlate_mma.cuh"

#include "launch.h"

namespace torch_conv1d::cuda {

// The kernels are all compiled alike; this one is asked because plans choose it by the answer.
int64_t compiled_architecture() {
  cudaFuncAttributes attributes;
  if (cudaFuncGetAttributes(&attributes, correlate_mma<float, 1>) == cudaSuccess) return attributes.ptxVersion;
  cudaGetLastError();
  return 0;
}

void launch_correlate_mma(
    const Plan& plan,
    const CorrelateMma& a,
    DType dtype,
    const void* w,
    const void* bias,
    void* workspace,
    Stream stream) {
  with_factor(dtype, [&](auto element) {
    using E = decltype(element);
    const int row_tiles = int(plan.rows) / kMmaRows;
    auto* const packed = static_cast<RowFragment<E>*>(workspace);
    const int64_t count = plan.workspace_bytes / int64_t(sizeof *packed);
    if (count > 0)
      launch(
          grid_of(count), stream, pack_fragments<E>, a.correlation, row_tiles, count, static_cast<const E*>(w), packed);
    const auto kernel = row_tiles == 1   ? correlate_mma<E, 1>
                        : row_tiles == 2 ? correlate_mma<E, 2>
                        : row_tiles == 3 ? correlate_mma<E, 3>
                                         : correlate_mma<E, 4>;
    launch(plan.grid, stream, kernel, a, packed, static_cast<const E*>(bias));
  });
}

}  // namespace torch_conv1d::cuda
