// A tile of rows in shared memory, as correlate and outer read it: position s of the tile is in plane s mod planes,
// column s / planes. With as many planes as the stride, positions that are a stride apart are neighbours: the lanes of
// a warp meet no bank twice.
#pragma once

#include "../../division.h"
#include "device.cuh"

namespace torch_conv1d::cuda {

// Row c of the tile holds positions first, first + 1, ... of channel `channel` + c, in the type of sums. All `threads`
// threads call it.
template <class E>
__device__ inline void stage_rows(
    const View& view,
    int64_t n,
    int64_t channel,
    int64_t length,
    PaddingMode padding,
    int64_t first,
    int rows,
    int planes,
    int columns,
    int thread,
    int threads,
    Sum<E>* tile) {
  for (int row = 0; row < rows; ++row) {
    const E* const data = pointer_to<E>(view, n, channel + row, 0);
    for (int plane = 0; plane < planes; ++plane, tile += columns)
      for (int column = thread; column < columns; column += threads) {
        const int64_t position = padded_position(first + int64_t(column) * planes + plane, length, padding);
        tile[column] = position < 0 ? Sum<E>(0) : to_sum(data[position * view.stride_l]);
      }
  }
}

// Walks over the positions start, start + step, ... of a row of the tile.
struct TileWalk {
  int plane, column, planes, plane_step, column_step;

  __device__ TileWalk(int start, int step, int planes)
      : plane(start % planes),
        column(start / planes),
        planes(planes),
        plane_step(int(modulo(step, planes))),
        column_step(int(floor_div(step, planes))) {}
  __device__ void next() {
    plane += plane_step;
    column += column_step;
    if (plane >= planes) plane -= planes, ++column;
  }
};

// `COUNT` neighbouring numbers at an address that is a multiple of their size or of 16 bytes.
template <int COUNT, class T>
struct alignas(COUNT * sizeof(T) < 16 ? COUNT * sizeof(T) : 16) Pack {
  T value[COUNT];
};

}  // namespace torch_conv1d::cuda
