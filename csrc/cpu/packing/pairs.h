// Packed rows of bfloat16, joined in place: two in each element (PairKernels).
#pragma once

#include "../kernel_table.h"

namespace torch_conv1d::cpu {

// Of rows for `channels` channels, one for each pair: the last one of an odd number has a second channel of zeros.
inline void join_channels(const PairKernels& kernels, float* rows, int64_t row, int64_t channels) {
  kernels.join({rows, row, rows, rows + row, 2 * row, channels / 2, row});
  if (channels % 2) kernels.join({rows + channels / 2 * row, 0, rows + (channels - 1) * row, nullptr, 0, 1, row});
}

// Of rows of `count` elements, each with the one after it, the last with a zero.
inline void join_neighbours(const PairKernels& kernels, float* rows, int64_t row, int64_t row_count, int64_t count) {
  kernels.join({rows, row, rows, rows + 1, row, row_count, count - 1});
  kernels.join({rows + count - 1, row, rows + count - 1, nullptr, row, row_count, 1});
}

}  // namespace torch_conv1d::cpu
