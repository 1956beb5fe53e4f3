// One call of correlate.cpp: what its items of work share, and which part of it each one covers.
#pragma once

#include <algorithm>
#include <type_traits>
#include <vector>

#include "../../division.h"
#include "../dispatch.h"
#include "../drivers.h"
#include "../packing/folded_ends.h"
#include "../packing/packed_weights.h"
#include "../plan/plan.h"
#include "../scratch.h"

namespace torch_conv1d::cpu {

template <class E>
struct CorrelateCall {
  using T = SumOf<E>;

  CorrelateCall(const CorrelationOperands& o, const PairKernels* pair_kernels, bool sums_go_on = false)
      : table(o.table),
        pairs(pair_kernels),
        kernels(arithmetic_kernels<E>(table)),
        tiles(kernels.correlate),
        copy(copy_kernels<E>(table)),
        copy_sums(copy_kernels<T>(table)),
        result(o.c),
        c(result.with_outside()),
        source(o.source),
        out(o.out),
        plan(plan_correlation(
            c,
            sizeof(T),
            {.unit_stride = source.stride_l == 1 && out.stride_l == 1,
             .narrowness = kNarrowness<E>,
             .source_row = source.stride_c,
             .pairs = pairs != nullptr},
            machine_with(kernels))),
        width(plan.layout.width),
        together(width > 1),
        lead(together ? 0 : result.lead()),
        out_length(together ? c.out_length : result.out_length),
        folded(result, together),
        one_order(o.one_order),
        goes_on(sums_go_on),
        direct_tiles(plan.direct > DirectTile::sums),
        in_place(c.phases == 1 && !direct_tiles && (together || out.stride_l == 1)),
        joined(joined_phases<T>(c, plan.layout, kernels.correlate_rows)),
        stored(std::is_same_v<E, T> && (!plan.pack_weights || (c.rows == 1 && c.phases == 1))),
        stored_weights(static_cast<const E*>(o.w)),
        packed(c, plan, joined, copy, copy_sums, stored ? nullptr : stored_weights, pairs),
        converted(direct_tiles && !std::is_same_v<E, T> ? c.groups * c.w_group : 0),
        direct_weights(std::is_same_v<E, T> ? static_cast<const T*>(o.w) : converted.data()),
        inits(static_cast<const T*>(o.bias)) {
    if constexpr (std::is_same_v<E, BFloat16>)
      if (pairs) tiles = pairs->correlate;
    if (direct_tiles && !std::is_same_v<E, T>)
      copy.in({converted.data(), 0, 1, stored_weights, 0, 1, 1, c.groups * c.w_group});
  }

  // Of a tile, as PackedWeights has them.
  WeightView<T> weights_of(int64_t row, int64_t rows, int64_t tap0) const {
    if constexpr (std::is_same_v<E, T>)
      if (stored) return {stored_weights + row / c.rows * c.w_group + row % c.rows * c.w_row, c.w_row, c.w_channel};
    return packed.of(row, rows, tap0);
  }

  const KernelTable& table;
  const PairKernels* const pairs;  // null: channels are multiplied one by one
  const ArithmeticKernels<T>& kernels;
  const typename ArithmeticKernels<T>::Correlate (*tiles)[ArithmeticKernels<T>::kMaxVectors + 1];  // of [rows][vectors]
  const CopyKernels<E>& copy;
  const CopyKernels<T>& copy_sums;
  const Correlation& result;
  // With what a padding mode folds back: position p of the result is result.lead() + p of these.
  const Correlation c;
  const View source;
  const MutableView out;
  const CorrelationPlan plan;
  const int64_t width;  // samples side by side in a panel
  const bool together;  // whether there are several
  // What is written: position p of it is lead + p of c. Of samples side by side that is all of c, which is folded when
  // they are scattered.
  const int64_t lead, out_length;
  const FoldedEnds<E> folded;
  const bool one_order;     // a single row is summed as several are
  const bool goes_on;       // the result has the sums of the channels before these
  const bool direct_tiles;  // tiles read and write the elements of tensors
  // They write sums to rows of the result; or of what is scattered, where samples are together.
  const bool in_place;
  const std::vector<int64_t> joined;
  // The weights: where the caller has them (with one row a group and all taps in one phase, that is the packed order),
  // or packed; and for direct tiles in the type of the sums.
  const bool stored;
  const E* const stored_weights;
  PackedWeights<E> packed;
  const Scratch<T> converted;
  const T* const direct_weights;
  const T* const inits;
};

// Some samples, groups, row tiles of each, and positions.
template <class E>
struct CorrelateBlock {
  CorrelateBlock(const CorrelateCall<E>& call, int64_t n, const RowTiles& part, int64_t q)
      : c(call.c),
        plan(call.plan),
        width(call.width),
        n0(n),
        samples(ceil_div(std::min(plan.n_block, c.n - n), width)),
        group0(part.group0),
        groups(part.groups),
        tile0(part.tile0),
        tiles(part.tiles),
        q0(q),
        q_len(std::min(plan.q_block, c.q_total() - q)) {}

  const Correlation& c;
  const CorrelationPlan& plan;
  const int64_t width, n0, samples, group0, groups, tile0, tiles, q0, q_len;

  // What stands side by side as sample n of `samples`.
  int64_t first_sample(int64_t n) const { return n0 + n * width; }
  int64_t sample_count(int64_t n) const { return std::min(width, c.n - first_sample(n)); }

  // Tiles are numbered through the groups, so that their rows are consecutive channels of the result.
  int64_t tile_count() const { return groups * tiles; }
  int64_t group(int64_t tile) const { return tile / tiles; }
  int64_t first_row(int64_t tile) const {
    return (group0 + group(tile)) * c.rows + plan.row_begin(c, tile0 + tile % tiles);
  }
  int64_t row_count(int64_t tile) const {
    const int64_t t = tile0 + tile % tiles;
    return plan.row_begin(c, t + 1) - plan.row_begin(c, t);
  }
};

}  // namespace torch_conv1d::cpu
