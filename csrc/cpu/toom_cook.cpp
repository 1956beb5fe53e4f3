// The block loops of Toom-Cook's filtering.
//
//   transform the weights once: [group][row tile][point][channel][tap group][row of the tile]
//   for every item (samples, group, tiles of positions, row tiles), in parallel:
//     pack and transform a few channels at a time: [point][channel][sample][phase][tile]
//     for each row tile:
//       at each point, products: [point][row][sample][phase][tile]
//       for each row and sample: transform, interleave the phases and places into the result
#include "toom_cook.h"

#include <algorithm>
#include <vector>

#include "../division.h"
#include "dispatch.h"
#include "parallel.h"
#include "scratch.h"

namespace torch_conv1d::cpu {
namespace {

// The longest vector of any instruction set, in elements: room for what a transform stores beyond the end.
constexpr int64_t kRoom = 16;
// A panel of a few channels that stays in the L1 cache, on its way into the transform.
constexpr int64_t kPanelBytes = 16 << 10;

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
        point_(c.channels * plan_.tap_groups * ceil_div(c.rows, plan_.row_tiles) + kRoom),
        weights_(c.groups * plan_.row_tiles * plan_.points * point_),
        inits_(bias ? c.groups * c.rows : 0),
        has_inits_(bias) {
    for (int64_t g = 0; g < plan_.tap_groups; ++g) group_offsets_.push_back(g);
    if (bias) copy_sums_.in({inits_.data(), 0, 1, static_cast<const T*>(bias), 0, 1, 1, c.groups * c.rows});
    parallel_for(c.groups * plan_.row_tiles, plan_.worth_threads, [&](int64_t begin, int64_t end) {
      transform_weights(static_cast<const T*>(w), begin, end);
    });
  }

  void run() const {
    const int64_t tile_blocks = ceil_div(plan_.row_tiles, plan_.tile_block);
    const int64_t q_blocks = ceil_div(plan_.tiles, plan_.q_block);
    const int64_t items = ceil_div(c_.n, plan_.n_block) * c_.groups * q_blocks * tile_blocks;
    parallel_for(items, plan_.worth_threads, [&](int64_t begin, int64_t end) {
      for (int64_t item = begin; item < end; ++item) {
        int64_t rest = item;
        const int64_t tile0 = rest % tile_blocks * plan_.tile_block;
        const int64_t q0 = (rest /= tile_blocks) % q_blocks * plan_.q_block;
        const int64_t group = (rest /= q_blocks) % c_.groups;
        Item(*this, rest / c_.groups * plan_.n_block, group, q0, tile0).run();
      }
    });
  }

 private:
  // Row tiles [begin, end), counted through the groups.
  void transform_weights(const T* w, int64_t begin, int64_t end) const {
    const int64_t padded = plan_.tap_groups * plan_.taps;  // taps of a channel, those beyond the kernel being zeros
    const Scratch<T> packed(c_.channels * padded * kernels_.correlate_rows + kRoom);
    for (int64_t i = begin; i < end; ++i) {
      const int64_t group = i / plan_.row_tiles, tile = i % plan_.row_tiles;
      const int64_t row0 = plan_.row_begin(c_, tile), rows = plan_.row_begin(c_, tile + 1) - row0;
      const int64_t step = c_.step > 0 ? rows : -rows;
      for (int64_t channel = 0; channel < c_.channels; ++channel) {
        T* taps = packed.data() + channel * padded * rows;
        std::fill_n(taps + c_.taps * rows, (padded - c_.taps) * rows, T(0));
        copy_sums_.in(
            {taps + (c_.step > 0 ? 0 : (c_.taps - 1) * rows), 1, step,
             w + group * c_.w_group + row0 * c_.w_row + channel * c_.w_channel, c_.w_row, 1, rows, c_.taps});
      }
      int64_t offsets[kMaxToomCookTaps];
      for (int64_t s = 0; s < plan_.taps; ++s) offsets[s] = s * rows;
      kernels_.transform_weight[plan_.taps](
          {packed.data(), plan_.taps * rows, offsets, T(0), weights_.data() + i * plan_.points * point_, rows, point_,
           c_.channels * plan_.tap_groups, rows});
    }
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
          segment_(plan_.segment(q_len_)),
          sample_(plan_.dilation * segment_),
          columns_(samples_ * sample_),
          row_(padded_row(columns_ + plan_.tap_groups - 1 + kRoom)),
          source_(plan_.points * c_.channels * row_),
          products_(plan_.points * call.kernels_.correlate_rows * row_),
          result_(kToomCookOutputs * sample_ + kRoom) {}

    void run() const {
      transform_source();
      for (int64_t tile = tile0_; tile < last_tile_; ++tile) {
        const int64_t row0 = plan_.row_begin(c_, tile), rows = plan_.row_begin(c_, tile + 1) - row0;
        for (int64_t point = 0; point < plan_.points; ++point) multiply(tile, rows, point);
        for (int64_t r = 0; r < rows; ++r)
          for (int64_t n = 0; n < samples_; ++n) write(row0 + r, r, rows, n);
      }
    }

   private:
    // Whole cache lines, and not a multiple of 2 KiB, so that the rows of several channels do not compete for the same
    // lines of the L1 cache.
    static int64_t padded_row(int64_t count) {
      const int64_t row = ceil_div(count, kRoom) * kRoom;
      return row % 512 ? row : row + kRoom;
    }

    void transform_source() const {
      const PanelLayout& layout = plan_.layout;
      const int64_t most = std::clamp<int64_t>(kPanelBytes / (layout.row * int64_t(sizeof(T))), 1, c_.channels);
      const Scratch<T> panel(most * layout.row + kRoom);
      for (int64_t n = 0; n < samples_; ++n)
        for (int64_t channel = 0; channel < c_.channels; channel += most) {
          const int64_t channels = std::min(most, c_.channels - channel);
          pack_panel<E>(
              plan_.source, layout, call_.copy_, call_.source_, n0_ + n, group_ * c_.channels + channel, channels, q0_,
              segment_, panel.data());
          for (int64_t phase = 0; phase < plan_.dilation; ++phase) {
            int64_t offsets[2 * kToomCookOutputs];
            for (int64_t s = 0; s < plan_.points; ++s) offsets[s] = layout.tap_at[phase + s * plan_.dilation];
            call_.kernels_.transform_source[plan_.taps](
                {panel.data(), layout.row, offsets, T(0),
                 source_.data() + channel * row_ + n * sample_ + phase * segment_, row_, c_.channels * row_, channels,
                 segment_});
          }
        }
    }

    // Products of one row tile at one point.
    void multiply(int64_t tile, int64_t rows, int64_t point) const {
      const auto& kernels = call_.kernels_;
      const int64_t lanes = kernels.lanes, index = group_ * plan_.row_tiles + tile;
      const T* weights = call_.weights_.data() + (index * plan_.points + point) * call_.point_;
      for (int64_t i = 0; i < columns_;) {
        const int64_t vectors = std::min(kernels.correlate_vectors[rows], ceil_div(columns_ - i, lanes));
        const int64_t tiles = std::max<int64_t>((columns_ - i) / (vectors * lanes), 1);
        kernels.correlate[rows][vectors](
            {source_.data() + point * c_.channels * row_ + i, row_, call_.group_offsets_.data(), weights, 0, 0,
             c_.channels, plan_.tap_groups, nullptr, products_.data() + point * rows * row_ + i, row_, tiles});
        i += tiles * vectors * lanes;
      }
    }

    // The results of sample n in row `row`, which is row r of its tile.
    void write(int64_t row, int64_t r, int64_t rows, int64_t n) const {
      int64_t offsets[2 * kToomCookOutputs];
      for (int64_t a = 0; a < plan_.points; ++a) offsets[a] = a * rows * row_;
      const T init = call_.has_inits_ ? call_.inits_[group_ * c_.rows + row] : T(0);
      call_.kernels_.transform_result[plan_.taps](
          {products_.data() + r * row_ + n * sample_, 0, offsets, init, result_.data(), 0, sample_, 1, sample_});
      const int64_t stride = call_.out_.stride_l, step = plan_.positions();
      const int64_t begin = q0_ * step, positions = std::min(q_len_ * step, c_.out_length - begin);
      const int64_t whole = positions / step, left = positions % step;
      E* out = static_cast<E*>(call_.out_.data) + (n0_ + n) * call_.out_.stride_n +
               (group_ * c_.rows + row) * call_.out_.stride_c + begin * stride;
      call_.copy_.out({out, stride, step * stride, result_.data(), segment_, 1, step, whole});
      call_.copy_.out({out + whole * step * stride, stride, 1, result_.data() + whole, segment_, 1, left, 1});
    }

    const ToomCookCall& call_;
    const Correlation& c_;
    const ToomCookPlan& plan_;
    const int64_t n0_, samples_, group_, q0_, q_len_, tile0_, last_tile_;
    const int64_t segment_;  // columns of one phase,
    const int64_t sample_;   // of one sample,
    const int64_t columns_;  // of the item
    const int64_t row_;
    const Scratch<T> source_, products_, result_;
  };

  const ArithmeticKernels<T>& kernels_;
  const CopyKernels<E>& copy_;
  const CopyKernels<T>& copy_sums_;
  const Correlation& c_;
  const View source_;
  const MutableView out_;
  const ToomCookPlan plan_;
  const int64_t point_;  // from one point to the next in the weights of a row tile
  const Scratch<T> weights_, inits_;
  const bool has_inits_;
  std::vector<int64_t> group_offsets_;
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
