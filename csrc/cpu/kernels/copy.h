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
  if constexpr (sizeof(To) == sizeof(From)) {
    if (count > 0) std::memcpy(to, from, size_t(count) * sizeof(To));
    return;
  }
  int64_t i = 0;
  for (; i + kConvertLanes <= count; i += kConvertLanes) convert_lanes(to + i, from + i);
  for (; i < count; ++i) from_sum(to_sum(from[i]), to[i]);
}

// A transposed copy, to[c * to_column + r] = from[r * from_row + c], goes through tiles of 4 x 4 in registers.
constexpr int kTile = 4;
template <class T>
using Quad = typename VectorOf<T, kTile* int(sizeof(T))>::type;

template <class T>
inline void transpose_tile(T* to, int64_t to_column, const T* from, int64_t from_row) {
  const Quad<T> a = load<Quad<T>>(from), b = load<Quad<T>>(from + from_row);
  const Quad<T> c = load<Quad<T>>(from + 2 * from_row), d = load<Quad<T>>(from + 3 * from_row);
  const Quad<T> ab_low = SHUFFLE(a, b, 0, 4, 1, 5), ab_high = SHUFFLE(a, b, 2, 6, 3, 7);
  const Quad<T> cd_low = SHUFFLE(c, d, 0, 4, 1, 5), cd_high = SHUFFLE(c, d, 2, 6, 3, 7);
  store(to, Quad<T>(SHUFFLE(ab_low, cd_low, 0, 1, 4, 5)));
  store(to + to_column, Quad<T>(SHUFFLE(ab_low, cd_low, 2, 3, 6, 7)));
  store(to + 2 * to_column, Quad<T>(SHUFFLE(ab_high, cd_high, 0, 1, 4, 5)));
  store(to + 3 * to_column, Quad<T>(SHUFFLE(ab_high, cd_high, 2, 3, 6, 7)));
}

template <class T>
inline void transpose(T* to, int64_t to_column, const T* from, int64_t from_row, int64_t rows, int64_t columns) {
  int64_t r = 0;
  for (; r + kTile <= rows; r += kTile) {
    int64_t c = 0;
    for (; c + kTile <= columns; c += kTile)
      transpose_tile(to + c * to_column + r, to_column, from + r * from_row + c, from_row);
    for (; c < columns; ++c)
      for (int64_t i = r; i < r + kTile; ++i) to[c * to_column + i] = from[i * from_row + c];
  }
  for (; r < rows; ++r)
    for (int64_t c = 0; c < columns; ++c) to[c * to_column + r] = from[r * from_row + c];
}

// Pairs, whose two elements go to or come from rows of their own, are the two phases of a stride of 2:
// to[i] and to[to_column + i] = from[2 * i] and from[2 * i + 1].
template <class T>
inline void split_pairs(T* to, int64_t to_column, const T* from, int64_t pairs) {
  constexpr typename FirstIndices<kLanes<T>>::type kAll;
  constexpr int64_t kAhead = 4096 / sizeof(T);  // the hardware does not look beyond a page
  int64_t i = 0;
  for (; i + kLanes<T> <= pairs; i += kLanes<T>) {
    __builtin_prefetch(from + 2 * i + kAhead);
    __builtin_prefetch(from + 2 * i + kAhead + kLanes<T>);
    const Vector<T> a = load<Vector<T>>(from + 2 * i), b = load<Vector<T>>(from + 2 * i + kLanes<T>);
    store(to + i, every_second(a, b, kAll, false));
    store(to + to_column + i, every_second(a, b, kAll, true));
  }
  for (; i < pairs; ++i) {
    to[i] = from[2 * i];
    to[to_column + i] = from[2 * i + 1];
  }
}
// to[2 * i] and to[2 * i + 1] = from[i] and from[from_row + i]: the reverse.
template <class T>
inline void join_pairs(T* to, const T* from, int64_t from_row, int64_t pairs) {
  constexpr typename FirstIndices<kLanes<T>>::type kAll;
  int64_t i = 0;
  for (; i + kLanes<T> <= pairs; i += kLanes<T>) {
    const Vector<T> a = load<Vector<T>>(from + i), b = load<Vector<T>>(from + from_row + i);
    store(to + 2 * i, in_turn(a, b, kAll, false));
    store(to + 2 * i + kLanes<T>, in_turn(a, b, kAll, true));
  }
  for (; i < pairs; ++i) {
    to[2 * i] = from[i];
    to[2 * i + 1] = from[from_row + i];
  }
}

// Blocks keep the lines of both sides of a transposed copy in the L1 cache, where neither side is so narrow that they stay
// there anyway; narrow types are converted on the way.
template <class To, class From>
void copy_transposed(const CopyArgs<To, From>& a) {
  constexpr int64_t kBlock = 32;
  constexpr bool kConverts = sizeof(To) != sizeof(From);
  const int64_t most_rows = kConverts || a.columns > kBlock ? kBlock : a.rows;
  const int64_t most_columns = kConverts || a.rows > kBlock ? kBlock : a.columns;
  for (int64_t c0 = 0; c0 < a.columns; c0 += most_columns)
    for (int64_t r0 = 0; r0 < a.rows; r0 += most_rows) {
      const int64_t rows = a.rows - r0 < most_rows ? a.rows - r0 : most_rows;
      const int64_t columns = a.columns - c0 < most_columns ? a.columns - c0 : most_columns;
      To* to = a.to + c0 * a.to_column + r0;
      const From* from = a.from + r0 * a.from_row + c0;
      if constexpr (!kConverts) {
        if (a.columns == 2 && a.from_row == 2)
          split_pairs(to, a.to_column, from, rows);
        else if (a.rows == 2 && a.to_column == 2)
          join_pairs(to, from, a.from_row, columns);
        else
          transpose(to, a.to_column, from, a.from_row, rows, columns);
      } else if constexpr (sizeof(From) < sizeof(To)) {
        To converted[kBlock * kBlock];
        for (int64_t r = 0; r < rows; ++r) copy_contiguous(converted + r * kBlock, from + r * a.from_row, columns);
        transpose(to, a.to_column, converted, kBlock, rows, columns);
      } else {
        From transposed[kBlock * kBlock];
        transpose(transposed, kBlock, from, a.from_row, rows, columns);
        for (int64_t c = 0; c < columns; ++c) copy_contiguous(to + c * a.to_column, transposed + c * kBlock, rows);
      }
    }
}

template <class To, class From>
void copy(const CopyArgs<To, From>& a) {
  if (a.to_column == 1 && a.from_column == 1) {
    for (int64_t r = 0; r < a.rows; ++r) copy_contiguous(a.to + r * a.to_row, a.from + r * a.from_row, a.columns);
  } else if (a.to_row == 1 && a.from_column == 1) {
    copy_transposed(a);
  } else if (a.to_column == 1 && a.from_row == 1) {
    copy_transposed<To, From>({a.to, a.to_column, a.to_row, a.from, a.from_column, a.from_row, a.columns, a.rows});
  } else {
    for (int64_t r = 0; r < a.rows; ++r) {
      To* to = a.to + r * a.to_row;
      const From* from = a.from + r * a.from_row;
      for (int64_t c = 0; c < a.columns; ++c) from_sum(to_sum(from[c * a.from_column]), to[c * a.to_column]);
    }
  }
}

}  // namespace
}  // namespace torch_conv1d::cpu
