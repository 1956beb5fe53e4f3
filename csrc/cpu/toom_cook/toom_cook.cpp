// The block loops of Toom-Cook's filtering.
//
//   transform the weights, if they are few: [group][band][point][channel][tap group][j][row of the band]
//   for every item (samples, group, tiles of positions, bands), in parallel:
//     pack a few channels; split each into the places of its tiles and transform: [point][channel][sample][tile][phase]
//     for every band:
//       for its channels, or some of them:
//         transform their weights, unless that has been done
//         at each point, products of all rows: [point][row][sample][tile][phase] += ...
//       for each sample: transform each row, join its places, copy the rows into the result
//   fold back what a padding mode repeats
#include "toom_cook.h"

#include <algorithm>
#include <vector>

#include "../dispatch.h"
#include "../drivers.h"
#include "../packing/fetch.h"
#include "../packing/folded_ends.h"
#include "../parallel.h"
#include "toom_cook_source.h"
#include "toom_cook_weights.h"

namespace torch_conv1d::cpu {
namespace {

template <class E>
class ToomCookCall {
  using T = SumOf<E>;

 public:
  explicit ToomCookCall(const CorrelationOperands& o)
      : kernels_(arithmetic_kernels<E>(o.table)),
        copy_(copy_kernels<E>(o.table)),
        c_(o.c),
        source_(o.source),
        out_(o.out),
        plan_(plan_toom_cook(c_, sizeof(T), out_.stride_l != 1, machine_with(kernels_))),
        weights_(plan_, c_, kernels_, copy_, static_cast<const E*>(o.w)),
        folded_(c_),
        inits_(static_cast<const T*>(o.bias)) {}

  void run() const {
    const int64_t band_blocks = ceil_div(plan_.bands(), plan_.band_block);
    const int64_t q_blocks = ceil_div(plan_.tiles, plan_.q_block);
    const int64_t n_blocks = ceil_div(c_.n, plan_.n_block);
    parallel_for(n_blocks * c_.groups * q_blocks * band_blocks, true, [&](int64_t begin, int64_t end) {
      for (int64_t item = begin; item < end; ++item) {
        int64_t rest = item;
        const int64_t q0 = rest % q_blocks * plan_.q_block;
        const int64_t group = (rest /= q_blocks) % c_.groups;
        const int64_t n0 = (rest /= c_.groups) % n_blocks * plan_.n_block;
        Item(*this, n0, group, q0, rest / n_blocks * plan_.band_block).run();
      }
    });
    folded_.fold(copy_, out_, true);
  }

 private:
  class Item {
   public:
    Item(const ToomCookCall& call, int64_t n0, int64_t group, int64_t q0, int64_t band0)
        : call_(call),
          c_(call.c_),
          plan_(call.plan_),
          n0_(n0),
          samples_(std::min(plan_.n_block, c_.n - n0)),
          group_(group),
          q0_(q0),
          q_len_(std::min(plan_.q_block, plan_.tiles - q0)),
          band0_(band0),
          last_band_(std::min(band0 + plan_.band_block, plan_.bands())),
          sample_(plan_.sample_columns(q_len_)),
          runs_(samples_apart() ? samples_ : 1),
          run_vectors_(ceil_div(samples_ / runs_ * sample_ - plan_.halo(), call.kernels_.lanes)),
          row_(plan_.row(samples_, q_len_, call.kernels_.lanes)),
          source_(plan_.points * plan_.channels * row_ + kVectorRoom),
          products_(plan_.points * plan_.band_rows() * row_ + kVectorRoom),
          weights_(call.weights_.of_item()),
          place_row_(padded_row(plan_.source_positions(q_len_) / kToomCookOutputs)),
          places_(kToomCookOutputs * place_row_),
          result_row_(padded_row(plan_.source_positions(q_len_) + kToomCookOutputs * kVectorRoom)),
          tiles_in_place_(tiles_in_place()),
          channels_written_(call.out_.stride_l == 1 ? 1 : channels_transposed()),
          result_(channels_written_ * plan_.band_phases * result_row_) {
      for (int64_t g = 0; g < plan_.tap_groups; ++g)
        for (int64_t j = 0; j < plan_.source_phases; ++j) offsets_.push_back(j * row_ + g * plan_.dilation);
    }

    void run() const {
      transform_source();
      for (int64_t i = band0_; i < last_band_; ++i) {
        const ToomCookBand band = plan_.band(i);
        for (int64_t first = 0; first < c_.channels; first += plan_.weight_channels) {
          const int64_t channels = std::min(plan_.weight_channels, c_.channels - first);
          const T* const weights = call_.weights_.get(group_, i, first, channels, weights_.data());
          for (int64_t point = 0; point < plan_.points; ++point)
            multiply(band, point, first, channels, weights + point * call_.weights_.point(band.rows(), channels));
        }
        for (int64_t n = 0; n < samples_; ++n) write(band, n);
      }
    }

   private:
    void transform_source() const {
      for (int64_t n = 0; n < samples_; ++n)
        ToomCookSource<E>{plan_, call_.kernels_, call_.copy_, call_.source_, n0_ + n, group_ * c_.channels, c_.channels,
                          q0_,   q_len_}
            .transform(source_.data() + n * sample_, row_, plan_.channels * row_);
    }

    // Whether vectors of the columns of each sample, which do not reach into those of the next, are clearly fewer than
    // with the columns between them.
    bool samples_apart() const {
      const int64_t lanes = call_.kernels_.lanes, columns = q_len_ * plan_.dilation, vectors = ceil_div(columns, lanes);
      return vectors * lanes <= sample_ &&
             5 * samples_ * vectors <= 4 * ceil_div(samples_ * sample_ - plan_.halo(), lanes);
    }

    // Tiles whose results go where they belong as they are, and what is stored beyond them to positions of this item.
    int64_t tiles_in_place() const {
      const bool as_they_are = std::is_same_v<E, T> && call_.out_.stride_l == 1 && plan_.phases == 1;
      if (!as_they_are || c_.fold_left + c_.fold_right > 0) return 0;
      const int64_t first = q0_ * plan_.positions(), end = std::min(first + q_len_ * plan_.positions(), c_.out_length);
      return std::max<int64_t>(end - first - kToomCookOutputs * call_.kernels_.lanes, 0) / plan_.positions();
    }

    // Channels of the result that are transposed together: so many that both sides are several cache lines, as far as
    // they fit the L2 cache.
    int64_t channels_transposed() const {
      constexpr int64_t kChannels = 64, kBytes = 512 << 10;
      const int64_t fitting = kBytes / (plan_.band_phases * result_row_ * int64_t(sizeof(T)));
      return std::clamp<int64_t>(fitting, 1, std::min(kChannels, plan_.band_channels));
    }

    T* products(const ToomCookBand& band, int64_t point) const { return products_.data() + point * band.rows() * row_; }

    // Products of a band and channels c at one point, zeros for rows that have none.
    void multiply(const ToomCookBand& band, int64_t point, int64_t first, int64_t channels, const T* weights) const {
      const auto& kernels = call_.kernels_;
      const int64_t rows = plan_.rows_at(band, point);
      const int64_t row_tiles = ceil_div(rows, kernels.correlate_rows);
      T* const out = products(band, point);
      std::fill_n(out + rows * row_, (band.rows() - rows) * row_, T(0));
      CorrelateArgs<T> args{};
      args.x_row = plan_.source_phases * row_;
      args.offset = offsets_.data();
      args.channels = channels;
      args.taps = plan_.terms(point);
      args.w_skip = (plan_.terms(0) - args.taps) * band.rows();
      args.out_row = row_;
      args.goes_on = first > 0;
      for (int64_t tile = 0; tile < row_tiles; ++tile) {
        const int64_t row0 = tile * rows / row_tiles, tile_rows = (tile + 1) * rows / row_tiles - row0;
        args.w = weights + row0;
        args.w_gap = band.rows() - tile_rows;
        for (int64_t run = 0; run < runs_; ++run) {
          args.x = source_.data() + (point * plan_.channels + first * plan_.source_phases) * row_ + run * sample_;
          T* to = out + row0 * row_ + run * sample_;
          for (int64_t left = run_vectors_; left > 0;) {
            const int64_t vectors = ceil_div(left, ceil_div(left, kernels.correlate_vectors[tile_rows]));
            args.tiles = left / vectors;
            args.out = to;
            kernels.correlate[tile_rows][vectors](args);
            const int64_t done = args.tiles * vectors;
            args.x += done * kernels.lanes;
            to += done * kernels.lanes;
            left -= done;
          }
        }
      }
    }

    // The results of a band in sample n.
    void write(const ToomCookBand& band, int64_t n) const {
      const int64_t phase = plan_.phases - band.j0 - band.phases;
      for (int64_t r = 0; r < band.channels; r += channels_written_) {
        const int64_t count = std::min(channels_written_, band.channels - r), channel = group_ * c_.rows + band.r0 + r;
        E* const row = first_position(n, channel);
        if (call_.out_.stride_l == 1)
          fetch_rows(row, 0, 1, std::min(q_len_ * plan_.positions() * plan_.phases, c_.out_length));
        for (int64_t i = 0; i < count; ++i)
          for (int64_t p = 0; p < band.phases; ++p)
            transform_result(
                products(band, 0) + ((band.phases - 1 - p) * band.channels + r + i) * row_ + n * sample_,
                band.rows() * row_, call_.inits_ ? call_.inits_[channel + i] : T(0), row,
                result_.data() + (i * band.phases + p) * result_row_);
        if (call_.out_.stride_l == 1)
          write_rows(n, channel, phase, result_.data(), result_row_, band.phases);
        else
          for (int64_t p = 0; p < band.phases; ++p)
            write_rows(n, channel, phase + p, result_.data() + p * result_row_, band.phases * result_row_, count);
      }
    }

    // Of the item, in a channel of the result, as far as nothing is folded.
    E* first_position(int64_t n, int64_t channel) const {
      const MutableView& out = call_.out_;
      return static_cast<E*>(out.data) + (n0_ + n) * out.stride_n + channel * out.stride_c +
             q0_ * plan_.positions() * plan_.phases * out.stride_l;
    }

    // The first tiles_in_place_ tiles from `in_place` on, the others where they would follow in `rest`.
    void transform_result(const T* products, int64_t point, T init, void* in_place, T* rest) const {
      int64_t offsets[2 * kToomCookOutputs];
      for (int64_t a = 0; a < plan_.points; ++a) offsets[a] = a * point;
      const auto transform = call_.kernels_.transform_result[plan_.taps];
      const bool runs_fill = plan_.runs_fill(call_.kernels_.lanes);
      if (!runs_fill)
        transform({products, 0, offsets, init, places_.data(), 0, place_row_, 1, q_len_ * plan_.dilation});
      const auto move = [&](int64_t first, int64_t tiles, T* to) {
        if (tiles == 0) return;
        const int64_t column = first * plan_.dilation;
        if (runs_fill)
          transform(
              {products + column, plan_.dilation, offsets, init, to, plan_.positions(), plan_.dilation, tiles,
               plan_.dilation});
        else
          call_.kernels_.join({places_.data() + column, place_row_, to, tiles, plan_.dilation});
      };
      move(0, tiles_in_place_, static_cast<T*>(in_place));
      move(tiles_in_place_, q_len_ - tiles_in_place_, rest + tiles_in_place_ * plan_.positions());
    }

    // Positions q of `count` rows from (channel, phase) on, together as far as all of them lie inside the result: rows
    // of phases that follow each other, or of channels.
    void write_rows(int64_t n, int64_t channel, int64_t phase, const T* rows, int64_t from_row, int64_t count) const {
      const MutableView& out = call_.out_;
      const bool channels_together = out.stride_l != 1;
      const int64_t phases = plan_.phases, length = q_len_ * plan_.positions();
      const int64_t first = plan_.begin + q0_ * plan_.positions() * phases + phase;
      const int64_t last_phase = channels_together ? 0 : count - 1;
      const auto from_position = [&](int64_t position) {
        return std::clamp<int64_t>(ceil_div(position, phases), tiles_in_place_ * plan_.positions(), length);
      };
      const auto begin_of = [&](int64_t row) { return from_position(-first - row); };
      const auto end_of = [&](int64_t row) { return from_position(c_.out_length - first - row); };
      const auto copy = [&](int64_t row, int64_t row_count, int64_t begin, int64_t end) {
        if (begin >= end) return;
        E* to = static_cast<E*>(out.data) + (n0_ + n) * out.stride_n + channel * out.stride_c +
                (first + row + begin * phases) * out.stride_l;
        call_.copy_.out(
            {to, channels_together ? out.stride_c : out.stride_l, phases * out.stride_l, rows + row * from_row + begin,
             from_row, 1, row_count, end - begin});
      };
      const int64_t begin = begin_of(0), end = std::max(begin, end_of(last_phase));
      copy(0, count, begin, end);
      // The ends of the result are not those of all phases.
      for (int64_t row = 0; row <= last_phase && (begin > 0 || end < length); ++row) {
        copy(row, 1, begin_of(row), begin);
        copy(row, 1, end, end_of(row));
      }
      if (call_.folded_.take(first, first + last_phase + length * phases))
        for (int64_t row = 0; row < count; ++row)
          call_.folded_.keep(
              n0_ + n, channels_together ? channel + row : channel, channels_together ? first : first + row, phases,
              rows + row * from_row, 1, length);
    }

    const ToomCookCall& call_;
    const Correlation& c_;
    const ToomCookPlan& plan_;
    const int64_t n0_, samples_, group_, q0_, q_len_, band0_, last_band_;
    const int64_t sample_;  // columns of a sample
    // Columns that have results: of all samples together, or of each.
    const int64_t runs_, run_vectors_;
    const int64_t row_;  // of source_ and products_, whose last may be read beyond its end
    const Scratch<T> source_;
    const Scratch<T> products_, weights_;  // of a band
    const int64_t place_row_;
    const Scratch<T> places_;
    const int64_t result_row_;
    const int64_t tiles_in_place_;
    const int64_t channels_written_;
    const Scratch<T> result_;
    std::vector<int64_t> offsets_;  // of (tap group, j)
  };

  const ArithmeticKernels<T>& kernels_;
  const CopyKernels<E>& copy_;
  const Correlation& c_;
  const View source_;
  const MutableView out_;
  const ToomCookPlan plan_;
  const ToomCookWeights<E> weights_;
  const FoldedEnds<E> folded_;
  const T* const inits_;
};

}  // namespace

void toom_cook(const CorrelationOperands& o) {
  if (o.c.n == 0) return;
  with_element(o.dtype, [&](auto element) { ToomCookCall<decltype(element)>(o).run(); });
}

}  // namespace torch_conv1d::cpu
