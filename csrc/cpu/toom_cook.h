// forward and grad_input with fewer multiplications: Toom-Cook's minimal filtering F(m, r), m = kToomCookOutputs
// results of r taps for n = m + r - 1 multiplications, for the instruction set of `table`.
//
// With a dilation of d = |step| and the taps counted upwards in the source, position q = (t * m + i) * d + e of the result
// belongs to phase e < d, tile t, place i < m; a kernel longer than r is a sum over groups g of r taps:
//
//     source[c, a, u, e] = sum over s < n of B^T[a][s] * source[c, (u * m + s) * d + e + first]
//     weight[r, c, a, g] = sum over s < r of G[a][s] * w[r, c, g * r + s]
//     product[r, a, t, e] = sum over c, g of weight[r, c, a, g] * source[c, a, t + g * r / m, e]
//     out[r, (t * m + i) * d + e] = sum over a < n of A^T[i][a] * product[r, a, t, e]
//
// so that groups share the transformed source: there is one group, or r = m. A stride of s makes it a layer of s times as many
// channels, or rows, without a stride; taps k = t * s + j of a kernel are taps t of its channel or row j < s:
//
//     forward       channel (c, j) at position q is source[c, q * s + j + first]
//     grad_input    row (r, j) at position q is out[r, begin + q * s + j], with -begin the padding modulo s
//
// Where a padding mode repeats positions, `begin` is the first one outside, and what is outside is added to what it repeats.
//
// The sums over channels are those of the correlate tile, whose lanes are columns (t, e), with groups and channels j as its taps; samples
// stand one after another in a row.
#pragma once

#include "../correlation.h"
#include "../division.h"
#include "kernel_table.h"
#include "plan.h"

namespace torch_conv1d::cpu {

struct ToomCookForm {
  explicit ToomCookForm(const Correlation& c);

  int64_t phases, source_phases;  // of the stride: one is 1
  int64_t rows, channels;         // (r, j) and (c, j) of a group
  int64_t tap_count;              // of each (r, j) and (c, j); those beyond the kernel are zeros
  int64_t taps, points;           // r, n
  int64_t tap_groups;
  int64_t dilation;
  int64_t begin;       // position of the result where q = 0
  int64_t length;      // positions q
  int64_t tiles;       // of each phase of the dilation
  Correlation source;  // taps j, which read the first position of a tile

  int64_t positions() const { return kToomCookOutputs * dilation; }  // from one tile to the next
  // Runs of a dilation that fill vectors are transformed where they are; others are first split into the places of tiles.
  bool runs_fill(int64_t lanes) const { return dilation >= lanes; }
  // Columns of a sample, and positions of the source that they need, for q_len tiles.
  int64_t sample_columns(int64_t q_len) const { return (q_len + tap_groups - 1) * dilation; }
  int64_t source_positions(int64_t q_len) const { return (q_len + tap_groups) * positions(); }
};

struct ToomCookPlan : ToomCookForm {
  using ToomCookForm::ToomCookForm;

  int64_t row_tiles, row_unit;  // tiles begin at multiples of row_unit: phases of a channel are written together
  // An item of work: samples, tiles of each phase, tiles of rows; one group. Products of `held_tiles` row tiles at all
  // points are held at a time.
  int64_t n_block, q_block, tile_block, held_tiles;
  bool shared_weights;  // transformed once, for all items; otherwise by each item, a few row tiles at a time

  int64_t row_begin(int64_t tile) const { return tile * (rows / row_unit) / row_tiles * row_unit; }
  int64_t most_rows() const { return ceil_div(rows / row_unit, row_tiles) * row_unit; }
};

// Whether the products saved repay the transforms of the source and of the result.
bool saves_products(const Correlation& c, Algorithm algorithm);

// Whether they repay those of the weights too: decided by the layer and the length of its result, never by the batch or the machine.
bool uses_toom_cook(const Correlation& c, Algorithm algorithm);

ToomCookPlan plan_toom_cook(const Correlation& c, int64_t sum_bytes, const Machine& machine);

}  // namespace torch_conv1d::cpu
