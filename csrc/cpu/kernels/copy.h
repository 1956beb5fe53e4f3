// Packing and unpacking: a matrix copied with conversion and any strides (contract: CopyArgs).
#pragma once

#include "vector.h"

#if defined(__F16C__)
#include <immintrin.h>
#endif

namespace torch_conv1d::cpu {
namespace {

// Eight elements at a time, where a conversion has no form that the compiler vectorises well by itself.
constexpr int kConvertLanes = 8;
typedef uint16_t Bits16 __attribute__((vector_size(16)));
typedef uint32_t Bits32 __attribute__((vector_size(32)));
typedef float Floats __attribute__((vector_size(32)));

inline void convert_lanes(float* to, const BFloat16* from) {
  store(to, __builtin_convertvector(load<Bits16>(from), Bits32) << 16);
}
inline void convert_lanes(BFloat16* to, const float* from) {
  const Bits32 bits = load<Bits32>(from);
  const Bits32 rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  const Bits32 nan = (Bits32)((bits & 0x7fffffff) > 0x7f800000);
  store(to, __builtin_convertvector((rounded & ~nan) | (nan & 0x7fc0), Bits16));
}
#if defined(__F16C__)
inline void convert_lanes(float* to, const Float16* from) {
  _mm256_storeu_ps(to, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from))));
}
inline void convert_lanes(Float16* to, const float* from) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm256_cvtps_ph(_mm256_loadu_ps(from), _MM_FROUND_TO_NEAREST_INT));
}
#endif
template <class To, class From>
inline void convert_lanes(To* to, const From* from) {
  for (int lane = 0; lane < kConvertLanes; ++lane) from_sum(to_sum(from[lane]), to[lane]);
}

template <class To, class From>
inline void copy_contiguous(To* to, const From* from, int64_t count) {
  int64_t i = 0;
  for (; i + kConvertLanes <= count; i += kConvertLanes) convert_lanes(to + i, from + i);
  for (; i < count; ++i) from_sum(to_sum(from[i]), to[i]);
}

template <class To, class From>
void copy(const CopyArgs<To, From>& a) {
  if (a.to_column == 1 && a.from_column == 1) {
    for (int64_t r = 0; r < a.rows; ++r) copy_contiguous(a.to + r * a.to_row, a.from + r * a.from_row, a.columns);
    return;
  }
  // Blocks keep the lines of both sides in the L1 cache where one side is transposed.
  constexpr int64_t kBlock = 16;
  for (int64_t r0 = 0; r0 < a.rows; r0 += kBlock)
    for (int64_t c0 = 0; c0 < a.columns; c0 += kBlock)
      for (int64_t r = r0; r < r0 + kBlock && r < a.rows; ++r) {
        To* to = a.to + r * a.to_row;
        const From* from = a.from + r * a.from_row;
        for (int64_t c = c0; c < c0 + kBlock && c < a.columns; ++c)
          from_sum(to_sum(from[c * a.from_column]), to[c * a.to_column]);
      }
}

}  // namespace
}  // namespace torch_conv1d::cpu
