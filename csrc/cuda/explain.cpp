// The plans in words.
#include <sstream>

#include "plan.h"

namespace torch_conv1d::cuda {
namespace {

void explain_plan(std::ostream& out, const char* name, const Plan& plan) {
  const auto dim = [](const Dim3& d) {
    return std::to_string(d.x) + " x " + std::to_string(d.y) + " x " + std::to_string(d.z);
  };
  const bool of_warp = plan.algorithm == Algorithm::correlate_mma || plan.algorithm == Algorithm::outer_mma;
  out << name << ".algorithm: " << algorithm_name(plan.algorithm) << "\n";
  if (plan.positions > 0) {
    out << name << ".grid: " << dim(plan.grid.blocks) << " blocks of " << dim(plan.grid.threads) << " threads, "
        << plan.grid.shared_bytes << " bytes of shared memory\n"
        << name << ".tile: " << plan.positions << " positions";
    if (plan.taps > 0)
      out << ", " << plan.rows << (of_warp ? " rows, " : " rows a thread, ") << plan.channels << " channels x "
          << plan.taps << " taps";
    if (plan.vector > 1) out << ", " << plan.vector << " elements a load";
    out << "\n";
  }
  if (plan.workspace_bytes > 0)
    out << name << ".workspace: " << plan.workspace_bytes << " bytes, " << plan.parts << " parts\n";
  out << name << ".reason: " << plan.reason << "\n";
}

View contiguous(int64_t channels, int64_t length, bool channels_last) {
  if (channels_last) return {nullptr, channels * length, 1, channels};
  return {nullptr, channels * length, length, 1};
}

}  // namespace

std::string explain(const Conv1dProblem& p, DType dtype, bool channels_last, const Device& device) {
  const View x = contiguous(p.c_in, p.l_in, channels_last), grad_y = contiguous(p.c_out, p.l_out, channels_last);
  std::ostringstream out;
  out << "problem: " << to_string(p) << "\nlayout: " << (channels_last ? "(N, L, C)" : "(N, C, L)") << "\n";
  explain_plan(out, "forward", plan_forward(p, dtype, x, channels_last, device));
  if (const auto plan = plan_backward(p, dtype, grad_y, x, channels_last)) explain_plan(out, "backward", *plan);
  explain_plan(out, "grad_input", plan_grad_input(p, dtype, grad_y, channels_last, device));
  explain_plan(out, "grad_weight", plan_grad_weight(p, dtype, grad_y, x, device));
  return out.str();
}

}  // namespace torch_conv1d::cuda
