// Elements of memory as vectors of the type that sums are made in, and back, rounded once:
//
//   load_as_sum, store_sum             as many neighbours as a vector has lanes
//   load_pair, store_pair              twice as many of a narrow type, in two vectors, in the order that costs least
//   load_vectors, store_vectors        several vectors of neighbours: narrow ones in pairs, if they are an even number
//   load_sums_of, store_sums_of        sums that are in memory in their order, from and to the order that load_vectors gives
//   load_alternate, store_in_turn      twice as many in two vectors: those at even places and those at odd places. Loaded, their lanes
//                                      are in alternate order, which no shuffle across parts of 16 bytes has to mend
//   to_alternate, from_alternate       a vector in the order of lanes that load_alternate gives, and back
//
// 32 bits hold two bfloat16, of which the one is a shift and the other a mask away from float: pairs are neighbours'
// even and odd places, and alternate order is the order in memory. Of float16 the vectors of a pair are neighbours.
#pragma once

#include "convert.h"

namespace torch_conv1d::cpu {
namespace {

template <class E>
constexpr bool kHalvesOfBits = false;
template <>
constexpr bool kHalvesOfBits<BFloat16> = true;

inline Vector<float> load_as_sum(const float* from) { return load<Vector<float>>(from); }
inline Vector<double> load_as_sum(const double* from) { return load<Vector<double>>(from); }
inline void store_sum(float* to, Vector<float> value) { store(to, value); }
inline void store_sum(double* to, Vector<double> value) { store(to, value); }

template <class E>
inline Vector<float> load_as_sum(const E* from) {
  return load_floats<VECTOR_BYTES>(from);
}
template <class E>
inline void store_sum(E* to, Vector<float> value) {
  store_rounded<VECTOR_BYTES>(to, value);
}

inline void load_pair(const BFloat16* from, Vector<float>& a, Vector<float>& b) {
  const auto bits = load<FloatBits<VECTOR_BYTES>>(from);
  a = Vector<float>(bits << 16);
  b = Vector<float>(bits & 0xffff0000);
}
inline void store_pair(BFloat16* to, Vector<float> a, Vector<float> b) {
  const auto low = rounded_to_upper_half<VECTOR_BYTES>(a), high = rounded_to_upper_half<VECTOR_BYTES>(b);
  store(to, (low >> 16) | (high & 0xffff0000));
}
inline void load_pair(const Float16* from, Vector<float>& a, Vector<float>& b) {
  load_floats<VECTOR_BYTES>(from, a, b);
}
inline void store_pair(Float16* to, Vector<float> a, Vector<float> b) { store_rounded<VECTOR_BYTES>(to, a, b); }

template <class E, int Count>
constexpr bool kInPairs = kNarrowness<E> == 2 && Count % 2 == 0;

template <class E, int Count>
inline void load_vectors(const E* from, Vector<SumOf<E>> (&to)[Count]) {
  constexpr int kStep = kInPairs<E, Count> ? 2 : 1;
  UNROLL for (int v = 0; v < Count; v += kStep) {
    if constexpr (kStep == 2)
      load_pair(from + v * kLanes<SumOf<E>>, to[v], to[v + 1]);
    else
      to[v] = load_as_sum(from + v * kLanes<SumOf<E>>);
  }
}
template <class E, int Count>
inline void store_vectors(E* to, const Vector<SumOf<E>> (&from)[Count]) {
  constexpr int kStep = kInPairs<E, Count> ? 2 : 1;
  UNROLL for (int v = 0; v < Count; v += kStep) {
    if constexpr (kStep == 2)
      store_pair(to + v * kLanes<SumOf<E>>, from[v], from[v + 1]);
    else
      store_sum(to + v * kLanes<SumOf<E>>, from[v]);
  }
}
template <class E, int Count>
inline void load_sums_of(const SumOf<E>* from, Vector<SumOf<E>> (&to)[Count]) {
  using V = Vector<SumOf<E>>;
  UNROLL for (int v = 0; v < Count; ++v)
    to[v] = load<V>(from + v * kLanes<SumOf<E>>);
  if constexpr (kHalvesOfBits<E> && kInPairs<E, Count>) {
    constexpr typename FirstIndices<kLanes<float>>::type kAll;
    UNROLL for (int v = 0; v < Count; v += 2) {
      const V first = to[v], second = to[v + 1];
      to[v] = every_second(first, second, kAll, false);
      to[v + 1] = every_second(first, second, kAll, true);
    }
  }
}
template <class E, int Count>
inline void store_sums_of(SumOf<E>* to, const Vector<SumOf<E>> (&from)[Count]) {
  constexpr typename FirstIndices<kLanes<SumOf<E>>>::type kAll;
  constexpr int kStep = kHalvesOfBits<E> && kInPairs<E, Count> ? 2 : 1;
  UNROLL for (int v = 0; v < Count; v += kStep) {
    if constexpr (kStep == 2) {
      store(to + v * kLanes<float>, in_turn(from[v], from[v + 1], kAll, false));
      store(to + (v + 1) * kLanes<float>, in_turn(from[v], from[v + 1], kAll, true));
    } else {
      store(to + v * kLanes<SumOf<E>>, from[v]);
    }
  }
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
