// Dense layers with a few positions in all, as in streaming: lanes are rows, or the weights of an output channel.
#pragma once

#include "../../correlation.h"
#include "../kernel_table.h"

namespace torch_conv1d::cpu {

// As sum_grad_weight; the sum over (n, lo) is one chain.
void sum_thin(
    const Conv1dProblem& p, DType dtype, const KernelTable& table, View grad_y, View x, void* grad_w, void* grad_b);

}  // namespace torch_conv1d::cpu
