// Runs the kernels without torch and compares them with plain loops: every instruction set of this machine, and the tiles
// of those it does not have (wide.cpp), every type, several layouts, one thread and three.
//
//     kernel_test [problem...]        without arguments: random problems, always the same
//
// Operands are small integers: direct results have to be equal, the others nearer than a lost product would leave them.
// Then the same of fractions, whose bits have to be those of the other instruction sets; their hash is printed.
#include <algorithm>
#include <bit>
#include <string>
#include <vector>

#include "../../csrc/cpu/dispatch.h"
#include "../../csrc/cpu/fft/fft.h"
#include "../../csrc/cpu/toom_cook/toom_cook.h"
#include "cases.h"

namespace torch_conv1d::cpu {

extern int thread_count;
// Linked where the processor has no such instructions of its own.
extern const KernelTable kWideKernels __attribute__((weak));
extern const PairKernels kWideBf16Kernels __attribute__((weak));

namespace {

constexpr int64_t kGuard = 67;
// The reference loops have no blocks, so that many products show no more of them, and are slow.
constexpr double kReferenceProducts = 1e6;

struct Shapes {
  Shape x, w, b, y;
};
Shapes shapes_of(const Conv1dProblem& p) {
  return {{p.n, p.c_in, p.l_in}, {p.c_out, p.c_in / p.groups, p.kernel_size}, {1, p.c_out, 1}, {p.n, p.c_out, p.l_out}};
}

void run_case(
    const Case& c, const std::string& instruction_set, Algorithm algorithm, int type, int layout, int threads) {
  const Conv1dProblem& p = c.p;
  const DType dtype = kTypes[type];
  const Layout in_layout = kLayouts[layout], out_layout = kLayouts[(layout + type) % kLayoutCount];
  const bool direct = algorithm == Algorithm::direct;
  // Half a unit in the last place of bfloat16 is 1 / 256.
  const double tolerance = direct ? 0 : 1. / 128;
  const std::string how = instruction_set + (direct ? " direct " : " ") + kTypeNames[type] + " " +
                          kLayoutNames[layout] + " to " + kLayoutNames[(layout + type) % kLayoutCount] + ", " +
                          std::to_string(threads) + " threads: ";
  const auto operand = [&](const Values& values, Shape shape, Layout laid_out) {
    HostTensor tensor(dtype, shape, laid_out, 0);
    tensor.fill(values);
    return tensor;
  };
  const auto [x_shape, w_shape, b_shape, y_shape] = shapes_of(p);
  HostTensor x = operand(c.x, x_shape, in_layout), grad_y = operand(c.grad_y, y_shape, in_layout);
  HostTensor w = operand(c.w, w_shape, Layout::channels_first), b = operand(c.b, b_shape, Layout::channels_first);

  thread_count = threads;
  HostTensor y(dtype, y_shape, out_layout, kGuard);
  forward(p, dtype, algorithm, x.view(), w.data(), b.data(), y.mutable_view());
  check(c.y, y, dtype, tolerance, p, how + "forward");
  forward(p, dtype, algorithm, x.view(), w.data(), nullptr, y.mutable_view());
  check(c.y_without_bias, y, dtype, tolerance, p, how + "forward without bias");

  HostTensor grad_x(dtype, x_shape, out_layout, kGuard);
  grad_input(p, dtype, algorithm, grad_y.view(), w.data(), grad_x.mutable_view());
  check(c.grad_x, grad_x, dtype, tolerance, p, how + "grad_input");

  HostTensor grad_w(dtype, w_shape, Layout::channels_first, kGuard);
  HostTensor grad_b(dtype, b_shape, Layout::channels_first, kGuard);
  grad_weight(p, dtype, algorithm, grad_y.view(), x.view(), grad_w.data(), grad_b.data());
  check(c.grad_w, grad_w, dtype, tolerance, p, how + "grad_weight");
  check(c.grad_b, grad_b, dtype, tolerance, p, how + "grad_bias");
  grad_weight(p, dtype, algorithm, grad_y.view(), x.view(), grad_w.data(), nullptr);
  check(c.grad_w, grad_w, dtype, tolerance, p, how + "grad_weight alone");
  grad_weight(p, dtype, algorithm, grad_y.view(), x.view(), nullptr, grad_b.data());
  check(c.grad_b, grad_b, dtype, tolerance, p, how + "grad_bias alone");
}

const std::vector<InstructionSet>& tested_instruction_sets() {
  static const std::vector<InstructionSet> tested = [] {
    std::vector<InstructionSet> sets = supported();
    if (&kWideKernels) sets.push_back({"wide", &kWideKernels});
    if (&kWideBf16Kernels) {
      static KernelTable with_pairs = *sets.back().kernels;
      with_pairs.pairs = &kWideBf16Kernels;
      sets.push_back({"wide_bf16", &with_pairs});
    }
    return sets;
  }();
  return tested;
}

// Of all results of fractions, to compare with those of other machines and compilers (FNV-1a).
uint64_t hash_of_all = 14695981039346656037u;

void add_to_hash(const std::vector<Values>& of_call) {
  for (const Values& values : of_call)
    for (const double value : values) hash_of_all = (hash_of_all ^ std::bit_cast<uint64_t>(value)) * 1099511628211u;
}

bool has_pairs(const InstructionSet& set) { return set.kernels && set.kernels->pairs; }

// All results of operands whose products are rounded.
std::vector<Values> results_of_fractions(const Conv1dProblem& p, DType dtype, Algorithm algorithm) {
  std::mt19937 rng(54321);
  const auto tensor = [&](Shape shape, bool is_operand) {
    Values values(size_t(shape.elements()));
    for (double& value : values) value = double(rng()) / double(1u << 31) - 1;
    HostTensor made(dtype, shape, Layout::channels_first, 0);
    if (is_operand) made.fill(values);
    return made;
  };
  const auto [x_shape, w_shape, b_shape, y_shape] = shapes_of(p);
  HostTensor x = tensor(x_shape, true), w = tensor(w_shape, true), b = tensor(b_shape, true);
  HostTensor grad_y = tensor(y_shape, true), y = tensor(y_shape, false), grad_x = tensor(x_shape, false);
  HostTensor grad_w = tensor(w_shape, false), grad_b = tensor(b_shape, false);
  forward(p, dtype, algorithm, x.view(), w.data(), b.data(), y.mutable_view());
  grad_input(p, dtype, algorithm, grad_y.view(), w.data(), grad_x.mutable_view());
  grad_weight(p, dtype, algorithm, grad_y.view(), x.view(), grad_w.data(), grad_b.data());
  return {y.take(), grad_x.take(), grad_w.take(), grad_b.take()};
}

// Between sets with fused multiply-adds: those that multiply pairs of bfloat16, or the others.
void compare_instruction_sets(const Conv1dProblem& p, int type, Algorithm algorithm, bool pairs) {
  std::vector<Values> expected;
  for (const InstructionSet& set : tested_instruction_sets()) {
    if (!set.kernels || set.name == std::string("baseline") || has_pairs(set) != pairs) continue;
    activate(set);
    const std::vector<Values> actual = results_of_fractions(p, kTypes[type], algorithm);
    if (expected.empty()) {
      expected = actual;
      if (!pairs) add_to_hash(expected);
    }
    ++results;
    if (actual == expected) continue;
    ++failures;
    std::printf("%s %s %s: other bits than those of other sets\n", to_string(p).c_str(), set.name, kTypeNames[type]);
  }
}

void run_problem(const Conv1dProblem& p, int turn) {
  const Case c = make_case(p);
  std::vector<Algorithm> algorithms{Algorithm::direct};
  for (const Correlation& c : {forward_correlation(p), grad_input_correlation(p)})
    if (uses_toom_cook(c, Algorithm::automatic, sizeof(float)) || uses_fft(c, Algorithm::automatic)) {
      algorithms.push_back(Algorithm::automatic);
      break;
    }
  for (const InstructionSet& set : tested_instruction_sets()) {
    if (!set.kernels && forward_correlation(p).multiply_adds() > kReferenceProducts) continue;
    activate(set);
    // A set that multiplies pairs of bfloat16 is another set in all else.
    const bool pairs = has_pairs(set);
    for (int type = 0; type < kTypeCount; ++type)
      if (!pairs || kTypes[type] == DType::bfloat16)
        for (const Algorithm algorithm : pairs ? std::vector{Algorithm::automatic} : algorithms)
          run_case(
              c, set.name, algorithm, type, (turn + type) % kLayoutCount, (turn / kLayoutCount + type) % 2 ? 3 : 1);
  }
  const int type = turn % kTypeCount;
  for (const Algorithm algorithm : algorithms) compare_instruction_sets(p, type, algorithm, false);
  if (kTypes[type] == DType::bfloat16) compare_instruction_sets(p, type, Algorithm::automatic, true);
}

int run(int count, char** problems) {
  for (int i = 0; i < count; ++i) run_problem(parse_problem(problems[i]), i);
  std::mt19937 rng(1);
  for (int i = 0; !count && i < 150; ++i) run_problem(random_problem(rng, 300000), i);
  std::printf("hash of fused multiply-adds: %016llx\n", static_cast<unsigned long long>(hash_of_all));
  std::printf("%lld results, %lld wrong\n", static_cast<long long>(results), static_cast<long long>(failures));
  return failures != 0;
}

}  // namespace
}  // namespace torch_conv1d::cpu

int main(int argc, char** argv) { return torch_conv1d::cpu::run(argc - 1, argv + 1); }
