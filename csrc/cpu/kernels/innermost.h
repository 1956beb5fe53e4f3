// The tile of dense layers whose lanes are rows of the result (contract: InnermostArgs): that of correlate with rows
// and positions in each other's places. Vectors lie along rows of the result; each element of x is broadcast.
#pragma once

#include "vector.h"

namespace torch_conv1d::cpu {
namespace {

template <class T, int Positions, int Vectors, class Products = ElementProducts>
void innermost(const InnermostArgs<T>& a) {
  // Copies, which a loop over channels keeps in registers; the arguments themselves would be read for each of them.
  const int64_t* const offset = a.offset;
  const int64_t channels = a.channels, taps = a.taps, w_channel = a.w_channel, w_tap = a.w_tap, x_step = a.x_step;
  const T* x = a.x;
  T* out = a.out;
  for (int64_t tile = 0; tile < a.tiles; ++tile, x += Positions * x_step, out += Positions * a.out_row) {
    Vector<T> sum[Positions][Vectors];
    UNROLL for (int v = 0; v < Vectors; ++v) {
      const Vector<T> init = a.init ? load<Vector<T>>(a.init + v * kLanes<T>) : Vector<T>{};
      UNROLL for (int p = 0; p < Positions; ++p)
        sum[p][v] = a.goes_on ? load<Vector<T>>(out + p * a.out_row + v * kLanes<T>) : init;
    }
    const T* channel = a.w;
    const T* of_channel = x;
    for (int64_t c = 0; c < channels; ++c, channel += w_channel, of_channel += Products::kElements) {
      const T* w = channel;
      for (int64_t t = 0; t < taps; ++t, w += w_tap) {
        const T* at = of_channel + offset[t];
        Vector<T> weight[Vectors];
        UNROLL for (int v = 0; v < Vectors; ++v)
          weight[v] = load<Vector<T>>(w + v * kLanes<T>);
        UNROLL for (int p = 0; p < Positions; ++p) {
          const Vector<T> value = Products::broadcast(at + p * x_step);
          UNROLL for (int v = 0; v < Vectors; ++v)
            Products::add(sum[p][v], value, weight[v]);
        }
      }
    }
    UNROLL for (int p = 0; p < Positions; ++p) {
      UNROLL for (int v = 0; v < Vectors; ++v)
        store(out + p * a.out_row + v * kLanes<T>, sum[p][v]);
    }
  }
}

}  // namespace
}  // namespace torch_conv1d::cpu
