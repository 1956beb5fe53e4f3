// The tile of forward and grad_input for one row a group (contract: CorrelateArgs): each channel of the source passes a
// finite impulse response filter. There is no second row to share the loads of x with. But where taps are one position
// apart, those kFirShift apart share them: the vector that one of them meets in block b of the result, the next meets
// kFirShift positions from b. So up to kFirShared multiplications follow one load, and a load that crosses a cache
// line, as most do, no longer takes as long as two multiplications.
#pragma once

#include "correlate.h"
#include "vector.h"

namespace torch_conv1d::cpu {
namespace {

// How many bytes ahead of its stores a row of the result is fetched: the first store to a line waits for what it
// replaces, and the first to a page for its address, of which the hardware sees none coming.
constexpr int64_t kResultAhead = 8192;

// Step: from the offset of one tap to that of the next, 1 or -1; or 0, for any offsets.
template <class T, int Vectors, int Step>
struct FirTile {
  static constexpr int kShift = int(kFirShift<T>), kBlocks = kShift / kLanes<T>;

  Vector<T> sum[1][Vectors];

  // Taps 0, kShift, 2 * kShift, ...: Shared of them.
  template <int Shared>
  inline __attribute__((always_inline)) void add(const T* w, const T* x, const int64_t* offset) {
    Vector<T> weight[Shared];
    UNROLL for (int m = 0; m < Shared; ++m)
      weight[m] = broadcast(w[m * kShift]);
    if constexpr (Step == 0 || Shared == 1) {
      UNROLL for (int m = 0; m < Shared; ++m) {
        UNROLL for (int v = 0; v < Vectors; ++v)
          sum[0][v] += weight[m] * load<Vector<T>>(x + offset[m * kShift] + v * kLanes<T>);
      }
    } else {
      UNROLL for (int i = 0; i < Vectors + (Shared - 1) * kBlocks; ++i) {
        Vector<T> at_i = load<Vector<T>>(x + offset[0] + (Step < 0 ? Vectors - 1 - i : i) * kLanes<T>);
        keep_in_register(at_i);
        UNROLL for (int m = 0; m < Shared; ++m) {
          const int v = i - m * kBlocks;
          if (v >= 0 && v < Vectors) sum[0][Step < 0 ? Vectors - 1 - v : v] += weight[m] * at_i;
        }
      }
    }
  }

  // The first `count` taps; Shared = count / kShift, rounded up.
  template <int Shared>
  inline __attribute__((always_inline)) void add_chunk(const T* w, const T* x, const int64_t* offset, int64_t count) {
    if constexpr (Shared > 1) {
      if (count <= (Shared - 1) * kShift) return add_chunk<Shared - 1>(w, x, offset, count);
    }
    const int64_t last = count - (Shared - 1) * kShift;
    for (int64_t t = 0; t < last; ++t) add<Shared>(w + t, x, offset + t);
    if constexpr (Shared > 1)
      for (int64_t t = last; t < kShift; ++t) add<Shared - 1>(w + t, x, offset + t);
  }
};

template <class T, int Vectors, int Step>
void fir(const CorrelateArgs<T>& a) {
  constexpr int kWidth = Vectors * kLanes<T>;
  constexpr int64_t kChunk = kFirShared * kFirShift<T>;
  const T* const fetched = a.next ? reinterpret_cast<const T*>(a.next) : a.x + prefetch_distance(a, kWidth);
  const int64_t fetched_row = a.next ? a.next_row / int64_t(sizeof(T)) : a.x_row;
  const SumsOut<T> out(a);
  const Vector<T> init = a.init ? broadcast(*a.init) : Vector<T>{};
  for (int64_t i = 0; i < a.tiles; ++i) {
    FirTile<T, Vectors, Step> tile;
    UNROLL for (int v = 0; v < Vectors; ++v)
      tile.sum[0][v] = init;
    const T* w = a.w;
    const T* x = a.x + i * kWidth;
    const T* ahead = fetched + i * kWidth;
    for (int64_t c = 0; c < a.channels; ++c, x += a.x_row, w += a.taps, ahead += fetched_row) {
      fetch_tile<kWidth>(ahead);
      for (int64_t t = 0; t < a.taps; t += kChunk)
        tile.template add_chunk<kFirShared>(w + t, x, a.offset + t, a.taps - t < kChunk ? a.taps - t : kChunk);
    }
    if (a.to_memory) out.template fetch<1, Vectors>(i * kWidth, kResultAhead);
    out.store_tile(i * kWidth, tile.sum);
  }
}

}  // namespace
}  // namespace torch_conv1d::cpu
