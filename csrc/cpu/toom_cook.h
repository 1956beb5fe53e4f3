// forward and grad_input of stride 1 with fewer multiplications: Toom-Cook's minimal filtering F(m, r), m = kToomCookOutputs
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
// so that groups share the transformed source: there is one group, or r = m. The sums over channels are those of the
// correlate tile, whose lanes are columns (t, e), with the groups as its taps; samples stand one after another in a row.
#pragma once

#include "../correlation.h"
#include "kernel_table.h"
#include "plan.h"

namespace torch_conv1d::cpu {

struct ToomCookForm {
  explicit ToomCookForm(const Correlation& c);

  int64_t taps, points;  // r, n
  int64_t tap_groups;
  int64_t dilation;
  int64_t tiles;       // of each phase
  Correlation source;  // one tap, which reads the first position of a tile

  int64_t positions() const { return kToomCookOutputs * dilation; }  // from one tile to the next
  // Columns of a sample, and positions of the source that they need, for q_len tiles.
  int64_t sample_columns(int64_t q_len) const { return (q_len + tap_groups - 1) * dilation; }
  int64_t source_positions(int64_t q_len) const { return (q_len + tap_groups) * positions(); }
};

struct ToomCookPlan : ToomCookForm {
  using ToomCookForm::ToomCookForm;

  int64_t row_tiles;
  // An item of work: samples, tiles of each phase, tiles of rows; one group. Products of `held_tiles` row tiles at all
  // points are held at a time.
  int64_t n_block, q_block, tile_block, held_tiles;
  bool worth_threads;

  int64_t row_begin(const Correlation& c, int64_t tile) const { return tile * c.rows / row_tiles; }
};

// Decided by the layer and the length of its result: never by the batch or the machine.
bool uses_toom_cook(const Correlation& c, Algorithm algorithm);

ToomCookPlan plan_toom_cook(const Correlation& c, int64_t sum_bytes, const Machine& machine);

// As correlate, for a correlation that suits.
void toom_cook(
    const Correlation& c,
    DType dtype,
    const KernelTable& table,
    View source,
    const void* w,
    const void* bias,
    MutableView out);

}  // namespace torch_conv1d::cpu
