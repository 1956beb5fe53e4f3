// The arithmetic peak, for benchmarks.
#include "conv1d_cpu.h"
#include "dispatch.h"
#include "parallel.h"

namespace torch_conv1d::cpu {

extern const KernelTable kBaselineKernels;

int64_t run_multiply_adds(int64_t steps, DType dtype) {
  const KernelTable& table = active().kernels ? *active().kernels : kBaselineKernels;
  const int threads = num_threads();
  return with_element(dtype, [&](auto element) {
    const auto& kernels = arithmetic_kernels<decltype(element)>(table);
    parallel_for(threads, true, [&](int64_t begin, int64_t end) {
      for (int64_t thread = begin; thread < end; ++thread) kernels.multiply_add(steps);
    });
    return 2 * kMultiplyAddChains * kernels.lanes * steps * threads;
  });
}

}  // namespace torch_conv1d::cpu
