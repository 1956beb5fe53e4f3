// Elements of memory as vectors of the type that sums are made in, and back, rounded once:
//
//   load_as_sum, store_sum             as many neighbours as a vector has lanes
//   load_pair, store_pair              twice as many of a narrow type, in two vectors, in the order that costs least
//   load_alternate, store_in_turn      twice as many in two vectors: those at even places and those at odd places. Loaded, their lanes
//                                      are in alternate order, which no shuffle across parts of 16 bytes has to mend
//   to_alternate, from_alternate       a vector in the order of lanes that load_alternate gives, and back
//
// 32 bits hold two bfloat16, of which the one is a shift and the other a mask away from float: pairs are neighbours' even and odd
// places, and alternate order is the order in memory. Of float16 the vectors of a pair are neighbours.
#pragma once

#include "vector.h"

#if defined(__F16C__)
#include <immintrin.h>
#endif

namespace torch_conv1d::cpu {
namespace {

typedef uint16_t Bits16 __attribute__((vector_size(VECTOR_BYTES / 2)));
typedef uint32_t Bits32 __attribute__((vector_size(VECTOR_BYTES)));

template <class E>
constexpr bool kHalvesOfBits = false;
template <>
constexpr bool kHalvesOfBits<BFloat16> = true;

inline Vector<float> load_as_sum(const float* from) { return load<Vector<float>>(from); }
inline Vector<double> load_as_sum(const double* from) { return load<Vector<double>>(from); }
inline void store_sum(float* to, Vector<float> value) { store(to, value); }
inline void store_sum(double* to, Vector<double> value) { store(to, value); }

// The nearest bfloat16 in the upper half of each lane; the lower half is arbitrary.
inline Bits32 rounded_to_upper_half(Vector<float> value) {
  const Bits32 bits = Bits32(value);
  return Bits32(value != value) ? Bits32{} + 0x7fc00000 : bits + 0x7fff + ((bits >> 16) & 1);
}
inline Vector<float> load_as_sum(const BFloat16* from) {
  return Vector<float>(__builtin_convertvector(load<Bits16>(from), Bits32) << 16);
}
inline void store_sum(BFloat16* to, Vector<float> value) {
  store(to, __builtin_convertvector(rounded_to_upper_half(value) >> 16, Bits16));
}

// (g++ 12 warns of what the unmasked forms leave uninitialised.)
#if defined(__AVX512F__) && VECTOR_BYTES == 64
inline Vector<float> load_as_sum(const Float16* from) {
  const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
  return Vector<float>(_mm512_maskz_cvtph_ps(0xffff, bits));
}
inline void store_sum(Float16* to, Vector<float> value) {
  const __m256i rounded = _mm512_maskz_cvtps_ph(0xffff, __m512(value), _MM_FROUND_TO_NEAREST_INT);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), rounded);
}
#elif defined(__F16C__)
inline Vector<float> load_as_sum(const Float16* from) {
  Vector<float> value;
  for (int lane = 0; lane < kLanes<float>; lane += 8) {
    const __m256 part = _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from + lane)));
    std::memcpy(reinterpret_cast<char*>(&value) + lane * sizeof(float), &part, sizeof part);
  }
  return value;
}
inline void store_sum(Float16* to, Vector<float> value) {
  for (int lane = 0; lane < kLanes<float>; lane += 8) {
    __m256 part;
    std::memcpy(&part, reinterpret_cast<const char*>(&value) + lane * sizeof(float), sizeof part);
    const __m128i rounded = _mm256_cvtps_ph(part, _MM_FROUND_TO_NEAREST_INT);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + lane), rounded);
  }
}
#else
// to_sum, on all lanes.
inline Vector<float> load_as_sum(const Float16* from) {
  const Bits32 bits = __builtin_convertvector(load<Bits16>(from), Bits32);
  const Bits32 sign = (bits & 0x8000) << 16, magnitude = (bits & 0x7fff) << 13;
  const Bits32 finite = Bits32(Vector<float>(magnitude) * 0x1p112f);
  return Vector<float>(sign | (magnitude >= 0x7c00 << 13 ? magnitude | 0x7f800000 : finite));
}
inline void store_sum(Float16* to, Vector<float> value) {
  UNROLL for (int lane = 0; lane < kLanes<float>; ++lane)
    from_sum(value[lane], to[lane]);
}
#endif

inline void load_pair(const BFloat16* from, Vector<float>& a, Vector<float>& b) {
  const Bits32 bits = load<Bits32>(from);
  a = Vector<float>(bits << 16);
  b = Vector<float>(bits & 0xffff0000);
}
inline void store_pair(BFloat16* to, Vector<float> a, Vector<float> b) {
  store(to, (rounded_to_upper_half(a) >> 16) | (rounded_to_upper_half(b) & 0xffff0000));
}
inline void load_pair(const Float16* from, Vector<float>& a, Vector<float>& b) {
  a = load_as_sum(from);
  b = load_as_sum(from + kLanes<float>);
}
inline void store_pair(Float16* to, Vector<float> a, Vector<float> b) {
  store_sum(to, a);
  store_sum(to + kLanes<float>, b);
}

// Parts of 16 bytes: the places (even, or odd) of a's part, then of b's.
template <class V, int... I>
inline V alternate(V a, V b, Indices<I...>, bool odd) {
  constexpr int kCount = sizeof...(I), kPart = 16 / int(sizeof(a[0])), kHalf = kPart / 2;
  return odd ? V(SHUFFLE(a, b, (I / kHalf % 2 * kCount + I / kPart * kPart + I % kHalf * 2 + 1)...))
             : V(SHUFFLE(a, b, (I / kHalf % 2 * kCount + I / kPart * kPart + I % kHalf * 2)...));
}
template <class E>
inline void load_alternate(const E* from, Vector<SumOf<E>>& even, Vector<SumOf<E>>& odd) {
  using T = SumOf<E>;
  if constexpr (kHalvesOfBits<E>) {
    load_pair(from, even, odd);
  } else {
    constexpr typename FirstIndices<kLanes<T>>::type kAll;
    const Vector<T> a = load_as_sum(from);
    Vector<T> b = load_as_sum(from + kLanes<T>);
    keep_in_register(b);
    even = alternate(a, b, kAll, false);
    odd = alternate(a, b, kAll, true);
  }
}
template <class E>
inline void store_in_turn(E* to, Vector<SumOf<E>> even, Vector<SumOf<E>> odd) {
  using T = SumOf<E>;
  if constexpr (kHalvesOfBits<E>) {
    store_pair(to, even, odd);
  } else {
    constexpr typename FirstIndices<kLanes<T>>::type kAll;
    store_sum(to, in_turn(even, odd, kAll, false));
    store_sum(to + kLanes<T>, in_turn(even, odd, kAll, true));
  }
}

// Halves of the lanes take turns, half a part of 16 bytes at a time; and back.
template <class V, int... I>
inline V halves_in_turn(V v, Indices<I...>) {
  constexpr int kCount = sizeof...(I), kPart = 16 / int(sizeof(v[0])), kHalf = kPart / 2;
  return SHUFFLE(v, v, (I / kHalf % 2 * (kCount / 2) + I / kPart * kHalf + I % kHalf)...);
}
template <class V, int... I>
inline V halves_apart(V v, Indices<I...>) {
  constexpr int kCount = sizeof...(I), kPart = 16 / int(sizeof(v[0])), kHalf = kPart / 2;
  return SHUFFLE(v, v, (I / (kCount / 2) * kHalf + I % (kCount / 2) / kHalf * kPart + I % kHalf)...);
}
template <class E>
inline Vector<SumOf<E>> to_alternate(Vector<SumOf<E>> value) {
  if constexpr (kHalvesOfBits<E>) return value;
  return halves_in_turn(value, typename FirstIndices<kLanes<SumOf<E>>>::type());
}
template <class E>
inline Vector<SumOf<E>> from_alternate(Vector<SumOf<E>> value) {
  if constexpr (kHalvesOfBits<E>) return value;
  return halves_apart(value, typename FirstIndices<kLanes<SumOf<E>>>::type());
}

}  // namespace
}  // namespace torch_conv1d::cpu
