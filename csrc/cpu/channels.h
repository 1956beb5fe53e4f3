// forward and grad_input of depthwise layers whose lanes are channels: those with channels innermost, and short rows.
#pragma once

#include "../correlation.h"
#include "kernel_table.h"

namespace torch_conv1d::cpu {

// w and bias (one value a channel, or null) are contiguous, of the type that sums are made in.
void filter_channels(
    const Correlation& c,
    DType dtype,
    const KernelTable& table,
    View source,
    const void* w,
    const void* bias,
    MutableView out);

}  // namespace torch_conv1d::cpu
