// The tiles of depthwise layers whose channels are innermost: lanes are channels, each with weights of its own. A
// position of x is a pointer, so stride, dilation and padding are a matter of which pointer.
#pragma once

#include "elements.h"

namespace torch_conv1d::cpu {
namespace {

// Positions that share the loads of the weights: 6 x 4 sums of 32 registers, 6 x 2 of 16, beside the weights of a tap.
constexpr int kChannelPositions = 6;

template <int N>
struct Count {};

// Positions [first, first + kPositions) of the channels from `at` on. `newest`: the offset of the tap that reads the last
// row, in forward that of the last tap, in grad_input of the first.
template <class E, int kPositions, int kVectors>
inline __attribute__((always_inline)) void channels_tile(
    const ChannelsArgs<E>& a, int64_t newest, int64_t first, int64_t at) {
  using T = SumOf<E>;
  const E* const* source = a.source + first * a.source_step;
  const int64_t channel = a.channel + at;
  E* const out = a.out + first * a.out_row + at;
  if (a.from_memory && first + 2 * kPositions <= a.positions) {
    constexpr int64_t kLine = 64 / int64_t(sizeof(E));
    UNROLL for (int i = kPositions; i < 2 * kPositions; ++i) {
      UNROLL for (int64_t j = 0; j < kVectors * kLanes<T>; j += kLine) {
        __builtin_prefetch(source[i * a.source_step + newest] + channel + j, 0, 2);
        __builtin_prefetch(out + i * a.out_row + j, 1, 2);
      }
    }
  }
  Vector<T> sum[kPositions][kVectors], init[kVectors] = {};
  if (a.init) load_sums_of<E>(a.init + at, init);
  UNROLL for (int i = 0; i < kPositions; ++i) {
    UNROLL for (int v = 0; v < kVectors; ++v)
      sum[i][v] = init[v];
  }
  for (int64_t t = 0; t < a.taps; ++t) {
    Vector<T> weight[kVectors];
    load_sums_of<E>(a.w + a.w_offset[t] + at, weight);
    UNROLL for (int i = 0; i < kPositions; ++i) {
      Vector<T> x[kVectors];
      load_vectors(source[i * a.source_step + a.offset[t]] + channel, x);
      UNROLL for (int v = 0; v < kVectors; ++v)
        sum[i][v] += weight[v] * x[v];
    }
  }
  UNROLL for (int i = 0; i < kPositions; ++i)
    store_vectors(out + i * a.out_row, sum[i]);
}

template <class E, int kPositions, int kVectors>
inline __attribute__((always_inline)) void channels_row(
    const ChannelsArgs<E>& a, int64_t newest, int64_t passed, int64_t first) {
  constexpr int64_t kLane = kLanes<SumOf<E>>, kTile = kVectors * kLane;
  int64_t at = 0;
  // Of those that a stride passes, tiles fetch the last row alone.
  if (a.from_memory && kPositions == kChannelPositions && first + 2 * kPositions <= a.positions)
    for (int64_t row = 1; row < passed; ++row)
      for (int i = kPositions; i < 2 * kPositions; ++i) {
        const E* const x = a.source[(first + i) * a.source_step + newest - row] + a.channel;
        for (int64_t j = 0; j < a.channels; j += 64 / int64_t(sizeof(E))) __builtin_prefetch(x + j, 0, 2);
      }
  for (; at + kTile <= a.channels; at += kTile) channels_tile<E, kPositions, kVectors>(a, newest, first, at);
  // Of what is less than a vector, the last ends where the channels do.
  for (; at < a.channels; at += kLane) {
    const int64_t last = a.channels - kLane;
    channels_tile<E, kPositions, 1>(a, newest, first, at < last ? at : last);
  }
}

// Contract: ChannelsArgs. Tiles go along the channels before the next positions, so that memory is read and written in
// runs of whole rows. What the next positions meet first is fetched meanwhile: these are more rows than the hardware
// follows.
template <class E, int Vectors>
void channels(const ChannelsArgs<E>& a) {
  constexpr int kHalf = kChannelPositions / 2;
  const int64_t newest = a.taps == 0 ? 0 : a.offset[0] > a.offset[a.taps - 1] ? a.offset[0] : a.offset[a.taps - 1];
  const int64_t reach = a.taps == 0 ? 0 : 2 * newest - a.offset[0] - a.offset[a.taps - 1];
  const int64_t passed = reach + 1 < a.source_step ? reach + 1 : a.source_step;  // rows from one position to the next
  int64_t i = 0;
  for (; i + kChannelPositions <= a.positions; i += kChannelPositions)
    channels_row<E, kChannelPositions, Vectors>(a, newest, passed, i);
  if (i + kHalf <= a.positions) {
    channels_row<E, kHalf, Vectors>(a, newest, passed, i);
    i += kHalf;
  }
  for (; i < a.positions; ++i) channels_row<E, 1, Vectors>(a, newest, passed, i);
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
template <class E, int Taps, int Vectors>
void channel_sums(const ChannelSumsArgs<E>& a) {
  using T = SumOf<E>;
  constexpr int64_t kLine = 64 / int64_t(sizeof(E));
  Vector<T> sum[Taps][Vectors];
  UNROLL for (int t = 0; t < Taps; ++t)
    load_sums_of<E>(a.sum + t * a.sum_row, sum[t]);
  for (int64_t i = 0; i < a.positions; ++i) {
    if (a.ahead) {
      const E* const* const x = a.source + (i + a.ahead) * a.source_step + a.offset[Taps - 1];
      UNROLL for (int64_t j = 0; j < Vectors * kLanes<T>; j += kLine) {
        for (int64_t row = 0; row < a.fetched_rows; ++row) __builtin_prefetch(x[-row] + a.channel + j, 0, 2);
        __builtin_prefetch(a.g + (i + a.ahead) * a.g_row + j, 0, 2);
      }
    }
    Vector<T> g[Vectors], x[Vectors];
    load_vectors(a.g + i * a.g_row, g);
    UNROLL for (int t = 0; t < Taps; ++t) {
      load_vectors(a.source[i * a.source_step + a.offset[t]] + a.channel, x);
      UNROLL for (int v = 0; v < Vectors; ++v)
        sum[t][v] += g[v] * x[v];
    }
  }
  UNROLL for (int t = 0; t < Taps; ++t)
    store_sums_of<E>(a.sum + t * a.sum_row, sum[t]);
}

}  // namespace
}  // namespace torch_conv1d::cpu
