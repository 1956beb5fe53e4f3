// The definition, as loops: any problem, any strides, sums in float64. Ends the list of candidates.
#pragma once

#include "conv1d_cpu.h"

namespace torch_conv1d::cpu::reference {

void forward(const Conv1dProblem& p, DType dtype, View x, const void* w, const void* bias, MutableView y);
void grad_input(const Conv1dProblem& p, DType dtype, View grad_y, const void* w, MutableView grad_x);
void grad_weight(const Conv1dProblem& p, DType dtype, View grad_y, View x, void* grad_w, void* grad_b);

}  // namespace torch_conv1d::cpu::reference
