// The tiles of grad_weight where lanes are positions: of grad_y and x alike. The kDotLanes partial sums of a weight are the
// same on every instruction set, because a narrow one holds them in several vectors.
//
//   dot       several rows of grad_y meet several rows of x                              (contract: DotArgs)
//   fir_dot   one row of grad_y meets taps one position apart of one row of x            (contract: FirDotArgs)
//   row_sums  rows of grad_y alone, for the bias                                         (contract: RowSumsArgs)
#pragma once

#include "vector.h"

namespace torch_conv1d::cpu {
namespace {

template <class T>
using Mask = decltype(Vector<T>{} == Vector<T>{});
template <class T>
constexpr int kDotParts = int(kDotLanes<T>) / kLanes<T>;

// The v-th part of a vector of kDotLanes with all but its first `count` lanes cleared.
template <class T>
inline Vector<T> first_lanes(Vector<T> value, int64_t count, int v) {
  Mask<T> lane;
  UNROLL for (int i = 0; i < kLanes<T>; ++i)
    lane[i] = v * kLanes<T> + i;
  Vector<T> cleared = (Vector<T>)((Mask<T>)value & (lane < (Mask<T>{} + decltype(lane[0] + lane[0])(count))));
  hide_origin(cleared);
  return cleared;
}

// Partial sums that stay in registers from one call of add to the next.
template <class T, int Count>
struct DotSums {
  Vector<T> sum[Count][kDotParts<T>];

  inline void load_from(const T* from, int first, int64_t distance) {
    UNROLL for (int v = 0; v < kDotParts<T>; ++v)
      sum[first][v] = load<Vector<T>>(from + distance * kDotLanes<T> + v * kLanes<T>);
  }
  inline void store_to(T* to, int first, int64_t distance) const {
    UNROLL for (int v = 0; v < kDotParts<T>; ++v)
      store(to + distance * kDotLanes<T> + v * kLanes<T>, sum[first][v]);
  }
};

// Part by part of the partial sums, so that a tile has as many pairs as there are registers, however narrow.
template <class T, int Rows, int Taps>
void dot(const DotArgs<T>& a) {
  for (int v = 0; v < kDotParts<T>; ++v) {
    const auto at = [&](int r, int t) { return a.sum + (r * a.sum_row + t) * kDotLanes<T> + v * kLanes<T>; };
    const T* x_row[Taps];
    UNROLL for (int t = 0; t < Taps; ++t)
      x_row[t] = a.x + a.offset[t];
    Vector<T> sum[Rows][Taps];
    UNROLL for (int r = 0; r < Rows; ++r) {
      UNROLL for (int t = 0; t < Taps; ++t)
        sum[r][t] = load<Vector<T>>(at(r, t));
    }
    // Adds positions from i on; of the last ones, what stands beyond the end is cleared in both factors, because it may be
    // infinite. Beside the sums, registers hold the fewer of the two, and one of the other.
    const auto add = [&](int64_t i, auto clear_beyond_end) __attribute__((always_inline)) {
      const auto g = [&](int r) { return clear_beyond_end(load<Vector<T>>(a.g + r * a.g_row + i)); };
      const auto x = [&](int t) { return clear_beyond_end(load<Vector<T>>(x_row[t] + i)); };
      if constexpr (Rows < Taps) {
        Vector<T> held[Rows];
        UNROLL for (int r = 0; r < Rows; ++r)
          held[r] = g(r);
        UNROLL for (int t = 0; t < Taps; ++t) {
          Vector<T> value = x(t);
          if (Rows > 1) keep_in_register(value);
          UNROLL for (int r = 0; r < Rows; ++r)
            sum[r][t] += held[r] * value;
        }
      } else {
        Vector<T> held[Taps];
        UNROLL for (int t = 0; t < Taps; ++t)
          held[t] = x(t);
        UNROLL for (int r = 0; r < Rows; ++r) {
          Vector<T> value = g(r);
          if (Taps > 1) keep_in_register(value);
          UNROLL for (int t = 0; t < Taps; ++t)
            sum[r][t] += value * held[t];
        }
      }
    };
    int64_t i = v * kLanes<T>;
    for (const int64_t end = a.length / kDotLanes<T> * kDotLanes<T>; i < end; i += kDotLanes<T>) {
      for (int64_t r = a.ahead_row; r < Rows; r += a.ahead_step) __builtin_prefetch(a.g + r * a.g_row + a.ahead + i);
      add(i, [](Vector<T> value) { return value; });
    }
    if (i < a.length) add(i, [left = a.length - i](Vector<T> value) { return first_lanes<T>(value, left, 0); });
    UNROLL for (int r = 0; r < Rows; ++r) {
      UNROLL for (int t = 0; t < Taps; ++t)
        store(at(r, t), sum[r][t]);
    }
  }
}

// As in fir, taps kDotLanes apart share the loads of x: the vector that one of them multiplies with block b of grad_y, the
// next multiplies with block b - 1.
template <class T, int Taps, int Shared>
void fir_dot(const FirDotArgs<T>& a) {
  constexpr int64_t kStep = kDotLanes<T>;
  DotSums<T, Taps * Shared> sums;
  UNROLL for (int t = 0; t < Taps; ++t) {
    UNROLL for (int m = 0; m < Shared; ++m)
      sums.load_from(a.sum, t * Shared + m, t + m * kStep);
  }
  // The vectors of x from i on, for the taps [begin, end) of those that share them.
  const auto add = [&](int64_t i, int begin, int end) __attribute__((always_inline)) {
    UNROLL for (int v = 0; v < kDotParts<T>; ++v) {
      Vector<T> g[Shared];
      UNROLL for (int m = 0; m < Shared; ++m)
        if (m >= begin && m < end) g[m] = load<Vector<T>>(a.g + i - m * kStep + v * kLanes<T>);
      UNROLL for (int t = 0; t < Taps; ++t) {
        Vector<T> x = load<Vector<T>>(a.x + t + i + v * kLanes<T>);
        if (Shared > 1) keep_in_register(x);
        UNROLL for (int m = 0; m < Shared; ++m)
          if (m >= begin && m < end) sums.sum[t * Shared + m][v] += g[m] * x;
      }
    }
  };
  const int64_t whole = a.length / kStep;
  if (whole >= Shared) {
    UNROLL for (int j = 0; j < Shared - 1; ++j)
      add(j * kStep, 0, j + 1);
    for (int64_t j = Shared - 1; j < whole; ++j) add(j * kStep, 0, Shared);
    UNROLL for (int j = 1; j < Shared; ++j)
      add((whole + j - 1) * kStep, j, Shared);
  } else {
    UNROLL for (int m = 0; m < Shared; ++m)
      for (int64_t j = 0; j < whole; ++j) add((j + m) * kStep, m, m + 1);
  }
  if (const int64_t left = a.length - whole * kStep) {
    UNROLL for (int v = 0; v < kDotParts<T>; ++v) {
      const T* at = a.g + whole * kStep + v * kLanes<T>;
      const Vector<T> g = first_lanes<T>(load<Vector<T>>(at), left, v);
      UNROLL for (int t = 0; t < Taps; ++t) {
        UNROLL for (int m = 0; m < Shared; ++m)
          sums.sum[t * Shared + m][v] +=
              g * first_lanes<T>(load<Vector<T>>(a.x + t + (m + whole) * kStep + v * kLanes<T>), left, v);
      }
    }
  }
  UNROLL for (int t = 0; t < Taps; ++t) {
    UNROLL for (int m = 0; m < Shared; ++m)
      sums.store_to(a.sum, t * Shared + m, t + m * kStep);
  }
}

template <class T, int Rows>
void row_sums(const RowSumsArgs<T>& a) {
  DotSums<T, Rows> sums;
  UNROLL for (int r = 0; r < Rows; ++r)
    sums.load_from(a.sum, r, r);
  const auto add = [&](int64_t i, auto clear_beyond_end) __attribute__((always_inline)) {
    UNROLL for (int r = 0; r < Rows; ++r) {
      UNROLL for (int v = 0; v < kDotParts<T>; ++v)
        sums.sum[r][v] += clear_beyond_end(load<Vector<T>>(a.g + r * a.g_row + i + v * kLanes<T>), v);
    }
  };
  int64_t i = 0;
  for (; i + kDotLanes<T> <= a.length; i += kDotLanes<T>) add(i, [](Vector<T> value, int) { return value; });
  if (i < a.length) add(i, [left = a.length - i](Vector<T> value, int v) { return first_lanes<T>(value, left, v); });
  UNROLL for (int r = 0; r < Rows; ++r)
    sums.store_to(a.sum, r, r);
}

}  // namespace
}  // namespace torch_conv1d::cpu
