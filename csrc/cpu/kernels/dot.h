// The tile of grad_weight where a group has few output channels (contract: DotArgs). Vectors lie along positions of
// both grad_y and x; the kDotLanes partial sums of a weight are the same on every instruction set, because a
// narrow one holds them in several vectors.
#pragma once

#include "vector.h"

namespace torch_conv1d::cpu {
namespace {

template <class T>
using Mask = decltype(Vector<T>{} == Vector<T>{});

// All ones in the first `count` lanes of a kDotLanes wide vector, of which this is the v-th part.
template <class T>
inline Mask<T> lanes_below(int64_t count, int v) {
  Mask<T> mask;
  UNROLL for (int lane = 0; lane < kLanes<T>; ++lane) mask[lane] = v * kLanes<T> + lane < count ? -1 : 0;
  return mask;
}

template <class T, int Rows, int Taps>
void dot(const DotArgs<T>& a) {
  constexpr int kParts = int(kDotLanes<T>) / kLanes<T>;
  Vector<T> sum[Rows][Taps][kParts];
  UNROLL for (int r = 0; r < Rows; ++r) {
    UNROLL for (int t = 0; t < Taps; ++t) {
      UNROLL for (int v = 0; v < kParts; ++v)
        sum[r][t][v] = load<Vector<T>>(a.sum + (r * a.sum_row + t) * kDotLanes<T> + v * kLanes<T>);
    }
  }
  for (int64_t i = 0; i < a.length; i += kDotLanes<T>) {
    // What stands beyond the end is left out of both factors: it may be infinite.
    const int64_t left = a.length - i;
    const bool whole = left >= kDotLanes<T>;
    UNROLL for (int v = 0; v < kParts; ++v) {
      Vector<T> g[Rows];
      UNROLL for (int r = 0; r < Rows; ++r) {
        g[r] = load<Vector<T>>(a.g + r * a.g_row + i + v * kLanes<T>);
        if (!whole) g[r] = (Vector<T>)((Mask<T>)g[r] & lanes_below<T>(left, v));
      }
      UNROLL for (int t = 0; t < Taps; ++t) {
        Vector<T> x = load<Vector<T>>(a.x + a.offset[t] + i + v * kLanes<T>);
        if (!whole) x = (Vector<T>)((Mask<T>)x & lanes_below<T>(left, v));
        UNROLL for (int r = 0; r < Rows; ++r) sum[r][t][v] += g[r] * x;
      }
    }
  }
  UNROLL for (int r = 0; r < Rows; ++r) {
    UNROLL for (int t = 0; t < Taps; ++t) {
      UNROLL for (int v = 0; v < kParts; ++v)
        store(a.sum + (r * a.sum_row + t) * kDotLanes<T> + v * kLanes<T>, sum[r][t][v]);
    }
  }
}

}  // namespace
}  // namespace torch_conv1d::cpu
