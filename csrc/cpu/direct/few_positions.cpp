// forward and grad_input of dense layers of few positions: lanes are rows of the result, and each weight is read once,
// packed in the caches just before its products.
//
//   copy all positions that are read, [sample][position][channel]: padding, layout and dtype end here
//   for every band of rows, in parallel:
//     for a few channels at a time:
//       pack their weights, [channel][tap][row]
//       for each row tile, phase, sample: tiles of (positions x vectors of rows) go on with the sums [sample][position][row]
//     transpose these to where the result wants them: its phases need no interleaving
//   fold back what a padding mode repeats (folded_ends.h)
//
// The chains are those of correlate, and so are the bits.
#include <algorithm>
#include <type_traits>

#include "../../division.h"
#include "../dispatch.h"
#include "../drivers.h"
#include "../packing/fetch.h"
#include "../packing/folded_ends.h"
#include "../packing/positions.h"
#include "../packing/weights.h"
#include "../parallel.h"
#include "../plan/plan.h"
#include "../scratch.h"

namespace torch_conv1d::cpu {
namespace {

template <class E>
class FewPositionsCall {
  using T = SumOf<E>;

 public:
  explicit FewPositionsCall(const CorrelationOperands& o)
      : kernels_(arithmetic_kernels<E>(o.table)),
        copy_(copy_kernels<E>(o.table)),
        copy_sums_(copy_kernels<T>(o.table)),
        c_(o.c.with_outside()),
        lead_(o.c.lead()),
        out_length_(o.c.out_length),
        source_(o.source),
        out_(o.out),
        w_(static_cast<const E*>(o.w)),
        folded_(o.c),
        plan_(plan_few_positions(c_, sizeof(T), machine_with(kernels_))),
        x_row_(innermost_row(c_.groups * c_.channels)),
        x_(plan_.n_block * plan_.positions * x_row_),
        init_(o.bias ? c_.groups * c_.rows + kernels_.lanes : 0),
        inits_(o.bias ? init_.data() : nullptr),
        offset_(plan_.layout.tap_offset) {
    for (int64_t& offset : offset_) offset = (offset - c_.first_offset()) * x_row_;
    if (o.bias) std::copy_n(static_cast<const T*>(o.bias), c_.groups * c_.rows, init_.data());
  }

  void run() {
    for (int64_t n = 0; n < c_.n; n += plan_.n_block) run_samples(n, std::min(plan_.n_block, c_.n - n));
    folded_.fold(copy_, out_, plan_.worth_threads);
  }

 private:
  // Channels of the source whose rows share an item.
  static constexpr int64_t kPackedChannels = 64;

  void run_samples(int64_t n0, int64_t samples) const {
    const int64_t channels = c_.groups * c_.channels, parts = ceil_div(channels, kPackedChannels);
    parallel_for(samples * parts, plan_.worth_threads, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t n = i / parts, channel = i % parts * kPackedChannels;
        pack_positions(
            c_, copy_, source_, n0 + n, channel, std::min(kPackedChannels, channels - channel), c_.first_offset(),
            plan_.positions, x_.data() + n * plan_.positions * x_row_ + channel, x_row_);
      }
    });
    const int64_t bands = ceil_div(plan_.row_tiles, plan_.band_tiles);
    parallel_for(c_.groups * bands, plan_.worth_threads, [&](int64_t begin, int64_t end) {
      for (int64_t band = begin; band < end; ++band)
        run_band(n0, samples, band / bands, band % bands * plan_.band_tiles);
    });
  }

  void run_band(int64_t n0, int64_t samples, int64_t group, int64_t tile0) const {
    const int64_t tile_end = std::min(tile0 + plan_.band_tiles, plan_.row_tiles);
    const int64_t row0 = plan_.row_begin(c_, tile0), rows = plan_.row_begin(c_, tile_end) - row0;
    const int64_t row = ceil_div(rows, kernels_.lanes) * kernels_.lanes, results = c_.q_total() * c_.phases;
    const Scratch<T> sums(samples * results * row), packed(plan_.channel_block * c_.taps * row);
    const Scratch<T> converted(std::is_same_v<E, T> ? 0 : plan_.channel_block * c_.taps * rows);
    for (int64_t channel = 0; channel < c_.channels; channel += plan_.channel_block) {
      const int64_t channels = std::min(plan_.channel_block, c_.channels - channel);
      const WeightView<T> w = in_sum_type(
          c_, copy_, w_ + group * c_.w_group + row0 * c_.w_row + channel * c_.w_channel, rows, channels,
          converted.data());
      if (plan_.from_memory) fetch_weights(group, row0, rows, channel + channels);
      // Where the taps of channels follow each other, all of them are one transposition.
      const int64_t at_once = w.channel == c_.taps ? channels : 1;
      for (int64_t c = 0; c < channels; c += at_once)
        copy_sums_.in(
            {packed.data() + c * c_.taps * row, 1, row, w.data + c * w.channel, w.row, 1, rows, at_once * c_.taps});
      for (int64_t tile = tile0; tile < tile_end; ++tile) {
        const int64_t before = plan_.row_begin(c_, tile) - row0, height = plan_.row_begin(c_, tile + 1) - row0 - before;
        compute(
            samples, group, channel, channels, row0 + before, height, packed.data() + before, sums.data() + before,
            row);
      }
    }
    const int64_t first = group * c_.rows + row0;
    for (int64_t n = 0; n < samples; ++n) {
      const T* of_sample = sums.data() + n * results * row;
      if (folded_.take(0, out_length_))
        for (int64_t r = 0; r < rows; ++r)
          folded_.keep(n0 + n, first + r, -lead_, 1, of_sample + r, row, c_.out_length);
      copy_.out(
          {static_cast<E*>(out_.data) + (n0 + n) * out_.stride_n + first * out_.stride_c, out_.stride_c, out_.stride_l,
           of_sample + lead_ * row, 1, row, rows, out_length_});
    }
  }

  // Those of the block of channels that begins with `channel`.
  void fetch_weights(int64_t group, int64_t row0, int64_t rows, int64_t channel) const {
    const int64_t channels = std::min(plan_.channel_block, c_.channels - channel);
    const E* const w = w_ + group * c_.w_group + row0 * c_.w_row + channel * c_.w_channel;
    if (c_.w_row > c_.w_channel)
      fetch_rows(w, c_.w_row, rows, channels * c_.taps);
    else
      fetch_rows(w, c_.w_channel, channels, rows * c_.taps);
  }

  // What some channels add to the sums of a tile of `rows` rows from `first` on; weights and sums are in rows of a
  // band.
  void compute(
      int64_t samples,
      int64_t group,
      int64_t channel,
      int64_t channels,
      int64_t first,
      int64_t rows,
      const T* w,
      T* sums,
      int64_t row) const {
    const int64_t vectors = ceil_div(rows, kernels_.lanes), q_total = c_.q_total();
    // Tiles whose heights differ by one.
    const int64_t tiles = ceil_div(q_total, kernels_.innermost_positions[vectors]), height = ceil_div(q_total, tiles);
    const int64_t high = q_total - tiles * (height - 1);
    InnermostArgs<T> args;
    args.x_step = c_.source_stride * x_row_;
    args.w_channel = c_.taps * row;
    args.init = inits_ ? inits_ + group * c_.rows + first : nullptr;
    args.out_row = c_.phases * row;
    args.goes_on = channel > 0;
    for (int64_t phase = 0; phase < c_.phases; ++phase) {
      const int64_t tap0 = plan_.layout.phase_begin[size_t(phase)];
      args.taps = plan_.layout.phase_taps(phase);
      if (args.taps == 0 && args.goes_on) continue;
      args.channels = args.taps == 0 ? 0 : channels;
      args.offset = offset_.data() + tap0;
      // The taps of a phase are equally far apart.
      const int64_t* tap = plan_.layout.tap_order.data() + tap0;
      args.w = args.taps > 0 ? w + tap[0] * row : w;
      args.w_tap = args.taps > 1 ? (tap[1] - tap[0]) * row : 0;
      for (int64_t n = 0; n < samples; ++n) {
        args.x = x_.data() + n * plan_.positions * x_row_ + group * c_.channels + channel;
        args.out = sums + (n * q_total * c_.phases + phase) * row;
        args.tiles = high;
        kernels_.innermost[height][vectors](args);
        if (high == tiles) continue;
        args.x += high * height * args.x_step;
        args.out += high * height * args.out_row;
        args.tiles = tiles - high;
        kernels_.innermost[height - 1][vectors](args);
      }
    }
  }

  const ArithmeticKernels<T>& kernels_;
  const CopyKernels<E>& copy_;
  const CopyKernels<T>& copy_sums_;
  const Correlation c_;  // with what a padding mode folds back, as in correlate_call.h
  const int64_t lead_, out_length_;
  const View source_;
  const MutableView out_;
  const E* const w_;
  const FoldedEnds<E> folded_;
  const FewPositionsPlan plan_;
  const int64_t x_row_;
  const Scratch<T> x_;
  const Scratch<T> init_;  // with room for the lanes beyond the last row
  const T* const inits_;
  std::vector<int64_t> offset_;
};

}  // namespace

void few_positions(const CorrelationOperands& o) {
  with_element(o.dtype, [&](auto element) { FewPositionsCall<decltype(element)>(o).run(); });
}

}  // namespace torch_conv1d::cpu
