// Which instruction set runs: chosen once by cpuid, never by the machine that built the package.
#pragma once

#include <type_traits>
#include <vector>

#include "kernel_table.h"

namespace torch_conv1d::cpu {

struct InstructionSet {
  const char* name;
  const KernelTable* kernels;  // null: the reference loops
};

// Those that this machine can run, slowest first.
const std::vector<InstructionSet>& supported();
const InstructionSet& active();
// For the calls that begin afterwards. It has to stay where it is.
void activate(const InstructionSet& set);

// The parts of a table that a call on elements of type E uses.
template <class E>
const ArithmeticKernels<SumOf<E>>& arithmetic_kernels(const KernelTable& table) {
  if constexpr (sizeof(SumOf<E>) == sizeof(double))
    return table.float64;
  else
    return table.float32;
}
template <class E>
const CopyKernels<E>& copy_kernels(const KernelTable& table);
template <>
inline const CopyKernels<float>& copy_kernels(const KernelTable& table) {
  return table.copy_float32;
}
template <>
inline const CopyKernels<double>& copy_kernels(const KernelTable& table) {
  return table.copy_float64;
}
template <>
inline const CopyKernels<BFloat16>& copy_kernels(const KernelTable& table) {
  return table.copy_bfloat16;
}
template <>
inline const CopyKernels<Float16>& copy_kernels(const KernelTable& table) {
  return table.copy_float16;
}
template <class E>
bool multiplies_pairs(const KernelTable& table, Algorithm algorithm) {
  return std::is_same_v<E, BFloat16> && table.pairs && algorithm == Algorithm::automatic;
}
template <class E>
const DirectKernels<E>& direct_kernels(const KernelTable& table) {
  if constexpr (std::is_same_v<E, float>)
    return table.direct_float32;
  else if constexpr (std::is_same_v<E, double>)
    return table.direct_float64;
  else if constexpr (std::is_same_v<E, BFloat16>)
    return table.direct_bfloat16;
  else
    return table.direct_float16;
}

}  // namespace torch_conv1d::cpu
