// forward and grad_input of few rows a group and many channels: the taps are the rows of the correlate tile,
//
//     z[r, k][p] = sum over channels c of w[r, c, k] * source[c, p]
//     out[r, q * phases + phase] = init + sum over taps k of this phase of z[r, k][q + offset(k)]
//
// Few rows would need a load for each product or two; here the taps share it, whatever stride and dilation, and the
// source is read once, where it is if it has the type of the sums and meets few of them. z stays in the cache, and is
// zero where the padding is: nothing is multiplied there. The weights of a tile are neighbours as they are stored, so
// they are not packed.
//
//   for every item (samples side by side, some rows of a group, positions), in parallel:
//     for a few channels at a time:
//       pack a panel of what is not read where it is
//       for every row, for every tile of taps: z += tile
//     for every row, for every phase: the fir tile, whose weights are ones, on z
//     convert, interleave and scatter into the result
//   fold back what a padding mode repeats (folded_ends.h)
#include <algorithm>
#include <type_traits>
#include <vector>

#include "../../division.h"
#include "../dispatch.h"
#include "../drivers.h"
#include "../packing/fetch.h"
#include "../packing/folded_ends.h"
#include "../packing/panel.h"
#include "../packing/samples.h"
#include "../packing/weights.h"
#include "../parallel.h"
#include "../plan/plan.h"
#include "../scratch.h"

namespace torch_conv1d::cpu {
namespace {

template <class E>
class TapRowsCall {
  using T = SumOf<E>;

 public:
  explicit TapRowsCall(const CorrelationOperands& o)
      : kernels_(arithmetic_kernels<E>(o.table)),
        copy_(copy_kernels<E>(o.table)),
        copy_sums_(copy_kernels<T>(o.table)),
        c_(o.c.with_outside()),
        source_(o.source),
        out_(o.out),
        lead_(o.c.lead()),
        out_length_(o.c.out_length),
        folded_(o.c),
        bias_(static_cast<const T*>(o.bias)),
        plan_(plan_tap_rows(
            c_,
            sizeof(T),
            {.unit_stride = o.source.stride_l == 1 && o.out.stride_l == 1,
             .narrowness = kNarrowness<E>,
             .source_row = o.source.stride_c},
            machine_with(kernels_))),
        width_(plan_.panel.width),
        q_blocks_(ceil_div(c_.q_total(), plan_.q_block)),
        row_blocks_(ceil_div(c_.rows, plan_.row_block)),
        items_(ceil_div(c_.n, width_) * c_.groups * row_blocks_ * q_blocks_),
        zeros_(c_.source_padding == PaddingMode::zeros),
        w_(static_cast<const E*>(o.w)),
        ones_(c_.taps) {
    std::fill_n(ones_.data(), c_.taps, T(1));
  }

  void run() const {
    parallel_for(items_, plan_.worth_threads, [&](int64_t begin, int64_t end) {
      const Buffers buffers(*this);
      for (int64_t i = begin; i < end; ++i) run_item(buffers, item_at(i));
    });
    folded_.fold(copy_, out_, plan_.worth_threads);
  }

 private:
  // What a thread works with.
  struct Buffers {
    explicit Buffers(const TapRowsCall& call)
        : gathered(call.width_ > 1 ? call.plan_.channel_block * call.c_.source_length * call.width_ : 0),
          panel(call.plan_.channel_block * call.plan_.panel.row),
          converted(std::is_same_v<E, T> ? 0 : call.plan_.rows_held * call.plan_.channel_block * call.c_.taps),
          z(call.plan_.rows_held * call.c_.taps * call.plan_.z_row),
          result_row(call.plan_.panel.padded(call.plan_.q_block)),
          result(call.c_.phases * result_row),
          scattered(call.width_ > 1 ? call.out_length_ * call.width_ : 0) {}
    const Scratch<T> gathered, panel, converted, z;
    const int64_t result_row;
    const Scratch<T> result, scattered;
  };

  struct Item {
    int64_t number, n0, group, row0, rows, q0, q_len;
  };

  Item item_at(int64_t number) const {
    const int64_t q0 = number % q_blocks_ * plan_.q_block, rest = number / q_blocks_;
    const int64_t row0 = rest % row_blocks_ * plan_.row_block, sample_group = rest / row_blocks_;
    return {
        number,
        sample_group / c_.groups * width_,
        sample_group % c_.groups,
        row0,
        std::min(plan_.row_block, c_.rows - row0),
        q0,
        std::min(plan_.q_block, c_.q_total() - q0)};
  }

  // Positions of the source: those that an item reads, of which those from packed_begin on are in the panel.
  struct Window {
    int64_t begin, end, packed_begin;
  };

  void run_item(const Buffers& b, const Item& item) const {
    const int64_t lanes = kernels_.lanes;
    Window window{item.q0 + plan_.first_offset, item.q0 + item.q_len + c_.last_offset(), 0};
    if (zeros_) {
      window.begin = std::clamp<int64_t>(window.begin, 0, c_.source_length);
      window.end = std::clamp(window.end, window.begin, c_.source_length);
    }
    // Tiles read whole vectors, which begin at multiples of them: the last one may not be whole.
    window.packed_begin = plan_.direct ? std::max(window.begin, c_.source_length / lanes * lanes) : window.begin;
    for (int64_t r0 = 0; r0 < item.rows; r0 += plan_.rows_held) {
      const int64_t rows = std::min(plan_.rows_held, item.rows - r0);
      for (int64_t channel = 0; channel < c_.channels; channel += plan_.channel_block) {
        if (r0 == 0 || plan_.channel_block < c_.channels) pack(b, item, channel, window);
        const WeightView<T> w = in_sum_type(
            c_, copy_, w_ + item.group * c_.w_group + (item.row0 + r0) * c_.w_row + channel * c_.w_channel, rows,
            std::min(plan_.channel_block, c_.channels - channel), b.converted.data());
        CorrelateArgs<T> args;
        if (plan_.from_memory) set_ahead(item, channel, rows, args);
        for (int64_t r = 0; r < rows; ++r)
          add_channels(b, item, channel, window, {w.data + r * w.row, w.row, w.channel}, z_of(b, r), args);
      }
      for (int64_t r = 0; r < rows; ++r) {
        add_taps(b, item, item.row0 + r0 + r, z_of(b, r));
        write(b, item, item.row0 + r0 + r);
      }
    }
  }

  T* z_of(const Buffers& b, int64_t r) const { return b.z.data() + r * c_.taps * plan_.z_row; }

  // What the tiles of `rows` rows fetch meanwhile: the channels after these, or the first ones of the next item.
  void set_ahead(Item item, int64_t channel, int64_t rows, CorrelateArgs<T>& args) const {
    channel += plan_.channel_block;
    if (channel >= c_.channels) {
      if (item.number + 1 == items_) return;
      channel = 0;
      item = item_at(item.number + 1);
    }
    const int64_t begin = std::clamp<int64_t>(item.q0 + plan_.first_offset, 0, c_.source_length);
    const int64_t length = std::min(item.q_len, c_.source_length - begin);
    const int64_t tile_width = kernels_.correlate_vectors[plan_.tiles[0].taps] * kernels_.lanes;
    fetch_meanwhile(
        args,
        static_cast<const E*>(source_.data) + item.n0 * source_.stride_n +
            (item.group * c_.channels + channel) * source_.stride_c + begin,
        source_.stride_c * int64_t(sizeof(E)), length * int64_t(sizeof(E)),
        rows * int64_t(plan_.tiles.size()) * ceil_div(length, tile_width), tile_width);
  }

  // z of all taps of a row, from a few channels.
  void add_channels(
      const Buffers& b,
      const Item& item,
      int64_t channel,
      const Window& window,
      WeightView<T> w,
      T* z_row,
      CorrelateArgs<T>& args) const {
    constexpr int64_t kNoOffset = 0;
    args.offset = &kNoOffset;
    args.channels = std::min(plan_.channel_block, c_.channels - channel);
    args.taps = 1;
    args.init = nullptr;
    args.out_row = plan_.z_row;
    args.goes_on = channel > 0;
    for (const TapTile& tile : plan_.tiles) {
      T* const z = z_row + tile.first * plan_.z_row;
      const int64_t tile_begin = item.q0 + tile.begin, tile_end = tile_begin + item.q_len + tile.extra;
      const int64_t begin = std::clamp(window.begin, tile_begin, tile_end);
      const int64_t end = std::clamp(window.end, begin, tile_end);
      const int64_t packed_begin = std::clamp(window.packed_begin, begin, end);
      args.w_gap = w.channel - tile.taps;
      const auto add = [&](const T* x, int64_t x_row, int64_t first, int64_t last, bool from_memory) {
        args.x = x;
        args.x_row = x_row;
        args.from_memory = from_memory;
        args.w = w.data + tile.first;
        args.out = z + (first - tile_begin) * width_;
        compute(kernels_.correlate[tile.taps], kernels_.correlate_vectors[tile.taps], args, (last - first) * width_);
      };
      if constexpr (std::is_same_v<E, T>)
        if (begin < packed_begin)
          add(static_cast<const T*>(source_.data) + item.n0 * source_.stride_n +
                  (item.group * c_.channels + channel) * source_.stride_c + begin,
              source_.stride_c, begin, packed_begin, true);
      if (packed_begin < end)
        add(b.panel.data() + (packed_begin - window.packed_begin) * width_, plan_.panel.row, packed_begin, end, false);
      // What the last vector has beyond the end is not zero.
      if (channel + args.channels == c_.channels && end - begin < tile_end - tile_begin)
        for (T* row = z; row < z + tile.taps * plan_.z_row; row += plan_.z_row) {
          std::fill(row, row + (begin - tile_begin) * width_, T(0));
          std::fill(row + (end - tile_begin) * width_, row + plan_.z_row, T(0));
        }
    }
  }

  // Channels of the group from `channel` on.
  void pack(const Buffers& b, const Item& item, int64_t channel, const Window& window) const {
    const int64_t begin = window.packed_begin, length = window.end - begin, n0 = item.n0;
    const int64_t channels = std::min(plan_.channel_block, c_.channels - channel);
    if (length <= 0) return;
    channel += item.group * c_.channels;
    if (width_ == 1) {
      pack_panel<E>(plan_.one_tap, plan_.panel, copy_, source_, n0, channel, channels, begin, length, b.panel.data());
      return;
    }
    View from = source_;
    from.data = static_cast<const E*>(from.data) + n0 * from.stride_n + channel * from.stride_c;
    const View samples = gather_samples<E>(
        copy_, from, std::min(width_, c_.n - n0), width_, channels, c_.source_length, b.gathered.data());
    pack_panel<T>(plan_.one_tap, plan_.panel, copy_sums_, samples, 0, 0, channels, begin, length, b.panel.data());
  }

  // The result of a row, from z: [phase][position].
  void add_taps(const Buffers& b, const Item& item, int64_t row, const T* z) const {
    CorrelateArgs<T> args;
    args.w = ones_.data();
    args.channels = 1;
    args.x_row = 0;
    args.init = bias_ ? bias_ + item.group * c_.rows + row : nullptr;
    for (int64_t phase = 0; phase < c_.phases; ++phase) {
      const int64_t first = plan_.phase_begin[size_t(phase)];
      args.x = z;
      args.offset = plan_.z_at.data() + first;
      args.taps = plan_.phase_begin[size_t(phase) + 1] - first;
      args.out = &b.result[phase * b.result_row];
      compute(kernels_.fir[1], kernels_.correlate_vectors[1], args, item.q_len * width_);
    }
  }

  // At least `count` positions: whole vectors, in tiles of at most `most`, whose widths differ by one vector, wide ones
  // first.
  template <class Kernel>
  void compute(const Kernel* kernel, int64_t most, CorrelateArgs<T>& args, int64_t count) const {
    const int64_t lanes = kernels_.lanes, all = ceil_div(count, lanes);
    int64_t parts = ceil_div(all, most), vectors = ceil_div(all, std::max<int64_t>(parts, 1));
    args.tiles = all - parts * (vectors - 1);
    while (parts > 0) {
      kernel[vectors](args);
      args.next_step += args.tiles;
      args.x += args.tiles * vectors * lanes;
      args.out = static_cast<T*>(args.out) + args.tiles * vectors * lanes;
      parts -= args.tiles;
      args.tiles = parts;
      --vectors;
    }
  }

  // Positions [q0, q0 + q_len) of each phase in turn, as far as the row goes.
  void write(const Buffers& b, const Item& item, int64_t row) const {
    const int64_t phases = c_.phases, channel = item.group * c_.rows + row;
    // Positions of the result, the first of them after `outside` positions of each phase.
    const int64_t item_begin = item.q0 * phases - lead_, begin = std::max<int64_t>(item_begin, 0);
    const int64_t count = std::min(item_begin + item.q_len * phases, out_length_) - begin;
    const int64_t outside = (begin - item_begin) / phases;
    const int64_t samples = std::min(width_, c_.n - item.n0);
    if (folded_.take(item_begin, item_begin + item.q_len * phases))
      for (int64_t phase = 0; phase < phases; ++phase)
        for (int64_t m = 0; m < samples; ++m)
          folded_.keep(
              item.n0 + m, channel, item_begin + phase, phases, &b.result[phase * b.result_row + m], width_,
              item.q_len);
    if (count <= 0) return;
    const T* from = b.result.data() + outside * width_;
    E* to = static_cast<E*>(out_.data) + item.n0 * out_.stride_n + channel * out_.stride_c + begin * out_.stride_l;
    if (width_ > 1) {
      // All of the row, position by position.
      for (int64_t i = 0; i < count; ++i)
        std::copy_n(from + i % phases * b.result_row + i / phases * width_, width_, &b.scattered[i * width_]);
      scatter_samples<E>(
          copy_, b.scattered.data(), count * width_, width_, {to, out_.stride_n, out_.stride_c, out_.stride_l}, samples,
          1, count);
      return;
    }
    const int64_t whole = count / phases, left = count % phases;
    copy_.out({to, out_.stride_l, phases * out_.stride_l, from, b.result_row, 1, phases, whole});
    copy_.out({to + whole * phases * out_.stride_l, out_.stride_l, 1, from + whole, b.result_row, 1, left, 1});
  }

  const ArithmeticKernels<T>& kernels_;
  const CopyKernels<E>& copy_;
  const CopyKernels<T>& copy_sums_;
  // With what a padding mode folds back: position p of the result is lead_ + p of these.
  const Correlation c_;
  const View source_;
  const MutableView out_;
  const int64_t lead_, out_length_;
  const FoldedEnds<E> folded_;
  const T* const bias_;
  const TapRowsPlan plan_;
  const int64_t width_;  // samples side by side
  const int64_t q_blocks_, row_blocks_, items_;
  const bool zeros_;  // outside the source
  const E* const w_;
  const Scratch<T> ones_;
};

}  // namespace

void tap_rows(const CorrelationOperands& o) {
  with_element(o.dtype, [&](auto element) { TapRowsCall<decltype(element)>(o).run(); });
}

}  // namespace torch_conv1d::cpu
