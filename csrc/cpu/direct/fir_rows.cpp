// forward and grad_input of layers with one row a group, whose lanes are positions: depthwise layers above all.
//
//   for every item (sample, groups, positions), in parallel:
//     for as many groups at a time as the L1 cache has room for:
//       pack what tiles read that reach beyond the source (of sources that no tile can read: all of it)
//       for every group:
//         fir tiles, each on the source where it is or on what is packed (of phases with the same offsets: correlate tiles)
//         of several phases, or where a padding mode folds: sums stay in the L1 cache until the row is interleaved (of two phases, by
//         the tiles themselves) and folded
//
// Tiles of a row are of about the same width, and the last one ends where the row ends: the positions that it has in
// common with the one before get the same sums twice. So no tile is so narrow that an addition waits for the one before
// it, and none writes beyond its row.
#include "../drivers.h"

#include <algorithm>
#include <type_traits>
#include <vector>

#include "../../division.h"
#include "../dispatch.h"
#include "../packing/folded_ends.h"
#include "../packing/packed_weights.h"
#include "../packing/panel.h"
#include "../packing/spans.h"
#include "../parallel.h"
#include "../plan/plan.h"
#include "../scratch.h"

namespace torch_conv1d::cpu {
namespace {

// `tiles` neighbours from position `at` of a row on. They read packed span number `span`, or, if that is negative, the
// source.
struct Run {
  int64_t at, vectors, tiles, span;
};
struct PackedSpan {
  int64_t q0, q_len;
};
// How positions [q0, q0 + q_len) of every row are computed: a vector or more.
struct RowCut {
  RowCut(const Inside& inside, bool direct, int64_t lanes, int64_t most_vectors, int64_t first, int64_t q_len_)
      : q0(first), q_len(q_len_) {
    const int64_t all = ceil_div(q_len, lanes);
    const int64_t tiles = std::max<int64_t>(ceil_div(all, most_vectors), q_len % lanes ? 2 : 1);
    const int64_t widest = ceil_div(all, tiles), wide = all - tiles * (widest - 1);
    for (int64_t i = 0, next = q0; i < tiles; ++i) {
      const int64_t vectors = i < wide ? widest : widest - 1, width = vectors * lanes;
      const int64_t at = std::min(next, q0 + q_len - width);
      next = at + width;
      const bool packed = !direct || at < inside.begin || next > inside.end;
      const bool follows = !runs.empty() && packed == (runs.back().span >= 0);
      if (packed && !follows) spans.push_back({at, 0});
      if (packed) spans.back().q_len = next - spans.back().q0;
      if (follows && runs.back().vectors == vectors && runs.back().at + runs.back().tiles * width == at)
        ++runs.back().tiles;
      else
        runs.push_back({at, vectors, 1, packed ? int64_t(spans.size()) - 1 : -1});
    }
  }
  int64_t q0, q_len;
  std::vector<Run> runs;
  std::vector<PackedSpan> spans;
};

template <class E>
class FirRowsCall {
  using T = SumOf<E>;

 public:
  explicit FirRowsCall(const CorrelationOperands& o)
      : kernels_(arithmetic_kernels<E>(o.table)),
        copy_(copy_kernels<E>(o.table)),
        copy_sums_(copy_kernels<T>(o.table)),
        doubled_kernels_(direct_kernels<T>(o.table)),
        result_(o.c),
        c_(o.c.with_outside()),
        source_(o.source),
        out_(o.out),
        plan_(plan_fir_rows(c_, sizeof(T), machine_with(kernels_))),
        doubled_(std::is_same_v<E, T> && c_.phases == 2 && c_.step == -1 && c_.taps <= 2 * kFirShift<T>),
        joined_(
            c_.phases > 1 && !doubled_
                ? joined_phases<T>(c_, PanelLayout(c_, plan_.q_block, kernels_.lanes), kernels_.correlate_rows)
                : std::vector<int64_t>(1, 1)),
        cuts_(cuts()),
        layout_(c_, longest_span(), kernels_.lanes),
        order_(c_.phases > 1 && !doubled_ ? weight_order() : std::vector<int64_t>()),
        unit_step_(c_.unit_step()),
        by_sums_(c_.phases > 1 || o.c.folds()),
        sum_row_(by_sums_ ? layout_.padded(longest_cut()) : 0),
        converted_(std::is_same_v<E, T> ? 0 : c_.groups * c_.w_group),
        inits_(static_cast<const T*>(o.bias)) {
    if constexpr (std::is_same_v<E, T>) {
      w_ = static_cast<const T*>(o.w);
    } else {
      copy_.in({converted_.data(), 0, 1, static_cast<const E*>(o.w), 0, 1, 1, c_.groups * c_.w_group});
      w_ = converted_.data();
    }
  }

  void run() const {
    const int64_t group_blocks = ceil_div(c_.groups, plan_.group_block), q_blocks = int64_t(cuts_.size());
    parallel_for(c_.n * group_blocks * q_blocks, plan_.worth_threads, [&](int64_t begin, int64_t end) {
      for (int64_t item = begin; item < end; ++item) {
        const int64_t rest = item / q_blocks, group0 = rest % group_blocks * plan_.group_block;
        run_item(rest / group_blocks, group0, std::min(plan_.group_block, c_.groups - group0), cuts_[item % q_blocks]);
      }
    });
  }

 private:
  std::vector<RowCut> cuts() const {
    const bool direct = std::is_same_v<E, T> && source_.stride_l == 1 && c_.source_stride == 1;
    const Inside inside(c_);
    const int64_t most_vectors = doubled_
                                     ? doubled_kernels_.fir_units[int(DirectTile::doubled)]
                                     : kernels_.correlate_vectors[*std::max_element(joined_.begin(), joined_.end())];
    std::vector<RowCut> cuts;
    for (int64_t q0 = 0; q0 < c_.q_total(); q0 += cuts.back().q_len) {
      const int64_t left = c_.q_total() - q0;
      // What is less than a vector belongs to the block before it.
      const int64_t q_len = left < plan_.q_block + kernels_.lanes ? left : plan_.q_block;
      cuts.emplace_back(inside, direct, kernels_.lanes, most_vectors, q0, q_len);
    }
    return cuts;
  }
  int64_t longest_span() const {
    int64_t longest = 0;
    for (const RowCut& cut : cuts_)
      for (const PackedSpan& span : cut.spans) longest = std::max(longest, span.q_len);
    return longest;
  }

  int64_t longest_cut() const {
    int64_t longest = 0;
    for (const RowCut& cut : cuts_) longest = std::max(longest, cut.q_len);
    return longest;
  }

  void run_item(int64_t n, int64_t group0, int64_t groups, const RowCut& cut) const {
    const int64_t group_size = c_.channels * layout_.row, spans = int64_t(cut.spans.size());
    const int64_t held =
        std::clamp<int64_t>(kL1Panel / (std::max<int64_t>(spans * group_size, 1) * int64_t(sizeof(T))), 1, groups);
    const Scratch<T> panels(spans * held * group_size);
    const RowSums sums(*this);
    for (int64_t first = 0; first < groups; first += held) {
      const int64_t count = std::min(held, groups - first), channels = c_.channels / source_.tensors;
      View source = source_;
      for (int64_t tensor = 0; tensor < source_.tensors; ++tensor) {
        for (int64_t s = 0; s < spans; ++s)
          pack_panel<E>(
              c_, layout_, copy_, source, n, (group0 + first) * channels, count * channels, cut.spans[s].q0,
              cut.spans[s].q_len,
              panels.data() + (s * source_.tensors + tensor) * (held * group_size / source_.tensors));
        source.data = static_cast<const E*>(source.data) + source_.to_next;
      }
      for (int64_t g = 0; g < count; ++g)
        run_group(
            n, group0 + first + g, cut, panels.data() + g * channels * layout_.row, held * group_size, held * channels,
            sums);
    }
  }

  // Of one row at a time, where there are several phases or some of it is folded: its weights by phase as the tiles
  // read them, the sums of each phase, and these interleaved.
  struct RowSums {
    explicit RowSums(const FirRowsCall& call)
        : weights(call.c_.phases > 1 ? call.c_.w_group : 0),
          phases(call.c_.phases * call.sum_row_),
          row(call.c_.phases > 1 && (call.result_.folds() || call.doubled_) ? call.c_.phases * call.sum_row_ : 0) {}
    const Scratch<T> weights, phases, row;
  };

  // The next groups to be packed begin `held` channels further.
  void run_group(
      int64_t n,
      int64_t group,
      const RowCut& cut,
      const T* panels,
      int64_t span_size,
      int64_t held,
      const RowSums& sums) const {
    const E* source = static_cast<const E*>(source_.data) + n * source_.stride_n +
                      group * (c_.channels / source_.tensors) * source_.stride_c;
    E* out = static_cast<E*>(out_.data) + n * out_.stride_n + group * out_.stride_c;
    if (doubled_) {
      for (const Run& run : cut.runs) {
        DirectFirArgs<T> args;
        read(run, cut, panels, span_size, source, layout_.phase_begin[size_t(c_.phase(0))], args);
        args.w = w_ + group * c_.w_group;
        args.channels = c_.channels;
        args.taps = c_.taps;
        args.init = nullptr;
        args.out = sums.row.data() + 2 * (run.at - cut.q0);
        args.tiles = run.tiles;
        args.first_phase = c_.phase(0);
        doubled_kernels_.fir[int(DirectTile::doubled)][run.vectors](args);
      }
      return write(cut, sums, out);
    }
    // Filled field by field: a copy would wait until the stores of the last tile have left.
    CorrelateArgs<T> args;
    args.out_type = by_sums_ ? kDType<T> : kDType<E>;
    args.channels = c_.channels;
    args.w = w_ + group * c_.w_group;
    args.init = inits_ ? inits_ + group : nullptr;
    args.from_memory = true;
    args.to_memory = plan_.to_memory && !by_sums_;
    args.next_row = source_.stride_c * int64_t(sizeof(E));
    args.out_row = sum_row_;
    if (c_.phases > 1) {
      for (size_t i = 0; i < order_.size(); ++i) sums.weights[int64_t(i)] = args.w[order_[i]];
      args.w = sums.weights.data();
    }
    for (int64_t phase = 0; phase < c_.phases; phase += joined_[size_t(phase)]) {
      const int64_t joined = joined_[size_t(phase)], tap0 = layout_.phase_begin[size_t(phase)];
      const auto* const tiles = joined > 1 ? kernels_.correlate[joined] : kernels_.fir[unit_step_ + 1];
      args.taps = layout_.phase_taps(phase);
      for (const Run& run : cut.runs) {
        read(run, cut, panels, span_size, source, tap0, args);
        args.next = nullptr;
        if constexpr (std::is_same_v<E, T>)
          if (run.span >= 0)
            args.next = reinterpret_cast<const char*>(source + run.at * c_.source_stride) + held * args.next_row;
        args.tiles = run.tiles;
        if (by_sums_)
          args.out = sums.phases.data() + phase * sum_row_ + run.at - cut.q0;
        else
          args.out = out + run.at;
        tiles[run.vectors](args);
      }
      args.w += joined * args.taps * c_.channels;
    }
    if (by_sums_) write(cut, sums, out);
  }

  // Where the tiles of a run find their source, and the taps from tap0 on, in the order of phases.
  void read(
      const Run& run, const RowCut& cut, const T* panels, int64_t span_size, const E* source, int64_t tap0, auto& args)
      const {
    if (run.span >= 0) {
      args.x = panels + run.span * span_size + run.at - cut.spans[run.span].q0;
      args.x_row = source_.tensors > 1 ? span_size / source_.tensors : layout_.row;
      args.offset = layout_.tap_at.data() + tap0;
    } else if constexpr (std::is_same_v<E, T>) {
      args.x = source + run.at;
      args.x_row = source_.tensors > 1 ? source_.to_next : source_.stride_c;
      args.offset = layout_.tap_offset.data() + tap0;
    }
  }

  // Where the weights of a group are, in the order in which tiles read them: by phase, those that are joined next to
  // each other, [phases][channel][tap][phase].
  std::vector<int64_t> weight_order() const {
    std::vector<int64_t> order;
    for (int64_t phase = 0; phase < c_.phases; phase += joined_[size_t(phase)])
      for (int64_t channel = 0; channel < c_.channels; ++channel)
        for (int64_t t = 0; t < layout_.phase_taps(phase); ++t)
          for (int64_t p = phase; p < phase + joined_[size_t(phase)]; ++p)
            order.push_back(channel * c_.w_channel + layout_.tap_order[size_t(layout_.phase_begin[size_t(p)] + t)]);
    return order;
  }

  void write(const RowCut& cut, const RowSums& sums, E* out) const {
    const int64_t phases = c_.phases, begin = cut.q0 * phases,
                  count = std::min(cut.q_len * phases, c_.out_length - begin);
    const T* const by_phase = sums.phases.data();
    T* const row = phases == 1 ? sums.phases.data() : sums.row.data();
    if (!result_.folds()) {
      if (doubled_) return copy_.out({out + begin, 0, 1, row, 0, 1, 1, count});
      const int64_t whole = count / phases;
      copy_.out({out + begin, 1, phases, by_phase, sum_row_, 1, phases, whole});
      copy_.out({out + begin + whole * phases, 1, 1, by_phase + whole, sum_row_, 1, count % phases, 1});
      return;
    }
    if (phases > 1 && !doubled_) copy_sums_.in({row, 1, phases, by_phase, sum_row_, 1, phases, cut.q_len});
    fold_outside(result_, row + result_.lead());
    copy_.out({out, 0, 1, row + result_.lead(), 0, 1, 1, result_.out_length});
  }

  const ArithmeticKernels<T>& kernels_;
  const CopyKernels<E>& copy_;
  const CopyKernels<T>& copy_sums_;
  const DirectKernels<T>& doubled_kernels_;
  const Correlation& result_;
  // With what a padding mode folds back: position p of the result is result_.lead() + p of these.
  const Correlation c_;
  const View source_;
  const MutableView out_;
  const FirRowsPlan plan_;
  const bool doubled_;
  const std::vector<int64_t> joined_;
  const std::vector<RowCut> cuts_;
  const PanelLayout layout_;
  const std::vector<int64_t> order_;
  const int64_t unit_step_;
  const bool by_sums_;          // instead of in place
  const int64_t sum_row_;       // from the sums of a phase to those of the next
  const Scratch<T> converted_;  // the weights as sums, if they are not
  const T* w_;
  const T* const inits_;
};

}  // namespace

void fir_rows(const CorrelationOperands& o) {
  with_element(o.dtype, [&](auto element) { FirRowsCall<decltype(element)>(o).run(); });
}

}  // namespace torch_conv1d::cpu
