// Products of pairs of bfloat16 (contract: PairKernels): the tiles of floats, with half as many channels.
#pragma once

#include "correlate.h"
#include "innermost.h"
#include "outer.h"

#if defined(__AVX512BF16__)
#include <immintrin.h>
#endif

namespace torch_conv1d::cpu {
namespace {

using Bits = VectorOf<uint32_t, VECTOR_BYTES>::type;

struct PairProducts {
  static constexpr int kElements = 2;  // of a row that it takes

  // As bits, which arithmetic of floats could change.
  static inline __attribute__((always_inline)) Vector<float> broadcast(const float* pair) {
    uint32_t bits;
    std::memcpy(&bits, pair, sizeof bits);
    return Vector<float>(bits - Bits{});
  }
  static inline __attribute__((always_inline)) void add(Vector<float>& sum, Vector<float> a, Vector<float> b) {
#if defined(__AVX512BF16__)
    sum = Vector<float>(_mm512_dpbf16_ps(__m512(sum), (__m512bh)a, (__m512bh)b));
#else
    const auto upper = [](Vector<float> pairs) { return Vector<float>(Bits(pairs) & 0xffff0000u); };
    const auto lower = [](Vector<float> pairs) { return Vector<float>(Bits(pairs) << 16); };
    sum += upper(a) * upper(b);
    sum += lower(a) * lower(b);
#endif
  }
};

void join_pairs(const JoinArgs& a) {
  const auto joined = [](auto first, auto second) { return (second & 0xffff0000u) | first >> 16; };
  for (int64_t r = 0; r < a.rows; ++r) {
    float* const pairs = a.pairs + r * a.pair_row;
    const float* const first = a.first + r * a.row;
    const float* const second = a.second ? a.second + r * a.row : nullptr;
    int64_t i = 0;
    for (; i + kLanes<float> <= a.count; i += kLanes<float>)
      store(pairs + i, joined(load<Bits>(first + i), second ? load<Bits>(second + i) : Bits{}));
    for (; i < a.count; ++i)
      pairs[i] = bits_to_float(joined(float_to_bits(first[i]), second ? float_to_bits(second[i]) : 0));
  }
}

template <int Rows, int Vectors>
constexpr void fill_correlate_pairs(PairKernels& kernels) {
  kernels.correlate[Rows][Vectors] = &correlate<float, Rows, Vectors, true, PairProducts>;
  if constexpr (Vectors > 1) fill_correlate_pairs<Rows, Vectors - 1>(kernels);
}

template <int Positions, int Vectors>
constexpr void fill_innermost_pairs(PairKernels& kernels) {
  kernels.innermost[Positions][Vectors] = &innermost<float, Positions, Vectors, PairProducts>;
  if constexpr (Vectors > 1) fill_innermost_pairs<Positions, Vectors - 1>(kernels);
}

template <int Rows, int Vectors>
constexpr void fill_outer_pairs(PairKernels& kernels) {
  kernels.outer[Rows][Vectors] = &outer<float, Rows, Vectors, PairProducts>;
  if constexpr (Vectors > 1) fill_outer_pairs<Rows, Vectors - 1>(kernels);
}

// For tables of the same budget.
template <class Budget, int Rows = 1>
constexpr PairKernels pair_kernels() {
  if constexpr (Rows > PairKernels::Float::kMaxRows) {
    return {&join_pairs, {}, {}, {}};
  } else {
    PairKernels kernels = pair_kernels<Budget, Rows + 1>();
    if constexpr (Rows > 1 && Rows <= count(Budget::correlate_vectors))
      fill_correlate_pairs<Rows, Budget::correlate_vectors[Rows - 1]>(kernels);
    if constexpr (Rows <= count(Budget::correlate_vectors)) {
      constexpr int kVectors = Budget::correlate_vectors[Rows - 1];
      fill_innermost_pairs < Rows, kVectors<Budget::innermost_vectors ? kVectors : Budget::innermost_vectors>(kernels);
    }
    if constexpr (Rows <= Budget::outer_rows) fill_outer_pairs<Rows, Budget::outer_vectors>(kernels);
    return kernels;
  }
}

}  // namespace
}  // namespace torch_conv1d::cpu
