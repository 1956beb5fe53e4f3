// The contracts of the kernels: what each computes, and the table in which an instruction set offers its own.
//
// Kernels know neither torch nor the standard library. They work on packed data in the type that sums are made in
// (T: float for float32, bfloat16 and float16; double for float64), in which padding, stride, dilation and layout
// no longer exist: a tap is an offset into a row.
#pragma once

#include <cstdint>

#include "element.h"

namespace torch_conv1d::cpu {

template <class E>
using SumOf = decltype(to_sum(E()));
// Elements of memory that the size of a sum holds.
template <class E>
constexpr int64_t kNarrowness = sizeof(SumOf<E>) / sizeof(E);

// Of fewer channels, correlate fetches nothing ahead.
constexpr int64_t kFetchedChannels = 16;
// Most vectors of positions in a tile of `correlate` whose weights are where the caller has them.
constexpr int kStoredVectors = 2;

// for r < rows, i < tiles * vectors * lanes:
//   out[r * out_row + i] = init[r] + sum over c < channels, t < taps of
//                          w[(c * taps + t) * rows + r] * x[c * x_row + offset[t] + i]
// where packed weights of a tap may be followed by w_gap elements, those of a channel by w_skip; or, for weights that
// are not packed, w[r * w_row + c * w_channel + t] * ... . One chain of fused multiply-adds per output, c outermost,
// whatever the tile. Elements of out are of the type out_type: T, or narrow ones, to which a sum is rounded.
// Chains that go on start at what `out` holds instead: the channels of a sum may come in several calls.
template <class T>
struct CorrelateArgs {
  const T* x;
  int64_t x_row;
  const int64_t* offset;
  const T* w;
  int64_t w_row, w_channel;
  int64_t channels, taps;
  const T* init;  // null: zeros
  void* out;
  int64_t out_row;
  int64_t tiles;
  DType out_type = kDType<T>;
  bool from_memory = false;  // x is not a panel that was just packed
  bool to_memory = false;    // of one row, or fewer than kFetchedChannels: what tiles write later is fetched
  bool goes_on = false;
  int64_t w_gap = 0, w_skip = 0;
  // Meanwhile, what is read later is fetched into the L2 cache: with every = 2^next_shift, in step s = next_step + i <
  // next_steps, by every `every`-th channel c from s % every on, as many cache lines as a tile is wide (at least one)
  // from next + c * next_row + s / every * (that width) on, in bytes.
  const char* next = nullptr;
  int64_t next_row = 0, next_step = 0, next_steps = 0;
  int next_shift = 0;
};

// for p < tiles * positions, r < vectors * lanes:
//   out[p * out_row + r] = init[r] + sum over c < channels, t < taps of
//                          w[c * w_channel + t * w_tap + r] * x[p * x_step + offset[t] + c]
// in the same chains, which may go on as well.
template <class T>
struct InnermostArgs {
  const T* x;
  int64_t x_step;
  const int64_t* offset;
  const T* w;
  int64_t w_channel, w_tap;
  int64_t channels, taps;
  const T* init;  // null: zeros
  T* out;
  int64_t out_row;
  int64_t tiles;
  bool goes_on = false;
};

// for r < thin_rows, p < positions:
//   out[p * out_row + r] = init[r] + sum over c < channels, t < taps of
//                          w[r * w_row + c * w_channel + t] * x[(c * taps + t) * positions + p]
// in the same chains. With fewer taps than 16 bytes hold, there are two channels at least, and what follows a row of
// the first is read.
template <class T>
struct ThinArgs {
  const T* w;
  int64_t w_row, w_channel;
  int64_t channels, taps;
  const T* x;
  const T* init;  // null: zeros
  T* out;
  int64_t out_row;
};
constexpr int kThinPositions = 4;
constexpr int64_t thin_rows(int64_t sum_bytes) { return 64 / sum_bytes; }

// for p < positions, j < columns (a vector at least):
//   sum[p * sum_row + j] += sum over c < channels of w[c * w_channel + j] * x[c * positions + p]
// One chain per sum, which goes on from one call to the next.
template <class T>
struct ThinSumsArgs {
  const T* w;
  int64_t w_channel;
  const T* x;
  int64_t channels, columns;
  T* sum;
  int64_t sum_row;
};

// The same for one row, in another order: taps are added in chunks of kFirShared * kFirShift, and within a chunk in the
// order t, t + kFirShift, t + 2 * kFirShift, ... for ascending t < kFirShift.
template <class T>
constexpr int64_t kFirShift = 64 / int64_t(sizeof(T));
constexpr int kFirShared = 4;

// for i < positions, j < channels, a vector at least, x(i, t) = source[i * source_step + offset[t]] + channel:
//   out[i * out_row + j] = init[j] + sum over t < taps of w[w_offset[t] + j] * x(i, t)[j], rounded once
// One chain of fused multiply-adds per output, in ascending order of t. `from_memory`: what is read of the row of the
// last tap, and written, is fetched before.
template <class E>
struct ChannelsArgs {
  const E* const* source;
  int64_t source_step;
  const int64_t* offset;
  int64_t channel;
  const SumOf<E>* w;
  const int64_t* w_offset;
  int64_t taps;
  const SumOf<E>* init;  // null: zeros
  E* out;
  int64_t out_row;
  int64_t positions, channels;
  bool from_memory;
};

// for i < tiles, p < positions, j < lanes, of positions and taps that are equally far apart:
//   out[i * out_step + p * out_shift + j] = init[j] + sum over t < taps of
//                                           w[t * w_tap + j] * x[i * x_step + (p * kFirShift + t) * x_tap + j]
// The positions of a tile are as far apart as kFirShift taps. Chains in the order of fir.
template <class T>
struct ChannelFirArgs {
  const T* x;
  int64_t x_step, x_tap;
  const T* w;
  int64_t w_tap;
  int64_t taps;
  const T* init;  // null: zeros
  T* out;
  int64_t out_step, out_shift;
  int64_t tiles;
};

// for t < taps, j < vectors * lanes, x(i, t) = source[i * source_step + offset[t]] + channel:
//   sum[t * sum_row + j] += sum over i < positions of g[i * g_row + j] * x(i, t)[j]
// One chain per sum, which goes on from one call to the next. What is read `ahead` positions later is fetched, unless
// that is 0: `fetched_rows` of the source, up to that of the last tap.
template <class E>
struct ChannelSumsArgs {
  const E* const* source;
  int64_t source_step;
  const int64_t* offset;
  int64_t channel;
  const E* g;
  int64_t g_row;
  SumOf<E>* sum;
  int64_t sum_row;
  int64_t positions;
  int64_t ahead, fetched_rows;
};

// for r < rows, j < vectors * lanes:
//   sum[r * sum_row + j] += sum over m < runs, i < length of
//                           x[m * x_run + offset[r] + i] * g[((m * length) + i) * vectors * lanes + j]
// The sum over (m, i) is one chain that starts at zero. In place: x[... + i * x_step] * g[((m * length) + i) * g_step +
// j], and the chain goes on from what `sum` holds.
constexpr int64_t kOuterFetches = 8;

template <class T>
struct OuterArgs {
  const T* x;
  int64_t x_run;
  const int64_t* offset;
  const T* g;
  int64_t runs, length;
  T* sum;
  int64_t sum_row;
  int64_t x_step = 1, g_step = 0;  // in place
  // Meanwhile, what is read later is fetched into the L2 cache, in every kOuterFetches positions next_each cache lines:
  // those of next_rows rows, line by line, from number next_first on, next_count of them; f is at next + f % next_rows
  // * next_row + f / next_rows * 64, in bytes.
  const char* next = nullptr;
  int64_t next_row = 0, next_rows = 1, next_first = 0, next_count = 0, next_each = 0;
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
  // Prefetches rows ahead_row, ahead_row + ahead_step, ... of g, so many elements ahead, into the L2 cache; beside a
  // single row, x too.
  int64_t ahead, ahead_row, ahead_step;
};

// for t < taps, m < shared, i < length:
//   sum[(t + m * kDotLanes) * kDotLanes + i % kDotLanes] += g[i] * x[t + m * kDotLanes + i]
// Chains and reads as above. Fetches what is read later, unless x_ahead is null: as much from each.
template <class T>
struct FirDotArgs {
  const T* x;
  const T* g;
  int64_t length;
  T* sum;
  const T* x_ahead;
  const T* g_ahead;
};

// for r < rows, i < length: sum[r * kDotLanes + i % kDotLanes] += g[r * g_row + i]. Chains and reads as above.
template <class T>
struct RowSumsArgs {
  const T* g;
  int64_t g_row;
  int64_t length;
  T* sum;
};

// Tiles that read the source where it is, and not from a panel.
enum class DirectTile {
  none,
  sums,     // those above, on elements of the type of the sums
  pairs,    // one row a group, stride 1, narrow types
  halved,   // one row a group, an output for every two positions
  doubled,  // and two outputs for each
};

// One row a group, elements of tensors, as in CorrelateArgs; every chain has up to kFirShift taps. A unit is
// kNarrowness vectors.
//
// for i < tiles * units * kNarrowness * lanes:
//   pairs     out[i] = init + sum over c < channels, t < taps of w[c * taps + t] * x[c * x_row + offset[t] + i], rounded once
//   halved    the same with x[c * x_row + offset[0] + t + 2 * i]
//   doubled   out[2 * i + phase] = init + the sum over those t that have (t + first_phase) % 2 = phase of
//                                         w[c * taps + t] * x[c * x_row + offset[0] - (t + first_phase) / 2 + i]
// Of an odd number of taps, halved reads what follows the last.
template <class E>
struct DirectFirArgs {
  const E* x;
  int64_t x_row;
  const int64_t* offset;
  const SumOf<E>* w;
  int64_t channels, taps;
  const SumOf<E>* init;  // null: zero
  E* out;
  int64_t tiles;
  int64_t first_phase;
  bool to_memory = false;  // of narrow types: what tiles write later is fetched
};

// for t < taps, i < length, a multiple of kNarrowness * kDotLanes:
//   pairs     sum[t * kDotLanes + lane(i)] += g[i] * x[offset[t] + i],   or g[i] alone, for the bias
//   halved    the same with x[offset[0] + t + 2 * i]; reads as above
// lane(i) = i % (2 * kDotLanes) / 2 for pairs of bfloat16, otherwise i % kDotLanes. Chains in ascending order of i.
template <class E>
struct DirectDotArgs {
  const E* x;
  const int64_t* offset;
  const E* g;
  int64_t length;
  SumOf<E>* sum;
};

// One of the matrices of Toom-Cook's F(kToomCookOutputs, taps), applied to vectors (kernels/toom_cook.h):
//
// for r < rows, i < count, o < rows of the matrix:
//   out[r * out_step + o * out_row + i] = init + sum over s of matrix[o][s] * in[r * in_step + offset[s] + i]
// Whole vectors are read and stored, r ascending, i descending, o ascending: what is stored beyond `count` stays only
// where nothing is stored later.
constexpr int64_t kToomCookOutputs = 4, kMinToomCookTaps = 2, kMaxToomCookTaps = 5;

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

// A row and the places of its positions in tiles of kToomCookOutputs, which are `dilation` apart:
//
// for t < tiles, s < kToomCookOutputs, e < dilation:
//   split: places[s * place_row + t * dilation + e] = row[(t * kToomCookOutputs + s) * dilation + e];  join: the reverse.
// Reads and stores whole vectors of tiles.
template <class T>
struct PlacesArgs {
  T* places;
  int64_t place_row;
  T* row;
  int64_t tiles, dilation;
};

// Complex numbers as pairs (real, imaginary), for i < count: out[i] = init[i] + a[i] * conj(b[i]). Operands may be the
// result.
template <class T>
struct SpectraArgs {
  T* out;
  const T* init;  // null: zeros
  const T* a;
  const T* b;
  int64_t count;
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

// for r < rows, i < length: to[i * to_column + r] = from[offset[r] + i]
// Reads, and stores, what rounds both up to a power of two or a multiple of a vector: offsets too.
template <class T>
struct ColumnsArgs {
  T* to;
  int64_t to_column;
  const T* from;
  const int64_t* offset;
  int64_t rows, length;
};

// Runs kMultiplyAddChains independent chains of `steps` multiply-adds, each on a vector, and returns a number that
// depends on all of them. An FMA that takes up to 5 cycles and starts up to twice a cycle needs 10 chains; 12 and the
// two constants are in registers everywhere.
constexpr int kMultiplyAddChains = 12;

template <class T>
struct ArithmeticKernels {
  static constexpr int kMaxRows = 12, kMaxVectors = 12;
  using Correlate = void (*)(const CorrelateArgs<T>&);
  using Innermost = void (*)(const InnermostArgs<T>&);
  using Thin = void (*)(const ThinArgs<T>&);
  using ThinSums = void (*)(const ThinSumsArgs<T>&);
  using ChannelFir = void (*)(const ChannelFirArgs<T>&);
  using Outer = void (*)(const OuterArgs<T>&);
  using Dot = void (*)(const DotArgs<T>&);
  using FirDot = void (*)(const FirDotArgs<T>&);
  using RowSums = void (*)(const RowSumsArgs<T>&);
  using Columns = void (*)(const ColumnsArgs<T>&);
  using MultiplyAdd = T (*)(int64_t steps);
  using Transform = void (*)(const TransformArgs<T>&);
  using Places = void (*)(const PlacesArgs<T>&);
  using Spectra = void (*)(const SpectraArgs<T>&);

  int64_t lanes;  // elements of a vector

  // correlate[rows][vectors], 1 <= rows <= correlate_rows; fir[step + 1][vectors] for one row in its own order.
  // 1 <= vectors <= correlate_vectors[rows].
  int64_t correlate_rows;
  int64_t correlate_vectors[kMaxRows + 1];
  Correlate correlate[kMaxRows + 1][kMaxVectors + 1];
  // The same of weights that are not packed; 1 <= vectors <= kStoredVectors.
  Correlate correlate_stored[kMaxRows + 1][kStoredVectors + 1];
  Correlate fir[3][kMaxVectors + 1];

  // innermost[positions][vectors], 1 <= vectors <= innermost_vectors, 1 <= positions <= innermost_positions[vectors].
  int64_t innermost_vectors;
  int64_t innermost_positions[kMaxVectors + 1];
  Innermost innermost[kMaxRows + 1][kMaxVectors + 1];

  // thin[positions], thin_sums[positions], 1 <= positions <= kThinPositions.
  Thin thin[kThinPositions + 1];
  ThinSums thin_sums[kThinPositions + 1];

  // channel_fir[positions], 1 <= positions <= channel_fir_positions.
  int64_t channel_vectors, channel_fir_positions;
  ChannelFir channel_fir[kMaxRows + 1];

  // outer[rows][vectors], outer_in_place likewise, 1 <= rows <= outer_rows, 1 <= vectors <= outer_vectors.
  int64_t outer_rows, outer_vectors;
  Outer outer[kMaxRows + 1][kMaxVectors + 1], outer_in_place[kMaxRows + 1][kMaxVectors + 1];

  // dot[rows][taps], 1 <= rows <= dot_rows, 1 <= taps <= dot_taps[rows].
  int64_t dot_rows;
  int64_t dot_taps[kMaxRows + 1];
  Dot dot[kMaxRows + 1][kMaxVectors + 1];

  // fir_dot[shared][taps], 1 <= shared <= fir_dot_shared, 1 <= taps <= fir_dot_taps[shared].
  int64_t fir_dot_shared;
  int64_t fir_dot_taps[kMaxRows + 1];
  FirDot fir_dot[kMaxRows + 1][kMaxVectors + 1];

  // row_sums[rows], 1 <= rows <= row_sums_rows.
  int64_t row_sums_rows;
  RowSums row_sums[kMaxRows + 1];

  // For i < count, rounded up to whole vectors: sums[i] = the sum of the partial sums sums[i * kDotLanes] and
  // following, as a balanced tree, lane i and lane i + half first.
  void (*lane_sums)(T* sums, int64_t count);

  Columns columns;
  MultiplyAdd multiply_add;
  // transform_...[taps], kMinToomCookTaps <= taps <= kMaxToomCookTaps.
  Transform transform_source[kMaxToomCookTaps + 1];
  Transform transform_weight[kMaxToomCookTaps + 1];
  Transform transform_result[kMaxToomCookTaps + 1];
  Transform transform_result_gradient[kMaxToomCookTaps + 1];
  Transform transform_weight_gradient[kMaxToomCookTaps + 1];
  Places split, join;
  Spectra multiply_spectra;
};

template <class E>
struct CopyKernels {
  void (*in)(const CopyArgs<SumOf<E>, E>&);
  void (*out)(const CopyArgs<E, SumOf<E>>&);
};

template <class E>
struct DirectKernels {
  static constexpr int kTiles = 5, kMaxUnits = 12, kMaxTaps = 12, kMaxVectors = 4;

  // fir[tile][units], 1 <= units <= fir_units[tile]; dot[tile][taps], 1 <= taps <= dot_taps; of kernels for `tile`.
  int64_t fir_units[kTiles], dot_taps;
  void (*fir[kTiles][kMaxUnits + 1])(const DirectFirArgs<E>&);
  void (*dot[kTiles][kMaxTaps + 1])(const DirectDotArgs<E>&);
  void (*row_sum)(const DirectDotArgs<E>&);  // of narrow types

  // channel_sums[taps][vectors], 1 <= taps <= channel_taps, 1 <= vectors <= channel_vectors.
  int64_t channel_taps;
  void (*channels)(const ChannelsArgs<E>&);
  void (*channel_sums[kMaxTaps + 1][kMaxVectors + 1])(const ChannelSumsArgs<E>&);
};

// Pairs: two bfloat16 in the place of a float, the first in the lower half. Where a kernel multiplies pairs, a product
// is sum + first * first + second * second, the second added first, as two fused multiply-adds that take and leave
// zeros for subnormal numbers.
//
// for r < rows, i < count: pairs[r * pair_row + i] = (first[r * row + i], second[r * row + i]), of floats that are
// bfloat16. Pairs may replace what they are made from, or anything before it.
struct JoinArgs {
  float* pairs;
  int64_t pair_row;
  const float* first;
  const float* second;  // null: zeros
  int64_t row;
  int64_t rows, count;
};

struct PairKernels {
  using Float = ArithmeticKernels<float>;
  void (*join)(const JoinArgs&);
  // As those of floats, correlate from two rows on, with a pair of channels in the place of one, or of positions in
  // outer. Where these are neighbours (x of innermost and outer), every element is the first of a pair with the next
  // one, and every second pair is read.
  Float::Correlate correlate[Float::kMaxRows + 1][Float::kMaxVectors + 1];
  Float::Innermost innermost[Float::kMaxRows + 1][Float::kMaxVectors + 1];
  Float::Outer outer[Float::kMaxRows + 1][Float::kMaxVectors + 1];
};

struct KernelTable {
  ArithmeticKernels<float> float32;
  ArithmeticKernels<double> float64;
  CopyKernels<float> copy_float32;
  CopyKernels<double> copy_float64;
  CopyKernels<BFloat16> copy_bfloat16;
  CopyKernels<Float16> copy_float16;
  DirectKernels<float> direct_float32;
  DirectKernels<double> direct_float64;
  DirectKernels<BFloat16> direct_bfloat16;
  DirectKernels<Float16> direct_float16;
  const PairKernels* pairs = nullptr;  // null: multiplying pairs would take as long as floats
};

}  // namespace torch_conv1d::cpu
