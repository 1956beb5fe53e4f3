#include "dispatch.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include <atomic>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <vector>

namespace torch_conv1d::cpu {

extern const KernelTable kBaselineKernels;
#if defined(__x86_64__)
extern const KernelTable kAvx2Kernels, kAvx512Kernels;
extern const PairKernels kAvx512Bf16Kernels;
#elif defined(__aarch64__)
extern const KernelTable kNeonKernels;
#endif

namespace {

#if defined(__x86_64__)
// As __builtin_cpu_supports, which does not know this name in clang 14.
bool cpu_supports_f16c() {
  unsigned a, b, c, d;
  return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}
#endif

std::vector<InstructionSet> find_supported() {
  std::vector<InstructionSet> found{{"reference", nullptr}, {"baseline", &kBaselineKernels}};
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && cpu_supports_f16c()) {
    found.push_back({"avx2", &kAvx2Kernels});
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512dq")) {
      found.push_back({"avx512", &kAvx512Kernels});
      if (__builtin_cpu_supports("avx512bf16")) {
        static KernelTable with_pairs = kAvx512Kernels;
        with_pairs.pairs = &kAvx512Bf16Kernels;
        found.push_back({"avx512_bf16", &with_pairs});
      }
    }
  }
#elif defined(__aarch64__)
  found.push_back({"neon", &kNeonKernels});
#endif
  return found;
}

// `source` is where the name comes from, for the message.
const InstructionSet* find(const std::string& name, const char* source) {
  if (name.empty()) return &supported().back();
  std::string names;
  for (const InstructionSet& set : supported()) {
    if (name == set.name) return &set;
    names += names.empty() ? set.name : std::string(", ") + set.name;
  }
  throw std::invalid_argument(std::string(source) + ": expected one of " + names + ", got '" + name + "'");
}

std::atomic<const InstructionSet*>& selected() {
  static std::atomic<const InstructionSet*> set = [] {
    const char* name = std::getenv("TORCH_CONV1D_ISA");
    return find(name ? name : "", "TORCH_CONV1D_ISA");
  }();
  return set;
}

}  // namespace

const std::vector<InstructionSet>& supported() {
  static const std::vector<InstructionSet> sets = find_supported();
  return sets;
}

const InstructionSet& active() { return *selected().load(std::memory_order_relaxed); }

void activate(const InstructionSet& set) { selected() = &set; }

std::vector<std::string> supported_instruction_sets() {
  std::vector<std::string> names;
  for (const InstructionSet& set : supported()) names.push_back(set.name);
  return names;
}

std::string active_instruction_set() { return active().name; }

void set_instruction_set(const std::string& name) { activate(*find(name, "instruction set")); }

}  // namespace torch_conv1d::cpu
