// The tile of forward and grad_input (contract: CorrelateArgs). Vectors lie along positions; each weight is
// broadcast and meets `Vectors` vectors of x, each vector of x meets `Rows` weights.
#pragma once

#include "vector.h"

namespace torch_conv1d::cpu {
namespace {

template <class T, int Rows, int Vectors>
void correlate(const CorrelateArgs<T>& a) {
  constexpr int kWidth = Vectors * kLanes<T>;
  for (int64_t tile = 0; tile < a.tiles; ++tile) {
    Vector<T> sum[Rows][Vectors];
    UNROLL for (int r = 0; r < Rows; ++r) {
      const Vector<T> init = a.init ? broadcast(a.init[r]) : Vector<T>{};
      UNROLL for (int v = 0; v < Vectors; ++v) sum[r][v] = init;
    }
    const T* w = a.w;
    const T* row = a.x + tile * kWidth;
    for (int64_t c = 0; c < a.channels; ++c, row += a.x_row)
      for (int64_t t = 0; t < a.taps; ++t, w += Rows) {
        const T* at = row + a.offset[t];
        Vector<T> x[Vectors];
        UNROLL for (int v = 0; v < Vectors; ++v) x[v] = load<Vector<T>>(at + v * kLanes<T>);
        UNROLL for (int r = 0; r < Rows; ++r) {
          const Vector<T> weight = broadcast(w[r]);
          UNROLL for (int v = 0; v < Vectors; ++v) sum[r][v] += weight * x[v];
        }
      }
    T* out = a.out + tile * kWidth;
    UNROLL for (int r = 0; r < Rows; ++r) {
      UNROLL for (int v = 0; v < Vectors; ++v) store(out + r * a.out_row + v * kLanes<T>, sum[r][v]);
    }
  }
}

}  // namespace
}  // namespace torch_conv1d::cpu
