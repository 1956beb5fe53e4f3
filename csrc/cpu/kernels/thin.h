// The tile of forward and grad_input where there are a few positions in all (contract: ThinArgs). Vectors lie along rows of
// the result, so each weight is read once, and by itself is no vector: weights of a row that follow each other, 16 bytes at a
// time, are transposed in registers. Pieces of several rows make a vector, in whose parts of 16 bytes `kQuad` vectors exchange
// rows and columns; that takes two shuffles a vector, and a load for each piece.
//
// 64 bytes of rows are a tile: more of them, a power of two apart, would push each other's cache lines out of the L1 cache (12
// lines of 4 KiB and its multiples) before all pieces of a line are read.
#pragma once

#include "vector.h"

namespace torch_conv1d::cpu {
namespace {

template <class T, int Positions, bool Transposed>
void thin(const ThinArgs<T>& a) {
  constexpr int kWidth = kLanes<T>, kVectors = thin_rows(sizeof(T), Transposed, Positions) / kWidth;
  constexpr int kQuad = 16 / int(sizeof(T)), kParts = kWidth / kQuad;
  constexpr typename FirstIndices<kWidth>::type kAll;
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
  // The next kQuad weights of every row; of these, [skip, end) are the row's. A pointer for each kQuad rows and two multiples of
  // w_row address all of them, so that nothing is computed or spilled.
  const T* row[kVectors * kParts];
  const auto add_quad = [&](int64_t skip, int64_t end) __attribute__((always_inline)) {
    UNROLL for (int v = 0; v < kVectors; ++v) {
      Vector<T> quad[kQuad];
      UNROLL for (int i = 0; i < kQuad; ++i)
        quad[i] = load_pieces<T, VECTOR_BYTES>(row + v * kParts, i * a.w_row);
      UNROLL for (int stage = 1; stage < kQuad; stage *= 2) {
        Vector<T> next[kQuad];
        UNROLL for (int i = 0; i < kQuad / 2; ++i) {
          next[2 * i] = in_turn_by_part<kQuad>(quad[i], quad[i + kQuad / 2], kAll, false);
          next[2 * i + 1] = in_turn_by_part<kQuad>(quad[i], quad[i + kQuad / 2], kAll, true);
        }
        UNROLL for (int i = 0; i < kQuad; ++i)
          quad[i] = next[i];
      }
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
    if constexpr (Transposed) {
      UNROLL for (int v = 0; v < kVectors; ++v)
        multiply(v, load<Vector<T>>(w + v * kWidth), x);
      x += Positions;
    } else {
      const int64_t left = a.taps % kQuad;
      // The last weights of a row come with weights before them; of the first channel there may be none, but others after.
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
  }
  UNROLL for (int p = 0; p < Positions; ++p) {
    UNROLL for (int v = 0; v < kVectors; ++v)
      store(a.out + p * a.out_row + v * kWidth, sum[v][p]);
  }
}

}  // namespace
}  // namespace torch_conv1d::cpu
