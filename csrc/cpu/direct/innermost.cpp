// forward and grad_input of dense layers whose channels are innermost on both sides: lanes are rows of the result, so nothing
// is transposed.
//
//   pack the weights, of as many row tiles as are held at a time (packed_weights.h)
//   for every item (sample, groups, positions, row tiles), in parallel:
//     copy the positions that are read, [position][channel]: padding and dtype end here
//     for each row tile, for each phase: tiles of (positions x vectors of rows), each the whole sum in registers
//
// The chains are those of correlate, and so are the bits.
#include "../drivers.h"

#include <algorithm>
#include <type_traits>

#include "../../division.h"
#include "../dispatch.h"
#include "../packing/packed_weights.h"
#include "../packing/positions.h"
#include "../parallel.h"
#include "../plan/plan.h"
#include "../scratch.h"

namespace torch_conv1d::cpu {
namespace {

template <class E>
class InnermostCall {
  using T = SumOf<E>;

 public:
  InnermostCall(
      const Correlation& c, const KernelTable& table, View source, const void* w, const void* bias, MutableView out)
      : kernels_(arithmetic_kernels<E>(table)),
        copy_(copy_kernels<E>(table)),
        c_(c),
        source_(source),
        out_(out),
        plan_(plan_innermost(c, sizeof(T), machine_with(kernels_))),
        joined_(size_t(c.phases), 1),
        packed_(c_, plan_, joined_, copy_, copy_kernels<T>(table), static_cast<const E*>(w)),
        init_(bias ? c.groups * c.rows + kernels_.lanes : 0),
        inits_(bias ? init_.data() : nullptr) {
    if (bias) std::copy_n(static_cast<const T*>(bias), c.groups * c.rows, init_.data());
  }

  void run() {
    for_held_tiles(c_, plan_, [&](const RowTiles& part) {
      packed_.pack(part);
      run_items(part);
    });
  }

 private:
  void run_items(const RowTiles& part) const {
    for_items(c_, plan_, part, [&](int64_t n0, const RowTiles& block, int64_t q0) { run_item(n0, block, q0); });
  }

  void run_item(int64_t n, const RowTiles& block, int64_t q0) const {
    const int64_t q_len = std::min(plan_.q_block, c_.q_total() - q0);
    const int64_t positions = (q_len - 1) * c_.source_stride + c_.last_offset() - c_.first_offset() + 1;
    const int64_t channels = block.groups * c_.channels, x_row = innermost_row(channels);
    const Scratch<T> panel(positions * x_row);
    pack_positions(
        c_, copy_, source_, n, block.group0 * c_.channels, channels, q0 * c_.source_stride + c_.first_offset(),
        positions, panel.data(), x_row);
    std::vector<int64_t> offset(plan_.layout.tap_offset);
    for (int64_t& o : offset) o = (o - c_.first_offset()) * x_row;

    const Scratch<T> result(q_len * plan_.tile_rows());
    for (int64_t g = 0; g < block.groups; ++g)
      for (int64_t tile = block.tile0; tile < block.tile0 + block.tiles; ++tile)
        for (int64_t phase = 0; phase < c_.phases; ++phase) {
          const int64_t row0 = plan_.row_begin(c_, tile), rows = plan_.row_begin(c_, tile + 1) - row0;
          const int64_t row = (block.group0 + g) * c_.rows + row0, tap0 = plan_.layout.phase_begin[phase];
          const int64_t position = q0 * c_.phases + phase;
          InnermostArgs<T> args;
          args.x = panel.data() + g * c_.channels;
          args.x_step = c_.source_stride * x_row;
          args.offset = offset.data() + tap0;
          args.w = packed_.of(row, rows, tap0).data;
          args.channels = c_.channels;
          args.taps = plan_.layout.phase_taps(phase);
          args.w_tap = rows;
          args.w_channel = args.taps * rows;
          args.init = inits_ ? inits_ + row : nullptr;
          compute(
              args, std::min(q_len, ceil_div(c_.out_length - position, c_.phases)), rows,
              static_cast<E*>(out_.data) + n * out_.stride_n + row + position * out_.stride_l,
              c_.phases * out_.stride_l, result);
        }
  }

  // `rows` neighbours at each of `positions` positions, which are out_step apart.
  void compute(
      InnermostArgs<T> args, int64_t positions, int64_t rows, E* out, int64_t out_step, const Scratch<T>& result)
      const {
    const int64_t vectors = ceil_div(rows, kernels_.lanes);
    if constexpr (std::is_same_v<E, T>)
      if (rows == vectors * kernels_.lanes) {
        args.out = out;
        args.out_row = out_step;
        compute_tiles(args, positions, vectors);
        return;
      }
    args.out = result.data();
    args.out_row = vectors * kernels_.lanes;
    compute_tiles(args, positions, vectors);
    if (positions > 0) copy_.out({out, out_step, 1, result.data(), args.out_row, 1, positions, rows});
  }

  // Tiles whose heights differ by one.
  void compute_tiles(InnermostArgs<T>& args, int64_t positions, int64_t vectors) const {
    for (int64_t left = positions, most = kernels_.innermost_positions[vectors]; left > 0;) {
      const int64_t parts = ceil_div(left, most), height = ceil_div(left, parts);
      args.tiles = left - parts * (height - 1);
      kernels_.innermost[height][vectors](args);
      args.x += args.tiles * height * args.x_step;
      args.out += args.tiles * height * args.out_row;
      left -= args.tiles * height;
    }
  }

  const ArithmeticKernels<T>& kernels_;
  const CopyKernels<E>& copy_;
  const Correlation& c_;
  const View source_;
  const MutableView out_;
  const CorrelationPlan plan_;
  const std::vector<int64_t> joined_;
  PackedWeights<E> packed_;
  const Scratch<T> init_;  // with room for the lanes beyond the last row
  const T* const inits_;
};

}  // namespace

void correlate_innermost(const CorrelationOperands& o) {
  with_element(o.dtype, [&](auto element) {
    InnermostCall<decltype(element)>(o.c, o.table, o.source, o.w, o.bias, o.out).run();
  });
}

}  // namespace torch_conv1d::cpu
