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
// Keeps a vector that several multiplications use in a register; the compiler would rather load it again for each of them.
template <class V>
inline void keep_in_register(V& value) {
#if defined(__x86_64__) && (VECTOR_BYTES < 64 || defined(__AVX512F__))
  asm("" : "+v"(value));
#else
  (void)value;
#endif
}
template <class T>
inline Vector<T> broadcast(T value) {
  return value - Vector<T>{};  // exact for every value, so the compiler keeps the broadcast alone
}

#if __has_builtin(__builtin_shufflevector)
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else  // g++ 11
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, decltype(a == b){__VA_ARGS__})
#endif

}  // namespace
}  // namespace torch_conv1d::cpu
