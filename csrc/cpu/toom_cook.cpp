// The block loops of Toom-Cook's filtering.
//
//   transform the weights, if they are few: [group][row tile][point][channel][tap group][j][row of the tile]
//   for every item (samples, group, tiles of positions, row tiles), in parallel:
//     pack a few channels; split each into the places of its tiles and transform: [point][channel][sample][tile][phase]
//     for a few row tiles at a time:
//       transform their weights, unless that has been done
//       at each point, products of all of them: [row tile][point][row][sample][tile][phase]
//       for each sample: transform each row, join its places, copy the rows into the result
//   fold back what a padding mode repeats
#include "toom_cook.h"

#include <algorithm>
#include <vector>

#include "dispatch.h"
#include "drivers.h"
#include "folded_ends.h"
#include "parallel.h"
#include "toom_cook_source.h"

namespace torch_conv1d::cpu {
namespace {

template <class E>
class ToomCookCall {
  using T = SumOf<E>;

 public:
  ToomCookCall(
      const Correlation& c, const KernelTable& table, View source, const void* w, const void* bias, MutableView out)
      : kernels_(arithmetic_kernels<E>(table)),
        copy_(copy_kernels<E>(table)),
        copy_sums_(copy_kernels<T>(table)),
        c_(c),
        source_(source),
        out_(out),
        plan_(plan_toom_cook(c, sizeof(T), machine_with(kernels_))),
        point_(plan_.channels * plan_.tap_groups * plan_.most_rows() + kVectorRoom),
        tile_weights_(plan_.points * point_),
        w_(static_cast<const E*>(w)),
        weights_(plan_.shared_weights ? c.groups * plan_.row_tiles * tile_weights_ : 0),
        folded_(c_),
        inits_(bias ? c.groups * c.rows : 0),
        has_inits_(bias) {
    if (bias) copy_sums_.in({inits_.data(), 0, 1, static_cast<const T*>(bias), 0, 1, 1, c.groups * c.rows});
    if (plan_.shared_weights)
      parallel_for(c.groups * plan_.row_tiles, true, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i)
          transform_weights(i / plan_.row_tiles, i % plan_.row_tiles, weights_.data() + i * tile_weights_);
      });
  }

  void run() const {
    const int64_t tile_blocks = ceil_div(plan_.row_tiles, plan_.tile_block);
    const int64_t q_blocks = ceil_div(plan_.tiles, plan_.q_block);
    const int64_t n_blocks = ceil_div(c_.n, plan_.n_block);
    parallel_for(n_blocks * c_.groups * q_blocks * tile_blocks, true, [&](int64_t begin, int64_t end) {
      for (int64_t item = begin; item < end; ++item) {
        int64_t rest = item;
        const int64_t q0 = rest % q_blocks * plan_.q_block;
        const int64_t group = (rest /= q_blocks) % c_.groups;
        const int64_t n0 = (rest /= c_.groups) % n_blocks * plan_.n_block;
        Item(*this, n0, group, q0, rest / n_blocks * plan_.tile_block).run();
      }
    });
    folded_.fold(copy_, out_, true);
  }

 private:
  // Of a row tile, to [point][channel][tap group][j][row].
  void transform_weights(int64_t group, int64_t tile, T* to) const {
    // Taps of a channel c in the order [t][j], those beyond the kernel being zeros: k, or backwards for a negative step. The rows
    // are phases [phase0, phase0 + phases) of one channel of the result, or all phases of several.
    const int64_t padded = plan_.tap_groups * plan_.taps * plan_.source_phases;
    const int64_t row0 = plan_.row_begin(tile), rows = plan_.row_begin(tile + 1) - row0;
    const int64_t phase0 = row0 % plan_.phases, phases = std::min(plan_.phases, rows);
    const Scratch<T> packed(c_.channels * padded * rows + kVectorRoom);
    const E* w = w_ + group * c_.w_group + row0 / plan_.phases * c_.w_row;
    if (c_.step > 0) {
      // The weights of a row follow each other as they should: one transposition of long rows, to the end of the room, from where
      // those of each channel move to their place.
      const int64_t of_channel = c_.taps * rows, gap = padded * rows - of_channel;
      T* from = packed.data() + gap * c_.channels;
      copy_.in({from, 1, rows, w, c_.w_row, 1, rows, c_.channels * c_.taps});
      for (int64_t channel = 0; channel < c_.channels && gap; ++channel, from += of_channel)
        std::fill_n(std::copy_n(from, of_channel, packed.data() + channel * padded * rows), gap, T(0));
    } else {
      std::fill_n(packed.data(), c_.channels * padded * rows, T(0));
      for (int64_t channel = 0; channel < c_.channels; ++channel)
        for (int64_t p = 0; p < phases; ++p) {
          T* first = packed.data() + (channel * padded + plan_.tap_count - 1) * rows + p;
          const E* from = w + channel * c_.w_channel + phase0 + p;
          copy_.in(
              {first, phases, -rows, from, c_.w_row, plan_.phases, rows / phases,
               ceil_div(c_.taps - phase0 - p, plan_.phases)});
        }
    }
    const int64_t of_tap = plan_.source_phases * rows;
    int64_t offsets[kMaxToomCookTaps];
    for (int64_t s = 0; s < plan_.taps; ++s) offsets[s] = s * of_tap;
    kernels_.transform_weight[plan_.taps](
        {packed.data(), plan_.taps * of_tap, offsets, T(0), to, of_tap, point_, c_.channels * plan_.tap_groups,
         of_tap});
  }

  class Item {
   public:
    Item(const ToomCookCall& call, int64_t n0, int64_t group, int64_t q0, int64_t tile0)
        : call_(call),
          c_(call.c_),
          plan_(call.plan_),
          n0_(n0),
          samples_(std::min(plan_.n_block, c_.n - n0)),
          group_(group),
          q0_(q0),
          q_len_(std::min(plan_.q_block, plan_.tiles - q0)),
          tile0_(tile0),
          last_tile_(std::min(tile0 + plan_.tile_block, plan_.row_tiles)),
          sample_(plan_.sample_columns(q_len_)),
          columns_(samples_ * sample_),
          row_(padded_row(columns_ + (plan_.tap_groups - 1) * plan_.dilation)),
          source_(plan_.points * plan_.channels * row_),
          held_(std::min(plan_.held_tiles, last_tile_ - tile0)),
          products_(held_ * plan_.points * call.kernels_.correlate_rows * row_),
          weights_(plan_.shared_weights ? 0 : held_ * call.tile_weights_),
          place_row_(padded_row(plan_.source_positions(q_len_) / kToomCookOutputs)),
          places_(kToomCookOutputs * place_row_),
          result_row_(padded_row(plan_.source_positions(q_len_) + kToomCookOutputs * kVectorRoom)),
          channels_together_(plan_.phases == 1 || call.out_.stride_l != 1),
          tiles_written_(call.out_.stride_l == 1 ? 1 : tiles_transposed()),
          result_(tiles_written_ * call.kernels_.correlate_rows * result_row_) {
      for (int64_t g = 0; g < plan_.tap_groups; ++g)
        for (int64_t j = 0; j < plan_.source_phases; ++j) offsets_.push_back(j * row_ + g * plan_.dilation);
    }

    void run() const {
      transform_source();
      for (int64_t first = tile0_; first < last_tile_; first += plan_.held_tiles) {
        const int64_t last = std::min(first + plan_.held_tiles, last_tile_);
        const T* weights = call_.weights_.data() + (group_ * plan_.row_tiles + first) * call_.tile_weights_;
        if (!plan_.shared_weights) {
          for (int64_t tile = first; tile < last; ++tile)
            call_.transform_weights(group_, tile, weights_.data() + (tile - first) * call_.tile_weights_);
          weights = weights_.data();
        }
        for (int64_t point = 0; point < plan_.points; ++point)
          for (int64_t tile = first; tile < last; ++tile)
            multiply(
                tile, point, weights + (tile - first) * call_.tile_weights_ + point * call_.point_,
                products(tile - first));
        for (int64_t tile = first; tile < last; tile += tiles_written_)
          for (int64_t n = 0; n < samples_; ++n) write(tile, std::min(tiles_written_, last - tile), n, tile - first);
      }
    }

   private:
    void transform_source() const {
      for (int64_t n = 0; n < samples_; ++n)
        ToomCookSource<E>{plan_, call_.kernels_, call_.copy_, call_.source_, n0_ + n, group_ * c_.channels, c_.channels,
                          q0_,   q_len_}
            .transform(source_.data() + n * sample_, row_, plan_.channels * row_);
    }

    // Row tiles that are transposed together: of so many rows that both sides are whole cache lines, as far as they fit the L2 cache.
    int64_t tiles_transposed() const {
      constexpr int64_t kRows = 16, kBytes = 256 << 10;
      const int64_t rows = call_.kernels_.correlate_rows, fitting = kBytes / (rows * result_row_ * int64_t(sizeof(T)));
      return std::clamp<int64_t>(ceil_div(kRows * plan_.phases, rows), 1, std::clamp<int64_t>(fitting, 1, held_));
    }

    T* products(int64_t held) const {
      return products_.data() + held * plan_.points * call_.kernels_.correlate_rows * row_;
    }
    int64_t row_count(int64_t tile) const { return plan_.row_begin(tile + 1) - plan_.row_begin(tile); }

    // Products of a row tile at one point.
    void multiply(int64_t tile, int64_t point, const T* weights, T* products) const {
      const int64_t rows = row_count(tile);
      const auto& kernels = call_.kernels_;
      const int64_t lanes = kernels.lanes;
      for (int64_t i = 0; i < columns_;) {
        const int64_t left = ceil_div(columns_ - i, lanes);
        const int64_t vectors = ceil_div(left, ceil_div(left, kernels.correlate_vectors[rows]));
        const int64_t tiles = std::max<int64_t>((columns_ - i) / (vectors * lanes), 1);
        kernels.correlate[rows][vectors](
            {source_.data() + point * plan_.channels * row_ + i, plan_.source_phases * row_, offsets_.data(), weights,
             0, 0, c_.channels, int64_t(offsets_.size()), nullptr, products + point * rows * row_ + i, row_, tiles});
        i += tiles * vectors * lanes;
      }
    }

    // The results of `tiles` row tiles from `tile` on in sample n; `held` are their products.
    void write(int64_t tile, int64_t tiles, int64_t n, int64_t held) const {
      const int64_t row0 = plan_.row_begin(tile), rows = plan_.row_begin(tile + tiles) - row0;
      for (int64_t t = 0; t < tiles; ++t)
        transform_result(
            tile + t, n, products(held + t), result_.data() + (plan_.row_begin(tile + t) - row0) * result_row_);
      const int64_t phases = plan_.phases;
      for (int64_t r = 0; r < (channels_together_ ? std::min(phases, rows) : rows);) {
        const int64_t phase = (row0 + r) % phases;
        const int64_t count = channels_together_ ? ceil_div(rows - r, phases) : std::min(phases - phase, rows - r);
        write_rows(n, group_ * c_.rows + (row0 + r) / phases, phase, result_.data() + r * result_row_, count);
        r += channels_together_ ? 1 : count;
      }
    }

    void transform_result(int64_t tile, int64_t n, const T* products, T* result) const {
      const int64_t rows = row_count(tile), row0 = plan_.row_begin(tile);
      int64_t offsets[2 * kToomCookOutputs];
      for (int64_t a = 0; a < plan_.points; ++a) offsets[a] = a * rows * row_;
      for (int64_t r = 0; r < rows; ++r, result += result_row_) {
        const T init = call_.has_inits_ ? call_.inits_[group_ * c_.rows + (row0 + r) / plan_.phases] : T(0);
        const T* from = products + r * row_ + n * sample_;
        const auto transform = call_.kernels_.transform_result[plan_.taps];
        if (plan_.runs_fill(call_.kernels_.lanes)) {
          transform(
              {from, plan_.dilation, offsets, init, result, plan_.positions(), plan_.dilation, q_len_, plan_.dilation});
        } else {
          transform({from, 0, offsets, init, places_.data(), 0, place_row_, 1, q_len_ * plan_.dilation});
          call_.kernels_.join({places_.data(), place_row_, result, q_len_, plan_.dilation});
        }
      }
    }

    // Positions q of `count` rows from (channel, phase) on, together as far as all of them lie inside the result: rows of channels
    // that follow each other, or of phases.
    void write_rows(int64_t n, int64_t channel, int64_t phase, const T* rows, int64_t count) const {
      const MutableView& out = call_.out_;
      const int64_t phases = plan_.phases, length = q_len_ * plan_.positions();
      const int64_t first = plan_.begin + q0_ * plan_.positions() * phases + phase;
      const int64_t from_row = channels_together_ ? phases * result_row_ : result_row_;
      const int64_t last_phase = channels_together_ ? 0 : count - 1;
      const auto from_position = [&](int64_t position) {
        return std::clamp<int64_t>(ceil_div(position, phases), 0, length);
      };
      const auto begin_of = [&](int64_t row) { return from_position(-first - row); };
      const auto end_of = [&](int64_t row) { return from_position(c_.out_length - first - row); };
      const auto copy = [&](int64_t row, int64_t row_count, int64_t begin, int64_t end) {
        E* to = static_cast<E*>(out.data) + (n0_ + n) * out.stride_n + channel * out.stride_c +
                (first + row + begin * phases) * out.stride_l;
        call_.copy_.out(
            {to, channels_together_ ? out.stride_c : out.stride_l, phases * out.stride_l, rows + row * from_row + begin,
             from_row, 1, row_count, end - begin});
      };
      const int64_t begin = begin_of(0), end = std::max(begin, end_of(last_phase));
      copy(0, count, begin, end);
      for (int64_t row = 0; row <= last_phase; ++row) {
        copy(row, 1, begin_of(row), begin);
        copy(row, 1, end, end_of(row));
      }
      if (call_.folded_.take(first, first + last_phase + length * phases))
        for (int64_t row = 0; row < count; ++row)
          call_.folded_.keep(
              n0_ + n, channels_together_ ? channel + row : channel, channels_together_ ? first : first + row, phases,
              rows + row * from_row, 1, length);
    }

    const ToomCookCall& call_;
    const Correlation& c_;
    const ToomCookPlan& plan_;
    const int64_t n0_, samples_, group_, q0_, q_len_, tile0_, last_tile_;
    const int64_t sample_, columns_;  // columns of a sample, and of all
    const int64_t row_;               // of source_ and products_
    const Scratch<T> source_;
    const int64_t held_;
    const Scratch<T> products_, weights_;
    const int64_t place_row_;
    const Scratch<T> places_;
    const int64_t result_row_;
    const bool channels_together_;  // rows that are written together are those of one phase, not of one channel
    const int64_t tiles_written_;
    const Scratch<T> result_;
    std::vector<int64_t> offsets_;  // of (tap group, j)
  };

  const ArithmeticKernels<T>& kernels_;
  const CopyKernels<E>& copy_;
  const CopyKernels<T>& copy_sums_;
  const Correlation& c_;
  const View source_;
  const MutableView out_;
  const ToomCookPlan plan_;
  // From one point to the next in the weights of a row tile, and from one tile to the next.
  const int64_t point_;
  const int64_t tile_weights_;
  const E* const w_;
  const Scratch<T> weights_;  // of all row tiles, or none
  const FoldedEnds<E> folded_;
  const Scratch<T> inits_;
  const bool has_inits_;
};

}  // namespace

void toom_cook(
    const Correlation& c,
    DType dtype,
    const KernelTable& table,
    View source,
    const void* w,
    const void* bias,
    MutableView out) {
  if (c.n == 0) return;
  with_element(dtype, [&](auto element) { ToomCookCall<decltype(element)>(c, table, source, w, bias, out).run(); });
}

}  // namespace torch_conv1d::cpu
