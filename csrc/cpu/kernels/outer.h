// The tile of grad_weight where a group has many output channels (contract: OuterArgs). Vectors lie along output
// channels of a transposed grad_y; each x is broadcast. A sum of outer products over positions.
#pragma once

#include "vector.h"

namespace torch_conv1d::cpu {
namespace {

template <class T, int Rows, int Vectors>
void outer(const OuterArgs<T>& a) {
  constexpr int kWidth = Vectors * kLanes<T>;
  Vector<T> sum[Rows][Vectors] = {};
  const T* g = a.g;
  for (int64_t m = 0; m < a.runs; ++m) {
    const T* x[Rows];
    UNROLL for (int r = 0; r < Rows; ++r)
      x[r] = a.x + m * a.x_run + a.offset[r];
    for (int64_t i = 0; i < a.length; ++i, g += kWidth) {
      Vector<T> column[Vectors];
      UNROLL for (int v = 0; v < Vectors; ++v)
        column[v] = load<Vector<T>>(g + v * kLanes<T>);
      UNROLL for (int r = 0; r < Rows; ++r) {
        const Vector<T> value = broadcast(x[r][i]);
        UNROLL for (int v = 0; v < Vectors; ++v)
          sum[r][v] += value * column[v];
      }
    }
  }
  UNROLL for (int r = 0; r < Rows; ++r) {
    UNROLL for (int v = 0; v < Vectors; ++v) {
      T* out = a.sum + r * a.sum_row + v * kLanes<T>;
      store(out, load<Vector<T>>(out) + sum[r][v]);
    }
  }
}

}  // namespace
}  // namespace torch_conv1d::cpu
