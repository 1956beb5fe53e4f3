// Vectors of floats from and to elements of the narrow types, two vectors of `Bytes` at a time.
#pragma once

#include "vector.h"

#if defined(__F16C__)
#include <immintrin.h>
#endif

namespace torch_conv1d::cpu {
namespace {

template <int Bytes>
using Floats = typename VectorOf<float, Bytes>::type;
template <int Bytes>
using Halves = typename VectorOf<uint16_t, Bytes>::type;

// A bfloat16 is the upper half of a float.
template <int Bytes>
inline void load_floats(const BFloat16* from, Floats<Bytes>& a, Floats<Bytes>& b) {
  constexpr typename FirstIndices<Bytes / 2>::type kAll;
  const auto bits = load<Halves<Bytes>>(from);
  a = Floats<Bytes>(in_turn(Halves<Bytes>{}, bits, kAll, false));
  b = Floats<Bytes>(in_turn(Halves<Bytes>{}, bits, kAll, true));
}
// from_sum, in the upper half of each element.
template <int Bytes>
inline Halves<Bytes> rounded_to_upper_half(Floats<Bytes> value) {
  using Bits = typename VectorOf<uint32_t, Bytes>::type;
  const Bits bits = Bits(value);
  return Halves<Bytes>(bits + 0x7fff + ((bits >> 16) & 1));
}
template <int Bytes>
inline void store_rounded(BFloat16* to, Floats<Bytes> a, Floats<Bytes> b) {
  constexpr typename FirstIndices<Bytes / 2>::type kAll;
  store(to, every_second(rounded_to_upper_half<Bytes>(a), rounded_to_upper_half<Bytes>(b), kAll, true));
}

template <int Bytes>
inline void load_floats(const Float16* from, Floats<Bytes>& a, Floats<Bytes>& b) {
  constexpr int kCount = Bytes / 4;
#if defined(__AVX512F__)
  if constexpr (Bytes == 64) {  // the forms without a mask leave what g++ 12 warns of uninitialised
    a = Floats<Bytes>(_mm512_maskz_cvtph_ps(0xffff, load<__m256i>(from)));
    b = Floats<Bytes>(_mm512_maskz_cvtph_ps(0xffff, load<__m256i>(from + kCount)));
    return;
  }
#endif
  float value[2 * kCount];
#if defined(__F16C__)
  UNROLL for (int i = 0; i < 2 * kCount; i += 8)
    store(value + i, _mm256_cvtph_ps(load<__m128i>(from + i)));
#else
  for (int i = 0; i < 2 * kCount; ++i) value[i] = to_sum(from[i]);
#endif
  a = load<Floats<Bytes>>(value);
  b = load<Floats<Bytes>>(value + kCount);
}
template <int Bytes>
inline void store_rounded(Float16* to, Floats<Bytes> a, Floats<Bytes> b) {
  constexpr int kCount = Bytes / 4;
#if defined(__AVX512F__)
  if constexpr (Bytes == 64) {
    store(to, _mm512_maskz_cvtps_ph(0xffff, __m512(a), _MM_FROUND_TO_NEAREST_INT));
    store(to + kCount, _mm512_maskz_cvtps_ph(0xffff, __m512(b), _MM_FROUND_TO_NEAREST_INT));
    return;
  }
#endif
  float value[2 * kCount];
  store(value, a);
  store(value + kCount, b);
#if defined(__F16C__)
  UNROLL for (int i = 0; i < 2 * kCount; i += 8)
    store(to + i, _mm256_cvtps_ph(load<__m256>(value + i), _MM_FROUND_TO_NEAREST_INT));
#else
  for (int i = 0; i < 2 * kCount; ++i) from_sum(value[i], to[i]);
#endif
}

// A single vector.
template <int Bytes, class E>
inline void store_rounded(E* to, Floats<Bytes> a) {
  E rounded[Bytes / 2];
  store_rounded<Bytes>(rounded, a, a);
  std::memcpy(to, rounded, Bytes / 2);
}

}  // namespace
}  // namespace torch_conv1d::cpu
