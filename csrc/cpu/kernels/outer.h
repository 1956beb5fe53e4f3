// The tile of grad_weight where a group has many output channels (contract: OuterArgs). Vectors lie along output
// channels of a transposed grad_y; each x is broadcast. A sum of outer products over positions.
#pragma once

#include "vector.h"

namespace torch_conv1d::cpu {
namespace {

template <class T, int Rows, int Vectors, class Products = ElementProducts, bool InPlace = false>
void outer(const OuterArgs<T>& a) {
  constexpr int kWidth = Vectors * kLanes<T>;
  Vector<T> sum[Rows][Vectors] = {};
  if constexpr (InPlace) {
    UNROLL for (int r = 0; r < Rows; ++r) {
      UNROLL for (int v = 0; v < Vectors; ++v)
        sum[r][v] = load<Vector<T>>(a.sum + r * a.sum_row + v * kLanes<T>);
    }
  }
  // i counts elements of x: registers hold a pointer to each of 12 rows, g, i and its end, and no more.
  const int64_t x_step = InPlace ? a.x_step : 1, g_step = InPlace ? a.g_step : kWidth;
  const int64_t length = a.length * x_step, fetches = kOuterFetches * x_step;
  const T* g = a.g;
  int64_t next_left = a.next_count, next_row = a.next_first % a.next_rows;
  const char* next = a.next + a.next_first / a.next_rows * 64 + next_row * a.next_row;
  for (int64_t m = 0; m < a.runs; ++m) {
    const T* x[Rows];
    UNROLL for (int r = 0; r < Rows; ++r)
      x[r] = a.x + m * a.x_run + a.offset[r];
    for (int64_t i = 0, end = 0; i < length;) {
      for (int64_t each = a.next_each; each > 0 && next_left > 0; --each, --next_left) {
        __builtin_prefetch(next, 0, 2);
        next += a.next_row;
        if (++next_row == a.next_rows) {
          next_row = 0;
          next += 64 - a.next_rows * a.next_row;
        }
      }
      end = end + fetches < length ? end + fetches : length;
      for (; i < end; i += x_step, g += g_step) {
        Vector<T> column[Vectors];
        UNROLL for (int v = 0; v < Vectors; ++v)
          column[v] = load<Vector<T>>(g + v * kLanes<T>);
        UNROLL for (int r = 0; r < Rows; ++r) {
          const Vector<T> value = Products::broadcast(x[r] + i * Products::kElements);
          UNROLL for (int v = 0; v < Vectors; ++v)
            Products::add(sum[r][v], value, column[v]);
        }
      }
    }
  }
  UNROLL for (int r = 0; r < Rows; ++r) {
    UNROLL for (int v = 0; v < Vectors; ++v) {
      T* out = a.sum + r * a.sum_row + v * kLanes<T>;
      store(out, InPlace ? sum[r][v] : load<Vector<T>>(out) + sum[r][v]);
    }
  }
}

}  // namespace
}  // namespace torch_conv1d::cpu
