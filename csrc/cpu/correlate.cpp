// forward and grad_input: the block loops around the correlate and fir tiles.
//
//   pack the weights, of as many row tiles as are held at a time (packed_weights.h)
//   for every item (samples, groups, positions, row tiles), in parallel:
//     pack panels of the source for each sample (of few rows a group: only where the source ends)
//     for a few row tiles at a time, for each sample, for each phase:
//       tiles of (rows x vectors of positions), each the whole sum over channels and taps, in registers
//       transpose and interleave the rows into the result (most rows are written in place, as elements of its type)
//
// Of short rows, the samples that stand side by side in a panel are one sample of all this: gathered before, scattered after.
#include "drivers.h"

#include <algorithm>
#include <bit>
#include <type_traits>
#include <vector>

#include "../division.h"
#include "../padding.h"
#include "dispatch.h"
#include "packed_weights.h"
#include "panel.h"
#include "parallel.h"
#include "plan.h"
#include "samples.h"
#include "scratch.h"
#include "spans.h"

namespace torch_conv1d::cpu {
namespace {

// Results that are not written in place are collected up to this size, so that a transposition finds several rows.
constexpr int64_t kResultBytes = 32 << 10;
// Steps (tiles) in which a cache line of each channel is fetched, so that it does not hold up those that the tiles wait for.
constexpr int64_t kMostSteps = 16;
// The largest tile of any instruction set, in elements: 24 vectors of 16 lanes.
constexpr int64_t kTileElements = 512;

// Positions [begin, end) of the result, and the q that give them: those of spans [first_span, last_span).
struct Range {
  int64_t begin, end;
  int64_t q0, q_len;
  size_t first_span, last_span;
};

template <class E>
class CorrelateCall {
  using T = SumOf<E>;

 public:
  CorrelateCall(
      const Correlation& c, const KernelTable& table, View source, const void* w, const void* bias, MutableView out)
      : table_(table),
        kernels_(arithmetic_kernels<E>(table)),
        copy_(copy_kernels<E>(table)),
        copy_sums_(copy_kernels<T>(table)),
        c_(c),
        source_(source),
        out_(out),
        plan_(plan_correlation(
            c,
            sizeof(T),
            {.unit_stride = source.stride_l == 1 && out.stride_l == 1,
             .narrowness = kNarrowness<E>,
             .source_row = source.stride_c},
            machine_with(kernels_))),
        layout_(plan_.layout),
        packed_weights_(plan_.pack_weights || c.rows == 1),
        // With one row a group and all taps in one phase, the packed order is the stored one.
        stored_(std::is_same_v<E, T> && (!plan_.pack_weights || (c.rows == 1 && c.phases == 1))),
        together_(layout_.width > 1),
        direct_tiles_(plan_.direct > DirectTile::sums),
        in_place_(
            c.phases == 1 && !direct_tiles_ &&
            (together_ || (out.stride_l == 1 && (std::is_same_v<E, T> || c.fold_left + c.fold_right == 0)))),
        unit_step_(together_ ? 0 : c.unit_step()),
        joined_(joined_phases<T>(c, layout_, kernels_.correlate_rows)),
        packed_(c_, plan_, joined_, copy_, copy_sums_, stored_ ? nullptr : static_cast<const E*>(w)),
        stored_weights_(static_cast<const E*>(w)),
        converted_(direct_tiles_ && !std::is_same_v<E, T> ? c.groups * c.w_group : 0),
        direct_weights_(std::is_same_v<E, T> ? static_cast<const T*>(w) : converted_.data()),
        inits_(static_cast<const T*>(bias)) {
    if (direct_tiles_ && !std::is_same_v<E, T>)
      copy_.in({converted_.data(), 0, 1, stored_weights_, 0, 1, 1, c.groups * c.w_group});
  }

  void run() {
    if (stored_) return run_items({0, c_.groups, 0, plan_.row_tiles});
    for_held_tiles(c_, plan_, [&](const RowTiles& part) {
      packed_.pack(part);
      run_items(part);
    });
  }

 private:
  void run_items(const RowTiles& part) const {
    for_items(
        c_, plan_, part, [&](int64_t n0, const RowTiles& block, int64_t q0) { Item(*this, n0, block, q0).run(); });
  }

  // Of a tile, as PackedWeights has them.
  WeightView<T> weights_of(int64_t row, int64_t rows, int64_t tap0) const {
    if constexpr (std::is_same_v<E, T>)
      if (stored_)
        return {stored_weights_ + row / c_.rows * c_.w_group + row % c_.rows * c_.w_row, c_.w_row, c_.w_channel};
    return packed_.of(row, rows, tap0);
  }

  // One item of work; a thread runs several, one after another.
  class Item {
   public:
    Item(const CorrelateCall& call, int64_t n0, const RowTiles& block, int64_t q0)
        : call_(call),
          c_(call.c_),
          n0_(n0),
          width_(call.layout_.width),
          samples_(ceil_div(std::min(call.plan_.n_block, c_.n - n0), width_)),
          group0_(block.group0),
          groups_(block.groups),
          tile0_(block.tile0),
          tiles_(block.tiles),
          ranges_(ranges_of_block(q0)),
          panel_size_(groups_ * c_.channels * call.layout_.row),
          panels_((spans_.back().packed_before + spans_.back().packed) * samples_ * panel_size_),
          result_row_(call.layout_.padded(call.plan_.q_block)),
          phases_held_(std::min(kPhasesHeld, c_.phases)),
          chunk_(chunk_of_tiles()),
          result_(call.in_place_ && ranges_.size() == 1 ? 0 : chunk_ * rows_of_tile() * result_row_),
          gathered_(call.together_ ? groups_ * c_.channels * c_.source_length * width_ : 0),
          scattered_row_(c_.phases == 1 ? result_row_ : c_.out_length * width_),
          scattered_(call.together_ ? chunk_ * rows_of_tile() / phases_held_ * scattered_row_ : 0) {}

    void run() const {
      for (int64_t n = 0; n < samples_; ++n)
        if (call_.together_)
          pack<T>(call_.copy_sums_, gather(n), 0, 0, n);
        else
          pack<E>(call_.copy_, call_.source_, n0_ + n, group0_ * c_.channels, n);
      for (int64_t first = 0; first < groups_ * tiles_; first += chunk_)
        for (int64_t n = 0; n < samples_; ++n) run_chunk(first, std::min(first + chunk_, groups_ * tiles_), n);
    }

   private:
    template <class S>
    void pack(const CopyKernels<S>& copy, View source, int64_t source_n, int64_t channel, int64_t n) const {
      for (const Span& span : spans_)
        if (span.packed)
          pack_panel<S>(
              c_, call_.layout_, copy, source, source_n, channel, groups_ * c_.channels, span.q0, span.q_len,
              panel(span, n));
    }

    // The samples that stand side by side as sample n of the item.
    int64_t first_of(int64_t n) const { return n0_ + n * width_; }
    int64_t count_of(int64_t n) const { return std::min(width_, c_.n - first_of(n)); }

    View gather(int64_t n) const {
      View v = call_.source_;
      v.data = static_cast<const E*>(v.data) + first_of(n) * v.stride_n + group0_ * c_.channels * v.stride_c;
      return gather_samples<E>(
          call_.copy_, v, count_of(n), width_, groups_ * c_.channels, c_.source_length, gathered_.data());
    }

    // The block itself, then the positions outside the result that fold back into it.
    std::vector<Range> ranges_of_block(int64_t q0) {
      std::vector<Range> ranges;
      const auto add_range = [&](int64_t begin, int64_t end, int64_t q, int64_t q_len) {
        const size_t first_span = spans_.size();
        const int64_t lanes = kNarrowness<E> * call_.kernels_.lanes;
        const bool direct = call_.plan_.direct != DirectTile::none;
        cut_spans(c_, direct, call_.plan_.panel_length, lanes, q, q_len, spans_);
        ranges.push_back({begin, end, q, q_len, first_span, spans_.size()});
      };
      const int64_t q_len = std::min(call_.plan_.q_block, c_.q_total() - q0);
      add_range(q0 * c_.phases, std::min((q0 + q_len) * c_.phases, c_.out_length), q0, q_len);
      const int64_t block_begin = ranges[0].begin, block_end = ranges[0].end;
      const auto add_outside = [&](int64_t begin, int64_t end) {
        const auto folds = [&](int64_t position) {
          const int64_t target = padded_source(position, c_.out_length, c_.fold);
          return target >= block_begin && target < block_end;
        };
        while (begin < end && !folds(begin)) ++begin;
        while (begin < end && !folds(end - 1)) --end;
        const int64_t last_q = floor_div(end - 1, c_.phases) + 1;
        for (int64_t q = floor_div(begin, c_.phases); begin < end && q < last_q; q += call_.plan_.q_block) {
          const int64_t length = std::min(call_.plan_.q_block, last_q - q);
          add_range(std::max(begin, q * c_.phases), std::min(end, (q + length) * c_.phases), q, length);
        }
      };
      add_outside(-c_.fold_left, 0);
      add_outside(c_.out_length, c_.out_length + c_.fold_right);
      return ranges;
    }

    int64_t rows_of_tile() const { return (c_.rows == 1 ? 1 : call_.kernels_.correlate_rows) * phases_held_; }

    int64_t chunk_of_tiles() const {
      if (call_.direct_tiles_) return 1;
      const int64_t tile_bytes = rows_of_tile() * result_row_ * int64_t(sizeof(T));
      if (call_.in_place_ && !call_.together_)
        return c_.rows == 1 ? groups_ * tiles_
                            : 1;  // tiles of many rows keep their weights in the cache for all samples
      return std::clamp<int64_t>(kResultBytes / tile_bytes, 1, groups_ * tiles_);
    }

    T* panel(const Span& span, int64_t n) const {
      return panels_.data() + (span.packed_before * samples_ + n) * panel_size_;
    }

    // What the block after this one reads of its sample n, from the first channel of its first group on.
    struct Ahead {
      const char* first = nullptr;
      int64_t row = 0, lines = 0;
    };
    Ahead ahead_of(int64_t n) const {
      const View& v = call_.source_;
      if ((call_.plan_.direct != DirectTile::none && !call_.plan_.passes) || call_.together_ || v.stride_l != 1 ||
          c_.channels < kFetchedChannels)
        return {};
      int64_t q = ranges_[0].q0 + call_.plan_.q_block, group = group0_, sample = n0_ + n;
      if (q >= c_.q_total()) {
        q = 0;
        group += groups_;
        if (group >= c_.groups) {
          group = 0;
          sample += call_.plan_.n_block;
        }
      }
      const int64_t begin = std::clamp<int64_t>(q * c_.source_stride + c_.first_offset(), 0, c_.source_length);
      const int64_t end = std::min(begin + call_.plan_.q_block * c_.source_stride, c_.source_length);
      if (sample >= c_.n) return {};
      return {
          reinterpret_cast<const char*>(
              static_cast<const E*>(v.data) + sample * v.stride_n + group * c_.channels * v.stride_c + begin),
          v.stride_c * int64_t(sizeof(E)), ceil_div((end - begin) * int64_t(sizeof(E)), int64_t(64))};
    }

    // What tiles of sample n and the given group of the item read: the first channel, and how to find the others and the taps.
    void set_source(const Span& span, int64_t n, int64_t group, int64_t tap0, CorrelateArgs<T>& args) const {
      const int64_t channel = group * c_.channels;
      args.from_memory = !span.packed && !call_.plan_.passes;
      if constexpr (std::is_same_v<E, T>)
        if (!span.packed) {
          const View& v = call_.source_;
          args.x = static_cast<const T*>(v.data) + (n0_ + n) * v.stride_n +
                   (group0_ * c_.channels + channel) * v.stride_c + span.q0;
          args.x_row = v.stride_c;
          args.offset = call_.layout_.tap_offset.data() + tap0;
          return;
        }
      args.x = panel(span, n) + channel * call_.layout_.row;
      args.x_row = call_.layout_.row;
      args.offset = call_.layout_.tap_at.data() + tap0;
    }

    // Tiles are numbered through the groups of the item, so that their rows are consecutive channels of the result.
    int64_t first_row(int64_t tile) const {
      return (group0_ + tile / tiles_) * c_.rows + call_.plan_.row_begin(c_, tile0_ + tile % tiles_);
    }
    int64_t row_count(int64_t tile) const {
      const int64_t t = tile0_ + tile % tiles_;
      return call_.plan_.row_begin(c_, t + 1) - call_.plan_.row_begin(c_, t);
    }

    void run_chunk(int64_t first, int64_t last, int64_t n) const {
      const int64_t row0 = first_row(first), rows = first_row(last - 1) + row_count(last - 1) - row0;
      E* out = static_cast<E*>(call_.out_.data) + first_of(n) * call_.out_.stride_n + row0 * call_.out_.stride_c;
      if (!call_.together_) {
        write<E>(first, last, rows, n, out, call_.out_.stride_c, call_.out_.stride_l, call_.copy_);
        return;
      }
      write<T>(first, last, rows, n, scattered_.data(), scattered_row_, width_, call_.copy_sums_);
      scatter_samples<E>(
          call_.copy_, scattered_.data(), scattered_row_, width_,
          {out, call_.out_.stride_n, call_.out_.stride_c, call_.out_.stride_l}, count_of(n), rows, c_.out_length);
    }

    // Sample n of `rows` rows, those of tiles [first, last), as elements O.
    template <class O>
    void write(
        int64_t first,
        int64_t last,
        int64_t rows,
        int64_t n,
        O* out,
        int64_t stride_c,
        int64_t stride_l,
        const CopyKernels<O>& copy) const {
      const Range& block = ranges_[0];
      const std::vector<T> outside = compute_outside(first, last, rows, n);
      if constexpr (std::is_same_v<O, E>)
        if (call_.direct_tiles_) {
          for (size_t i = block.first_span; i < block.last_span; ++i) {
            const int64_t q0 = spans_[i].q0, q_len = spans_[i].q_len, begin = q0 * c_.phases;
            if (spans_[i].packed)
              write_sums(
                  first, last, rows, n, {begin, std::min(block.end, begin + q_len * c_.phases), q0, q_len, i, i + 1},
                  outside, out, stride_c, stride_l, copy);
            else
              compute_directly(first, n, spans_[i], out + begin);
          }
          return;
        }
      if (call_.in_place_) {
        O* to = out + block.q0 * stride_l;
        compute(first, last, 0, block, n, to, stride_c, call_.together_ ? stride_c : block.q_len);
        if constexpr (std::is_same_v<O, T>) fold_back(outside, 0, rows, block, to, stride_c);
        return;
      }
      write_sums(first, last, rows, n, block, outside, out, stride_c, stride_l, copy);
    }

    // The positions of `block`, by way of sums in rows of their own.
    template <class O>
    void write_sums(
        int64_t first,
        int64_t last,
        int64_t rows,
        int64_t n,
        const Range& block,
        const std::vector<T>& outside,
        O* out,
        int64_t stride_c,
        int64_t stride_l,
        const CopyKernels<O>& copy) const {
      for (int64_t phase0 = 0; phase0 < c_.phases; phase0 += phases_held_) {
        const int64_t phases = std::min(phases_held_, c_.phases - phase0), out_row = phases_held_ * result_row_;
        for (int64_t phase = phase0; phase < phase0 + phases; phase += call_.joined_[phase]) {
          T* result = result_.data() + (phase - phase0) * result_row_;
          compute(first, last, phase, block, n, result, out_row, result_row_);
          fold_back(outside, phase, rows, block, result, out_row);
        }
        if (c_.phases == 1)
          copy.out(
              {out + block.begin * stride_l, stride_c, stride_l, result_.data(), result_row_, 1, rows,
               block.end - block.begin});
        else if (stride_c == 1 && !call_.together_)  // a phase of all rows is the transpose of its positions
          for (int64_t phase = phase0; phase < phase0 + phases; ++phase)
            copy.out(
                {out + (block.begin + phase) * stride_l, 1, c_.phases * stride_l,
                 result_.data() + (phase - phase0) * result_row_, out_row, 1, rows,
                 ceil_div(block.end - block.begin - phase, c_.phases)});
        else
          for (int64_t r = 0; r < rows; ++r)
            interleave(result_.data() + r * out_row, phase0, phases, block, out + r * stride_c, stride_l, copy);
      }
    }

    // Every phases-th position of the block from `begin` on comes from the first of `count` rows, the next from the second.
    template <class O>
    void interleave(
        const T* from,
        int64_t begin,
        int64_t count,
        const Range& block,
        O* out,
        int64_t stride_l,
        const CopyKernels<O>& copy) const {
      const int64_t step = c_.phases, positions = block.end - block.begin;
      const int64_t whole = positions / step, left = std::clamp<int64_t>(positions % step - begin, 0, count);
      out += (block.begin + begin) * stride_l;
      if (call_.together_) {
        for (int64_t i = 0; i < count; ++i)
          copy.out({out + i * width_, step * width_, 1, from + i * result_row_, width_, 1, whole + (i < left), width_});
        return;
      }
      copy.out({out, stride_l, step * stride_l, from, result_row_, 1, count, whole});
      copy.out({out + whole * step * stride_l, stride_l, 1, from + whole, result_row_, 1, left, 1});
    }

    // One sum for each (position outside, row, sample side by side), in the order of ranges_.
    std::vector<T> compute_outside(int64_t first, int64_t last, int64_t rows, int64_t n) const {
      std::vector<T> sums;
      for (size_t i = 1; i < ranges_.size(); ++i) {
        const Range& range = ranges_[i];
        const size_t base = sums.size();
        sums.resize(base + size_t((range.end - range.begin) * rows * width_));
        for (int64_t phase = 0; phase < c_.phases; ++phase) {
          compute(first, last, phase, range, n, result_.data(), result_row_, result_row_);
          for (int64_t q = 0; q < range.q_len; ++q) {
            const int64_t position = (range.q0 + q) * c_.phases + phase;
            if (position < range.begin || position >= range.end) continue;
            for (int64_t r = 0; r < rows; ++r)
              std::copy_n(
                  &result_[r * result_row_ + q * width_], width_,
                  &sums[base + size_t(((position - range.begin) * rows + r) * width_)]);
          }
        }
      }
      return sums;
    }

    // Adds to the positions of one phase of `block` the sums outside that fold back to them.
    void fold_back(
        const std::vector<T>& outside, int64_t phase, int64_t rows, const Range& block, T* result, int64_t result_row)
        const {
      const T* sum = outside.data();
      for (size_t i = 1; i < ranges_.size(); ++i)
        for (int64_t position = ranges_[i].begin; position < ranges_[i].end; ++position, sum += rows * width_) {
          const int64_t target = padded_source(position, c_.out_length, c_.fold);
          if (target % c_.phases != phase || target < block.begin || target >= block.end) continue;
          T* to = result + (target / c_.phases - block.q0) * width_;
          for (int64_t r = 0; r < rows; ++r)
            for (int64_t m = 0; m < width_; ++m) to[r * result_row + m] += sum[r * width_ + m];
        }
    }

    // Rows of tiles [first, last) at one phase (and those joined with it): the positions of the range, in rows of `out` with room for `room`.
    template <class O>
    void compute(
        int64_t first,
        int64_t last,
        int64_t phase,
        const Range& range,
        int64_t n,
        O* out,
        int64_t out_row,
        int64_t room) const {
      const int64_t tap0 = call_.layout_.phase_begin[phase];
      // Filled field by field and passed on as it is: a copy would wait until the stores of the last tile have left.
      CorrelateArgs<T> args;
      args.out_type = kDType<O>;
      args.channels = c_.channels;
      args.taps = call_.layout_.phase_taps(phase);
      const int64_t joined = call_.joined_[phase];
      const Ahead ahead = ahead_of(n);
      const int64_t width = call_.kernels_.correlate_vectors[row_count(first) * joined] * call_.kernels_.lanes;
      const int64_t steps = ceil_div(range.q_len * width_, width);  // of a tile of rows
      args.next_row = ahead.row;
      if (ahead.lines) {
        const int64_t every = std::clamp<int64_t>(steps * tiles_ * c_.phases / ahead.lines, 1, kMostSteps);
        args.next_shift = std::bit_width(uint64_t(every)) - 1;
        args.next_steps = ahead.lines << args.next_shift;
      }
      for (int64_t tile = first; tile < last; ++tile) {
        const int64_t row = first_row(tile), rows = row_count(tile);
        args.next = ahead.first + tile / tiles_ * c_.channels * ahead.row;
        args.next_step = (phase * tiles_ + tile % tiles_) * steps;
        const WeightView<T> w = call_.weights_of(row, rows, tap0);
        args.w = w.data;
        args.w_row = w.row;
        args.w_channel = w.channel;
        args.init = call_.inits_ ? call_.inits_ + row : nullptr;
        for (size_t i = range.first_span; i < range.last_span; ++i) {
          const Span& span = spans_[i];
          const int64_t done = (span.q0 - range.q0) * width_;
          set_source(span, n, tile / tiles_, tap0, args);
          O* to = out + (row - first_row(first)) * out_row + done;
          compute_span(args, rows * joined, span.q_len * width_, to, joined > 1 ? result_row_ : out_row, room - done);
        }
      }
    }

    // The positions of a span of the one row of a tile, from the source where it is to the result where it goes.
    void compute_directly(int64_t tile, int64_t n, const Span& span, E* out) const {
      const auto& kernels = direct_kernels<E>(call_.table_);
      const View& v = call_.source_;
      const int64_t group = group0_ + tile / tiles_, unit = kNarrowness<E> * call_.kernels_.lanes, first = c_.offset(0);
      DirectFirArgs<E> args;
      args.x = static_cast<const E*>(v.data) + (n0_ + n) * v.stride_n + group * c_.channels * v.stride_c +
               span.q0 * c_.source_stride;
      args.x_row = v.stride_c;
      args.offset = call_.plan_.direct == DirectTile::pairs ? call_.layout_.tap_offset.data() : &first;
      args.w = call_.direct_weights_ + group * c_.w_group;
      args.channels = c_.channels;
      args.taps = c_.taps;
      args.init = call_.inits_ ? call_.inits_ + group : nullptr;
      args.out = out;
      args.first_phase = c_.phase(0);
      const int64_t tile_kind = int64_t(call_.plan_.direct), most = kernels.fir_units[tile_kind];
      for (int64_t left = span.q_len / unit; left > 0;) {
        const int64_t parts = ceil_div(left, most), units = ceil_div(left, parts);
        args.tiles = left - parts * (units - 1);
        kernels.fir[tile_kind][units](args);
        args.x += args.tiles * units * unit * c_.source_stride;
        args.out += args.tiles * units * unit * c_.phases;
        left -= args.tiles * units;
      }
    }

    // `count` positions (of samples side by side, each) of `rows` rows.
    template <class O>
    void compute_span(
        CorrelateArgs<T>& args, int64_t rows, int64_t count, O* out, int64_t out_row, int64_t room) const {
      const auto& kernels = call_.kernels_;
      const int64_t lanes = kernels.lanes, most = call_.packed_weights_ ? kernels.correlate_vectors[rows] : 1;
      for (int64_t i = 0; i < count;) {
        // Tiles whose widths differ by one: a narrow one would have too few sums to hide the latency of an addition.
        const int64_t left = ceil_div(count - i, lanes), parts = ceil_div(left, most), vectors = ceil_div(left, parts);
        const int64_t width = vectors * lanes;
        const int64_t tiles = std::clamp<int64_t>((count - i) / width, 1, left - parts * (vectors - 1));
        const auto kernel = rows == 1               ? kernels.fir[call_.unit_step_ + 1][vectors]
                            : call_.packed_weights_ ? kernels.correlate[rows][vectors]
                                                    : kernels.correlate_stored[rows];
        alignas(64) O edge[kTileElements];  // for the one tile that reaches beyond the row
        const bool fits = i + tiles * width <= room;
        args.tiles = tiles;
        args.out = fits ? out + i : edge;
        args.out_row = fits ? out_row : width;
        kernel(args);
        if (!fits)
          for (int64_t r = 0; r < rows; ++r) std::copy_n(edge + r * width, count - i, out + r * out_row + i);
        args.x += tiles * width;
        args.next_step += tiles;
        i += tiles * width;
      }
    }

    const CorrelateCall& call_;
    const Correlation& c_;
    const int64_t n0_, width_, samples_, group0_, groups_, tile0_, tiles_;
    std::vector<Span> spans_;  // of all ranges
    const std::vector<Range> ranges_;
    const int64_t panel_size_;
    const Scratch<T> panels_;
    const int64_t result_row_, phases_held_, chunk_;
    const Scratch<T> result_;
    const Scratch<T> gathered_;
    const int64_t scattered_row_;
    const Scratch<T> scattered_;
  };

  const KernelTable& table_;
  const ArithmeticKernels<T>& kernels_;
  const CopyKernels<E>& copy_;
  const CopyKernels<T>& copy_sums_;
  const Correlation c_;
  const View source_;
  const MutableView out_;
  const CorrelationPlan plan_;
  const PanelLayout& layout_;
  const bool packed_weights_;  // the weights are in the packed order
  const bool stored_;          // they are read where the caller has them
  const bool together_;        // samples stand side by side
  const bool direct_tiles_;    // tiles read and write the elements of tensors
  const bool
      in_place_;  // tiles write to rows of the result (of those that are scattered, where samples stand together)
  const int64_t unit_step_;
  const std::vector<int64_t> joined_;
  PackedWeights<E> packed_;
  const E* const stored_weights_;
  const Scratch<T> converted_;     // the same as sums, for direct tiles
  const T* const direct_weights_;  // these, or those stored
  const T* const inits_;
};

}  // namespace

void correlate(
    const Correlation& c,
    DType dtype,
    const KernelTable& table,
    View source,
    const void* w,
    const void* bias,
    MutableView out) {
  with_element(dtype, [&](auto element) { CorrelateCall<decltype(element)>(c, table, source, w, bias, out).run(); });
}

}  // namespace torch_conv1d::cpu
