// The same compiled for AVX2, as two products: slow, for tests alone, with the bits of the processor's own.
#include "budget_64.h"

#include "../kernels/pairs.h"

namespace torch_conv1d::cpu {
extern const PairKernels kWideBf16Kernels;
constexpr PairKernels kWideBf16Kernels = pair_kernels<Budget>();
}  // namespace torch_conv1d::cpu
