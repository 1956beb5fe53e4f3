// forward and grad_input of dense layers whose channels are innermost on both sides: lanes are rows of the result, so
// nothing is transposed.
//
//   pack the weights, of as many row tiles as are held at a time (packed_weights.h)
//   for every item (sample, groups, positions, row tiles), in parallel:
//     copy the positions that are read, [position][channel]: padding and dtype end here
//     for each row tile, for each phase: tiles of (positions x vectors of rows), each the whole sum in registers
//   fold back what a padding mode repeats: of whole rows at once, of longer ones when all are there (folded_ends.h)
//
// The chains are those of correlate, and so are the bits.
#include "../drivers.h"

#include <algorithm>
#include <type_traits>

#include "../../division.h"
#include "../dispatch.h"
#include "../packing/folded_ends.h"
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
  InnermostCall(const CorrelationOperands& o, const PairKernels* pairs)
      : kernels_(arithmetic_kernels<E>(o.table)),
        pairs_(pairs),
        tiles_(kernels_.innermost),
        copy_(copy_kernels<E>(o.table)),
        result_(o.c),
        c_(o.c.with_outside()),
        lead_(o.c.lead()),
        source_(o.source),
        out_(o.out),
        plan_(plan_innermost(c_, sizeof(T), machine_with(kernels_))),
        folds_rows_(o.c.folds() && plan_.q_block >= c_.q_total()),
        folded_(o.c, folds_rows_),
        joined_(size_t(c_.phases), 1),
        packed_(c_, plan_, joined_, copy_, copy_kernels<T>(o.table), static_cast<const E*>(o.w), pairs),
        init_(o.bias ? c_.groups * c_.rows + kernels_.lanes : 0),
        inits_(o.bias ? init_.data() : nullptr) {
    if constexpr (std::is_same_v<E, BFloat16>)
      if (pairs_) tiles_ = pairs_->innermost;
    if (o.bias) std::copy_n(static_cast<const T*>(o.bias), c_.groups * c_.rows, init_.data());
  }

  void run() {
    for_held_tiles(c_, plan_, [&](const RowTiles& part) {
      packed_.pack(part);
      run_items(part);
    });
    folded_.fold(copy_, out_, plan_.worth_threads);
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
    if constexpr (std::is_same_v<E, BFloat16>)
      for (int64_t g = 0; pairs_ && g < block.groups; ++g)
        join_neighbours(*pairs_, panel.data() + g * c_.channels, x_row, positions, c_.channels);
    std::vector<int64_t> offset(plan_.layout.tap_offset);
    for (int64_t& o : offset) o = (o - c_.first_offset()) * x_row;

    // Positions of the result, the first and the last of them, which may be outside.
    const int64_t begin = q0 * c_.phases, end = std::min(begin + q_len * c_.phases, c_.out_length);
    const bool keeps = folded_.take(begin - lead_, end - lead_);
    const Scratch<T> result((end - begin) * plan_.tile_rows());
    for (int64_t g = 0; g < block.groups; ++g)
      for (int64_t tile = block.tile0; tile < block.tile0 + block.tiles; ++tile) {
        const int64_t row0 = plan_.row_begin(c_, tile), rows = plan_.row_begin(c_, tile + 1) - row0;
        const int64_t row = (block.group0 + g) * c_.rows + row0,
                      width = ceil_div(rows, kernels_.lanes) * kernels_.lanes;
        E* const out = static_cast<E*>(out_.data) + n * out_.stride_n + row;
        const auto compute = [&](T* to, int64_t to_row) {
          for (int64_t phase = 0; phase < c_.phases; ++phase) {
            const int64_t tap0 = plan_.layout.phase_begin[phase];
            InnermostArgs<T> args;
            args.x = panel.data() + g * c_.channels;
            args.x_step = c_.source_stride * x_row;
            args.offset = offset.data() + tap0;
            args.w = packed_.of(row, rows, tap0).data;
            args.taps = plan_.layout.phase_taps(phase);
            args.channels = args.taps == 0 ? 0 : pairs_ ? ceil_div(c_.channels, int64_t(2)) : c_.channels;
            args.w_tap = rows;
            args.w_channel = args.taps * rows;
            args.init = inits_ ? inits_ + row : nullptr;
            args.out = to + phase * to_row;
            args.out_row = c_.phases * to_row;
            compute_tiles(args, ceil_div(end - begin - phase, c_.phases), width / kernels_.lanes);
          }
        };
        if constexpr (std::is_same_v<E, T>)
          if (rows == width && !keeps && !folds_rows_) {
            compute(out + (begin - lead_) * out_.stride_l, out_.stride_l);
            continue;
          }
        compute(result.data(), width);
        if (folds_rows_) fold_outside(result_, result.data() + lead_ * width, width);
        if (keeps)
          for (int64_t r = 0; r < rows; ++r)
            folded_.keep(n, row + r, begin - lead_, 1, result.data() + r, width, end - begin);
        const int64_t first = std::clamp(lead_, begin, end), last = std::clamp(lead_ + result_.out_length, first, end);
        copy_.out(
            {out + (first - lead_) * out_.stride_l, out_.stride_l, 1, result.data() + (first - begin) * width, width, 1,
             last - first, rows});
      }
  }

  // Tiles whose heights differ by one.
  void compute_tiles(InnermostArgs<T>& args, int64_t positions, int64_t vectors) const {
    for (int64_t left = positions, most = kernels_.innermost_positions[vectors]; left > 0;) {
      const int64_t parts = ceil_div(left, most), height = ceil_div(left, parts);
      args.tiles = left - parts * (height - 1);
      tiles_[height][vectors](args);
      args.x += args.tiles * height * args.x_step;
      args.out += args.tiles * height * args.out_row;
      left -= args.tiles * height;
    }
  }

  const ArithmeticKernels<T>& kernels_;
  const PairKernels* const pairs_;  // null: channels are multiplied one by one
  const typename ArithmeticKernels<T>::Innermost (
      *tiles_)[ArithmeticKernels<T>::kMaxVectors + 1];  // of [positions][vectors]
  const CopyKernels<E>& copy_;
  // result_ with what a padding mode folds back: position p of the result is lead_ + p of these.
  const Correlation& result_;
  const Correlation c_;
  const int64_t lead_;
  const View source_;
  const MutableView out_;
  const CorrelationPlan plan_;
  const bool folds_rows_;  // an item has all of a row
  const FoldedEnds<E> folded_;
  const std::vector<int64_t> joined_;
  PackedWeights<E> packed_;
  const Scratch<T> init_;  // with room for the lanes beyond the last row
  const T* const inits_;
};

}  // namespace

void correlate_innermost(const CorrelationOperands& o) {
  with_element(o.dtype, [&](auto element) { InnermostCall<decltype(element)>(o, nullptr).run(); });
}

void innermost_pairs(const CorrelationOperands& o) { InnermostCall<BFloat16>(o, o.table.pairs).run(); }

}  // namespace torch_conv1d::cpu
