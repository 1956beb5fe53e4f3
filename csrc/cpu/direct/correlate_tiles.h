// The tiles of an item of correlate.cpp: which kernel computes which positions of which rows, from what.
#pragma once

#include "../packing/fetch.h"
#include "correlate_source.h"

namespace torch_conv1d::cpu {

// Spans [first, last) of a block, and their positions.
struct SpanRun {
  size_t first, last;
  int64_t q0, q_len;
};

template <class E>
class CorrelateTiles {
  using T = SumOf<E>;

 public:
  CorrelateTiles(const CorrelateCall<E>& call, const CorrelateBlock<E>& block, const CorrelateSource<E>& source)
      : call_(call), b_(block), source_(source), unit_step_(call.together ? 0 : call.c.unit_step()) {}

  // Rows of tiles [first, last) at one phase (and those joined with it, phase_row apart): positions of samples [n,
  // n_end), in rows of `out` with room for `room`.
  template <class O>
  void compute(
      int64_t first,
      int64_t last,
      int64_t phase,
      const SpanRun& run,
      int64_t n,
      int64_t n_end,
      O* out,
      int64_t out_n,
      int64_t out_row,
      int64_t phase_row,
      int64_t room) const {
    const int64_t width = call_.width, tap0 = call_.plan.layout.phase_begin[size_t(phase)];
    const int64_t joined = call_.joined[size_t(phase)];
    // Filled field by field and passed on as it is: a copy would wait until the stores of the last tile have left.
    CorrelateArgs<T> args;
    args.out_type = kDType<O>;
    args.to_memory = call_.plan.to_memory && call_.in_place && !call_.together;
    args.taps = call_.plan.layout.phase_taps(phase);
    args.channels = args.taps == 0 ? 0 : call_.pairs ? ceil_div(call_.c.channels, int64_t(2)) : call_.c.channels;
    args.goes_on = call_.goes_on;
    const int64_t tile_width = call_.kernels.correlate_vectors[b_.row_count(first) * joined] * call_.kernels.lanes;
    const int64_t steps = ceil_div(run.q_len * width, tile_width);  // of a tile of rows
    // A short row takes as long as a few dozen divisions: they are not repeated.
    const int64_t first_row = b_.first_row(first);
    for (int64_t tile = first; tile < last; ++tile) {
      const int64_t group = b_.group(tile), row = b_.first_row(tile), rows = b_.row_count(tile);
      const WeightView<T> w = call_.weights_of(row, rows, tap0);
      args.w = w.data;
      args.w_row = w.row;
      args.w_channel = w.channel;
      args.init = call_.inits ? call_.inits + row : nullptr;
      O* to = out + (row - first_row) * out_row;
      for (int64_t sample = n; sample < n_end; ++sample, to += out_n) {
        set_ahead(phase, tile, sample, steps, tile_width, args);
        for (size_t i = run.first; i < run.last; ++i) {
          const Span& span = source_.spans()[i];
          const int64_t done = (span.q0 - run.q0) * width;
          source_.set(span, sample, group, tap0, args);
          compute_span(
              args, rows * joined, span.q_len * width, to + done, joined > 1 ? phase_row : out_row, room - done);
        }
      }
    }
  }

  // The positions of a span of the one row of a tile, from the source where it is to the result where it goes.
  void compute_directly(int64_t tile, int64_t n, const Span& span, E* out) const {
    const auto& kernels = direct_kernels<E>(call_.table);
    const Correlation& c = call_.c;
    const int64_t group = b_.group0 + b_.group(tile), unit = kNarrowness<E> * call_.kernels.lanes, first = c.offset(0);
    DirectFirArgs<E> args;
    args.x = source_.in_place(span, n, b_.group(tile));
    args.x_row = source_.row_in_place();
    args.offset = call_.plan.direct == DirectTile::pairs ? call_.plan.layout.tap_offset.data() : &first;
    args.w = call_.direct_weights + group * c.w_group;
    args.channels = c.channels;
    args.taps = c.taps;
    args.init = call_.inits ? call_.inits + group : nullptr;
    args.out = out;
    args.first_phase = c.phase(0);
    args.to_memory = call_.plan.to_memory;
    const int64_t tile_kind = int64_t(call_.plan.direct), most = kernels.fir_units[tile_kind];
    for (int64_t left = span.q_len / unit; left > 0;) {
      const int64_t parts = ceil_div(left, most), units = ceil_div(left, parts);
      args.tiles = left - parts * (units - 1);
      kernels.fir[tile_kind][units](args);
      args.x += args.tiles * units * unit * c.source_stride;
      args.out += args.tiles * units * unit * c.phases;
      left -= args.tiles * units;
    }
  }

 private:
  // The largest tile of any instruction set, in elements: 24 vectors of 16 lanes.
  static constexpr int64_t kTileElements = 512;

  // What all tiles of sample n, `steps` for each tile of rows and phase, fetch meanwhile.
  void set_ahead(
      int64_t phase, int64_t tile, int64_t n, int64_t steps, int64_t tile_width, CorrelateArgs<T>& args) const {
    const auto ahead = source_.ahead(n);
    if (!ahead.bytes) return;
    fetch_meanwhile(
        args, ahead.first + b_.group(tile) * call_.c.channels * ahead.row, call_.pairs ? 2 * ahead.row : ahead.row,
        ahead.bytes, steps * b_.tiles * call_.c.phases, tile_width);
    args.next_step = (phase * b_.tiles + tile % b_.tiles) * steps;
  }

  // `count` positions (of samples side by side, each) of `rows` rows.
  template <class O>
  void compute_span(CorrelateArgs<T>& args, int64_t rows, int64_t count, O* out, int64_t out_row, int64_t room) const {
    const auto& kernels = call_.kernels;
    const bool packed_weights = call_.plan.pack_weights || call_.c.rows == 1;
    const int64_t lanes = kernels.lanes, most = packed_weights ? kernels.correlate_vectors[rows] : kStoredVectors;
    // Tiles whose widths differ by one vector, wide ones first: a narrow one would have too few sums to hide the
    // latency of an addition.
    const int64_t all = ceil_div(count, lanes);
    int64_t parts = all <= most ? 1 : ceil_div(all, most), vectors = all <= most ? all : ceil_div(all, parts);
    int64_t wide = all - parts * (vectors - 1);
    for (int64_t i = 0; i < count;) {
      const int64_t width = vectors * lanes;
      // Single taps of one row share no loads.
      const auto kernel = rows == 1 && call_.c.taps > 1 && !call_.one_order ? kernels.fir[unit_step_ + 1][vectors]
                          : packed_weights                                  ? call_.tiles[rows][vectors]
                                                                            : kernels.correlate_stored[rows][vectors];
      int64_t tiles = wide;
      bool fits = i + tiles * width <= room;
      if (!fits && tiles > 1) {
        --tiles;
        fits = true;
      }
      alignas(64) O edge[kTileElements];  // for the one tile that reaches beyond the row
      args.tiles = tiles;
      args.out = fits ? out + i : edge;
      args.out_row = fits ? out_row : width;
      if (!fits && args.goes_on)
        for (int64_t r = 0; r < rows; ++r) std::copy_n(out + r * out_row + i, count - i, edge + r * width);
      kernel(args);
      if (!fits)
        for (int64_t r = 0; r < rows; ++r) std::copy_n(edge + r * width, count - i, out + r * out_row + i);
      args.x += tiles * width;
      args.next_step += tiles;
      i += tiles * width;
      parts -= tiles;
      wide -= tiles;
      if (wide == 0) {
        --vectors;
        wide = parts;
      }
    }
  }

  const CorrelateCall<E>& call_;
  const CorrelateBlock<E>& b_;
  const CorrelateSource<E>& source_;
  const int64_t unit_step_;
};

}  // namespace torch_conv1d::cpu
