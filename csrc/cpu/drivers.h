// The ways to carry out forward and grad_input, for the instruction set of `table`; choose_way (plan/plan.h) chooses.
//
// w and bias (one value a row, or null) are contiguous; bias is of the type that sums are made in.
#pragma once

#include "../correlation.h"
#include "kernel_table.h"

namespace torch_conv1d::cpu {

// Whatever the way; bias is of the type of the elements here.
void run_correlation(
    const Correlation& c,
    DType dtype,
    Algorithm algorithm,
    const KernelTable& table,
    View source,
    const void* w,
    const void* bias,
    MutableView out);

struct CorrelationOperands {
  const Correlation& c;
  DType dtype;
  const KernelTable& table;
  View source;
  const void* w;
  const void* bias;
  MutableView out;
  bool one_order = false;  // of correlate: a single row is summed in the order of several
};
using CorrelationDriver = void(const CorrelationOperands&);

CorrelationDriver correlate;            // packed panels: any correlation
CorrelationDriver correlate_pairs;      // the same for dense layers of bfloat16, in products of pairs of channels
CorrelationDriver correlate_innermost;  // channels innermost: lanes are rows; the bits of correlate
CorrelationDriver innermost_pairs;      // the same in products of pairs of channels; the bits of correlate_pairs
CorrelationDriver few_positions;        // lanes are rows, each weight is read once; the bits of correlate
CorrelationDriver correlate_thin;       // a few positions in all: lanes are rows; the bits of correlate
CorrelationDriver thin_stored;          // the same where a position meets one tap: lanes are weights as they are stored
CorrelationDriver filter_weights;       // grad_input with grad_y as the kernel, for long ones; the bits of correlate
CorrelationDriver filter_channels;      // depthwise layers whose lanes are channels: channels innermost, and short rows
CorrelationDriver fir_rows;             // one row a group, lanes are positions; the bits of correlate
CorrelationDriver tap_rows;             // one row of many channels: taps are rows
CorrelationDriver toom_cook;            // fewer multiplications (toom_cook.h)
CorrelationDriver fft_filter;           // long depthwise kernels (fft.h)

}  // namespace torch_conv1d::cpu
