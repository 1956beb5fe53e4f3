// What the plans of several kernels share: the limits of a launch, the parts of a reduction, the rows of a tile.
#pragma once

#include <algorithm>

#include "kernels.h"

namespace torch_conv1d::cuda {

// Limits of a grid in its second and third dimension, and in its first. Kernels loop over what is beyond.
constexpr int64_t kMostBlocks = 65535, kMostFirstBlocks = (int64_t(1) << 31) - 1;
// Shared memory that a block plans with: nine such blocks fit on a multiprocessor of 228 KiB. Where that is too little
// for one tap it may have all that a launch gets without asking.
constexpr int64_t kStageBytes = 24 << 10, kMostSharedBytes = 48 << 10;
// A reduction is cut into parts until it has this many blocks, about twice what the largest devices run at a time, and
// into no more parts of one sum than kMostParts, so that adding them stays cheap.
constexpr int64_t kReductionBlocks = 2048, kMostParts = 256;
// Tensor cores: rows of a product, and the most products of a tile; see the budget of registers in
// kernels/correlate_mma.cuh.
constexpr int64_t kProductRows = 16, kMostRowTiles = 4;

inline int64_t element_bytes(DType dtype) { return dtype == DType::float64 ? 8 : dtype == DType::float32 ? 4 : 2; }

inline int64_t sum_bytes(DType dtype) { return dtype == DType::float64 ? 8 : 4; }

inline int64_t parts_of(int64_t items, int64_t blocks) {
  return std::clamp<int64_t>(
      kReductionBlocks / std::max<int64_t>(blocks, 1), 1, std::clamp<int64_t>(items, 1, kMostParts));
}

// Rows that a thread sums.
inline int64_t rows_of_thread(int64_t rows) { return rows == 1 ? 1 : rows <= 4 ? 4 : 8; }
// Elements of a word, as tensor cores multiply them.
inline int64_t of_word(DType dtype) { return 4 / element_bytes(dtype); }
// The rows of a tile of products: as few tiles as there can be, as equal as they can be.
inline int64_t rows_of_tile(int64_t rows) {
  const int64_t row_tiles = ceil_div(rows, kProductRows);
  return kProductRows * ceil_div(row_tiles, ceil_div(row_tiles, kMostRowTiles));
}

}  // namespace torch_conv1d::cuda
