// The tile of forward and grad_input for one row a group (contract: SlideArgs): its rows are consecutive positions,
// so each vector of x meets kSlide weights. Positions are kSlide apart within a vector.
#pragma once

#include "vector.h"

namespace torch_conv1d::cpu {
namespace {

template <class T, int Vectors>
void slide(const SlideArgs<T>& a) {
  constexpr int kWidth = Vectors * kLanes<T>, kRows = int(kSlide);
  for (int64_t tile = 0; tile < a.tiles; ++tile) {
    Vector<T> sum[kRows][Vectors];
    UNROLL for (int r = 0; r < kRows; ++r) {
      UNROLL for (int v = 0; v < Vectors; ++v)
        sum[r][v] = broadcast(a.init);
    }
    for (int64_t c = 0; c < a.channels; ++c) {
      const T* w = a.w + c * a.w_channel;
      const T* row = a.x + c * a.x_row + tile * kWidth;
      // Rows [begin, end) have a weight at tap t.
      const auto add = [&](int64_t t, int begin, int end) __attribute__((always_inline)) {
        // Hidden from the compiler, which would carry the weights that the next tap meets again in integer registers
        // rather than broadcast them from memory.
        const T* weights = w + t;
        asm("" : "+r"(weights));
        Vector<T> x[Vectors];
        UNROLL for (int v = 0; v < Vectors; ++v)
          x[v] = load<Vector<T>>(row + a.offset[t] + v * kLanes<T>);
        UNROLL for (int r = begin; r < end; ++r) {
          const Vector<T> weight = broadcast(weights[-r]);
          UNROLL for (int v = 0; v < Vectors; ++v)
            sum[r][v] += weight * x[v];
        }
      };
      UNROLL for (int t = 0; t < kRows - 1; ++t)
        add(t, 0, t + 1);
      for (int64_t t = kRows - 1; t < a.kernel_size; ++t) add(t, 0, kRows);
      UNROLL for (int t = 0; t < kRows - 1; ++t)
        add(a.kernel_size + t, t + 1, kRows);
    }
    T* out = a.out + tile * kWidth;
    UNROLL for (int r = 0; r < kRows; ++r) {
      UNROLL for (int v = 0; v < Vectors; ++v)
        store(out + r * a.out_row + v * kLanes<T>, sum[r][v]);
    }
  }
}

}  // namespace
}  // namespace torch_conv1d::cpu
