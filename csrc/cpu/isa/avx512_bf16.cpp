// AVX512-BF16 (Cooper Lake 2020, Zen 4 2022, Sapphire Rapids 2023 and later): two products of bfloat16 an element and
// instruction, in the tiles of AVX-512.
#include "budget_64.h"

#include "../kernels/pairs.h"

namespace torch_conv1d::cpu {
extern const PairKernels kAvx512Bf16Kernels;
constexpr PairKernels kAvx512Bf16Kernels = pair_kernels<Budget>();
}  // namespace torch_conv1d::cpu
