// Packing and unpacking: a matrix copied with conversion and any strides (contract: CopyArgs).
#pragma once

#include "convert.h"

namespace torch_conv1d::cpu {
namespace {

// The next 2 * Bytes / 4 elements.
template <int Bytes, class E>
inline void convert_lanes(float* to, const E* from) {
  typename VectorOf<float, Bytes>::type a, b;
  load_floats<Bytes>(from, a, b);
  store(to, a);
  store(to + Bytes / 4, b);
}
template <int Bytes, class E>
inline void convert_lanes(E* to, const float* from) {
  using Floats = typename VectorOf<float, Bytes>::type;
  store_rounded<Bytes>(to, load<Floats>(from), load<Floats>(from + Bytes / 4));
}

// Up to two vectors, of which the last ends where the elements do: a call of memcpy would take longer.
template <int Bytes, class T>
inline void copy_few(T* to, const T* from, int64_t count) {
  if constexpr (Bytes < int(sizeof(T))) {
    return;
  } else {
    constexpr int64_t kCount = Bytes / int(sizeof(T));
    if (count < kCount) return copy_few<Bytes / 2>(to, from, count);
    using V = typename VectorOf<T, Bytes>::type;
    const V last = load<V>(from + count - kCount);
    store(to, load<V>(from));
    store(to + count - kCount, last);
  }
}

// Meanwhile, what is `ahead` elements further on is fetched: conversion alone does not keep memory busy.
template <int Bytes = VECTOR_BYTES, class To, class From>
inline void copy_contiguous(To* to, const From* from, int64_t count, int64_t ahead = 0) {
  constexpr int64_t kLanesAtOnce = Bytes / 2;
  if constexpr (sizeof(To) == sizeof(From)) {
    if (count <= 2 * kLanes<To>)
      copy_few<VECTOR_BYTES>(to, from, count);
    else
      std::memcpy(to, from, size_t(count) * sizeof(To));
  } else if (count >= kLanesAtOnce) {
    // The last vector ends where the elements do.
    for (int64_t i = 0; i < count; i += kLanesAtOnce) {
      const int64_t at = i + kLanesAtOnce <= count ? i : count - kLanesAtOnce;
      __builtin_prefetch(from + at + ahead);
      convert_lanes<Bytes>(to + at, from + at);
    }
  } else if constexpr (Bytes > 16) {
    copy_contiguous<Bytes / 2>(to, from, count, ahead);
  } else {
    for (int64_t i = 0; i < count; ++i) from_sum(to_sum(from[i]), to[i]);
  }
}

// to[i] = from[-i], as a padding mode reflects a row.
template <class To, class From>
inline void copy_reversed(To* to, const From* from, int64_t count) {
  if constexpr (sizeof(To) == sizeof(From)) {
    if (count >= kLanes<To>) {
      // The last vector ends where the elements do.
      for (int64_t i = 0; i < count; i += kLanes<To>) {
        const int64_t at = i + kLanes<To> <= count ? i : count - kLanes<To>;
        store(
            to + at,
            reversed(load<Vector<To>>(from - at - (kLanes<To> - 1)), typename FirstIndices<kLanes<To>>::type()));
      }
      return;
    }
  }
  for (int64_t i = 0; i < count; ++i) from_sum(to_sum(from[-i]), to[i]);
}

// A square of Count x Count elements, transposed: to[c * to_column + r] = row_at(r)[c]. Vectors are loaded in pieces of 16
// bytes from different rows, each at the place where its elements belong, so that only shuffles within pieces are left.
template <class T, int Count, class RowAt>
inline __attribute__((always_inline)) void transpose_square_of(T* to, int64_t to_column, RowAt&& row_at) {
  constexpr int kBytes = Count * int(sizeof(T)), kPieces = kBytes > 16 ? kBytes / 16 : 1, kPart = Count / kPieces;
  UNROLL for (int piece = 0; piece < kPieces; ++piece) {
    typename VectorOf<T, kBytes>::type columns[kPart];
    UNROLL for (int r = 0; r < kPart; ++r) {
      const T* rows[kPieces];
      UNROLL for (int p = 0; p < kPieces; ++p)
        rows[p] = row_at(p * kPart + r) + piece * kPart;
      columns[r] = load_pieces<T, kBytes>(rows);
    }
    transpose_parts<kPart>(columns);
    UNROLL for (int c = 0; c < kPart; ++c)
      store(to + (piece * kPart + c) * to_column, columns[c]);
  }
}
template <class T, int Count>
inline void transpose_square(T* to, int64_t to_column, const T* from, int64_t from_row) {
  transpose_square_of<T, Count>(to, to_column, [&](int r) { return from + r * from_row; });
}

// Contract: ColumnsArgs. Squares are no larger than the rows are long.
template <class T, int Count = kLanes<T>>
void columns(const ColumnsArgs<T>& a) {
  if constexpr (Count == 1) {
    for (int64_t r = 0; r < a.rows; ++r) a.to[r] = a.from[a.offset[r]];
  } else {
    if (a.length <= Count / 2) return columns<T, Count / 2>(a);
    for (int64_t r = 0; r < a.rows; r += Count)
      for (int64_t i = 0; i < a.length; i += Count)
        transpose_square_of<T, Count>(
            a.to + i * a.to_column + r, a.to_column, [&](int s) { return a.from + a.offset[r + s] + i; });
  }
}

// Lines that are a multiple of a large power of two apart share a few sets of the caches and do not stay there for
// long. So squares follow each other along the side that has the larger: its neighbours are read or written while their
// lines are at hand.
inline bool along_destination(int64_t to_column, int64_t from_row) {
  return (to_column & -to_column) > (from_row & -from_row);
}

// As many squares of a whole vector as there are, then what is left by squares of half the size.
template <class T, int Count = kLanes<T>>
inline void transpose(T* to, int64_t to_column, const T* from, int64_t from_row, int64_t rows, int64_t columns) {
  if constexpr (Count == 1) {
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t c = 0; c < columns; ++c) to[c * to_column + r] = from[r * from_row + c];
  } else {
    const int64_t whole_rows = rows / Count * Count, whole_columns = columns / Count * Count;
    const bool rows_first = along_destination(to_column, from_row);
    const int64_t inner = rows_first ? whole_rows : whole_columns, outer = rows_first ? whole_columns : whole_rows;
    for (int64_t o = 0; o < outer; o += Count)
      for (int64_t i = 0; i < inner; i += Count) {
        const int64_t r = rows_first ? i : o, c = rows_first ? o : i;
        transpose_square<T, Count>(to + c * to_column + r, to_column, from + r * from_row + c, from_row);
      }
    if (whole_columns < columns)
      transpose<T, Count / 2>(
          to + whole_columns * to_column, to_column, from + whole_columns, from_row, whole_rows,
          columns - whole_columns);
    if (whole_rows < rows)
      transpose<T, Count / 2>(
          to + whole_rows, to_column, from + whole_rows * from_row, from_row, rows - whole_rows, columns);
  }
}

// Elements First, First + Length, First + 2 * Length ... of Length vectors, where `some` has those of the first At.
template <int Length, int First, int At, class V, int... I>
inline V every_length(const V* x, V some, Indices<I...> all) {
  if constexpr (At == Length) {
    return some;
  } else if constexpr (Length % 2 == 0 && Length > 2) {
    // Of every second element, those of half the length.
    typename FirstIndices<Length / 2>::type pairs;
    return [&]<int... K>(Indices<K...>) __attribute__((always_inline)) {
      const V half[] = {every_length<2, First % 2, 1>(x + 2 * K, x[2 * K], all)...};
      return every_length<Length / 2, First / 2, 1>(half, half[0], all);
    }(pairs);
  } else {
    constexpr int kCount = sizeof...(I);
    return every_length<Length, First, At + 1>(
        x,
        V(SHUFFLE(
            some, x[At],
            ((I * Length + First) / kCount == At             ? kCount + (I * Length + First) % kCount
             : At == 1 && (I * Length + First) / kCount == 0 ? I * Length + First
                                                             : I)...)),
        all);
  }
}
// Runs, whose elements go to rows of their own, are the phases of a stride, or the taps of kernels:
// to[k * to_column + i] = from[i * Length + k], for a vector of runs at least; the last vector ends where the runs do.
template <class T, int... K>
inline void split_runs(T* to, int64_t to_column, const T* from, int64_t runs, Indices<K...>) {
  constexpr int kLength = sizeof...(K);
  constexpr int64_t kAhead = 4096 / sizeof(T);  // the hardware does not look beyond a page
  for (int64_t i = 0; i < runs; i += kLanes<T>) {
    const int64_t at = i + kLanes<T> <= runs ? i : runs - kLanes<T>;
    const T* first = from + at * kLength;
    const Vector<T> x[] = {load<Vector<T>>(first + K * kLanes<T>)...};
    (__builtin_prefetch(first + K * kLanes<T> + kAhead), ...);
    (store(to + K * to_column + at, every_length<kLength, K, 1>(x, x[0], typename FirstIndices<kLanes<T>>::type())),
     ...);
  }
}
// to[i] = from[i * Step]. Vectors stop short of the last element, after which nothing may be read.
template <int Step, class T>
inline void copy_every(T* to, const T* from, int64_t count) {
  typename FirstIndices<Step>::type steps;
  const int64_t whole = count > kLanes<T> ? count - 1 : 0;
  for (int64_t i = 0; i < whole; i += kLanes<T>) {
    const int64_t at = i + kLanes<T> <= whole ? i : whole - kLanes<T>;
    [&]<int... K>(Indices<K...>) __attribute__((always_inline)) {
      const Vector<T> x[] = {load<Vector<T>>(from + at * Step + K * kLanes<T>)...};
      store(to + at, every_length<Step, 0, 1>(x, x[0], typename FirstIndices<kLanes<T>>::type()));
    }(steps);
  }
  for (int64_t i = whole; i < count; ++i) to[i] = from[i * Step];
}

// Vector `Number` of Rows vectors of runs: its element l is e = Number * lanes + l of the runs, that of row e % Rows at
// place e / Rows. `some` has those of the first At rows.
template <int Rows, int Number, int At, class V, int... I>
inline V in_turn_of_rows(const V* x, V some, Indices<I...> all) {
  if constexpr (At == Rows) {
    return some;
  } else if constexpr (Rows % 2 == 0) {
    // Rows K and K + Rows / 2 in turn are one of half as many, twice as long.
    typename FirstIndices<Rows / 2>::type pairs;
    return [&]<int... K>(Indices<K...>) __attribute__((always_inline)) {
      const V half[] = {in_turn(x[K], x[K + Rows / 2], all, Number >= Rows / 2)...};
      return in_turn_of_rows<Rows / 2, Number % (Rows / 2), 1>(half, half[0], all);
    }(pairs);
  } else {
    constexpr int kCount = sizeof...(I), kFirst = Number * kCount;
    return in_turn_of_rows<Rows, Number, At + 1>(
        x,
        V(SHUFFLE(
            some, x[At],
            ((kFirst + I) % Rows == At             ? kCount + (kFirst + I) / Rows
             : At == 1 && (kFirst + I) % Rows == 0 ? (kFirst + I) / Rows
                                                   : I)...)),
        all);
  }
}
// to[i * Rows + r] = from[r * from_row + i], the reverse of split_runs, for `runs` of them.
template <class T, int... R>
inline void join_runs(T* to, const T* from, int64_t from_row, int64_t runs, Indices<R...>) {
  constexpr int kRows = sizeof...(R);
  for (int64_t i = 0; i < runs; i += kLanes<T>) {
    const int64_t at = i + kLanes<T> <= runs ? i : runs - kLanes<T>;
    const Vector<T> x[] = {load<Vector<T>>(from + R * from_row + at)...};
    (store(
         to + at * kRows + R * kLanes<T>,
         in_turn_of_rows<kRows, R, 1>(x, x[0], typename FirstIndices<kLanes<T>>::type())),
     ...);
  }
}

// As transpose, by the way that suits the shape: runs of up to Length elements are split or joined, unless they are the
// rows of a square.
template <class T, int Length = 8>
inline void copy_transposed_block(
    T* to, int64_t to_column, const T* from, int64_t from_row, int64_t rows, int64_t columns) {
  if constexpr (Length == kLanes<T>) {
    copy_transposed_block<T, Length - 1>(to, to_column, from, from_row, rows, columns);
  } else if constexpr (Length > 1) {
    if (columns == Length && from_row == Length && rows >= kLanes<T>)
      split_runs(to, to_column, from, rows, typename FirstIndices<Length>::type());
    else if (rows == Length && to_column == Length && columns >= kLanes<T>)
      join_runs(to, from, from_row, columns, typename FirstIndices<Length>::type());
    else
      copy_transposed_block<T, Length - 1>(to, to_column, from, from_row, rows, columns);
  } else if (columns < 4 && rows <= 16) {  // the weights of a tile: too few for squares of several sizes
    transpose<T, 1>(to, to_column, from, from_row, rows, columns);
  } else {
    transpose(to, to_column, from, from_row, rows, columns);
  }
}

// Whole lines of `count` elements in each of some rows, unless these follow each other, as the hardware sees; Writes:
// to be written.
template <int Writes, class T>
inline void fetch_lines(const T* first, int64_t row, int64_t rows, int64_t count) {
  constexpr int64_t kLine = 64 / int64_t(sizeof(T));
  if (row == count) return;
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t i = 0; i + kLine <= count; i += kLine) __builtin_prefetch(first + r * row + i, Writes, 2);
}

// Which side of a copy is a tensor, maybe in memory; the other one is in the caches.
enum class TensorSide { from, to };

// Blocks keep the lines of both sides of a transposed copy in the L1 cache, where neither side is so narrow that they
// stay there anyway. Narrow types are converted on the way, in blocks of a size that the stack holds; a side that is so
// narrow that its lines follow each other in memory is converted as one. The lines of a tensor come from as many places
// as a block has rows, more than the hardware follows: all blocks along some rows come first, and each fetches what the
// one beyond those rows wants.
template <TensorSide Side, class To, class From>
void copy_transposed(const CopyArgs<To, From>& a) {
  constexpr int64_t kBlock = 32, kElements = 2 * kBlock * kBlock;
  constexpr bool kConverts = sizeof(To) != sizeof(From);
  const bool dense_from = a.from_row == a.columns, dense_to = a.to_column == a.rows;
  constexpr bool kReads = Side == TensorSide::from;
  const bool cut_from = a.columns > kBlock || (kReads && !dense_from && a.columns >= 64 / int64_t(sizeof(From)));
  const bool cut_to = a.rows > kBlock || (!kReads && !dense_to && a.rows >= 64 / int64_t(sizeof(To)));
  int64_t most_rows = cut_from ? kBlock : a.rows, most_columns = cut_to ? kBlock : a.columns;
  if (kConverts && most_columns <= kBlock && most_rows > kBlock) most_rows = kElements / most_columns;
  if (kConverts && most_rows <= kBlock && most_columns > kBlock) most_columns = kElements / most_rows;
  const int64_t outer = kReads ? a.rows : a.columns, inner = kReads ? a.columns : a.rows;
  const int64_t most_outer = kReads ? most_rows : most_columns, most_inner = kReads ? most_columns : most_rows;
  for (int64_t o = 0; o < outer; o += most_outer)
    for (int64_t i = 0; i < inner; i += most_inner) {
      const int64_t r0 = kReads ? o : i, c0 = kReads ? i : o;
      const int64_t rows = a.rows - r0 < most_rows ? a.rows - r0 : most_rows;
      const int64_t columns = a.columns - c0 < most_columns ? a.columns - c0 : most_columns;
      To* to = a.to + c0 * a.to_column + r0;
      const From* from = a.from + r0 * a.from_row + c0;
      if constexpr (kReads)
        fetch_lines<0>(from + most_rows * a.from_row, a.from_row, rows, columns);
      else
        fetch_lines<1>(to + most_columns * a.to_column, a.to_column, columns, rows);
      if constexpr (!kConverts) {
        copy_transposed_block(to, a.to_column, from, a.from_row, rows, columns);
      } else if constexpr (sizeof(From) < sizeof(To)) {
        To converted[kElements];
        if (dense_from && columns == a.columns)
          copy_contiguous(converted, from, rows * columns);
        else
          for (int64_t r = 0; r < rows; ++r) copy_contiguous(converted + r * columns, from + r * a.from_row, columns);
        copy_transposed_block(to, a.to_column, converted, columns, rows, columns);
      } else {
        From transposed[kElements];
        copy_transposed_block(transposed, rows, from, a.from_row, rows, columns);
        if (dense_to && rows == a.rows)
          copy_contiguous(to, transposed, rows * columns);
        else
          for (int64_t c = 0; c < columns; ++c) copy_contiguous(to + c * a.to_column, transposed + c * rows, rows);
      }
    }
}

template <TensorSide Side, class To, class From>
void copy(const CopyArgs<To, From>& a) {
  if (a.to_column == 1 && a.from_column == 1) {
    for (int64_t r = 0; r < a.rows; ++r)
      copy_contiguous(a.to + r * a.to_row, a.from + r * a.from_row, a.columns, a.from_row);
  } else if (a.to_column == 1 && a.from_column == -1) {
    for (int64_t r = 0; r < a.rows; ++r) copy_reversed(a.to + r * a.to_row, a.from + r * a.from_row, a.columns);
  } else if (a.to_row == 1 && a.from_row == 1) {
    for (int64_t c = 0; c < a.columns; ++c) copy_contiguous(a.to + c * a.to_column, a.from + c * a.from_column, a.rows);
  } else if (a.to_row == 1 && a.from_column == 1) {
    copy_transposed<Side>(a);
  } else if (a.to_column == 1 && a.from_row == 1) {
    copy_transposed<Side, To, From>(
        {a.to, a.to_column, a.to_row, a.from, a.from_column, a.from_row, a.columns, a.rows});
  } else {
    for (int64_t r = 0; r < a.rows; ++r) {
      To* to = a.to + r * a.to_row;
      const From* from = a.from + r * a.from_row;
      if constexpr (sizeof(To) == sizeof(From))
        if (a.to_column == 1 && a.from_column == 2) {
          copy_every<2>(to, from, a.columns);
          continue;
        }
      for (int64_t c = 0; c < a.columns; ++c) from_sum(to_sum(from[c * a.from_column]), to[c * a.to_column]);
    }
  }
}

}  // namespace
}  // namespace torch_conv1d::cpu
