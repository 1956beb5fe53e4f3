// The tiles of AVX-512 compiled for AVX2: slow, so that a machine without AVX-512 checks them too.
#include "../../csrc/cpu/isa/budget_64.h"

namespace torch_conv1d::cpu {
extern const KernelTable kWideKernels;
constexpr KernelTable kWideKernels = make_table<Budget>();
}  // namespace torch_conv1d::cpu
