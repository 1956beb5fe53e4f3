// The tile of grad_weight where a group has few output channels (contract: DotArgs). Vectors lie along positions of
// both grad_y and x; the kDotLanes partial sums of a weight are the same on every instruction set, because a
// narrow one holds them in several vectors.
#pragma once

#include "vector.h"

namespace torch_conv1d::cpu {
namespace {

template <class T>
using Mask = decltype(Vector<T>{} == Vector<T>{});

// The v-th part of a vector of kDotLanes with all but its first `count` lanes cleared.
template <class T>
inline Vector<T> first_lanes(Vector<T> value, int64_t count, int v) {
  Mask<T> lane;
  UNROLL for (int i = 0; i < kLanes<T>; ++i)
    lane[i] = v * kLanes<T> + i;
  return (Vector<T>)((Mask<T>)value & (lane < (Mask<T>{} + decltype(lane[0] + lane[0])(count))));
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
  // Adds kDotLanes positions from i on; of the last ones, what stands beyond the end is cleared in both factors, because it
  // may be infinite.
  const auto add = [&](int64_t i, auto clear_beyond_end) __attribute__((always_inline)) {
    UNROLL for (int v = 0; v < kParts; ++v) {
      Vector<T> g[Rows];
      UNROLL for (int r = 0; r < Rows; ++r)
        g[r] = clear_beyond_end(load<Vector<T>>(a.g + r * a.g_row + i + v * kLanes<T>), v);
      UNROLL for (int t = 0; t < Taps; ++t) {
        const Vector<T> x = clear_beyond_end(load<Vector<T>>(a.x + a.offset[t] + i + v * kLanes<T>), v);
        UNROLL for (int r = 0; r < Rows; ++r)
          sum[r][t][v] += g[r] * x;
      }
    }
  };
  int64_t i = 0;
  for (; i + kDotLanes<T> <= a.length; i += kDotLanes<T>) add(i, [](Vector<T> value, int) { return value; });
  if (i < a.length) add(i, [left = a.length - i](Vector<T> value, int v) { return first_lanes<T>(value, left, v); });
  UNROLL for (int r = 0; r < Rows; ++r) {
    UNROLL for (int t = 0; t < Taps; ++t) {
      UNROLL for (int v = 0; v < kParts; ++v)
        store(a.sum + (r * a.sum_row + t) * kDotLanes<T> + v * kLanes<T>, sum[r][t][v]);
    }
  }
}

}  // namespace
}  // namespace torch_conv1d::cpu
