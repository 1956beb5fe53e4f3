// grad_weight and grad_bias on packed blocks, for the instruction set of `table`.
#pragma once

#include "../conv1d_cpu.h"
#include "../kernel_table.h"

namespace torch_conv1d::cpu {

// grad_w and grad_b are contiguous; either may be null.
void sum_grad_weight(
    const Conv1dProblem& p,
    DType dtype,
    Algorithm algorithm,
    const KernelTable& table,
    View grad_y,
    View x,
    void* grad_w,
    void* grad_b);

}  // namespace torch_conv1d::cpu
