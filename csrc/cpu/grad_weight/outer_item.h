// An item of grad_weight whose lanes are output channels.
//
// Every weight of an output channel, counted as j = ci * kernel_size + k, meets the same grad_y; its x is the packed
// row of channel ci from tap k on. The bias is one more weight, whose x is a row of ones.
//
//   for every block of positions:
//     pack x: it stays in the L2 cache
//     for every tile of output channels: transpose its grad_y, which stays in the L1 cache; add its products with all of x
#pragma once

#include <algorithm>
#include <vector>

#include "../../division.h"
#include "packed_source.h"

namespace torch_conv1d::cpu {

template <class E>
class OuterItem {
  using T = SumOf<E>;

 public:
  OuterItem(const GradWeightCall<E>& call, const GradWeightBlock<E>& block)
      : call_(call),
        b_(block),
        r_(call.plan.reduction),
        x_(call, b_, call.plan.reduction.runs),
        tiles_(call.kernels.outer),
        tile_(call.kernels.outer_vectors * call.kernels.lanes),
        g_size_(r_.runs * (r_.length + r_.pairs) * tile_),
        g_(g_size_),
        held_(ceil_div(std::min(call.plan.co_held, b_.co_count), tile_) * tile_),
        sum_count_(b_.ci_count * call.c.taps + b_.has_bias),
        sums_(sum_count_ * held_),
        offsets_(x_.offsets()) {
    if (b_.has_bias) offsets_.push_back(x_.panel() - call.layout.row);
    if constexpr (std::is_same_v<E, BFloat16>)
      if (r_.pairs) tiles_ = call.table.pairs->outer;
  }

  void run() const {
    // Room that packing leaves alone: the row of ones, and output channels that round a tile up.
    for (int64_t m = 0; m < x_.panels(); ++m) {
      std::fill_n(x_.last_row(m), call_.layout.row, T(1));
      if constexpr (std::is_same_v<E, BFloat16>)
        if (r_.pairs) join_neighbours(*call_.table.pairs, x_.last_row(m), 0, 1, call_.layout.row);
    }
    if (b_.co_count % call_.kernels.lanes) std::fill_n(g_.data(), g_size_, T(0));
    for (int64_t co = 0; co < b_.co_count; co += held_) run_held(co, std::min(held_, b_.co_count - co));
  }

 private:
  // Rows of samples n and following, from a position on.
  struct Rows {
    const View& view;
    int64_t n, channel, count, position, length;
  };

  // Output channels [co0, co0 + count): all of them, or those held of the only block, whose x is packed once.
  void run_held(int64_t co0, int64_t count) const {
    std::fill_n(sums_.data(), sum_count_ * held_, T(0));
    b_.for_each_block(call_, [&](int64_t n0, int64_t runs, int64_t lo0, int64_t length) {
      if (co0 == 0 && b_.ci_count) x_.pack(n0, runs, lo0, length);
      const bool ends = lo0 + length >= call_.p.l_out;
      const int64_t next_n = ends ? n0 + r_.runs : n0, next_lo = ends ? 0 : lo0 + length;
      const int64_t next_x = next_lo * call_.c.source_stride + call_.c.first_offset();
      for (int64_t co = 0; co < count; co += tile_) {
        pack_grad_y(n0, runs, lo0, length, co0 + co);
        // The tiles of a block share the fetching of the next block's x.
        const bool last = co + tile_ >= count;
        const int64_t ci = co * b_.ci_count / count, ci_end = last ? b_.ci_count : (co + tile_) * b_.ci_count / count;
        const int64_t next_co = last ? 0 : co0 + co + tile_;
        const Rows next[] = {
            {call_.grad_y, last ? next_n : n0, b_.group0 * call_.c.rows + b_.co0 + next_co,
             std::min(tile_, b_.co_count - next_co), last ? next_lo : lo0, r_.length},
            {call_.x, next_n, first_channel() + ci, ci_end - ci, std::clamp<int64_t>(next_x, 0, call_.c.source_length),
             r_.length * call_.c.source_stride}};
        if (r_.together)
          add(co, width(count - co), 1, products(length * call_.layout.width), next);
        else
          add(co, width(count - co), runs, products(length), next);
      }
    });
    write(co0, count);
  }

  // Lanes of a tile, where so many output channels are left.
  int64_t width(int64_t left) const {
    return std::min(tile_, ceil_div(left, call_.kernels.lanes) * call_.kernels.lanes);
  }

  // Of so many positions.
  int64_t products(int64_t positions) const { return r_.pairs ? ceil_div(positions, int64_t(2)) : positions; }

  int64_t first_channel() const { return b_.group0 * call_.c.channels + b_.ci0; }

  // The tile of output channels from co on: [sample][position][channel], or [position][sample][channel] where samples
  // stand side by side.
  void pack_grad_y(int64_t n0, int64_t runs, int64_t lo0, int64_t length, int64_t co) const {
    const View& from = call_.grad_y;
    const int64_t lanes = width(b_.co_count - co);
    const int64_t step = r_.together ? call_.layout.width : 1;
    const int64_t of_run = r_.together ? 1 : r_.pairs ? 2 * products(length) : length;
    if (runs < step) std::fill_n(g_.data(), g_size_, T(0));
    for (int64_t m = 0; m < runs; ++m)
      call_.copy.in(
          {g_.data() + m * of_run * lanes, 1, step * lanes,
           static_cast<const E*>(from.data) + (n0 + m) * from.stride_n +
               (b_.group0 * call_.c.rows + b_.co0 + co) * from.stride_c + lo0 * from.stride_l,
           from.stride_c, from.stride_l, std::min(lanes, b_.co_count - co), length});
    if constexpr (std::is_same_v<E, BFloat16>)
      if (r_.pairs) {
        const int64_t joined = r_.together ? 1 : runs, positions = length * step;
        for (int64_t m = 0; m < joined && positions % 2; ++m)
          std::fill_n(g_.data() + (m * of_run + positions) * lanes, lanes, T(0));
        call_.table.pairs->join(
            {g_.data(), lanes, g_.data(), g_.data() + lanes, 2 * lanes, joined * products(positions), lanes});
      }
  }

  // What call `call` of `calls` fetches of the rows that are packed next: its share of their cache lines.
  void set_next(int64_t call, int64_t calls, const Rows (&next)[2], OuterArgs<T>& args) const {
    const auto lines_of = [](const Rows& rows) {
      return rows.view.stride_l == 1 ? rows.count * ceil_div(rows.length * int64_t(sizeof(E)), int64_t(64)) : 0;
    };
    const int64_t of_first = lines_of(next[0]), of_sample = of_first + lines_of(next[1]), lines = of_sample * r_.runs;
    const int64_t begin = call * lines / calls, end = (call + 1) * lines / calls;
    if (begin == end) return;
    const int64_t line = begin % of_sample, run = begin / of_sample;
    const Rows& rows = line < of_first ? next[0] : next[1];
    const View& v = rows.view;
    if (rows.n + run >= call_.p.n) return;
    args.next = reinterpret_cast<const char*>(
        static_cast<const E*>(v.data) + (rows.n + run) * v.stride_n + rows.channel * v.stride_c + rows.position);
    args.next_row = v.stride_c * int64_t(sizeof(E));
    args.next_rows = rows.count;
    args.next_first = line < of_first ? line : line - of_first;
    args.next_count = std::min(end - begin, lines_of(rows) - args.next_first);
    args.next_each = ceil_div(args.next_count * kOuterFetches, args.runs * args.length);
  }

  void add(int64_t co, int64_t lanes, int64_t runs, int64_t length, const Rows (&next)[2]) const {
    const auto& kernels = call_.kernels;
    for (int64_t j = 0; j < sum_count_; j += kernels.outer_rows) {
      OuterArgs<T> args{x_.data(), x_.panel(), offsets_.data() + j,           g_.data(),
                        runs,      length,     sums_.data() + j * held_ + co, held_};
      set_next(j / kernels.outer_rows, ceil_div(sum_count_, kernels.outer_rows), next, args);
      tiles_[std::min(kernels.outer_rows, sum_count_ - j)][lanes / kernels.lanes](args);
    }
  }

  void write(int64_t co0, int64_t count) const {
    const int64_t weights = b_.ci_count * call_.c.taps;
    const int64_t co = b_.group0 * call_.c.rows + b_.co0 + co0;
    call_.write_weights(b_.part, co, b_.ci0 * call_.c.taps, sums_.data(), 1, held_, count, weights);
    if (b_.has_bias) call_.write_bias(b_.part, co, &sums_[weights * held_], 1, count);
  }

  const GradWeightCall<E>& call_;
  const GradWeightBlock<E> b_;
  const ReductionPlan& r_;
  const PackedSource<E> x_;
  const typename ArithmeticKernels<T>::Outer (*tiles_)[ArithmeticKernels<T>::kMaxVectors + 1];  // of [rows][vectors]
  const int64_t tile_;  // output channels of a tile
  const int64_t g_size_;
  const Scratch<T> g_;
  const int64_t held_;  // output channels whose sums are held
  const int64_t sum_count_;
  const Scratch<T> sums_;         // [weight j, then the bias][output channel]
  std::vector<int64_t> offsets_;  // of each
};

}  // namespace torch_conv1d::cpu
