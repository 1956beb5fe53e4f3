// The contracts of the kernels: what each computes, and the table in which an instruction set offers its own.
//
// Kernels know neither torch nor the standard library. They work on packed data in the type that sums are made in
// (T: float for float32, bfloat16 and float16; double for float64), in which padding, stride, dilation and layout
// no longer exist: a tap is an offset into a row.
#pragma once

#include <cstdint>

#include "element.h"

namespace torch_conv1d::cpu {

// for r < rows, i < tiles * vectors * lanes:
//   out[r * out_row + i] = init[r] + sum over c < channels, t < taps of
//                          w[(c * taps + t) * rows + r] * x[c * x_row + offset[t] + i]
// or, for weights that are not packed, w[r * w_row + c * w_channel + t] * ... . One chain of fused multiply-adds per output, c outermost, whatever the tile.
template <class T>
struct CorrelateArgs {
  const T* x;
  int64_t x_row;
  const int64_t* offset;
  const T* w;
  int64_t w_row, w_channel;
  int64_t channels, taps;
  const T* init;  // null: zeros
  T* out;
  int64_t out_row;
  int64_t tiles;
};

// for r < kSlide, i < tiles * vectors * lanes:
//   out[r * out_row + i] = init + sum over c < channels, k < kernel_size of
//                          w[c * w_channel + k] * x[c * x_row + offset[k + r] + i]
// One chain per output as above, so that it has the same bits. kernel_size >= kSlide; offset has kernel_size + kSlide - 1
// entries.
constexpr int64_t kSlide = 4;

template <class T>
struct SlideArgs {
  const T* x;
  int64_t x_row;
  const int64_t* offset;
  const T* w;
  int64_t w_channel;
  int64_t channels, kernel_size;
  T init;
  T* out;
  int64_t out_row;
  int64_t tiles;
};

// for r < rows, j < vectors * lanes:
//   sum[r * sum_row + j] += sum over m < runs, i < length of
//                           x[m * x_run + offset[r] + i] * g[((m * length) + i) * vectors * lanes + j]
// The sum over (m, i) is one chain that starts at zero.
template <class T>
struct OuterArgs {
  const T* x;
  int64_t x_run;
  const int64_t* offset;
  const T* g;
  int64_t runs, length;
  T* sum;
  int64_t sum_row;
};

// for r < rows, t < taps, i < length:
//   sum[(r * sum_row + t) * kDotLanes + i % kDotLanes] += g[r * g_row + i] * x[offset[t] + i]
// Each of the kDotLanes<T> partial sums is one chain. Reads up to the next multiple of kDotLanes of g and x.
template <class T>
constexpr int64_t kDotLanes = 64 / int64_t(sizeof(T));

template <class T>
struct DotArgs {
  const T* x;
  const int64_t* offset;
  const T* g;
  int64_t g_row;
  int64_t length;
  T* sum;
  int64_t sum_row;
};

// One of the three matrices of Toom-Cook's F(kToomCookOutputs, taps), applied to vectors (kernels/toom_cook.h):
//
// for r < rows, i < count, o < rows of the matrix:
//   out[r * out_step + o * out_row + i] = init + sum over s of matrix[o][s] * in[r * in_step + offset[s] + i]
// Whole vectors are read and stored, r ascending, i descending, o ascending: what is stored beyond `count` stays only
// where nothing is stored later.
constexpr int64_t kToomCookOutputs = 4, kMaxToomCookTaps = 5;

template <class T>
struct TransformArgs {
  const T* in;
  int64_t in_step;
  const int64_t* offset;
  T init;
  T* out;
  int64_t out_step, out_row;
  int64_t rows, count;
};

// for r < rows, i < columns: to[r * to_row + i * to_column] = from[r * from_row + i * from_column], converted.
template <class To, class From>
struct CopyArgs {
  To* to;
  int64_t to_row, to_column;
  const From* from;
  int64_t from_row, from_column;
  int64_t rows, columns;
};

template <class T>
struct ArithmeticKernels {
  static constexpr int kMaxRows = 12, kMaxVectors = 12;
  using Correlate = void (*)(const CorrelateArgs<T>&);
  using Slide = void (*)(const SlideArgs<T>&);
  using Outer = void (*)(const OuterArgs<T>&);
  using Dot = void (*)(const DotArgs<T>&);
  using Transform = void (*)(const TransformArgs<T>&);

  int64_t lanes;  // elements of a vector

  // correlate[rows][vectors], 1 <= rows <= correlate_rows, 1 <= vectors <= correlate_vectors[rows].
  int64_t correlate_rows;
  int64_t correlate_vectors[kMaxRows + 1];
  Correlate correlate[kMaxRows + 1][kMaxVectors + 1];
  Correlate correlate_stored[kMaxRows + 1];  // one vector of positions, weights that are not packed

  // slide[vectors], 1 <= vectors <= slide_vectors.
  int64_t slide_vectors;
  Slide slide[kMaxVectors + 1];

  // outer[rows][vectors], 1 <= rows <= outer_rows, 1 <= vectors <= outer_vectors.
  int64_t outer_rows, outer_vectors;
  Outer outer[kMaxRows + 1][kMaxVectors + 1];

  // dot[rows][taps], 1 <= rows <= dot_rows, 1 <= taps <= dot_taps[rows].
  int64_t dot_rows;
  int64_t dot_taps[kMaxRows + 1];
  Dot dot[kMaxRows + 1][kMaxVectors + 1];

  // transform_...[taps], 3 <= taps <= kMaxToomCookTaps.
  Transform transform_source[kMaxToomCookTaps + 1];
  Transform transform_weight[kMaxToomCookTaps + 1];
  Transform transform_result[kMaxToomCookTaps + 1];
};

template <class E>
using SumOf = decltype(to_sum(E()));

template <class E>
struct CopyKernels {
  void (*in)(const CopyArgs<SumOf<E>, E>&);
  void (*out)(const CopyArgs<E, SumOf<E>>&);
};

struct KernelTable {
  ArithmeticKernels<float> float32;
  ArithmeticKernels<double> float64;
  CopyKernels<float> copy_float32;
  CopyKernels<double> copy_float64;
  CopyKernels<BFloat16> copy_bfloat16;
  CopyKernels<Float16> copy_float16;
};

}  // namespace torch_conv1d::cpu
