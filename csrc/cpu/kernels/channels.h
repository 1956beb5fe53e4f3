// The tiles of depthwise layers whose channels are innermost: lanes are channels, each with weights of its own. A
// position of x is a pointer, so stride, dilation and padding are a matter of which pointer.
#pragma once

#include "vector.h"

namespace torch_conv1d::cpu {
namespace {

// Positions that share the loads of the weights: 6 x 4 sums of 32 registers, 6 x 2 of 16, beside the weights of a tap.
constexpr int kChannelPositions = 6;

template <int N>
struct Count {};

// How far ahead of a tile its rows are fetched where they are in memory: tiles go along many rows at a time, more than
// the hardware follows.
template <class T>
constexpr int64_t kRowAhead = 512 / int64_t(sizeof(T));

// Contract: ChannelsArgs.
template <class T, int Vectors>
void channels(const ChannelsArgs<T>& a) {
  const auto compute = [&]<int kPositions>(int64_t first, Count<kPositions>) __attribute__((always_inline)) {
    Vector<T> sum[kPositions][Vectors];
    UNROLL for (int v = 0; v < Vectors; ++v) {
      const Vector<T> init = a.init ? load<Vector<T>>(a.init + v * kLanes<T>) : Vector<T>{};
      UNROLL for (int i = 0; i < kPositions; ++i)
        sum[i][v] = init;
    }
    const T* const* source = a.source + first * a.source_step;
    if (a.from_memory && a.taps > 0) {
      constexpr int64_t kLine = 64 / int64_t(sizeof(T));
      // Offsets rise with the taps in forward and fall in grad_input.
      const int64_t first_tap = a.offset[0], last_tap = a.offset[a.taps - 1];
      const T* const* newest = source + (first_tap > last_tap ? first_tap : last_tap);
      UNROLL for (int i = 0; i < kPositions; ++i) {
        UNROLL for (int64_t j = 0; j < Vectors * kLanes<T>; j += kLine) {
          __builtin_prefetch(newest[i * a.source_step] + a.channel + kRowAhead<T> + j);
          __builtin_prefetch(a.out + (first + i) * a.out_row + kRowAhead<T> + j, 1);
        }
      }
    }
    for (int64_t t = 0; t < a.taps; ++t) {
      Vector<T> weight[Vectors];
      UNROLL for (int v = 0; v < Vectors; ++v)
        weight[v] = load<Vector<T>>(a.w + a.w_offset[t] + v * kLanes<T>);
      UNROLL for (int i = 0; i < kPositions; ++i) {
        const T* x = source[i * a.source_step + a.offset[t]] + a.channel;
        UNROLL for (int v = 0; v < Vectors; ++v)
          sum[i][v] += weight[v] * load<Vector<T>>(x + v * kLanes<T>);
      }
    }
    UNROLL for (int i = 0; i < kPositions; ++i) {
      UNROLL for (int v = 0; v < Vectors; ++v)
        store(a.out + (first + i) * a.out_row + v * kLanes<T>, sum[i][v]);
    }
  };
  int64_t i = 0;
  for (; i + kChannelPositions <= a.positions; i += kChannelPositions) compute(i, Count<kChannelPositions>());
  if (i + kChannelPositions / 2 <= a.positions) {
    compute(i, Count<kChannelPositions / 2>());
    i += kChannelPositions / 2;
  }
  for (; i < a.positions; ++i) compute(i, Count<1>());
}

// Contract: ChannelFirArgs. The sharing of fir with positions as far apart as it has blocks: tap t + kFirShift meets at
// one position what tap t meets at the next. `Positions` sums, kFirShared weights and a vector of x are in registers,
// and Positions + 3 loads of x and 4 of weights make 4 * Positions multiplications, where `channels` loads x for each.
template <class T, int Positions>
void channel_fir(const ChannelFirArgs<T>& a) {
  constexpr int64_t kShift = kFirShift<T>, kChunk = kFirShared * kShift;
  const int64_t x_shift = kShift * a.x_tap, w_shift = kShift * a.w_tap;
  const Vector<T> init = a.init ? load<Vector<T>>(a.init) : Vector<T>{};
  for (int64_t tile = 0; tile < a.tiles; ++tile) {
    Vector<T> sum[Positions];
    UNROLL for (int p = 0; p < Positions; ++p)
      sum[p] = init;
    const auto add = [&]<int kShared>(const T* w, const T* x, Count<kShared>) __attribute__((always_inline)) {
      Vector<T> weight[kShared];
      UNROLL for (int m = 0; m < kShared; ++m)
        weight[m] = load<Vector<T>>(w + m * w_shift);
      UNROLL for (int i = 0; i < Positions + kShared - 1; ++i, x += x_shift) {
        Vector<T> at_i = load<Vector<T>>(x);
        if (kShared > 1) keep_in_register(at_i);
        UNROLL for (int m = 0; m < kShared; ++m) {
          if (i >= m && i - m < Positions) sum[i - m] += weight[m] * at_i;
        }
      }
    };
    for (int64_t chunk = 0; chunk < a.taps; chunk += kChunk) {
      const T* w = a.w + chunk * a.w_tap;
      const T* x = a.x + tile * a.x_step + chunk * a.x_tap;
      for (int64_t t = 0; t < kShift; ++t, w += a.w_tap, x += a.x_tap) {
        const int64_t left = a.taps - chunk - t;
        if (left > 3 * kShift)
          add(w, x, Count<4>());
        else if (left > 2 * kShift)
          add(w, x, Count<3>());
        else if (left > kShift)
          add(w, x, Count<2>());
        else if (left > 0)
          add(w, x, Count<1>());
      }
    }
    T* out = a.out + tile * a.out_step;
    UNROLL for (int p = 0; p < Positions; ++p)
      store(out + p * a.out_shift, sum[p]);
  }
}

// Contract: ChannelSumsArgs.
template <class T, int Taps, int Vectors>
void channel_sums(const ChannelSumsArgs<T>& a) {
  Vector<T> sum[Taps][Vectors];
  UNROLL for (int t = 0; t < Taps; ++t) {
    UNROLL for (int v = 0; v < Vectors; ++v)
      sum[t][v] = load<Vector<T>>(a.sum + t * a.sum_row + v * kLanes<T>);
  }
  for (int64_t i = 0; i < a.positions; ++i) {
    Vector<T> g[Vectors];
    UNROLL for (int v = 0; v < Vectors; ++v)
      g[v] = load<Vector<T>>(a.g + i * a.g_row + v * kLanes<T>);
    UNROLL for (int t = 0; t < Taps; ++t) {
      const T* x = a.source[i * a.source_step + a.offset[t]] + a.channel;
      UNROLL for (int v = 0; v < Vectors; ++v)
        sum[t][v] += g[v] * load<Vector<T>>(x + v * kLanes<T>);
    }
  }
  UNROLL for (int t = 0; t < Taps; ++t) {
    UNROLL for (int v = 0; v < Vectors; ++v)
      store(a.sum + t * a.sum_row + v * kLanes<T>, sum[t][v]);
  }
}

}  // namespace
}  // namespace torch_conv1d::cpu
