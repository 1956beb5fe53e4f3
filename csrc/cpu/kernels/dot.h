// The tiles of grad_weight where lanes are positions: of grad_y and x alike. The kDotLanes partial sums of a weight are
// the same on every instruction set, because a narrow one holds them in several vectors.
//
//   dot       several rows of grad_y meet several rows of x                              (contract: DotArgs)
//   fir_dot   one row of grad_y meets taps one position apart of one row of x            (contract: FirDotArgs)
//   row_sums  rows of grad_y alone, for the bias                                         (contract: RowSumsArgs)
//   lane_sums  the tree that adds the partial sums
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
    // Adds positions from i on; of the last ones, what stands beyond the end is cleared in both factors, because it may
    // be infinite. Beside the sums, registers hold the fewer of the two, and one of the other.
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
      for (int64_t r = a.ahead_row; r < Rows; r += a.ahead_step) {
        __builtin_prefetch(a.g + r * a.g_row + a.ahead + i, 0, 2);
        if (Rows == 1) __builtin_prefetch(x_row[0] + a.ahead + i);
      }
      add(i, [](Vector<T> value) { return value; });
    }
    if (i < a.length) add(i, [left = a.length - i](Vector<T> value) { return first_lanes<T>(value, left, 0); });
    UNROLL for (int r = 0; r < Rows; ++r) {
      UNROLL for (int t = 0; t < Taps; ++t)
        store(at(r, t), sum[r][t]);
    }
  }
}

// As in fir, taps kDotLanes apart share the loads of x: the vector that one of them multiplies with block b of grad_y,
// the next multiplies with block b - 1. Blocks of grad_y stay in registers for all of them: Taps * Shared sums, Shared
// blocks and one vector of x. Part by part, as in dot, but where that leaves so few sums that an addition would wait
// for the one before it.
template <class T, int Taps, int Shared>
void fir_dot(const FirDotArgs<T>& a) {
  constexpr int64_t kStep = kDotLanes<T>;
  constexpr int kParts = Shared == 1 && Taps * kDotParts<T> <= 12 ? kDotParts<T> : 1;
  for (int64_t lane = 0; lane < kStep; lane += kParts * kLanes<T>) {
    const T* const g_row = a.g + lane;
    const T* const x_row = a.x + lane;
    const auto sums = [&](int t, int m) { return a.sum + (t + m * kStep) * kStep + lane; };
    const auto part = [](const T* from, int v) { return load<Vector<T>>(from + v * kLanes<T>); };
    Vector<T> sum[Taps][Shared][kParts], g[Shared][kParts] = {};
    UNROLL for (int t = 0; t < Taps; ++t) {
      UNROLL for (int m = 0; m < Shared; ++m) {
        UNROLL for (int v = 0; v < kParts; ++v)
          sum[t][m][v] = part(sums(t, m), v);
      }
    }
    // The vectors of x from i on, for the taps [begin, end) of those that share them. The first of these meets a new
    // block.
    const auto add = [&](int64_t i, int begin, int end) __attribute__((always_inline)) {
      UNROLL for (int v = 0; v < kParts; ++v) {
        UNROLL for (int m = Shared - 1; m > 0; --m)
          g[m][v] = g[m - 1][v];
        if (begin == 0) g[0][v] = part(g_row + i, v);
        UNROLL for (int t = 0; t < Taps; ++t) {
          Vector<T> x = part(x_row + t + i, v);
          if (Shared > 1) keep_in_register(x);
          UNROLL for (int m = 0; m < Shared; ++m)
            if (m >= begin && m < end) sum[t][m][v] += g[m][v] * x;
        }
      }
    };
    // The vectors of x from i on, for tap m of those that share them and its own block, as it is.
    const auto add_one = [&](int64_t i, int m, auto clear_beyond_end) __attribute__((always_inline)) {
      UNROLL for (int v = 0; v < kParts; ++v) {
        const Vector<T> block = clear_beyond_end(part(g_row + i, v), v);
        UNROLL for (int t = 0; t < Taps; ++t)
          sum[t][m][v] += block * clear_beyond_end(part(x_row + t + m * kStep + i, v), v);
      }
    };
    const int64_t whole = a.length / kStep;
    if (whole >= Shared) {
      UNROLL for (int j = 0; j < Shared - 1; ++j)
        add(j * kStep, 0, j + 1);
      for (int64_t j = Shared - 1; j < whole; ++j) {
        if (a.x_ahead) __builtin_prefetch(a.x_ahead + j * kStep);
        if (a.g_ahead) __builtin_prefetch(a.g_ahead + j * kStep);
        add(j * kStep, 0, Shared);
      }
      UNROLL for (int j = 1; j < Shared; ++j)
        add((whole + j - 1) * kStep, j, Shared);
    } else {
      UNROLL for (int m = 0; m < Shared; ++m)
        for (int64_t j = 0; j < whole; ++j) add_one(j * kStep, m, [](Vector<T> value, int) { return value; });
    }
    if (const int64_t left = a.length - whole * kStep) {
      const auto clear = [first = left - lane](Vector<T> value, int v) { return first_lanes<T>(value, first, v); };
      UNROLL for (int m = 0; m < Shared; ++m)
        add_one(whole * kStep, m, clear);
    }
    UNROLL for (int t = 0; t < Taps; ++t) {
      UNROLL for (int m = 0; m < Shared; ++m) {
        UNROLL for (int v = 0; v < kParts; ++v)
          store(sums(t, m) + v * kLanes<T>, sum[t][m][v]);
      }
    }
  }
}

// a and b are groups of lanes: the halves of each group added, in groups of half the size.
template <int Group, class V, int... I>
inline V add_halves(V a, V b, Indices<I...>) {
  constexpr int kHalf = Group / 2;
  const V lower = SHUFFLE(a, b, (I / kHalf * Group + I % kHalf)...);
  const V upper = SHUFFLE(a, b, (I / kHalf * Group + I % kHalf + kHalf)...);
  return lower + upper;
}

// The partial sums of Count numbers, as kLanes / Count of each.
template <class T, int Count>
inline __attribute__((always_inline)) Vector<T> fewer_lanes(const T* sums) {
  if constexpr (Count > 1) {
    constexpr typename FirstIndices<kLanes<T>>::type kAll;
    const Vector<T> a = fewer_lanes<T, Count / 2>(sums), b = fewer_lanes<T, Count / 2>(sums + Count / 2 * kDotLanes<T>);
    return add_halves<2 * kLanes<T> / Count>(a, b, kAll);
  } else {
    Vector<T> part[kDotParts<T>];
    UNROLL for (int v = 0; v < kDotParts<T>; ++v)
      part[v] = load<Vector<T>>(sums + v * kLanes<T>);
    UNROLL for (int half = kDotParts<T> / 2; half; half /= 2) {
      UNROLL for (int v = 0; v < half; ++v)
        part[v] += part[v + half];
    }
    return part[0];
  }
}

// Contract: lane_sums in ArithmeticKernels.
template <class T>
void lane_sums(T* sums, int64_t count) {
  for (int64_t i = 0; i < count; i += kLanes<T>) store(sums + i, fewer_lanes<T, kLanes<T>>(sums + i * kDotLanes<T>));
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
