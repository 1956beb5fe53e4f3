// The multiply-add of tensor cores (sm_80 and later), and its operands in registers.
//
// A warp adds A (16 rows x 8 words) times B (8 words x 8 columns) to 16 x 8 sums in float. A word is 32 bits of the
// inner dimension: two neighbouring bfloat16 or float16, or one float rounded to TF32. In words, the fragments of the
// PTX ISA (mma.m16n8k16, m16n8k8) are the same for all three; with g = lane / 4 and t = lane % 4 a lane holds
//
//     a[i] = A(row g + 8 * (i % 2), word t + 4 * (i / 2))
//     b[i] = B(word t + 4 * i, column g)
//     sums[i] = C(row g + 8 * (i / 2), column 2 * t + i % 2)
//
// The hardware adds the products of one call in an order of its own, and cuts bits where float would round.
#pragma once

#include "tile.cuh"

namespace torch_conv1d::cuda {

constexpr int kMmaRows = 16, kMmaColumns = 8, kMmaWords = 8;

// Elements of a word.
template <class E>
constexpr int kOfWord = int(4 / sizeof(E));
template <class E>
using Word = Pack<kOfWord<E>, E>;
template <class E>
using RowFragment = Pack<4, Word<E>>;
template <class E>
using ColumnFragment = Pack<2, Word<E>>;

#ifdef __CUDACC__

#if __CUDA_ARCH__ >= 800
#define MMA(shape_and_types)                                                                                \
  const auto a_bits = reinterpret_cast<const unsigned(&)[4]>(a);                                            \
  const auto b_bits = reinterpret_cast<const unsigned(&)[2]>(b);                                            \
  asm volatile("mma.sync.aligned." shape_and_types " {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};" \
               : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])                                 \
               : "r"(a_bits[0]), "r"(a_bits[1]), "r"(a_bits[2]), "r"(a_bits[3]), "r"(b_bits[0]), "r"(b_bits[1]))
#else  // No plan comes here, see compiled_architecture.
#define MMA(shape_and_types) __trap()
#endif

__device__ inline void mma(
    float (&sums)[4], const RowFragment<__nv_bfloat16>& a, const ColumnFragment<__nv_bfloat16>& b) {
  MMA("m16n8k16.row.col.f32.bf16.bf16.f32");
}
__device__ inline void mma(float (&sums)[4], const RowFragment<__half>& a, const ColumnFragment<__half>& b) {
  MMA("m16n8k16.row.col.f32.f16.f16.f32");
}
__device__ inline void mma(float (&sums)[4], const RowFragment<float>& a, const ColumnFragment<float>& b) {
  MMA("m16n8k8.row.col.f32.tf32.tf32.f32");
}
#undef MMA

// To nearest, ties away from zero.
__device__ inline float to_tf32(float value) {
#if __CUDA_ARCH__ >= 800
  unsigned bits;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(value));
  value = __uint_as_float(bits);
#endif
  return value;
}

#else  // The tests define them.

void mma(float (&sums)[4], const RowFragment<__nv_bfloat16>& a, const ColumnFragment<__nv_bfloat16>& b);
void mma(float (&sums)[4], const RowFragment<__half>& a, const ColumnFragment<__half>& b);
void mma(float (&sums)[4], const RowFragment<float>& a, const ColumnFragment<float>& b);
float to_tf32(float value);

#endif

// An element as tensor cores multiply it.
template <class E>
__device__ inline E to_factor(E value) {
  if constexpr (std::is_same_v<E, float>)
    return to_tf32(value);
  else
    return value;
}

}  // namespace torch_conv1d::cuda
