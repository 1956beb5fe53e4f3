// Runs the CUDA kernels on the CPU and compares them with plain loops: what the plans choose and the reference, every
// type, several layouts.
//
//     cuda_test [--plant no_barriers|short_shared_memory|wrong_tail] [--only kernel] [problem...]
//
// Without problems: random ones, always the same. With an error planted, every kernel has it, and the run has to fail.
#include <cstring>
#include <memory>

#include "../../csrc/cuda/kernels.h"
#include "../kernels/cases.h"
#include "cuda_runtime.h"
#include "mma_test.h"

namespace torch_conv1d::cuda {
namespace {

using namespace cpu;

// Results start at a boundary of 16 bytes, as the contract says.
constexpr int64_t kGuard = 64;
// Of a random problem: a thread costs a microsecond here.
constexpr int64_t kMultiplyAdds = 20000;
// Few, so that plans find reasons to make more blocks.
constexpr Device kDevice{4};
constexpr Plan kReference{Algorithm::reference, ""};

bool plant_wrong_tail = false;
std::string only;  // the name of a kernel; empty for all

// Which kernels run beside those that plans choose.
struct Others {
  bool reference, mma;
};

void run_case(const Case& c, int type, int layout, bool channels_last, Others others) {
  Conv1dProblem p = c.p;
  const DType dtype = kTypes[type];
  const std::string how =
      std::string(kTypeNames[type]) + " " + kLayoutNames[layout] + " to " + kLayoutNames[channels_last] + ": ";
  const auto operand = [&](const Values& values, Shape shape, Layout laid_out) {
    HostTensor tensor(dtype, shape, laid_out, 0);
    tensor.fill(values);
    return tensor;
  };
  const Shape x_shape{p.n, p.c_in, p.l_in}, y_shape{p.n, p.c_out, p.l_out};
  const Shape w_shape{p.c_out, p.c_in / p.groups, p.kernel_size}, b_shape{1, p.c_out, 1};
  HostTensor x = operand(c.x, x_shape, kLayouts[layout]), grad_y = operand(c.grad_y, y_shape, kLayouts[layout]);
  HostTensor w = operand(c.w, w_shape, Layout::channels_first), b = operand(c.b, b_shape, Layout::channels_first);
  HostTensor y(dtype, y_shape, kLayouts[channels_last], kGuard);
  HostTensor grad_x(dtype, x_shape, kLayouts[channels_last], kGuard);
  HostTensor grad_w(dtype, w_shape, Layout::channels_first, kGuard);
  HostTensor grad_b(dtype, b_shape, Layout::channels_first, kGuard);
  const auto workspace = [](const Plan& plan) {
    auto memory = std::make_unique<uint8_t[]>(plan.workspace_bytes);
    std::memset(memory.get(), kPoison, plan.workspace_bytes);
    return memory;
  };
  if (plant_wrong_tail) ++p.l_out, ++p.l_in;

  // The kernels that take any layer also take those that plans leave to torch.
  const auto plans = [&](const Values& result, const Plan& chosen, const Plan& general, auto&& plan_mma) {
    std::vector<Plan> plans;
    if (result.empty()) return plans;
    plans.push_back(is_own(chosen) ? chosen : general);
    if (const auto plan = others.mma ? plan_mma() : std::nullopt) plans.push_back(*plan);
    if (others.reference) plans.push_back(kReference);
    std::erase_if(plans, [](const Plan& plan) { return !only.empty() && only != algorithm_name(plan.algorithm); });
    return plans;
  };
  const Correlation of_y = forward_correlation(p), of_grad_x = unfolded_grad_input(p);
  const Plan for_y = plan_forward(p, dtype, x.view(), channels_last, kDevice);
  const Plan for_grad_x = plan_grad_input(p, dtype, grad_y.view(), channels_last, kDevice);
  for (const Plan& plan :
       plans(c.y, for_y, plan_correlate(of_y, dtype), [&] { return plan_correlate_mma(of_y, dtype); })) {
    const std::string with = how + algorithm_name(plan.algorithm) + " ";
    forward(plan, p, dtype, x.view(), w.data(), b.data(), y.mutable_view(), workspace(plan).get(), nullptr);
    check(c.y, y, dtype, 0, p, with + "forward");
    forward(plan, p, dtype, x.view(), w.data(), nullptr, y.mutable_view(), workspace(plan).get(), nullptr);
    check(c.y_without_bias, y, dtype, 0, p, with + "forward without bias");
  }
  for (const Plan& plan : plans(c.grad_x, for_grad_x, plan_correlate(of_grad_x, dtype), [&] {
         return plan_correlate_mma(of_grad_x, dtype);
       })) {
    grad_input(plan, p, dtype, grad_y.view(), w.data(), grad_x.mutable_view(), workspace(plan).get(), nullptr);
    check(c.grad_x, grad_x, dtype, 0, p, how + algorithm_name(plan.algorithm) + " grad_input");
  }
  const Plan for_grad_w = plan_grad_weight(p, dtype, grad_y.view(), x.view(), kDevice);
  for (const Plan& plan : plans(c.grad_b, for_grad_w, plan_outer(p, dtype), [&] { return plan_outer_mma(p, dtype); })) {
    const std::string with = how + algorithm_name(plan.algorithm) + " ";
    const auto run = [&](void* b_data) {
      grad_weight(plan, p, dtype, grad_y.view(), x.view(), grad_w.data(), b_data, workspace(plan).get(), nullptr);
    };
    run(grad_b.data());
    check(c.grad_w, grad_w, dtype, 0, p, with + "grad_weight");
    check(c.grad_b, grad_b, dtype, 0, p, with + "grad_bias");
    run(nullptr);
    check(c.grad_w, grad_w, dtype, 0, p, with + "grad_weight alone");
  }
  const auto plan = plan_backward(p, dtype, grad_y.view(), x.view(), channels_last);
  if (plan && (only.empty() || only == algorithm_name(plan->algorithm))) {
    const std::string with = how + algorithm_name(plan->algorithm) + " backward: ";
    const auto run = [&](void* b_data) {
      backward(
          *plan, p, dtype, grad_y.view(), x.view(), w.data(), grad_x.mutable_view(), grad_w.data(), b_data,
          workspace(*plan).get(), nullptr);
      check(c.grad_x, grad_x, dtype, 0, p, with + "grad_input");
    };
    run(grad_b.data());
    check(c.grad_w, grad_w, dtype, 0, p, with + "grad_weight");
    check(c.grad_b, grad_b, dtype, 0, p, with + "grad_bias");
    run(nullptr);
    check(c.grad_w, grad_w, dtype, 0, p, with + "grad_weight alone");
  }
}

// A sum does not depend on what else is computed: the beginning of the second of two samples, with it and alone, to the
// last bit.
void check_order(DType dtype, const std::function<Plan(const Correlation&)>& plan_of) {
  const Conv1dProblem whole = parse_problem("n2_ci86_co40_l180_k3_s1_p0_d2_g2");
  const Conv1dProblem part = parse_problem("n1_ci86_co40_l70_k3_s1_p0_d2_g2");
  std::mt19937 rng(1);
  std::normal_distribution<double> normal;
  const auto random = [&](Shape shape) {
    Values values(shape.elements());
    for (double& value : values) value = normal(rng);
    HostTensor tensor(dtype, shape, Layout::channels_first, 0);
    tensor.fill(values);
    return tensor;
  };
  HostTensor x = random({whole.n, whole.c_in, whole.l_in}), w = random({whole.c_out, whole.c_in / whole.groups, 3});
  const auto run = [&](const Conv1dProblem& p, int64_t sample) {
    const Plan plan = plan_of(forward_correlation(p));
    const auto workspace = std::make_unique<uint8_t[]>(plan.workspace_bytes);
    HostTensor y(dtype, {p.n, p.c_out, p.l_out}, Layout::channels_first, kGuard);
    View view = x.view();
    view.data = static_cast<const uint8_t*>(view.data) + sample * view.stride_n * element_size(dtype);
    forward(plan, p, dtype, view, w.data(), nullptr, y.mutable_view(), workspace.get(), nullptr);
    return y.take();
  };
  const Values all = run(whole, 0), alone = run(part, 1);
  bool equal = true;
  for (int64_t i = 0; i < std::ssize(alone); ++i)
    equal &= alone[i] == all[(whole.c_out + i / part.l_out) * whole.l_out + i % part.l_out];
  ++results;
  if (equal) return;
  ++failures;
  std::printf("%s: a sum depends on what else is computed\n", to_string(part).c_str());
}

void run_problem(const Conv1dProblem& p, int turn) {
  const Case c = make_case(p);
  for (int type = 0; type < kTypeCount; ++type)
    for (const bool channels_last : {false, true}) {
      // The layout that a plan likes for this result, and a different one now and then.
      const int layout = turn % 4 == 3 ? (type + turn / 4) % kLayoutCount : channels_last;
      // Products of matrices cost as much for one channel as for 16.
      const bool mma = p.groups <= 5 && kTypes[type] != DType::float64 && (turn + type + channels_last) % 2 == 0;
      run_case(c, type, layout, channels_last, {turn % 8 == 2 * type + channels_last, mma});
    }
}

// A short depthwise layer of about the sizes of p.
Conv1dProblem as_short_depthwise(Conv1dProblem p, std::mt19937& rng) {
  p.c_in = p.c_out = p.groups = 1 + rng() % 70;
  p.stride = p.dilation = 1;
  p.kernel_size = 1 + rng() % 8;
  p.l_in = std::max(p.l_in, p.span() - p.pad_left - p.pad_right);
  p.l_out = output_length(p.l_in, p.pad_left, p.pad_right, p.dilation, p.kernel_size, p.stride);
  return p;
}

int run(const std::vector<Conv1dProblem>& problems) {
  for (size_t i = 0; i < problems.size(); ++i) run_problem(problems[i], int(i));
  std::mt19937 rng(1);
  for (int i = 0; problems.empty() && i < 64; ++i) {
    const Conv1dProblem p = random_problem(rng, kMultiplyAdds);
    run_problem(i % 2 ? as_short_depthwise(p, rng) : p, i / 2);
  }
  check_order(DType::float32, [](const Correlation& c) { return plan_correlate(c, DType::float32); });
  for (const DType dtype : {DType::float32, DType::bfloat16})
    check_order(dtype, [&](const Correlation& c) { return plan_correlate_mma(c, dtype).value(); });
  if (!multiply_add_is_right()) {
    std::printf("the multiply-add of tensor cores is not the documented one\n");
    ++failures;
  }
  std::printf("%lld results, %lld wrong\n", static_cast<long long>(results), static_cast<long long>(failures));
  return failures > 0;
}

}  // namespace
}  // namespace torch_conv1d::cuda

int main(int argc, char** argv) {
  using namespace torch_conv1d;
  std::vector<Conv1dProblem> problems;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument[0] != '-') {
      problems.push_back(parse_problem(argument));
      continue;
    }
    const std::string value = i + 1 < argc ? argv[++i] : "";
    if (argument == "--only")
      cuda::only = value;
    else if (argument != "--plant")
      return 2;
    else if (value == "no_barriers")
      cuda_shim::defect = cuda_shim::Defect::no_barriers;
    else if (value == "short_shared_memory")
      cuda_shim::defect = cuda_shim::Defect::short_shared_memory;
    else if (value == "wrong_tail")
      cuda::plant_wrong_tail = true;
    else
      return 2;
  }
  return cuda::run(problems);
}
