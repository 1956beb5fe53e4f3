// Selection is a pure function of the problem and of a few facts of the machine; it runs nothing, and says why.
//
// Plans decide what is computed when and by whom, never the order of a sum: results do not depend on them.
#pragma once

#include <string>

#include "../correlation.h"
#include "kernel_table.h"
#include "panel.h"
#include "parallel.h"

namespace torch_conv1d::cpu {

// Size of the second-level cache of a core, in bytes.
int64_t l2_cache_bytes();

struct Machine {
  int64_t lanes;                     // of a vector
  int64_t correlate_rows;            // most rows of a correlate tile
  const int64_t* correlate_vectors;  // vectors of a correlate tile of [rows]
  int64_t slide_vectors;             // of a slide tile
  int64_t l2_bytes;
  int64_t threads;
};

template <class T>
Machine machine_with(const ArithmeticKernels<T>& kernels) {
  return {kernels.lanes,         kernels.correlate_rows, kernels.correlate_vectors,
          kernels.slide_vectors, l2_cache_bytes(),       num_threads()};
}

// Blocks of one forward or grad_input call. An item of work covers n_block samples, group_block groups, q_block
// positions (of every phase) and tile_block row tiles of each group.
struct CorrelationPlan {
  int64_t row_tiles;  // of a group; their heights differ by one at most
  int64_t n_block, group_block, q_block, tile_block;
  bool pack_weights;
  bool worth_threads;
  PanelLayout layout;  // of q_block positions

  int64_t row_begin(const Correlation& c, int64_t tile) const { return tile * c.rows / row_tiles; }
};

// The correlation itself, or its sliding form where that has fewer loads to do.
Correlation choose_form(const Correlation& c, const Machine& machine);

CorrelationPlan plan_correlation(const Correlation& c, int64_t sum_bytes, bool unit_stride, const Machine& machine);

// How the reduction over (n, lo) of grad_weight is cut. Sums depend on these numbers, so they follow from the shape of the
// problem alone: not from the machine, its caches or its threads.
struct ReductionPlan {
  bool lanes_are_positions;  // the dot tile; otherwise the outer tile, whose lanes are output channels
  int64_t runs, length;      // a block is `length` positions of each of `runs` samples
  int64_t blocks_per_sample, blocks;
  int64_t parts;  // consecutive blocks form a part; the sums of the parts are added in order
};

// The blocks of the result; they change no sum. An item of work is one part of the reduction for group_block groups,
// co_block output channels and ci_block input channels of each.
struct GradWeightPlan {
  ReductionPlan reduction;
  int64_t group_block, co_block, ci_block;
  bool worth_threads;
};

ReductionPlan plan_reduction(const Conv1dProblem& p);
GradWeightPlan plan_grad_weight(const Conv1dProblem& p, int64_t sum_bytes, const Machine& machine);

}  // namespace torch_conv1d::cpu
