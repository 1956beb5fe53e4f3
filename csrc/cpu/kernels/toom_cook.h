// The transforms of Toom-Cook's minimal filtering F(m, r) (contract: TransformArgs), generated from a list of points.
//
// m outputs of a kernel of r taps, y[i] = sum over s < r of w[s] * x[i + s], need n = m + r - 1 multiplications instead
// of m * r. The polynomials w and y' (the transposed problem: x' = w * y') are multiplied by their values at n points
// p[a]:
//
//     y = A^T ((G w) . (B^T x)),    A^T[i][a] = p[a]^i
//                                   G[a][s]   = p[a]^s / product over b != a of (p[a] - p[b])
//                                   B^T[a][s] = coefficient s of product over b != a of (z - p[b])
//
// The last point is infinity: the leading coefficient. Products over points b leave infinity out. All entries of A and
// B are sums of powers of two, so exact; those of G are rounded once.
#pragma once

#include "vector.h"

namespace torch_conv1d::cpu {
namespace {

struct Rational {
  int64_t numerator = 0, denominator = 1;

  constexpr Rational(int64_t n = 0, int64_t d = 1) {
    int64_t a = n < 0 ? -n : n, b = d < 0 ? -d : d;
    const int64_t sign = d < 0 ? -1 : 1;
    numerator = sign * n;
    denominator = sign * d;
    while (b) {
      const int64_t rest = a % b;
      a = b;
      b = rest;
    }
    numerator /= a;
    denominator /= a;
  }
  constexpr Rational operator+(Rational o) const {
    return {numerator * o.denominator + o.numerator * denominator, denominator * o.denominator};
  }
  constexpr Rational operator*(Rational o) const { return {numerator * o.numerator, denominator * o.denominator}; }
  constexpr Rational operator/(Rational o) const { return {numerator * o.denominator, denominator * o.numerator}; }
  constexpr Rational operator-(Rational o) const { return *this + o * Rational(-1); }
};

template <int Rows, int Columns>
struct Matrix {
  static constexpr int kRows = Rows, kColumns = Columns;
  double at[Rows][Columns] = {};
};

template <int Rows, int Columns>
constexpr Matrix<Columns, Rows> transposed(const Matrix<Rows, Columns>& m) {
  Matrix<Columns, Rows> t;
  for (int r = 0; r < Rows; ++r)
    for (int c = 0; c < Columns; ++c) t.at[c][r] = m.at[r][c];
  return t;
}

// The finite points for m = 4: of all sets of fractions of small powers of two, those that amplify rounding least
// (docs/numerics.md).
template <int Taps>
constexpr Rational kPoints[kToomCookOutputs + Taps - 2] = {};
template <>
constexpr Rational kPoints<2>[] = {{3, 8}, {-3, 8}, {5, 4}, {-5, 4}};
template <>
constexpr Rational kPoints<3>[] = {{0}, {3, 2}, {-3, 2}, {5, 8}, {-5, 8}};
template <>
constexpr Rational kPoints<4>[] = {{1, 4}, {-1, 4}, {3, 4}, {-3, 4}, {2}, {-2}};
template <>
constexpr Rational kPoints<5>[] = {{0}, {1}, {-1}, {1, 2}, {-1, 2}, {2}, {-2}};

template <int Taps>
struct ToomCook {
  static constexpr int kOutputs = int(kToomCookOutputs), kCount = kOutputs + Taps - 1, kFinite = kCount - 1;
  static constexpr const auto& points = kPoints<Taps>;

  static constexpr Rational power(Rational base, int exponent) {
    Rational result = 1;
    for (int i = 0; i < exponent; ++i) result = result * base;
    return result;
  }
  static constexpr double value(Rational r) { return double(r.numerator) / double(r.denominator); }

  static constexpr auto result_matrix() {  // A^T
    Matrix<kOutputs, kCount> m;
    for (int i = 0; i < kOutputs; ++i)
      for (int a = 0; a < kFinite; ++a) m.at[i][a] = value(power(points[a], i));
    m.at[kOutputs - 1][kFinite] = 1;
    return m;
  }
  static constexpr auto weight_matrix() {  // G
    Matrix<kCount, Taps> m;
    for (int a = 0; a < kFinite; ++a) {
      Rational product = 1;
      for (int b = 0; b < kFinite; ++b)
        if (b != a) product = product * (points[a] - points[b]);
      for (int s = 0; s < Taps; ++s) m.at[a][s] = value(power(points[a], s) / product);
    }
    m.at[kFinite][Taps - 1] = 1;
    return m;
  }
  static constexpr auto source_matrix() {  // B^T
    Matrix<kCount, kCount> m;
    for (int a = 0; a < kCount; ++a) {
      Rational product[kCount];  // coefficients
      product[0] = 1;
      for (int b = 0; b < kFinite; ++b) {
        if (b == a) continue;
        for (int s = kCount - 1; s >= 0; --s) product[s] = (s ? product[s - 1] : Rational(0)) - product[s] * points[b];
      }
      for (int s = 0; s < kCount; ++s) m.at[a][s] = value(product[s]);
    }
    return m;
  }

  struct Result {
    static constexpr auto matrix = result_matrix();
  };
  struct Weight {
    static constexpr auto matrix = weight_matrix();
  };
  struct Source {
    static constexpr auto matrix = source_matrix();
  };
  // What the gradient of the weights meets: A and G^T.
  struct ResultGradient {
    static constexpr auto matrix = transposed(result_matrix());
  };
  struct WeightGradient {
    static constexpr auto matrix = transposed(weight_matrix());
  };
};

template <class T, class Of>
void transform(const TransformArgs<T>& a) {
  constexpr auto kMatrix = Of::matrix;
  const Vector<T> init = broadcast(a.init);
  for (int64_t row = 0; row < a.rows; ++row) {
    const T* in = a.in + row * a.in_step;
    T* out = a.out + row * a.out_step;
    for (int64_t i = (a.count - 1) / kLanes<T> * kLanes<T>; i >= 0; i -= kLanes<T>) {
      Vector<T> x[kMatrix.kColumns];
      UNROLL for (int s = 0; s < kMatrix.kColumns; ++s)
        x[s] = load<Vector<T>>(in + a.offset[s] + i);
      UNROLL for (int o = 0; o < kMatrix.kRows; ++o) {
        Vector<T> sum = init;
        UNROLL for (int s = 0; s < kMatrix.kColumns; ++s) {
          if (kMatrix.at[o][s] != 0) sum += T(kMatrix.at[o][s]) * x[s];
          hide_origin(x[s]);
        }
        store(out + o * a.out_row + i, sum);
      }
    }
  }
}

// Runs of `dilation` elements between a row and its places, in Quads stores of four (0: as many as it takes): what is
// stored beyond a run is stored again by the next one.
template <class T, int Quads, bool Split>
void copy_runs(const PlacesArgs<T>& a) {
  typedef T Quad __attribute__((vector_size(4 * sizeof(T))));
  T* run = a.row;
  for (int64_t t = 0; t < a.tiles; ++t) {
    UNROLL for (int s = 0; s < int(kToomCookOutputs); ++s) {
      T* place = a.places + s * a.place_row + t * a.dilation;
      const T* from = Split ? run : place;
      T* to = Split ? place : run;
      if constexpr (Quads == 0) {
        for (int64_t e = 0; e < a.dilation; e += 4) store(to + e, load<Quad>(from + e));
      } else {
        UNROLL for (int e = 0; e < 4 * Quads; e += 4)
          store(to + e, load<Quad>(from + e));
      }
      run += a.dilation;
    }
  }
}
template <class T, bool Split>
void copy_dilated(const PlacesArgs<T>& a) {
  if (a.dilation <= 4)
    copy_runs<T, 1, Split>(a);
  else if (a.dilation <= 8)
    copy_runs<T, 2, Split>(a);
  else
    copy_runs<T, 0, Split>(a);
}

// Every second of the runs of Run elements that a and b hold, as many as fill each, from `first` on; and runs of a and
// b in turn, the lower or upper half of all.
template <int Run, class V, int... I>
inline V every_second_run(V a, V b, Indices<I...>, bool first) {
  constexpr int kCount = sizeof...(I), kRuns = kCount / Run;
  const auto at = [](int i, int from) constexpr {
    const int run = 2 * (i / Run) + from;
    return i / Run == kRuns ? i : run / kRuns * kCount + run % kRuns * Run + i % Run;
  };
  return first ? V(SHUFFLE(a, b, at(I, 1)...)) : V(SHUFFLE(a, b, at(I, 0)...));
}
template <int Run, class V, int... I>
inline V runs_in_turn(V a, V b, Indices<I...>, bool upper) {
  constexpr int kCount = sizeof...(I), kRuns = kCount / Run;
  const auto at = [](int i, int from) constexpr {
    const int run = i / Run + from;
    return i / Run == kRuns ? i : run % 2 * kCount + run / 2 * Run + i % Run;
  };
  return upper ? V(SHUFFLE(a, b, at(I, kRuns)...)) : V(SHUFFLE(a, b, at(I, 0)...));
}

// The same in registers, for as many tiles at a time as a vector holds runs.
template <class T, int Run>
void split_vectors(const PlacesArgs<T>& a) {
  constexpr int64_t kTiles = kLanes<T> / Run, kWidth = kTiles * Run;
  constexpr typename FirstIndices<kLanes<T>>::type kAll;
  const T* row = a.row;
  T* places = a.places;
  for (int64_t t = 0; t < a.tiles; t += kTiles, row += 4 * kWidth, places += kWidth) {
    Vector<T> x[4];
    UNROLL for (int v = 0; v < 4; ++v)
      x[v] = load<Vector<T>>(row + v * kWidth);
    const Vector<T> even_0 = every_second_run<Run>(x[0], x[1], kAll, false);
    const Vector<T> even_1 = every_second_run<Run>(x[2], x[3], kAll, false);
    const Vector<T> odd_0 = every_second_run<Run>(x[0], x[1], kAll, true);
    const Vector<T> odd_1 = every_second_run<Run>(x[2], x[3], kAll, true);
    store(places, every_second_run<Run>(even_0, even_1, kAll, false));
    store(places + a.place_row, every_second_run<Run>(odd_0, odd_1, kAll, false));
    store(places + 2 * a.place_row, every_second_run<Run>(even_0, even_1, kAll, true));
    store(places + 3 * a.place_row, every_second_run<Run>(odd_0, odd_1, kAll, true));
  }
}
template <class T, int Run>
void join_vectors(const PlacesArgs<T>& a) {
  constexpr int64_t kTiles = kLanes<T> / Run, kWidth = kTiles * Run;
  constexpr typename FirstIndices<kLanes<T>>::type kAll;
  const T* places = a.places;
  T* row = a.row;
  for (int64_t t = 0; t < a.tiles; t += kTiles, row += 4 * kWidth, places += kWidth) {
    Vector<T> x[4];
    UNROLL for (int s = 0; s < 4; ++s)
      x[s] = load<Vector<T>>(places + s * a.place_row);
    const Vector<T> even_0 = runs_in_turn<Run>(x[0], x[2], kAll, false);
    const Vector<T> even_1 = runs_in_turn<Run>(x[0], x[2], kAll, true);
    const Vector<T> odd_0 = runs_in_turn<Run>(x[1], x[3], kAll, false);
    const Vector<T> odd_1 = runs_in_turn<Run>(x[1], x[3], kAll, true);
    store(row, runs_in_turn<Run>(even_0, odd_0, kAll, false));
    store(row + kWidth, runs_in_turn<Run>(even_0, odd_0, kAll, true));
    store(row + 2 * kWidth, runs_in_turn<Run>(even_1, odd_1, kAll, false));
    store(row + 3 * kWidth, runs_in_turn<Run>(even_1, odd_1, kAll, true));
  }
}

// One instruction shuffles two vectors of 64 bytes, and three those of 32, which only neighbours repay.
template <class T, bool Split, int Run = 1>
void move_places(const PlacesArgs<T>& a) {
  static_assert(kToomCookOutputs == 4);
  constexpr int kMostRun = VECTOR_BYTES == 64 ? kLanes<T> / 2 : 1;
  if constexpr (Run > kMostRun) {
    copy_dilated<T, Split>(a);
  } else if (a.dilation > Run) {
    move_places<T, Split, Run + 1>(a);
  } else if constexpr (Split) {
    split_vectors<T, Run>(a);
  } else {
    join_vectors<T, Run>(a);
  }
}

template <class T>
void split(const PlacesArgs<T>& a) {
  move_places<T, true>(a);
}
template <class T>
void join(const PlacesArgs<T>& a) {
  move_places<T, false>(a);
}

}  // namespace
}  // namespace torch_conv1d::cpu
