// Runs the kernels without torch and compares them with plain loops: every instruction set of this machine that has code
// of its own, every type, several layouts, one thread and three.
//
//     kernel_test [problem...]        without arguments: random problems, always the same
//
// Direct results have to be equal. The others have to be nearer than a lost product would leave them.
#include <algorithm>
#include <string>
#include <vector>

#include "../../csrc/cpu/dispatch.h"
#include "../../csrc/cpu/fft/fft.h"
#include "../../csrc/cpu/toom_cook/toom_cook.h"
#include "cases.h"

namespace torch_conv1d::cpu {

extern int thread_count;

namespace {

constexpr int64_t kGuard = 67;

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
  const Shape x_shape{p.n, p.c_in, p.l_in}, y_shape{p.n, p.c_out, p.l_out};
  const Shape w_shape{p.c_out, p.c_in / p.groups, p.kernel_size}, b_shape{1, p.c_out, 1};
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

// Where a processor has vectors of 64 bytes, `wide`, which is the same templates on halves of them, would show nothing
// else.
std::vector<std::string> tested_instruction_sets() {
  std::vector<std::string> sets = supported_instruction_sets();
  const auto starts_with = [](const char* start) {
    return [start](const std::string& set) { return set.starts_with(start); };
  };
  if (std::any_of(sets.begin(), sets.end(), starts_with("avx512"))) std::erase_if(sets, starts_with("wide"));
  return sets;
}

void run_problem(const Conv1dProblem& p, int turn) {
  const Case c = make_case(p);
  std::vector<Algorithm> algorithms{Algorithm::direct};
  for (const Correlation& c : {forward_correlation(p), grad_input_correlation(p)})
    if (uses_toom_cook(c, Algorithm::automatic, sizeof(float)) || uses_fft(c, Algorithm::automatic)) {
      algorithms.push_back(Algorithm::automatic);
      break;
    }
  for (const std::string& instruction_set : tested_instruction_sets()) {
    set_instruction_set(instruction_set);
    // A set that multiplies pairs of bfloat16 is another set in all else.
    const bool pairs = active().kernels && active().kernels->pairs;
    for (int type = 0; type < kTypeCount; ++type)
      if (!pairs || kTypes[type] == DType::bfloat16)
        for (const Algorithm algorithm : pairs ? std::vector{Algorithm::automatic} : algorithms)
          run_case(
              c, instruction_set, algorithm, type, (turn + type) % kLayoutCount,
              (turn / kLayoutCount + type) % 2 ? 3 : 1);
  }
}

int run(int count, char** problems) {
  for (int i = 0; i < count; ++i) run_problem(parse_problem(problems[i]), i);
  std::mt19937 rng(1);
  for (int i = 0; !count && i < 150; ++i) run_problem(random_problem(rng, 300000), i);
  std::printf("%lld results, %lld wrong\n", static_cast<long long>(results), static_cast<long long>(failures));
  return failures != 0;
}

}  // namespace
}  // namespace torch_conv1d::cpu

int main(int argc, char** argv) { return torch_conv1d::cpu::run(argc - 1, argv + 1); }
