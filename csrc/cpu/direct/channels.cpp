// forward and grad_input of depthwise layers whose lanes are channels.
//
//   pack the weights once: [phase][tap][channel]
//   for every item (sample, channels, positions), in parallel:
//     point at the rows of the source (copies of them where lanes would not be what they should)
//     for each phase, for a few vectors of channels at a time: tiles of (positions x vectors)
//     add the positions outside the result that a padding mode folds back into it
#include "../drivers.h"

#include <cstdlib>
#include <vector>

#include "../../division.h"
#include "../dispatch.h"
#include "../packing/channel_rows.h"
#include "../parallel.h"
#include "../plan/plan.h"

namespace torch_conv1d::cpu {
namespace {

template <class E>
class ChannelsCall {
  using T = SumOf<E>;
  static constexpr int64_t kLine = 64 / int64_t(sizeof(T));

 public:
  ChannelsCall(
      const Correlation& c, const KernelTable& table, View source, const void* w, const void* bias, MutableView out)
      : kernels_(arithmetic_kernels<E>(table)),
        copy_(copy_kernels<E>(table)),
        table_(table),
        c_(c),
        source_(source),
        out_(out),
        in_place_(
            source.stride_c == 1 && c.taps <= taps_in_place(sizeof(T)) && c.channels == 1 &&
            (std::is_same_v<E, T> || (out.stride_c == 1 && c.rows == 1 && !c.folds()))),
        copies_result_(out.stride_c != 1 || c.rows > 1 || !(std::is_same_v<E, T> || in_place_)),
        plan_(
            plan_channels(c, sizeof(T), c.rows * c.channels, copies_result_ || c.channels > 1, machine_with(kernels_))),
        w_row_((c.groups + kLine - 1) / kLine / 2 * 2 * kLine + kLine),
        w_(c.channels * c.taps * c.rows * w_row_),
        source_rows_((plan_.q_block - 1) * c.source_stride + c.last_offset() - c.first_offset() + 1),
        phase_taps_(taps_by_phase()),
        init_(bias ? c.rows * c.groups : 0),
        inits_(bias ? init_.data() : nullptr) {
    for (int64_t channel = 0; channel < c.channels; ++channel)
      for (int64_t row = 0; row < c.rows; ++row)
        copy_.in(
            {w_.data() + (channel * c.taps * c.rows + row) * w_row_, 1, c.rows * w_row_,
             static_cast<const E*>(w) + channel * c.w_channel + row * c.w_row, c.w_group, 1, c.groups, c.taps});
    if (bias)
      copy_kernels<T>(table).in({init_.data(), 1, c.groups, static_cast<const T*>(bias), c.rows, 1, c.groups, c.rows});
  }

  void run() const {
    const int64_t q_blocks = ceil_div(c_.q_total(), plan_.q_block);
    parallel_for(c_.n * plan_.channel_blocks * q_blocks, plan_.worth_threads, [&](int64_t begin, int64_t end) {
      for (int64_t item = begin; item < end; ++item) {
        const int64_t q0 = item % q_blocks * plan_.q_block;
        const int64_t block = item / q_blocks % plan_.channel_blocks, channel0 = block * plan_.channel_block;
        const int64_t channels = block + 1 < plan_.channel_blocks ? plan_.channel_block : c_.groups - channel0;
        const int64_t n = item / q_blocks / plan_.channel_blocks;
        in_place_ ? run_item<E>(n, channel0, channels, q0) : run_item<T>(n, channel0, channels, q0);
      }
    });
  }

 private:
  // On rows of elements R.
  template <class R>
  void run_item(int64_t n, int64_t channel0, int64_t channels, int64_t q0) const {
    const int64_t q_len = std::min(plan_.q_block, c_.q_total() - q0);
    const View source{
        static_cast<const E*>(source_.data) + n * source_.stride_n + channel0 * c_.channels * source_.stride_c,
        source_.stride_n, source_.stride_c, source_.stride_l};
    const int64_t first = q0 * c_.source_stride + c_.first_offset();
    const int64_t count = (q_len - 1) * c_.source_stride + c_.last_offset() - c_.first_offset() + 1;
    ChannelRows<E, R> rows(channels, c_.channels, 1, in_place_, source_rows_);
    rows.point_at(copy_, source, c_.source_length, c_.source_padding, first, count);

    // Positions of the result, of all phases.
    const int64_t begin = q0 * c_.phases, length = std::min(q_len * c_.phases, c_.out_length - begin);
    const std::vector<Fold> folds = folds_into(begin, begin + length);
    const int64_t span = c_.last_offset() - c_.first_offset() + 1;
    ChannelRows<E, R> outside(channels, c_.channels, 1, in_place_, folds.empty() ? 0 : source_rows_);
    const Scratch<R> sums(folds.empty() ? 0 : channels);
    const auto compute_row = [&](int64_t row, R* to, int64_t to_row) {
      for (int64_t phase = 0; phase < c_.phases; ++phase)
        compute(
            phase, rows, row, channel0, channels, ceil_div(length - phase, c_.phases), to + phase * to_row,
            c_.phases * to_row);
      for (const Fold& fold : folds) {
        outside.point_at(
            copy_, source, c_.source_length, c_.source_padding,
            floor_div(fold.position, c_.phases) * c_.source_stride + c_.first_offset(), span);
        compute(modulo(fold.position, c_.phases), outside, row, channel0, channels, 1, sums.data(), channels);
        R* const target = to + (fold.target - begin) * to_row;
        if constexpr (std::is_same_v<R, T>)
          for (int64_t i = 0; i < channels; ++i) target[i] += sums[i];
      }
    };
    E* const out =
        static_cast<E*>(out_.data) + n * out_.stride_n + channel0 * c_.rows * out_.stride_c + begin * out_.stride_l;
    if constexpr (std::is_same_v<E, R>)
      if (!copies_result_) return compute_row(0, out, out_.stride_l);
    if constexpr (std::is_same_v<R, T>) write_copies(out, length, channels, compute_row);
  }

  // The result of an item, made as copies.
  template <class ComputeRow>
  void write_copies(E* out, int64_t length, int64_t channels, ComputeRow&& compute_row) const {
    const Scratch<T> result(c_.rows * length * channels);
    for (int64_t row = 0; row < c_.rows; ++row) compute_row(row, result.data() + row * length * channels, channels);
    if (c_.rows > 1) {
      // Those of a group are neighbours.
      for (int64_t i = 0; i < length; ++i)
        copy_.out(
            {out + i * out_.stride_l, out_.stride_c, c_.rows * out_.stride_c, result.data() + i * channels,
             length * channels, 1, c_.rows, channels});
    } else {
      // Transposed a line of channels at a time, all positions of each: rows of the result are written as so many
      // streams.
      const int64_t piece = out_.stride_c == 1 ? channels : kLine;
      for (int64_t channel = 0; channel < channels; channel += piece)
        copy_.out(
            {out + channel * out_.stride_c, out_.stride_l, out_.stride_c, result.data() + channel, channels, 1, length,
             std::min(piece, channels - channel)});
    }
  }

  // A position outside the result, and the one that it is added to.
  struct Fold {
    int64_t position, target;
  };
  // Those with targets in [begin, end), in the order of folded_ends.h.
  std::vector<Fold> folds_into(int64_t begin, int64_t end) const {
    std::vector<Fold> folds;
    const auto add = [&](int64_t first, int64_t last) {
      for (int64_t position = first; position < last; ++position) {
        const int64_t target = padded_source(position, c_.out_length, c_.fold);
        if (target >= begin && target < end) folds.push_back({position, target});
      }
    };
    add(-c_.fold_left, 0);
    add(c_.out_length, c_.out_length + c_.fold_right);
    return folds;
  }

  // Where the taps of a phase find their positions of the source and their weights.
  struct PhaseTaps {
    std::vector<int64_t> offset, w_offset;
    int64_t spacing = 0;  // of positions that meet the same of the source with taps kFirShift apart
  };

  template <class R>
  void compute(
      int64_t phase,
      const ChannelRows<E, R>& rows,
      int64_t row,
      int64_t channel0,
      int64_t channels,
      int64_t positions,
      R* out,
      int64_t out_row) const {
    if (positions <= 0) return;
    const T* const w = w_.data() + row * w_row_ + channel0;
    const T* const init = inits_ ? inits_ + row * c_.groups + channel0 : nullptr;
    const PhaseTaps& taps = phase_taps_[size_t(phase)];
    if constexpr (std::is_same_v<R, T>)
      if (taps.spacing > 0 && 2 * positions >= kernels_.channel_fir_positions * taps.spacing)
        return compute_spaced(taps, rows, w, init, channels, positions, out, out_row);
    // Rows in place are read along the channels; of copies, which many taps read, a tile of them stays in the L1 cache.
    const int64_t lanes = kernels_.lanes, most = in_place_ ? channels : kernels_.channel_vectors * lanes;
    for (int64_t channel = 0, count; channel < channels; channel += count) {
      count = channels - channel >= most + lanes ? most : channels - channel;
      direct_kernels<R>(table_).channels(
          {rows.data(), c_.source_stride, taps.offset.data(), channel, w + channel, taps.w_offset.data(),
           int64_t(taps.offset.size()), init ? init + channel : nullptr, out + channel, out_row, positions, count,
           plan_.from_memory});
    }
  }

  // Tiles of positions that are `spacing` apart.
  void compute_spaced(
      const PhaseTaps& taps,
      const ChannelRows<E, T>& rows,
      const T* w,
      const T* init,
      int64_t channels,
      int64_t positions,
      T* out,
      int64_t out_row) const {
    const int64_t spacing = taps.spacing, x_step = c_.source_stride * rows.row();
    const int64_t x_tap = (taps.offset[1] - taps.offset[0]) / kFirShift<T> * rows.row();
    const int64_t parts = ceil_div(positions, kernels_.channel_fir_positions * spacing);
    for (int64_t begin = 0; begin < channels; begin += kernels_.lanes) {
      // The last vector ends where the channels do.
      const int64_t channel = std::min(begin, channels - kernels_.lanes);
      for (int64_t part = 0; part < parts; ++part) {
        const int64_t first = part * positions / parts, length = (part + 1) * positions / parts - first;
        // From `begin` on there are `height` positions for a tile; where offsets fall, its last one comes first.
        const auto compute_tiles = [&](int64_t begin, int64_t end, int64_t height) {
          if (begin == end || height == 0) return;
          const int64_t at = first + begin + (x_tap > 0 ? 0 : (height - 1) * spacing);
          kernels_.channel_fir[height](
              {rows.data()[0] + at * x_step + taps.offset[0] * rows.row() + channel, x_step, x_tap,
               w + channel + taps.w_offset[0], (taps.w_offset[1] - taps.w_offset[0]) / kFirShift<T>,
               int64_t(taps.offset.size()), init ? init + channel : nullptr, out + at * out_row + channel, out_row,
               (x_tap > 0 ? spacing : -spacing) * out_row, end - begin});
        };
        compute_tiles(0, length % spacing, length / spacing + 1);
        compute_tiles(length % spacing, spacing, length / spacing);
      }
    }
  }

  std::vector<PhaseTaps> taps_by_phase() const {
    std::vector<PhaseTaps> phases(size_t(c_.phases));
    for (int64_t phase = 0; phase < c_.phases; ++phase) {
      PhaseTaps& taps = phases[size_t(phase)];
      const std::vector<int64_t> ordered = taps_in_order(phase);
      for (int64_t channel = 0; channel < c_.channels; ++channel)
        for (const int64_t k : ordered) {
          taps.offset.push_back(channel * source_rows_ + c_.offset(k) - c_.first_offset());
          taps.w_offset.push_back((channel * c_.taps + k) * c_.rows * w_row_);
        }
      const int64_t count = int64_t(taps.offset.size());
      // The second in order is kFirShift taps from the first.
      if (count > kFirShift<T> && c_.rows * c_.channels == 1 &&
          (taps.offset[1] - taps.offset[0]) % c_.source_stride == 0)
        taps.spacing = std::abs(taps.offset[1] - taps.offset[0]) / c_.source_stride;
    }
    return phases;
  }

  // The taps of a phase in the order in which the fir tile adds them, or that of several rows, so that layouts share
  // their bits.
  std::vector<int64_t> taps_in_order(int64_t phase) const {
    std::vector<int64_t> taps, ordered;
    for (int64_t k = 0; k < c_.taps; ++k)
      if (c_.phase(k) == phase) taps.push_back(k);
    if (c_.rows > 1) return taps;
    const int64_t count = int64_t(taps.size()), chunk = kFirShared * kFirShift<T>;
    for (int64_t begin = 0; begin < count; begin += chunk)
      for (int64_t first = begin; first < std::min(begin + kFirShift<T>, count); ++first)
        for (int64_t t = first; t < std::min(begin + chunk, count); t += kFirShift<T>)
          ordered.push_back(taps[size_t(t)]);
    return ordered;
  }

  const ArithmeticKernels<T>& kernels_;
  const CopyKernels<E>& copy_;
  const KernelTable& table_;
  const Correlation& c_;
  const View source_;
  const MutableView out_;
  const bool in_place_;       // rows of the source are read where they are
  const bool copies_result_;  // which is written where it goes otherwise
  const ChannelsPlan plan_;
  // An odd number of cache lines, so that the taps of a few channels share the sets of the L1 cache evenly.
  const int64_t w_row_;
  const Scratch<T> w_;         // [channel of a group][tap][row][group]
  const int64_t source_rows_;  // that an item reads
  const std::vector<PhaseTaps> phase_taps_;
  const Scratch<T> init_;
  const T* const inits_;
};

}  // namespace

void filter_channels(const CorrelationOperands& o) {
  with_element(o.dtype, [&](auto element) {
    ChannelsCall<decltype(element)>(o.c, o.table, o.source, o.w, o.bias, o.out).run();
  });
}

}  // namespace torch_conv1d::cpu
