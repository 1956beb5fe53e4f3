#include <stdexcept>

#include "conv1d_cpu.h"
#include "reference.h"

namespace torch_conv1d::cpu {

void forward(const Conv1dProblem& p, DType dtype, View x, const void* w, const void* bias, MutableView y) {
  reference::forward(p, dtype, x, w, bias, y);
}
void grad_input(const Conv1dProblem& p, DType dtype, View grad_y, const void* w, MutableView grad_x) {
  reference::grad_input(p, dtype, grad_y, w, grad_x);
}
void grad_weight(const Conv1dProblem& p, DType dtype, View grad_y, View x, void* grad_w, void* grad_b) {
  reference::grad_weight(p, dtype, grad_y, x, grad_w, grad_b);
}
std::vector<std::string> supported_instruction_sets() { return {"reference"}; }
std::string active_instruction_set() { return "reference"; }
void set_instruction_set(const std::string& name) {
  if (!name.empty() && name != "reference") throw std::invalid_argument("instruction set: expected reference, got " + name);
}
std::string explain(const Conv1dProblem&, DType) { return "algorithm: reference\n"; }

}  // namespace torch_conv1d::cpu
