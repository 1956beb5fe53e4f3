// An item of grad_weight whose lanes are the weights of an output channel, j = ci * kernel_size + k: the correlate
// tile, with the positions in the place of channels, makes rows of the result where they belong.
//
//   pack x; pack grad_y as the weights of row tiles
//   for some weights of a group at a time: their x as columns, [position][weight], in the L2 cache
//     for every tile of output channels: the sums over all positions, stored once
#pragma once

#include <algorithm>
#include <vector>

#include "../../division.h"
#include "packed_source.h"

namespace torch_conv1d::cpu {

template <class E>
class ColumnsItem {
  using T = SumOf<E>;

 public:
  ColumnsItem(const GradWeightCall<E>& call, const GradWeightBlock<E>& block)
      : call_(call),
        b_(block),
        together_(call.plan.reduction.together),
        positions_(call.p.n * call.p.l_out),
        x_(call, b_, call.plan.reduction.runs),
        offsets_(x_.offsets()),
        weights_(int64_t(offsets_.size())),
        chunks_(ceil_div(b_.co_count, kChunkRows)),
        gathered_(together_ ? b_.groups * b_.co_count * positions_ : 0),
        g_(b_.groups * b_.co_count * positions_),
        j_block_(std::min(call.plan.j_block, ceil_div(weights_, call.kernels.lanes) * call.kernels.lanes)),
        column_row_(innermost_row(j_block_ + PanelLayout::kAlignment)),
        columns_((positions_ + call.kernels.lanes) * column_row_),
        tile_(call.exchanged ? call.kernels.correlate_rows * j_block_ : 0) {
    offsets_.resize(size_t(weights_ + call.kernels.lanes));  // columns come in whole vectors
  }

  void run() const {
    pack_grad_y();
    for (int64_t chunk = 0; b_.has_bias && chunk < b_.groups * chunks_; ++chunk) add_bias(chunk);
    if (!weights_) return;
    x_.pack(0, call_.p.n, 0, call_.p.l_out);
    const int64_t length = call_.p.l_out * call_.layout.width;
    for (int64_t group = 0; group < b_.groups; ++group)
      for (int64_t j = 0; j < weights_; j += j_block_) {
        const int64_t count = std::min(j_block_, weights_ - j);
        for (int64_t m = 0; m < x_.panels(); ++m)
          call_.kernels.columns(
              {columns_.data() + m * length * column_row_, column_row_,
               x_.data() + m * x_.panel() + group * b_.ci_count * call_.layout.row, offsets_.data() + j, count,
               length});
        for (int64_t chunk = 0; chunk < chunks_; ++chunk) compute(group * chunks_ + chunk, j, count);
      }
  }

 private:
  // Rows of grad_y that are transposed together: whole vectors, and whole tiles, of 6 or 8 rows.
  static constexpr int64_t kChunkRows = 24;

  // Output channels of the item, in chunks that are numbered through its groups.
  int64_t first_row(int64_t chunk) const {
    return chunk / chunks_ * b_.co_count + chunk % chunks_ * b_.co_count / chunks_;
  }
  int64_t rows(int64_t chunk) const { return first_row(chunk + 1) - first_row(chunk); }
  int64_t channel(int64_t row) const { return b_.group0 * call_.c.rows + b_.co0 + row; }

  // [chunk][position][row], where positions are those of the columns: of samples one after another, or side by side.
  void pack_grad_y() const {
    const int64_t n = call_.p.n, length = call_.p.l_out;
    View from = call_.grad_y;
    from.data = static_cast<const E*>(from.data) + channel(0) * from.stride_c;
    const auto pack = [&]<class S>(const CopyKernels<S>& copy, const View& v, int64_t runs, int64_t run_length) {
      const int64_t run_step = together_ ? v.stride_l : v.stride_n, step = together_ ? 1 : v.stride_l;
      for (int64_t chunk = 0; chunk < b_.groups * chunks_; ++chunk) {
        const int64_t row = first_row(chunk), count = rows(chunk);
        for_each_run(run_step == run_length * step, runs, run_length, [&](int64_t run, int64_t positions) {
          copy.in(
              {g_.data() + row * positions_ + run * run_length * count, 1, count,
               static_cast<const S*>(v.data) + run * run_step + row * v.stride_c, v.stride_c, step, count, positions});
        });
      }
    };
    if (together_)
      pack(
          call_.copy_sums, gather_samples<E>(call_.copy, from, n, n, b_.groups * b_.co_count, length, gathered_.data()),
          length, n);
    else
      pack(call_.copy, from, n, length);
  }

  void add_bias(int64_t chunk) const {
    const int64_t row = first_row(chunk), count = rows(chunk);
    const T* g = g_.data() + row * positions_;
    T sums[kChunkRows] = {};
    for (int64_t i = 0; i < positions_; ++i, g += count)
      for (int64_t r = 0; r < count; ++r) sums[r] += g[r];
    call_.write_bias(b_.part, channel(row), sums, 1, count);
  }

  // Weights [j, j + count) of a chunk of output channels.
  void compute(int64_t chunk, int64_t j, int64_t count) const {
    const int64_t all = rows(chunk), tiles = ceil_div(all, call_.kernels.correlate_rows);
    for (int64_t tile = 0; tile < tiles; ++tile) {
      const int64_t row = tile * all / tiles, rows = (tile + 1) * all / tiles - row;
      constexpr int64_t kNoOffset = 0;
      CorrelateArgs<T> args;
      args.x = columns_.data();
      args.x_row = column_row_;
      args.offset = &kNoOffset;
      args.w = g_.data() + first_row(chunk) * positions_ + row;
      args.w_gap = all - rows;
      args.channels = positions_;
      args.taps = 1;
      args.init = nullptr;
      const int64_t co = channel(first_row(chunk) + row), at = b_.ci0 * call_.c.taps + j;
      if (call_.exchanged) {
        compute_tile(rows, count, args, tile_.data(), j_block_);
        call_.write_weights(b_.part, co, at, tile_.data(), j_block_, 1, rows, count);
      } else {
        compute_tile(rows, count, args, call_.grad_w + co * call_.weights + at, call_.weights);
      }
    }
  }

  template <class Out>
  void compute_tile(int64_t rows, int64_t count, CorrelateArgs<T>& args, Out* out, int64_t out_row) const {
    args.out_type = kDType<Out>;
    args.out_row = out_row;
    const auto& kernels = call_.kernels;
    for (int64_t left = count / kernels.lanes; left;) {
      const int64_t parts = ceil_div(left, kernels.correlate_vectors[rows]), vectors = ceil_div(left, parts);
      args.tiles = left - parts * (vectors - 1);
      args.out = out;
      kernels.correlate[rows][vectors](args);
      args.x += args.tiles * vectors * kernels.lanes;
      out += args.tiles * vectors * kernels.lanes;
      left -= args.tiles * vectors;
    }
    // A last vector that is not whole would reach into the next row.
    if (const int64_t rest = count % kernels.lanes) {
      alignas(64) Out edge[ArithmeticKernels<T>::kMaxRows * kDotLanes<T>];
      args.tiles = 1;
      args.out = edge;
      args.out_row = kernels.lanes;
      kernels.correlate[rows][1](args);
      for (int64_t r = 0; r < rows; ++r) std::copy_n(edge + r * kernels.lanes, rest, out + r * out_row);
    }
  }

  const GradWeightCall<E>& call_;
  const GradWeightBlock<E>& b_;
  const bool together_;
  const int64_t positions_;
  const PackedSource<E> x_;
  std::vector<int64_t> offsets_;
  const int64_t weights_;  // of an output channel
  const int64_t chunks_;   // of a group
  const Scratch<T> gathered_, g_;
  const int64_t j_block_, column_row_;
  const Scratch<T> columns_;
  const Scratch<T> tile_;  // of results that are written in another order
};

}  // namespace torch_conv1d::cpu
