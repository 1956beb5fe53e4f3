// forward and grad_input on packed panels, for the instruction set of `table`.
#pragma once

#include "../correlation.h"
#include "kernel_table.h"

namespace torch_conv1d::cpu {

// w and bias (one value a row, or null) are contiguous, of the type that sums are made in.
void correlate(
    const Correlation& c,
    DType dtype,
    const KernelTable& table,
    View source,
    const void* w,
    const void* bias,
    MutableView out);

}  // namespace torch_conv1d::cpu
