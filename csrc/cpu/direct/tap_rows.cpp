// forward and grad_input of one row a group and many channels: the taps are the rows of the correlate tile,
//
//     z[k][p] = sum over channels c of w[c, k] * source[c, p]
//     out[q * phases + phase] = init + sum over taps k of this phase of z[k][q + offset(k)]
//
// A single row would need a load for each product; here the taps share it, whatever stride and dilation, and the source is read
// once, where it is if it has the type of the sums. z stays in the cache, and is zero where the padding is: nothing is multiplied there.
//
//   pack the weights
//   for every item (samples side by side, group, positions), in parallel:
//     for a few channels at a time:
//       pack a panel of what is not read where it is
//       for every tile of taps: z += tile
//     for every phase: the fir tile, whose weights are ones, on z
//     convert, interleave and scatter into the result
#include <algorithm>
#include <type_traits>
#include <vector>

#include "../../division.h"
#include "../dispatch.h"
#include "../drivers.h"
#include "../packing/panel.h"
#include "../packing/samples.h"
#include "../parallel.h"
#include "../plan/plan.h"
#include "../scratch.h"

namespace torch_conv1d::cpu {
namespace {

template <class E>
class TapRowsCall {
  using T = SumOf<E>;

 public:
  TapRowsCall(
      const Correlation& c, const KernelTable& table, View source, const void* w, const void* bias, MutableView out)
      : kernels_(arithmetic_kernels<E>(table)),
        copy_(copy_kernels<E>(table)),
        copy_sums_(copy_kernels<T>(table)),
        c_(c),
        source_(source),
        out_(out),
        w_(static_cast<const E*>(w)),
        bias_(static_cast<const T*>(bias)),
        plan_(plan_tap_rows(
            c,
            sizeof(T),
            {.unit_stride = source.stride_l == 1 && out.stride_l == 1, .narrowness = kNarrowness<E>},
            machine_with(kernels_))),
        width_(plan_.panel.width),
        zeros_(c.source_padding == PaddingMode::zeros),
        packed_(c.groups * c.channels * c.taps),
        ones_(c.taps) {
    std::fill_n(ones_.data(), c.taps, T(1));
  }

  void run() const {
    pack_weights();
    const int64_t q_blocks = ceil_div(c_.q_total(), plan_.q_block);
    parallel_for(ceil_div(c_.n, width_) * c_.groups * q_blocks, plan_.worth_threads, [&](int64_t begin, int64_t end) {
      const Buffers buffers(*this);
      for (int64_t item = begin; item < end; ++item)
        run_item(buffers, item / q_blocks / c_.groups * width_, item / q_blocks % c_.groups, item % q_blocks);
    });
  }

 private:
  // What a thread works with.
  struct Buffers {
    explicit Buffers(const TapRowsCall& call)
        : gathered(call.width_ > 1 ? call.plan_.channel_block * call.c_.source_length * call.width_ : 0),
          panel(call.plan_.channel_block * call.plan_.panel.row),
          z(call.c_.taps * call.plan_.z_row),
          result_row(call.plan_.panel.padded(call.plan_.q_block)),
          result(call.c_.phases * result_row),
          scattered(call.width_ > 1 ? call.c_.out_length * call.width_ : 0) {}
    const Scratch<T> gathered, panel, z;
    const int64_t result_row;
    const Scratch<T> result, scattered;
  };

  // Positions of the source: those that an item reads, of which those from packed_begin on are in the panel.
  struct Window {
    int64_t begin, end, packed_begin;
  };

  // [group][tile][channel][tap of the tile]
  void pack_weights() const {
    T* to = packed_.data();
    for (int64_t group = 0; group < c_.groups; ++group)
      for (const TapTile& tile : plan_.tiles) {
        const E* from = w_ + group * c_.w_group;
        for (int64_t channel = 0; channel < c_.channels; ++channel, from += c_.w_channel)
          for (int64_t i = 0; i < tile.taps; ++i) *to++ = to_sum(from[plan_.order[size_t(tile.first + i)]]);
      }
  }

  void run_item(const Buffers& b, int64_t n0, int64_t group, int64_t block) const {
    const int64_t q0 = block * plan_.q_block, q_len = std::min(plan_.q_block, c_.q_total() - q0);
    const int64_t lanes = kernels_.lanes;
    Window window{q0 + plan_.first_offset, q0 + q_len + c_.last_offset(), 0};
    if (zeros_) {
      window.begin = std::clamp<int64_t>(window.begin, 0, c_.source_length);
      window.end = std::clamp(window.end, window.begin, c_.source_length);
    }
    // Tiles read whole vectors, which begin at multiples of them: the last one may not be whole.
    window.packed_begin = plan_.direct ? std::max(window.begin, c_.source_length / lanes * lanes) : window.begin;
    for (int64_t channel = 0; channel < c_.channels; channel += plan_.channel_block)
      add_channels(b, n0, group, q0, q_len, window, channel);
    add_taps(b, group, q_len);
    write(b, n0, group, q0, q_len);
  }

  // z of all taps, from a few channels of a group.
  void add_channels(
      const Buffers& b, int64_t n0, int64_t group, int64_t q0, int64_t q_len, const Window& window, int64_t channel)
      const {
    const int64_t first_channel = group * c_.channels + channel;
    const int64_t channels = std::min(plan_.channel_block, c_.channels - channel);
    if (window.packed_begin < window.end) pack(b, n0, first_channel, channels, window);
    constexpr int64_t kNoOffset = 0;
    CorrelateArgs<T> args;
    args.offset = &kNoOffset;
    args.channels = channels;
    args.taps = 1;
    args.init = nullptr;
    args.out_row = plan_.z_row;
    args.goes_on = channel > 0;
    for (const TapTile& tile : plan_.tiles) {
      T* const z = b.z.data() + tile.first * plan_.z_row;
      const int64_t tile_begin = q0 + tile.begin, tile_end = tile_begin + q_len + tile.extra;
      const int64_t begin = std::clamp(window.begin, tile_begin, tile_end);
      const int64_t end = std::clamp(window.end, begin, tile_end);
      const int64_t packed_begin = std::clamp(window.packed_begin, begin, end);
      const auto add = [&](const T* x, int64_t x_row, int64_t first, int64_t last, bool from_memory) {
        args.x = x;
        args.x_row = x_row;
        args.from_memory = from_memory;
        args.w = packed_.data() + (group * c_.taps + tile.first) * c_.channels + channel * tile.taps;
        args.out = z + (first - tile_begin) * width_;
        compute(kernels_.correlate[tile.taps], kernels_.correlate_vectors[tile.taps], args, (last - first) * width_);
      };
      if constexpr (std::is_same_v<E, T>)
        if (begin < packed_begin)
          add(static_cast<const T*>(source_.data) + n0 * source_.stride_n + first_channel * source_.stride_c + begin,
              source_.stride_c, begin, packed_begin, true);
      if (packed_begin < end)
        add(b.panel.data() + (packed_begin - window.packed_begin) * width_, plan_.panel.row, packed_begin, end, false);
      // What the last vector has beyond the end is not zero.
      if (channel + channels == c_.channels && end - begin < tile_end - tile_begin)
        for (T* row = z; row < z + tile.taps * plan_.z_row; row += plan_.z_row) {
          std::fill(row, row + (begin - tile_begin) * width_, T(0));
          std::fill(row + (end - tile_begin) * width_, row + plan_.z_row, T(0));
        }
    }
  }

  void pack(const Buffers& b, int64_t n0, int64_t channel, int64_t channels, const Window& window) const {
    const int64_t begin = window.packed_begin, length = window.end - begin;
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

  // The result of an item, from z: [phase][position].
  void add_taps(const Buffers& b, int64_t group, int64_t q_len) const {
    CorrelateArgs<T> args;
    args.w = ones_.data();
    args.channels = 1;
    args.x_row = 0;
    args.init = bias_ ? bias_ + group : nullptr;
    for (int64_t phase = 0; phase < c_.phases; ++phase) {
      args.x = b.z.data();
      args.offset = plan_.z_at.data() + plan_.taps.phase_begin[size_t(phase)];
      args.taps = plan_.taps.phase_taps(phase);
      args.out = &b.result[phase * b.result_row];
      compute(kernels_.fir[1], kernels_.correlate_vectors[1], args, q_len * width_);
    }
  }

  // At least `count` positions: whole vectors, in tiles of at most `most`.
  template <class Kernel>
  void compute(const Kernel* kernel, int64_t most, CorrelateArgs<T>& args, int64_t count) const {
    const int64_t lanes = kernels_.lanes, width = most * lanes;
    args.tiles = count / width;
    if (args.tiles) kernel[most](args);
    const int64_t done = args.tiles * width;
    args.tiles = 1;
    args.x += done;
    args.out = static_cast<T*>(args.out) + done;
    if (done < count) kernel[ceil_div(count - done, lanes)](args);
  }

  // Positions [q0, q0 + q_len) of each phase in turn, as far as the row goes.
  void write(const Buffers& b, int64_t n0, int64_t group, int64_t q0, int64_t q_len) const {
    const int64_t phases = c_.phases, begin = q0 * phases, count = std::min(q_len * phases, c_.out_length - begin);
    E* to = static_cast<E*>(out_.data) + n0 * out_.stride_n + group * out_.stride_c;
    if (width_ > 1) {
      // All of the row, position by position.
      for (int64_t i = 0; i < count; ++i)
        std::copy_n(&b.result[i % phases * b.result_row + i / phases * width_], width_, &b.scattered[i * width_]);
      scatter_samples<E>(
          copy_, b.scattered.data(), count * width_, width_, {to, out_.stride_n, out_.stride_c, out_.stride_l},
          std::min(width_, c_.n - n0), 1, count);
      return;
    }
    const int64_t whole = count / phases, left = count % phases;
    to += begin * out_.stride_l;
    copy_.out({to, out_.stride_l, phases * out_.stride_l, b.result.data(), b.result_row, 1, phases, whole});
    copy_.out({to + whole * phases * out_.stride_l, out_.stride_l, 1, &b.result[whole], b.result_row, 1, left, 1});
  }

  const ArithmeticKernels<T>& kernels_;
  const CopyKernels<E>& copy_;
  const CopyKernels<T>& copy_sums_;
  const Correlation c_;
  const View source_;
  const MutableView out_;
  const E* const w_;
  const T* const bias_;
  const TapRowsPlan plan_;
  const int64_t width_;  // samples side by side
  const bool zeros_;     // outside the source
  const Scratch<T> packed_, ones_;
};

}  // namespace

void tap_rows(const CorrelationOperands& o) {
  with_element(
      o.dtype, [&](auto element) { TapRowsCall<decltype(element)>(o.c, o.table, o.source, o.w, o.bias, o.out).run(); });
}

}  // namespace torch_conv1d::cpu
