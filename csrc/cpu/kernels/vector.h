// Vectors of VECTOR_BYTES, which the including file of isa/ defines, as compiler vector extensions: the same source
// makes 16, 32 and 64-byte instructions, and a wide vector runs (as several narrow ones) on a narrow machine.
//
// Accumulator arrays stay in registers only if every loop over a tile is unrolled: UNROLL in front of each.
#pragma once

#include <cstdint>
#include <cstring>

#include "../kernel_table.h"

#define UNROLL _Pragma("GCC unroll 16")

namespace torch_conv1d::cpu {
namespace {

template <class T, int Bytes>
struct VectorOf {
  typedef T type __attribute__((vector_size(Bytes)));
};
template <class T>
using Vector = typename VectorOf<T, VECTOR_BYTES>::type;
template <class T>
constexpr int kLanes = VECTOR_BYTES / int(sizeof(T));

template <class V, class T>
inline V load(const T* from) {
  V value;
  std::memcpy(&value, from, sizeof value);
  return value;
}
template <class V, class T>
inline void store(T* to, V value) {
  std::memcpy(to, &value, sizeof value);
}
// Keeps a vector that several multiplications use in a register; the compiler would rather load it again for each of
// them.
template <class V>
inline void keep_in_register(V& value) {
#if defined(__x86_64__) && (VECTOR_BYTES < 64 || defined(__AVX512F__))
  asm("" : "+v"(value));
#elif defined(__aarch64__) && VECTOR_BYTES == 16
  asm("" : "+w"(value));
#else
  (void)value;
#endif
}
// Hides from the compiler what a vector is made of. It would share a product between two sums, or move a selection
// behind it, and then add without fusing: other bits than elsewhere.
template <class V>
inline void hide_origin(V& value) {
#if defined(__x86_64__) && (VECTOR_BYTES < 64 || defined(__AVX512F__))
  asm("" : "+v"(value));
#elif defined(__aarch64__) && VECTOR_BYTES == 16
  asm("" : "+w"(value));
#else
  asm("" : "+m"(value));
#endif
}
template <class T>
inline Vector<T> broadcast(T value) {
  return value - Vector<T>{};  // exact for every value, so the compiler keeps the broadcast alone
}

// What two elements, one of them broadcast, add to a sum: their product.
struct ElementProducts {
  static constexpr int kElements = 1;  // of a row that it takes

  template <class T>
  static inline __attribute__((always_inline)) Vector<T> broadcast(const T* element) {
    return cpu::broadcast(*element);
  }
  template <class V>
  static inline __attribute__((always_inline)) void add(V& sum, V a, V b) {
    sum += a * b;
  }
};

#if __has_builtin(__builtin_shufflevector)
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else  // g++ 11
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, decltype(a == b){__VA_ARGS__})
#endif

// 0, 1, ..., Count - 1, to write the indices of a shuffle of any width with.
template <int... Index>
struct Indices {};
template <int Count, int... Index>
struct FirstIndices : FirstIndices<Count - 1, Count - 1, Index...> {};
template <int... Index>
struct FirstIndices<0, Index...> {
  using type = Indices<Index...>;
};

// The elements of a, then those of b.
template <class V, int... I>
inline auto joined(V a, V b, Indices<I...>) {
  using T = decltype(a[0] + a[0]);
  typename VectorOf<T, 2 * int(sizeof(V))>::type value;
#if __has_builtin(__builtin_shufflevector)
  value = __builtin_shufflevector(a, b, I...);
#else
  std::memcpy(&value, &a, sizeof a);
  std::memcpy(reinterpret_cast<char*>(&value) + sizeof a, &b, sizeof b);
#endif
  return value;
}
template <class V, int... I>
inline V reversed(V a, Indices<I...>) {
  return SHUFFLE(a, a, (int(sizeof...(I)) - 1 - I)...);
}
// Every second element of a and b, from `first` on.
template <class V, int... I>
inline V every_second(V a, V b, Indices<I...>, bool first) {
  return first ? V(SHUFFLE(a, b, (2 * I + 1)...)) : V(SHUFFLE(a, b, (2 * I)...));
}
// Elements of a and b in turn: those of the lower or upper halves of each part of Part elements.
template <int Part, class V, int... I>
inline V in_turn_by_part(V a, V b, Indices<I...>, bool upper) {
  constexpr int kCount = sizeof...(I);
  return upper ? V(SHUFFLE(a, b, (I / Part * Part + Part / 2 + I % Part / 2 + I % 2 * kCount)...))
               : V(SHUFFLE(a, b, (I / Part * Part + I % Part / 2 + I % 2 * kCount)...));
}
template <class V, int... I>
inline V in_turn(V a, V b, Indices<I...> all, bool upper) {
  return in_turn_by_part<sizeof...(I)>(a, b, all, upper);
}

// Of Part vectors, each part of Part elements is a square of its own, which is transposed: taking the upper half of the
// vectors and the lower in turn, element by element, log2(Part) times over, exchanges rows and columns.
template <int Part, class V>
inline __attribute__((always_inline)) void transpose_parts(V* rows) {
  constexpr typename FirstIndices<int(sizeof(V) / sizeof(rows[0][0]))>::type kAll;
  UNROLL for (int stage = 1; stage < Part; stage *= 2) {
    V next[Part];
    UNROLL for (int r = 0; r < Part / 2; ++r) {
      next[2 * r] = in_turn_by_part<Part>(rows[r], rows[r + Part / 2], kAll, false);
      next[2 * r + 1] = in_turn_by_part<Part>(rows[r], rows[r + Part / 2], kAll, true);
    }
    UNROLL for (int r = 0; r < Part; ++r)
      rows[r] = next[r];
  }
}

// A vector of pieces of 16 bytes, from the pointers that `from` lists, `offset` elements further.
template <class T, int Bytes>
inline typename VectorOf<T, Bytes>::type load_pieces(const T* const* from, int64_t offset = 0) {
  if constexpr (Bytes <= 16)
    return load<typename VectorOf<T, Bytes>::type>(*from + offset);
  else
    return joined(
        load_pieces<T, Bytes / 2>(from, offset), load_pieces<T, Bytes / 2>(from + Bytes / 32, offset),
        typename FirstIndices<Bytes / int(sizeof(T))>::type());
}

}  // namespace
}  // namespace torch_conv1d::cpu
