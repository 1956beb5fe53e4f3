// AVX-512 F, BW, DQ, VL (Skylake-X 2017, Zen 4 2022 and later).
#include "budget_64.h"

namespace torch_conv1d::cpu {
extern const KernelTable kAvx512Kernels;
constexpr KernelTable kAvx512Kernels = make_table<Budget>();
}  // namespace torch_conv1d::cpu
