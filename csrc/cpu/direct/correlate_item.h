// An item of correlate.cpp: computes its rows a few tiles at a time, and brings them to where the result wants them.
//
//   elements    direct tiles write elements of the result
//   in_place    tiles write sums to rows of the result, as its elements
//   by_sums     tiles write sums to rows of their own, whose phases are interleaved, or which are transposed, or whose ends are kept
//               for a padding mode to fold
//
// Samples that stand side by side are one sample of all this, in rows of sums that are scattered after.
#pragma once

#include "correlate_tiles.h"

namespace torch_conv1d::cpu {

template <class E>
class CorrelateItem {
  using T = SumOf<E>;

 public:
  CorrelateItem(const CorrelateCall<E>& call, int64_t n0, const RowTiles& part, int64_t q0)
      : call_(call),
        b_(call, n0, part, q0),
        source_(call, b_),
        tiles_(call, b_, source_),
        runs_(runs_of_spans()),
        result_row_(call.plan.layout.padded(call.plan.q_block)),
        phases_held_(std::min(kPhasesHeld, call.c.phases)),
        chunk_(chunk_of_tiles()),
        result_(any_by_sums() ? chunk_ * rows_of_tile() * result_row_ : 0),
        scattered_row_(call.c.phases == 1 ? result_row_ : call.out_length * call.width),
        scattered_(call.together ? chunk_ * rows_of_tile() / phases_held_ * scattered_row_ : 0) {}

  void run() const {
    source_.pack();
    const int64_t together = call_.together ? 1 : b_.samples;
    for (int64_t first = 0; first < b_.tile_count(); first += chunk_)
      for (int64_t n = 0; n < b_.samples; n += together)
        run_chunk(first, std::min(first + chunk_, b_.tile_count()), n, n + together);
  }

 private:
  // Sums are collected up to this size, so that a transposition finds several rows.
  static constexpr int64_t kResultBytes = 32 << 10;

  enum class Way { elements, in_place, by_sums };
  // Spans that follow each other, which are written in the same way.
  struct Run : SpanRun {
    Way way;
  };
  std::vector<Run> runs_of_spans() const {
    std::vector<Run> runs;
    const std::vector<Span>& spans = source_.spans();
    for (size_t i = 0; i < spans.size(); ++i) {
      const int64_t begin = spans[i].q0 * call_.c.phases - call_.lead, end = begin + spans[i].q_len * call_.c.phases;
      const Way way = call_.direct_tiles && !spans[i].packed             ? Way::elements
                      : call_.in_place && !call_.folded.take(begin, end) ? Way::in_place
                                                                         : Way::by_sums;
      if (runs.empty() || runs.back().way != way) runs.push_back({{i, i, spans[i].q0, 0}, way});
      runs.back().last = i + 1;
      runs.back().q_len += spans[i].q_len;
    }
    return runs;
  }
  bool any_by_sums() const {
    return std::any_of(runs_.begin(), runs_.end(), [](const Run& run) { return run.way == Way::by_sums; });
  }

  int64_t rows_of_tile() const { return call_.plan.tile_rows() * phases_held_; }

  int64_t chunk_of_tiles() const {
    if (call_.direct_tiles) return 1;
    // Tiles of many rows keep their weights in the cache for all samples.
    if (call_.in_place && !call_.together) return call_.c.rows == 1 ? b_.tile_count() : 1;
    const int64_t tile_bytes = rows_of_tile() * result_row_ * int64_t(sizeof(T));
    return std::clamp<int64_t>(kResultBytes / tile_bytes, 1, b_.tile_count());
  }

  // `count` rows of a result from row `first` on, of samples [n, n_end) of the block.
  template <class O>
  struct Rows {
    O* data;
    int64_t stride_n, stride_c, stride_l;
    const CopyKernels<O>& copy;
    int64_t n, n_end, first, count;
  };

  // Tiles [first, last).
  void run_chunk(int64_t first, int64_t last, int64_t n, int64_t n_end) const {
    const int64_t row = b_.first_row(first), rows = b_.first_row(last - 1) + b_.row_count(last - 1) - row;
    const MutableView& out = call_.out;
    E* to = static_cast<E*>(out.data) + b_.first_sample(n) * out.stride_n + row * out.stride_c;
    if (!call_.together) {
      write<E>(first, last, {to, out.stride_n, out.stride_c, out.stride_l, call_.copy, n, n_end, row, rows});
      return;
    }
    write<T>(first, last, {scattered_.data(), 0, scattered_row_, call_.width, call_.copy_sums, n, n_end, row, rows});
    T* const from = scattered_.data() + call_.result.lead() * call_.width;
    if (call_.result.folds())
      for (int64_t r = 0; r < rows; ++r) fold_outside(call_.result, from + r * scattered_row_, call_.width);
    scatter_samples<E>(
        call_.copy, from, scattered_row_, call_.width, {to, out.stride_n, out.stride_c, out.stride_l},
        b_.sample_count(n), rows, call_.result.out_length);
  }

  template <class O>
  void write(int64_t first, int64_t last, const Rows<O>& out) const {
    for (const Run& run : runs_) {
      O* to = out.data + (run.q0 * call_.c.phases - call_.lead) * out.stride_l;
      if (run.way == Way::in_place) {
        const int64_t room = call_.together ? out.stride_c : run.q_len;
        tiles_.compute(first, last, 0, run, out.n, out.n_end, to, out.stride_n, out.stride_c, 0, room);
        continue;
      }
      for (int64_t n = out.n; n < out.n_end; ++n)
        if (run.way == Way::by_sums)
          write_sums(first, last, run, n, out);
        else if constexpr (std::is_same_v<O, E>)
          tiles_.compute_directly(first, n, source_.spans()[run.first], to + (n - out.n) * out.stride_n);
    }
  }

  template <class O>
  void write_sums(int64_t first, int64_t last, const SpanRun& run, int64_t n, const Rows<O>& out) const {
    const int64_t phases = call_.c.phases, out_row = phases_held_ * result_row_;
    // Positions of the result, the first of them after `outside` positions of each phase.
    const int64_t run_begin = run.q0 * phases - call_.lead, begin = std::max<int64_t>(run_begin, 0);
    const int64_t count = std::min(run_begin + run.q_len * phases, call_.out_length) - begin;
    const int64_t outside = (begin - run_begin) / phases;
    O* to = out.data + (n - out.n) * out.stride_n + begin * out.stride_l;
    for (int64_t phase0 = 0; phase0 < phases; phase0 += phases_held_) {
      const int64_t held = std::min(phases_held_, phases - phase0);
      for (int64_t phase = phase0; phase < phase0 + held; phase += call_.joined[size_t(phase)])
        tiles_.compute(
            first, last, phase, run, n, n + 1, result_.data() + (phase - phase0) * result_row_, 0, out_row, result_row_,
            result_row_);
      if (call_.folded.take(run_begin, run_begin + run.q_len * phases)) keep_ends(run, n, phase0, held, out);
      if (count <= 0) continue;
      const T* from = result_.data() + outside * call_.width;
      if (phases == 1)
        out.copy.out(
            {to, out.stride_c, call_.together ? 1 : out.stride_l, from, result_row_, 1, out.count,
             count * call_.width});
      else if (out.stride_c == 1 && !call_.together)  // a phase of all rows is the transpose of its positions
        for (int64_t phase = 0; phase < held; ++phase)
          out.copy.out(
              {to + (phase0 + phase) * out.stride_l, 1, phases * out.stride_l, from + phase * result_row_, out_row, 1,
               out.count, ceil_div(count - phase0 - phase, phases)});
      else
        for (int64_t r = 0; r < out.count; ++r)
          interleave(from + r * out_row, phase0, held, count, to + r * out.stride_c, out);
    }
  }

  void keep_ends(const SpanRun& run, int64_t n, int64_t phase0, int64_t phases, const auto& out) const {
    for (int64_t r = 0; r < out.count; ++r)
      for (int64_t phase = 0; phase < phases; ++phase)
        for (int64_t m = 0; m < b_.sample_count(n); ++m)
          call_.folded.keep(
              b_.first_sample(n) + m, out.first + r, run.q0 * call_.c.phases - call_.lead + phase0 + phase,
              call_.c.phases, &result_[(r * phases_held_ + phase) * result_row_ + m], call_.width, run.q_len);
  }

  // Of `count` positions, every phases-th from phase0 on comes from the first of `held` rows, the next from the second.
  template <class O>
  void interleave(const T* from, int64_t phase0, int64_t held, int64_t count, O* to, const Rows<O>& out) const {
    const int64_t step = call_.c.phases, width = call_.width, stride_l = out.stride_l;
    const int64_t whole = count / step, left = std::clamp<int64_t>(count % step - phase0, 0, held);
    to += phase0 * stride_l;
    if (call_.together) {
      for (int64_t i = 0; i < held; ++i)
        out.copy.out({to + i * width, step * width, 1, from + i * result_row_, width, 1, whole + (i < left), width});
      return;
    }
    out.copy.out({to, stride_l, step * stride_l, from, result_row_, 1, held, whole});
    out.copy.out({to + whole * step * stride_l, stride_l, 1, from + whole, result_row_, 1, left, 1});
  }

  const CorrelateCall<E>& call_;
  const CorrelateBlock<E> b_;
  const CorrelateSource<E> source_;
  const CorrelateTiles<E> tiles_;
  const std::vector<Run> runs_;
  const int64_t result_row_, phases_held_;
  const int64_t chunk_;      // tiles that are computed together
  const Scratch<T> result_;  // [row][phase held][position]
  const int64_t scattered_row_;
  const Scratch<T> scattered_;  // [row][position][sample]
};

}  // namespace torch_conv1d::cpu
