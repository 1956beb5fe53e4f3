// Fills a KernelTable from the register budget of an instruction set, a type with
//   correlate_vectors[]  vectors of a tile of 1 row (fir), 2, ... rows (correlate)
//   innermost_vectors    most vectors of rows of an innermost tile, which has as many positions as a correlate tile has rows
//   channel_vectors, channel_taps, channel_fir_positions
//   outer_rows, outer_vectors
//   dot_taps[]           taps of a dot tile of 1, 2, ... rows
//   fir_dot_taps[]       taps of a fir_dot tile of which 1, 2, ... share their loads
//   row_sums_rows
#pragma once

#include "channels.h"
#include "copy.h"
#include "correlate.h"
#include "direct.h"
#include "dot.h"
#include "fir.h"
#include "innermost.h"
#include "multiply_add.h"
#include "outer.h"
#include "spectra.h"
#include "thin.h"
#include "toom_cook.h"

namespace torch_conv1d::cpu {
namespace {

template <class V, int N>
constexpr int count(const V (&)[N]) {
  return N;
}

template <class T, int Rows, int Vectors>
constexpr void fill_correlate(ArithmeticKernels<T>& table) {
  table.correlate[Rows][Vectors] = &correlate<T, Rows, Vectors, true>;
  if constexpr (Vectors > 1) fill_correlate<T, Rows, Vectors - 1>(table);
}
template <class T, int Rows, int Vectors>
constexpr void fill_stored(ArithmeticKernels<T>& table) {
  table.correlate_stored[Rows][Vectors] = &correlate<T, Rows, Vectors, false>;
  if constexpr (Vectors > 1) fill_stored<T, Rows, Vectors - 1>(table);
}
template <class T, int Vectors>
constexpr void fill_fir(ArithmeticKernels<T>& table) {
  table.fir[0][Vectors] = &fir<T, Vectors, -1>;
  table.fir[1][Vectors] = &fir<T, Vectors, 0>;
  table.fir[2][Vectors] = &fir<T, Vectors, 1>;
  if constexpr (Vectors > 1) fill_fir<T, Vectors - 1>(table);
}
template <class T, int Positions, int Vectors>
constexpr void fill_innermost(ArithmeticKernels<T>& table) {
  table.innermost[Positions][Vectors] = &innermost<T, Positions, Vectors>;
  table.innermost_positions[Vectors] = Positions;
  if constexpr (Vectors > 1) fill_innermost<T, Positions, Vectors - 1>(table);
}
template <class T, int Positions>
constexpr void fill_thin(ArithmeticKernels<T>& table) {
  table.thin[Positions] = &thin<T, Positions>;
  table.thin_sums[Positions] = &thin_sums<T, Positions>;
  if constexpr (Positions > 1) fill_thin<T, Positions - 1>(table);
}
template <class T, int Rows, int Vectors>
constexpr void fill_outer(ArithmeticKernels<T>& table) {
  table.outer[Rows][Vectors] = &outer<T, Rows, Vectors>;
  table.outer_in_place[Rows][Vectors] = &outer<T, Rows, Vectors, ElementProducts, true>;
  if constexpr (Vectors > 1) fill_outer<T, Rows, Vectors - 1>(table);
}
template <class T, int Rows, int Taps>
constexpr void fill_dot(ArithmeticKernels<T>& table) {
  table.dot[Rows][Taps] = &dot<T, Rows, Taps>;
  if constexpr (Taps > 1) fill_dot<T, Rows, Taps - 1>(table);
}

template <class T, int Shared, int Taps>
constexpr void fill_fir_dot(ArithmeticKernels<T>& table) {
  table.fir_dot[Shared][Taps] = &fir_dot<T, Taps, Shared>;
  if constexpr (Taps > 1) fill_fir_dot<T, Shared, Taps - 1>(table);
}

template <class T, int Taps>
constexpr void fill_transforms(ArithmeticKernels<T>& table) {
  table.transform_source[Taps] = &transform<T, typename ToomCook<Taps>::Source>;
  table.transform_weight[Taps] = &transform<T, typename ToomCook<Taps>::Weight>;
  table.transform_result[Taps] = &transform<T, typename ToomCook<Taps>::Result>;
  table.transform_result_gradient[Taps] = &transform<T, typename ToomCook<Taps>::ResultGradient>;
  table.transform_weight_gradient[Taps] = &transform<T, typename ToomCook<Taps>::WeightGradient>;
  if constexpr (Taps > kMinToomCookTaps) fill_transforms<T, Taps - 1>(table);
}

template <class T, class Budget, int Rows = 1>
constexpr void fill(ArithmeticKernels<T>& table) {
  if constexpr (Rows <= count(Budget::correlate_vectors)) {
    table.correlate_rows = Rows;
    table.correlate_vectors[Rows] = Budget::correlate_vectors[Rows - 1];
    constexpr int kVectors = Budget::correlate_vectors[Rows - 1];
    fill_innermost < T, Rows, kVectors<Budget::innermost_vectors ? kVectors : Budget::innermost_vectors>(table);
    if constexpr (Rows == 1) fill_fir<T, Budget::correlate_vectors[0]>(table);
    fill_correlate<T, Rows, Budget::correlate_vectors[Rows - 1]>(table);
    fill_stored<T, Rows, kStoredVectors>(table);
  }
  if constexpr (Rows <= Budget::channel_fir_positions) table.channel_fir[Rows] = &channel_fir<T, Rows>;
  if constexpr (Rows <= Budget::outer_rows) fill_outer<T, Rows, Budget::outer_vectors>(table);
  if constexpr (Rows <= count(Budget::dot_taps)) {
    table.dot_rows = Rows;
    table.dot_taps[Rows] = Budget::dot_taps[Rows - 1];
    fill_dot<T, Rows, Budget::dot_taps[Rows - 1]>(table);
  }
  if constexpr (Rows <= count(Budget::fir_dot_taps)) {
    table.fir_dot_shared = Rows;
    table.fir_dot_taps[Rows] = Budget::fir_dot_taps[Rows - 1];
    fill_fir_dot<T, Rows, Budget::fir_dot_taps[Rows - 1]>(table);
  }
  if constexpr (Rows <= Budget::row_sums_rows) table.row_sums[Rows] = &row_sums<T, Rows>;
  if constexpr (Rows < ArithmeticKernels<T>::kMaxRows) fill<T, Budget, Rows + 1>(table);
}

template <class T, class Budget>
constexpr ArithmeticKernels<T> arithmetic() {
  ArithmeticKernels<T> table{};
  table.lanes = kLanes<T>;
  table.innermost_vectors = Budget::innermost_vectors;
  table.channel_vectors = Budget::channel_vectors;
  table.channel_fir_positions = Budget::channel_fir_positions;
  table.outer_rows = Budget::outer_rows;
  table.outer_vectors = Budget::outer_vectors;
  table.row_sums_rows = Budget::row_sums_rows;
  table.lane_sums = &lane_sums<T>;
  fill<T, Budget>(table);
  fill_thin<T, kThinPositions>(table);
  table.columns = &columns<T>;
  table.multiply_add = &multiply_add<T>;
  fill_transforms<T, int(kMaxToomCookTaps)>(table);
  table.split = &split<T>;
  table.join = &join<T>;
  table.multiply_spectra = &multiply_spectra<T>;
  return table;
}

template <class E>
constexpr CopyKernels<E> copies() {
  return {&copy<TensorSide::from, SumOf<E>, E>, &copy<TensorSide::to, E, SumOf<E>>};
}

template <class E, int Vectors, int Units = 1>
constexpr void fill_direct_fir(DirectKernels<E>& table) {
  constexpr int kPairs = int(DirectTile::pairs), kHalved = int(DirectTile::halved), kDoubled = int(DirectTile::doubled);
  constexpr int kUnitVectors = int(kNarrowness<E>);
  if constexpr (Units * kUnitVectors <= Vectors) {
    table.fir_units[kHalved] = Units;
    table.fir[kHalved][Units] = &fir_halved<E, Units>;
    if constexpr (kUnitVectors == 2) {
      table.fir_units[kPairs] = Units;
      table.fir[kPairs][Units] = &fir_pairs<E, Units>;
    }
    if constexpr (Units * kUnitVectors * 2 <= Vectors) {
      table.fir_units[kDoubled] = Units;
      table.fir[kDoubled][Units] = &fir_doubled<E, Units>;
    }
    fill_direct_fir<E, Vectors, Units + 1>(table);
  }
}
template <class E, int Taps>
constexpr void fill_direct_dot(DirectKernels<E>& table) {
  if constexpr (kNarrowness<E> == 2) table.dot[int(DirectTile::pairs)][Taps] = &dot_pairs<E, Taps, true>;
  table.dot[int(DirectTile::halved)][Taps] = &dot_halved<E, Taps>;
  if constexpr (Taps > 1) fill_direct_dot<E, Taps - 1>(table);
}
template <class E, int Taps, int Vectors, int MostVectors>
constexpr void fill_channel_sums(DirectKernels<E>& table) {
  table.channel_sums[Taps][Vectors] = &channel_sums<E, Taps, Vectors>;
  if constexpr (Vectors > 1)
    fill_channel_sums<E, Taps, Vectors - 1, MostVectors>(table);
  else if constexpr (Taps > 1)
    fill_channel_sums<E, Taps - 1, MostVectors, MostVectors>(table);
}
// As many sums as fir and dot have.
template <class E, class Budget>
constexpr DirectKernels<E> direct() {
  DirectKernels<E> table{};
  fill_direct_fir<E, Budget::correlate_vectors[0]>(table);
  table.dot_taps = Budget::dot_taps[0];
  fill_direct_dot<E, Budget::dot_taps[0]>(table);
  if constexpr (kNarrowness<E> == 2) table.row_sum = &dot_pairs<E, 1, false>;
  table.channel_taps = Budget::channel_taps;
  table.channels = &channels<E, Budget::channel_vectors>;
  fill_channel_sums<E, Budget::channel_taps, Budget::channel_vectors, Budget::channel_vectors>(table);
  return table;
}

template <class Budget>
constexpr KernelTable make_table() {
  return {
      arithmetic<float, Budget>(),
      arithmetic<double, Budget>(),
      copies<float>(),
      copies<double>(),
      copies<BFloat16>(),
      copies<Float16>(),
      direct<float, Budget>(),
      direct<double, Budget>(),
      direct<BFloat16, Budget>(),
      direct<Float16, Budget>()};
}

}  // namespace
}  // namespace torch_conv1d::cpu
