// The weights of a single channel of x and one of grad_y, as tiles of `fir_dot`: taps kDotLanes apart share their loads.
#pragma once

#include <algorithm>
#include <vector>

#include "../../division.h"
#include "../kernel_table.h"

namespace torch_conv1d::cpu {

template <class T>
class FirDotTiles {
  // An FMA takes 4 cycles, and two start in each.
  static constexpr int64_t kFewChains = 8;

 public:
  // Two pages: the hardware looks ahead within one, and translations of addresses take as long as the data.
  static constexpr int64_t kAhead = 8192 / sizeof(T);

  // The taps that the last block of kDotLanes does not have leave fewer chains to tiles of their own, which then wait
  // for each other. Of a panel, which has what they read, they are computed with the others, and dropped.
  FirDotTiles(const ArithmeticKernels<T>& kernels, int64_t taps, bool from_panel) : kernels_(kernels), sums_(taps) {
    if (taps == 0) return;
    const Chunk last = chunk(chunks() - 1);
    const int64_t whole = last.end * kDotLanes<T>, chains = (whole - taps) * (last.end - last.begin - 1);
    if (chains > 0 && chains < kFewChains && from_panel) sums_ = whole;
    for (int64_t i = 0; i < chunks(); ++i) cut(chunk(i));
  }

  // Of a row: those of the taps, and those that are dropped.
  int64_t sums() const { return sums_; }

  // What comes later, `ahead` and beyond g, is fetched by the first tile and the last.
  void add(const T* x, const T* g, int64_t length, T* sums, const T* ahead) const {
    for (const Tile& tile : tiles_)
      tile.kernel(
          {x + tile.tap, g, length, sums + tile.tap * kDotLanes<T>, &tile == &tiles_.front() ? ahead : nullptr,
           ahead && &tile == &tiles_.back() ? g + kAhead : nullptr});
  }

 private:
  // Blocks of kDotLanes taps whose first taps, second taps ... are tiles.
  struct Chunk {
    int64_t begin, end;
  };
  int64_t blocks() const { return ceil_div(sums_, kDotLanes<T>); }
  int64_t chunks() const { return ceil_div(blocks(), kernels_.fir_dot_shared); }
  Chunk chunk(int64_t i) const { return {i * blocks() / chunks(), (i + 1) * blocks() / chunks()}; }

  struct Tile {
    int64_t tap;
    typename ArithmeticKernels<T>::FirDot kernel;
  };
  void cut(Chunk chunk) {
    const int64_t first = chunk.begin * kDotLanes<T>, shared = chunk.end - chunk.begin;
    const int64_t last = std::min(sums_ - (chunk.end - 1) * kDotLanes<T>, kDotLanes<T>);
    cut(first, last, shared);
    cut(first + last, kDotLanes<T> - last, shared - 1);
  }
  // `count` taps from `first` on, each of which shares its loads with those of `shared` blocks.
  void cut(int64_t first, int64_t count, int64_t shared) {
    const int64_t parts = shared ? ceil_div(count, kernels_.fir_dot_taps[shared]) : 0;
    for (int64_t part = 0; part < parts; ++part) {
      const int64_t begin = part * count / parts, end = (part + 1) * count / parts;
      tiles_.push_back({first + begin, kernels_.fir_dot[shared][end - begin]});
    }
  }

  const ArithmeticKernels<T>& kernels_;
  int64_t sums_;
  std::vector<Tile> tiles_;
};

}  // namespace torch_conv1d::cpu
