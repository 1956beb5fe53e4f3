// forward and grad_input of dense layers with a few positions in all, as in streaming: lanes are rows.
#pragma once

#include "../correlation.h"
#include "kernel_table.h"

namespace torch_conv1d::cpu {

// As correlate, with the same bits.
void correlate_thin(
    const Correlation& c,
    DType dtype,
    const KernelTable& table,
    View source,
    const void* w,
    const void* bias,
    MutableView out);

}  // namespace torch_conv1d::cpu
