// Those of AVX512-BF16 compiled for AVX2, as two products: slow, with the bits of the processor's own.
#include "../../csrc/cpu/isa/budget_64.h"

#include "../../csrc/cpu/kernels/pairs.h"

namespace torch_conv1d::cpu {
extern const PairKernels kWideBf16Kernels;
constexpr PairKernels kWideBf16Kernels = pair_kernels<Budget>();
}  // namespace torch_conv1d::cpu
