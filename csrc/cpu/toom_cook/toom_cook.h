// forward and grad_input with fewer multiplications: Toom-Cook's minimal filtering F(m, r), m = kToomCookOutputs
// results of r taps for n = m + r - 1 multiplications, for the instruction set of `table`.
//
// With a dilation of d = |step| and the taps counted upwards in the source, position q = (t * m + i) * d + e of the
// result belongs to phase e < d, tile t, place i < m; a kernel longer than r is a sum over groups g of r taps:
//
//     source[c, a, u, e] = sum over s < n of B^T[a][s] * source[c, (u * m + s) * d + e + first]
//     weight[r, c, a, g] = sum over s < r of G[a][s] * w[r, c, g * r + s]
//     product[r, a, t, e] = sum over c, g of weight[r, c, a, g] * source[c, a, t + g * r / m, e]
//     out[r, (t * m + i) * d + e] = sum over a < n of A^T[i][a] * product[r, a, t, e]
//
// so that groups share the transformed source: there is one group, or r = m. A stride of s makes it a layer of s times
// as many channels, or rows, without a stride; taps k = t * s + j of a kernel are taps t of its channel or row j < s:
//
//     forward       channel (c, j) at position q is source[c, q * s + j + first]
//     grad_input    row (r, j) at position q is out[r, begin + q * s + s - 1 - j], with taps counted from the last one, k = K - 1
//
// where begin + padding - K is a multiple of s. Taps beyond the kernel, t * s + j >= K, are zeros. The last point is
// infinity, where a group has the value of its last tap: those (g, j) of a channel, or phases j of a row, that lack it
// have no products there. They come last. K = 3, s = 2 is two taps and one tap: 4 products each and one more, 9 for 12
// of a direct sum.
//
// Where a padding mode repeats positions, `begin` is outside, and what is outside is added to what it repeats.
//
// The sums over channels are those of the correlate tile, whose lanes are columns (t, e), with groups and channels j as
// its taps; samples stand one after another in a row.
#pragma once

#include <algorithm>

#include "../../correlation.h"
#include "../../division.h"
#include "../kernel_table.h"
#include "../plan/plan.h"

namespace torch_conv1d::cpu {

// The longest vector of any instruction set, in elements: room for what a transform stores beyond the end.
constexpr int64_t kVectorRoom = 16;

// Elements from one row to the next: whole cache lines, and not a multiple of 2 KiB, so that rows do not compete for the
// same lines of the L1 cache.
inline int64_t spaced_row(int64_t count) {
  const int64_t row = ceil_div(count, kVectorRoom) * kVectorRoom;
  return row % 512 ? row : row + kVectorRoom;
}
// The same with the room.
inline int64_t padded_row(int64_t count) { return spaced_row(count + kVectorRoom); }

struct ToomCookForm {
  explicit ToomCookForm(const Correlation& c);

  int64_t phases, source_phases;  // of the stride: one is 1
  int64_t rows, channels;         // (r, j) and (c, j) of a group
  int64_t tap_count;              // of (r, j) and (c, j)
  int64_t taps, points;           // r, n
  int64_t tap_groups;
  int64_t last_phases;  // phases j that have the last tap of the last group
  int64_t dilation;
  int64_t begin;       // position of the result where q = 0
  int64_t length;      // positions q
  int64_t tiles;       // of each phase of the dilation
  Correlation source;  // taps j, which read the first position of a tile

  // Of a channel, (g, j) that have products at a point; of a row, phases j.
  int64_t terms(int64_t point) const {
    return (tap_groups - 1) * source_phases +
           (point < points - 1 ? source_phases : std::min(last_phases, source_phases));
  }
  int64_t row_phases(int64_t point) const {
    return point < points - 1 || tap_groups > 1 ? phases : std::min(last_phases, phases);
  }
  // Products of a column, for a channel c and a row r.
  int64_t products() const { return (points - 1) * terms(0) * phases + terms(points - 1) * row_phases(points - 1); }
  // Weights of a row and channel, at all points.
  int64_t weights() const { return points * tap_groups * phases * source_phases; }
  // In products, what a column takes: its source, of some channels c, and all, of some rows r too.
  double source_cost(double of_channels) const;
  double column_cost(double of_rows, double of_channels) const;
  int64_t positions() const { return kToomCookOutputs * dilation; }  // from one tile to the next
  // Runs of a dilation that fill vectors are transformed where they are; others are first split into the places of
  // tiles.
  bool runs_fill(int64_t lanes) const { return dilation >= lanes; }
  // Columns of the source beyond those of the result, which tap groups read.
  int64_t halo() const { return (tap_groups - 1) * dilation; }
  // Columns of a sample, and positions of the source that they need, for q_len tiles.
  int64_t sample_columns(int64_t q_len) const { return q_len * dilation + halo(); }
  int64_t source_positions(int64_t q_len) const { return (q_len + tap_groups) * positions(); }
  // Elements from one row of columns to the next: those of the samples, and what their transform stores beyond the last.
  int64_t row(int64_t samples, int64_t q_len, int64_t lanes) const {
    const int64_t stored = runs_fill(lanes) ? dilation : sample_columns(q_len);
    return spaced_row(samples * sample_columns(q_len) + ceil_div(stored, lanes) * lanes - stored);
  }
};

// Rows whose weights and products are held at a time, in the order [j][r]: some channels r of the result, at some
// phases j.
struct ToomCookBand {
  int64_t r0, channels, j0, phases;
  int64_t rows() const { return channels * phases; }
};

struct ToomCookPlan : ToomCookForm {
  using ToomCookForm::ToomCookForm;

  int64_t band_channels, band_phases;  // the most of a band: all phases, one channel, or a cache line of channels
  // An item of work: samples, tiles of each phase of the dilation, bands; one group.
  int64_t n_block, q_block, band_block;
  bool shared_weights;      // transformed once, for all items; otherwise by each item, those of a band
  int64_t weight_channels;  // and of so many channels c at a time

  int64_t column_blocks(int64_t n) const { return ceil_div(n, n_block) * ceil_div(tiles, q_block); }
  int64_t band_rows() const { return band_channels * band_phases; }
  int64_t bands() const { return ceil_div(rows / phases, band_channels) * ceil_div(phases, band_phases); }
  ToomCookBand band(int64_t index) const {
    const int64_t of_channels = ceil_div(phases, band_phases), r0 = index / of_channels * band_channels,
                  j0 = index % of_channels * band_phases;
    return {r0, std::min(band_channels, rows / phases - r0), j0, std::min(band_phases, phases - j0)};
  }
  // Rows of a band that have products at a point: those come first.
  int64_t rows_at(const ToomCookBand& band, int64_t point) const {
    return std::clamp<int64_t>(row_phases(point) - band.j0, 0, band.phases) * band.channels;
  }
};

// Whether the products saved repay the transforms: decided by the layer and the length of its result, never by the
// batch or the machine.
bool uses_toom_cook(const Correlation& c, Algorithm algorithm, int64_t sum_bytes);

// The same of grad_weight, for a forward correlation. The batch is summed over anyway, so it has a say here.
bool sums_by_toom_cook(const Correlation& c, Algorithm algorithm);

// `rows_innermost`: channels of the result are neighbours in memory.
ToomCookPlan plan_toom_cook(const Correlation& c, int64_t sum_bytes, bool rows_innermost, const Machine& machine);

}  // namespace torch_conv1d::cpu
