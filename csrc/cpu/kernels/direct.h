// Layers of few products that have tiles of their own on the elements of tensors, where these are: their passes through
// the L1 cache, to convert bfloat16 and float16 or to take apart the phases of a stride, would cost more than the
// products.
//
//   pairs     stride 1, narrow types                 contract: DirectFirArgs, DirectDotArgs
//   halved    forward and grad_weight of a stride of 2: an output for each two positions
//   doubled   grad_input of a stride of 2
#pragma once

#include "dot.h"
#include "elements.h"
#include "fir.h"

namespace torch_conv1d::cpu {
namespace {

// Positions of a tile of Units.
template <class E, int Units>
constexpr int kUnitVectors = Units * int(kNarrowness<E>);

// Lines of x that a tile prefetches: as in prefetch_distance.
template <int Elements, class E>
inline void prefetch_ahead(const DirectFirArgs<E>& a, const E* x) {
  fetch_tile<Elements>(x + (a.channels > 1 ? Elements : 4096 / int64_t(sizeof(E))));
}

// Of float32 and float64 that gains nothing.
template <int Elements, class E>
inline void fetch_result(const DirectFirArgs<E>& a, const E* out) {
  if constexpr (kNarrowness<E> > 1)
    if (a.to_memory) {
      UNROLL for (int line = 0; line < Elements; line += 64 / int(sizeof(E)))
        __builtin_prefetch(reinterpret_cast<const char*>(out + line) + kResultAhead, 1);
    }
}

template <class E, int Units>
void fir_pairs(const DirectFirArgs<E>& a) {
  using V = Vector<float>;
  constexpr int kPair = 2 * kLanes<float>, kWidth = Units * kPair;
  const V init = a.init ? broadcast(*a.init) : V{};
  for (int64_t i = 0; i < a.tiles; ++i) {
    V sum[2 * Units];
    UNROLL for (int v = 0; v < 2 * Units; ++v)
      sum[v] = init;
    const float* w = a.w;
    const E* x = a.x + i * kWidth;
    for (int64_t c = 0; c < a.channels; ++c, x += a.x_row) {
      prefetch_ahead<kWidth>(a, x + a.offset[0]);
      for (int64_t t = 0; t < a.taps; ++t) {
        const V weight = broadcast(*w++);
        UNROLL for (int u = 0; u < Units; ++u) {
          V x0, x1;
          load_pair(x + a.offset[t] + u * kPair, x0, x1);
          sum[2 * u] += weight * x0;
          sum[2 * u + 1] += weight * x1;
        }
      }
    }
    fetch_result<kWidth>(a, a.out + i * kWidth);
    UNROLL for (int u = 0; u < Units; ++u)
      store_pair(a.out + i * kWidth + u * kPair, sum[2 * u], sum[2 * u + 1]);
  }
}

template <class E, int Units>
void fir_halved(const DirectFirArgs<E>& a) {
  using T = SumOf<E>;
  using V = Vector<T>;
  constexpr int kVectors = kUnitVectors<E, Units>, kWidth = kVectors * kLanes<T>;
  const V init = a.init ? broadcast(*a.init) : V{};
  for (int64_t i = 0; i < a.tiles; ++i) {
    V sum[kVectors];
    UNROLL for (int v = 0; v < kVectors; ++v)
      sum[v] = init;
    const T* w = a.w;
    const E* x = a.x + a.offset[0] + i * 2 * kWidth;
    const auto add = [&](int64_t t, bool both) __attribute__((always_inline)) {
      const V first = broadcast(w[t]), second = both ? broadcast(w[t + 1]) : V{};
      UNROLL for (int v = 0; v < kVectors; ++v) {
        V even, odd;
        load_alternate(x + t + v * 2 * kLanes<T>, even, odd);
        sum[v] += first * even;
        if (both) sum[v] += second * odd;
      }
    };
    for (int64_t c = 0; c < a.channels; ++c, x += a.x_row, w += a.taps) {
      prefetch_ahead<2 * kWidth>(a, x);
      int64_t t = 0;
      for (; t + 1 < a.taps; t += 2) add(t, true);
      if (t < a.taps) add(t, false);
    }
    fetch_result<kWidth>(a, a.out + i * kWidth);
    UNROLL for (int v = 0; v < kVectors; ++v)
      store_sum(a.out + i * kWidth + v * kLanes<T>, from_alternate<E>(sum[v]));
  }
}

// Taps in ascending order read x backwards; one of the first phase and the next, of the second, read the same.
template <class E, int Units>
void fir_doubled(const DirectFirArgs<E>& a) {
  using T = SumOf<E>;
  using V = Vector<T>;
  constexpr int kVectors = kUnitVectors<E, Units>, kWidth = kVectors * kLanes<T>;
  const V init = a.init ? broadcast(*a.init) : V{};
  for (int64_t i = 0; i < a.tiles; ++i) {
    V sum[2][kVectors];
    UNROLL for (int v = 0; v < kVectors; ++v)
      sum[0][v] = sum[1][v] = init;
    const T* w = a.w;
    const E* row = a.x + i * kWidth;
    const auto add = [&](const E* x, int64_t t, int begin, int end) __attribute__((always_inline)) {
      V weight[2];
      UNROLL for (int phase = 0; phase < 2; ++phase)
        if (phase >= begin && phase < end) weight[phase] = broadcast(w[t + phase - begin]);
      UNROLL for (int v = 0; v < kVectors; ++v) {
        V at_v = load_as_sum(x + v * kLanes<T>);
        keep_in_register(at_v);
        UNROLL for (int phase = 0; phase < 2; ++phase)
          if (phase >= begin && phase < end) sum[phase][v] += weight[phase] * at_v;
      }
    };
    for (int64_t c = 0; c < a.channels; ++c, row += a.x_row, w += a.taps) {
      const E* x = row + a.offset[0];
      prefetch_ahead<kWidth>(a, x);
      int64_t t = 0;
      if (a.first_phase) add(x--, t++, 1, 2);
      for (; t + 1 < a.taps; t += 2) add(x--, t, 0, 2);
      if (t < a.taps) add(x, t, 0, 1);
    }
    fetch_result<2 * kWidth>(a, a.out + 2 * i * kWidth);
    UNROLL for (int v = 0; v < kVectors; ++v)
      store_in_turn(a.out + (i * kWidth + v * kLanes<T>)*2, sum[0][v], sum[1][v]);
  }
}

// Which of the vectors that make up the kDotLanes sums of a weight takes the first and the second vector of a pair.
template <class E>
constexpr int sum_of_pair(int pair, int second) {
  return kHalvesOfBits<E> ? pair : (2 * pair + second) % kDotParts<float>;
}

// Without an x: the sums of g alone, for the bias.
template <class E, int Taps, bool HasX>
void dot_pairs(const DirectDotArgs<E>& a) {
  DotSums<float, Taps> sums;
  UNROLL for (int t = 0; t < Taps; ++t)
    sums.load_from(a.sum, t, t);
  constexpr int64_t kAhead = 4096 / int64_t(sizeof(E));
  for (int64_t i = 0; i < a.length; i += 2 * kDotLanes<float>) {
    __builtin_prefetch(a.g + kAhead + i);
    if (HasX) __builtin_prefetch(a.x + a.offset[0] + kAhead + i);
    UNROLL for (int p = 0; p < kDotParts<float>; ++p) {
      const int64_t at = i + p * 2 * kLanes<float>;
      constexpr auto place = sum_of_pair<E>;
      Vector<float> g0, g1, x0, x1;
      load_pair(a.g + at, g0, g1);
      UNROLL for (int t = 0; t < Taps; ++t) {
        if constexpr (HasX) {
          load_pair(a.x + a.offset[t] + at, x0, x1);
          sums.sum[t][place(p, 0)] += g0 * x0;
          sums.sum[t][place(p, 1)] += g1 * x1;
        } else {
          sums.sum[t][place(p, 0)] += g0;
          sums.sum[t][place(p, 1)] += g1;
        }
      }
    }
  }
  UNROLL for (int t = 0; t < Taps; ++t)
    sums.store_to(a.sum, t, t);
}

template <class E, int Taps>
void dot_halved(const DirectDotArgs<E>& a) {
  using T = SumOf<E>;
  using V = Vector<T>;
  DotSums<T, Taps> sums;
  UNROLL for (int t = 0; t < Taps; ++t) {
    sums.load_from(a.sum, t, t);
    UNROLL for (int v = 0; v < kDotParts<T>; ++v)
      sums.sum[t][v] = to_alternate<E>(sums.sum[t][v]);
  }
  const E* ahead = a.x + a.offset[0] + 4096 / int64_t(sizeof(E));  // as in split_runs
  for (int64_t i = 0; i < a.length; i += kDotLanes<T>) {
    UNROLL for (int line = 0; line < 2 * int(kDotLanes<T>); line += 64 / int(sizeof(E)))
      __builtin_prefetch(ahead + 2 * i + line);
    UNROLL for (int v = 0; v < kDotParts<T>; ++v) {
      const int64_t at = i + v * kLanes<T>;
      const V g = to_alternate<E>(load_as_sum(a.g + at));
      UNROLL for (int t = 0; t < Taps; t += 2) {
        V even, odd;
        load_alternate(a.x + a.offset[t] + 2 * at, even, odd);
        sums.sum[t][v] += g * even;
        if (t + 1 < Taps) sums.sum[t + 1][v] += g * odd;
      }
    }
  }
  UNROLL for (int t = 0; t < Taps; ++t) {
    UNROLL for (int v = 0; v < kDotParts<T>; ++v)
      sums.sum[t][v] = from_alternate<E>(sums.sum[t][v]);
    sums.store_to(a.sum, t, t);
  }
}

}  // namespace
}  // namespace torch_conv1d::cpu
