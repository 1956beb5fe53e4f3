// The tiles of forward and grad_input where there are a few positions in all (contracts: ThinArgs, ThinSumsArgs).
//
// thin: vectors lie along rows of the result, so each weight is read once, and by itself is no vector: weights of a row
// that follow each other, 16 bytes at a time, are transposed in registers. Pieces of several rows make a vector, in
// whose parts of 16 bytes `kQuad` vectors exchange rows and columns; that takes two shuffles a vector, and a load for
// each piece.
//
// 64 bytes of rows are a tile: more of them, a power of two apart, would push each other's cache lines out of the L1
// cache (12 lines of 4 KiB and its multiples) before all pieces of a line are read.
#pragma once

#include "vector.h"

namespace torch_conv1d::cpu {
namespace {

template <class T, int Positions>
void thin(const ThinArgs<T>& a) {
  constexpr int kWidth = kLanes<T>, kVectors = thin_rows(sizeof(T)) / kWidth;
  constexpr int kQuad = 16 / int(sizeof(T)), kParts = kWidth / kQuad;
  Vector<T> sum[kVectors][Positions];
  UNROLL for (int v = 0; v < kVectors; ++v) {
    UNROLL for (int p = 0; p < Positions; ++p)
      sum[v][p] = a.init ? load<Vector<T>>(a.init + v * kWidth) : Vector<T>{};
  }
  const T* x = a.x;
  const auto multiply = [&](int v, Vector<T> w, const T* at) {
    UNROLL for (int p = 0; p < Positions; ++p)
      sum[v][p] += w * broadcast(at[p]);
  };
  // The next kQuad weights of every row; of these, [skip, end) are the row's. A pointer for each kQuad rows and two
  // multiples of w_row address all of them, so that nothing is computed or spilled.
  const T* row[kVectors * kParts];
  const auto add_quad = [&](int64_t skip, int64_t end) __attribute__((always_inline)) {
    UNROLL for (int v = 0; v < kVectors; ++v) {
      Vector<T> quad[kQuad];
      UNROLL for (int i = 0; i < kQuad; ++i)
        quad[i] = load_pieces<T, VECTOR_BYTES>(row + v * kParts, i * a.w_row);
      transpose_parts<kQuad>(quad);
      UNROLL for (int i = 0; i < kQuad; ++i) {
        if (i >= skip && i < end) multiply(v, quad[i], x + (i - skip) * Positions);
      }
    }
    UNROLL for (int i = 0; i < kVectors * kParts; ++i) {
      row[i] += kQuad;
      asm("" : "+r"(row[i]));
    }
    x += (end - skip) * Positions;
  };
  constexpr int64_t kChannelsAhead = 8, kLine = 64 / sizeof(T);
  for (int64_t c = 0; c < a.channels; ++c) {
    const T* w = a.w + c * a.w_channel;
    // Channels are pages apart, so the hardware does not see the next one coming.
    for (int64_t i = 0; i < kVectors * kWidth * a.w_row && a.channels > 1; i += kLine)
      __builtin_prefetch(w + kChannelsAhead * a.w_channel + i);
    const int64_t left = a.taps % kQuad;
    // The last weights of a row come with weights before them; of the first channel there may be none, but others
    // after.
    const bool before = a.taps > left || c;
    UNROLL for (int i = 0; i < kVectors * kParts; ++i)
      row[i] = w + i * kQuad * a.w_row;
    for (int64_t t = kQuad; t <= a.taps; t += kQuad) add_quad(0, kQuad);
    if (left) {
      const int64_t skip = before ? kQuad - left : 0;
      UNROLL for (int i = 0; i < kVectors * kParts; ++i)
        row[i] -= skip;
      add_quad(skip, skip + left);
    }
  }
  UNROLL for (int p = 0; p < Positions; ++p) {
    UNROLL for (int v = 0; v < kVectors; ++v)
      store(a.out + p * a.out_row + v * kWidth, sum[v][p]);
  }
}

// The next `Channels` channels. Columns of the last vector may have been in the one before it, so it starts from sums
// that are as they were.
template <class T, int Positions, int Channels>
inline void add_channels(const ThinSumsArgs<T>& a, int64_t channel) {
  const T* w = a.w + channel * a.w_channel;
  Vector<T> x[Channels][Positions];
  UNROLL for (int c = 0; c < Channels; ++c) {
    UNROLL for (int p = 0; p < Positions; ++p)
      x[c][p] = broadcast(a.x[(channel + c) * Positions + p]);
  }
  const auto add = [&](int64_t j, Vector<T>(&sum)[Positions]) __attribute__((always_inline)) {
    UNROLL for (int p = 0; p < Positions; ++p)
      sum[p] = load<Vector<T>>(a.sum + p * a.sum_row + j);
    UNROLL for (int c = 0; c < Channels; ++c) {
      const Vector<T> weights = load<Vector<T>>(w + c * a.w_channel + j);
      UNROLL for (int p = 0; p < Positions; ++p)
        sum[p] += weights * x[c][p];
    }
  };
  const auto keep = [&](int64_t j, Vector<T>(&sum)[Positions]) __attribute__((always_inline)) {
    UNROLL for (int p = 0; p < Positions; ++p)
      store(a.sum + p * a.sum_row + j, sum[p]);
  };
  Vector<T> last[Positions], sum[Positions];
  add(a.columns - kLanes<T>, last);
  for (int64_t j = 0; j + kLanes<T> <= a.columns; j += kLanes<T>) {
    add(j, sum);
    keep(j, sum);
  }
  keep(a.columns - kLanes<T>, last);
}

// Vectors lie along the weights of a channel, as they are stored: several channels at a time, which are read as
// streams, share a load and a store of the sums. Their x take 8 registers.
template <class T, int Positions>
void thin_sums(const ThinSumsArgs<T>& a) {
  constexpr int kChannels = 8 / Positions;
  int64_t channel = 0;
  for (; channel + kChannels <= a.channels; channel += kChannels) add_channels<T, Positions, kChannels>(a, channel);
  for (; channel < a.channels; ++channel) add_channels<T, Positions, 1>(a, channel);
}

}  // namespace
}  // namespace torch_conv1d::cpu
