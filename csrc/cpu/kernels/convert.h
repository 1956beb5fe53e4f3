// Vectors of `Bytes` of floats from and to elements of the narrow types: one vector, or two that are neighbours in
// memory.
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
using FloatBits = typename VectorOf<uint32_t, Bytes>::type;
template <int Bytes>
using Halves = typename VectorOf<uint16_t, Bytes>::type;

// A bfloat16 is the upper half of a float.
template <int Bytes>
inline Floats<Bytes> load_floats(const BFloat16* from) {
  return Floats<Bytes>(__builtin_convertvector(load<Halves<Bytes / 2>>(from), FloatBits<Bytes>) << 16);
}
template <int Bytes>
inline void load_floats(const BFloat16* from, Floats<Bytes>& a, Floats<Bytes>& b) {
  constexpr typename FirstIndices<Bytes / 2>::type kAll;
  const auto bits = load<Halves<Bytes>>(from);
  a = Floats<Bytes>(in_turn(Halves<Bytes>{}, bits, kAll, false));
  b = Floats<Bytes>(in_turn(Halves<Bytes>{}, bits, kAll, true));
}
// from_sum, in the upper half of each element; the lower half is arbitrary. A NaN that comes from elements of this type
// stays one.
template <int Bytes>
inline FloatBits<Bytes> rounded_to_upper_half(Floats<Bytes> value) {
  const FloatBits<Bytes> bits = FloatBits<Bytes>(value);
  return bits + 0x7fff + ((bits >> 16) & 1);
}
template <int Bytes>
inline void store_rounded(BFloat16* to, Floats<Bytes> value) {
  store(to, __builtin_convertvector(rounded_to_upper_half<Bytes>(value) >> 16, Halves<Bytes / 2>));
}
template <int Bytes>
inline void store_rounded(BFloat16* to, Floats<Bytes> a, Floats<Bytes> b) {
  constexpr typename FirstIndices<Bytes / 2>::type kAll;
  const Halves<Bytes> low = Halves<Bytes>(rounded_to_upper_half<Bytes>(a));
  const Halves<Bytes> high = Halves<Bytes>(rounded_to_upper_half<Bytes>(b));
  store(to, every_second(low, high, kAll, true));
}

// (The forms of AVX-512 without a mask leave what g++ 12 warns of uninitialised.)
template <int Bytes>
inline Floats<Bytes> load_floats(const Float16* from) {
#if defined(__AVX512F__)
  if constexpr (Bytes == 64) return Floats<Bytes>(_mm512_maskz_cvtph_ps(0xffff, load<__m256i>(from)));
#endif
  float value[Bytes / 4];
#if defined(__F16C__)
  if constexpr (Bytes == 16)
    store(value, _mm_cvtph_ps(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from))));
  else UNROLL
    for (int i = 0; i < Bytes / 4; i += 8) store(value + i, _mm256_cvtph_ps(load<__m128i>(from + i)));
#else
  for (int i = 0; i < Bytes / 4; ++i) value[i] = to_sum(from[i]);
#endif
  return load<Floats<Bytes>>(value);
}
template <int Bytes>
inline void store_rounded(Float16* to, Floats<Bytes> value) {
#if defined(__AVX512F__)
  if constexpr (Bytes == 64) {
    store(to, _mm512_maskz_cvtps_ph(0xffff, __m512(value), _MM_FROUND_TO_NEAREST_INT));
    return;
  }
#endif
  float from[Bytes / 4];
  store(from, value);
#if defined(__F16C__)
  if constexpr (Bytes == 16)
    _mm_storel_epi64(reinterpret_cast<__m128i*>(to), _mm_cvtps_ph(load<__m128>(from), _MM_FROUND_TO_NEAREST_INT));
  else UNROLL
    for (int i = 0; i < Bytes / 4; i += 8)
      store(to + i, _mm256_cvtps_ph(load<__m256>(from + i), _MM_FROUND_TO_NEAREST_INT));
#else
  for (int i = 0; i < Bytes / 4; ++i) from_sum(from[i], to[i]);
#endif
}
template <int Bytes>
inline void load_floats(const Float16* from, Floats<Bytes>& a, Floats<Bytes>& b) {
  a = load_floats<Bytes>(from);
  b = load_floats<Bytes>(from + Bytes / 4);
}
template <int Bytes>
inline void store_rounded(Float16* to, Floats<Bytes> a, Floats<Bytes> b) {
  store_rounded<Bytes>(to, a);
  store_rounded<Bytes>(to + Bytes / 4, b);
}

}  // namespace
}  // namespace torch_conv1d::cpu
