// What an item of correlate.cpp reads: panels of the source, the source itself away from its ends, and ahead of time
// what the next item reads.
#pragma once

#include "../packing/samples.h"
#include "../packing/spans.h"
#include "correlate_call.h"

namespace torch_conv1d::cpu {

template <class E>
class CorrelateSource {
  using T = SumOf<E>;

 public:
  CorrelateSource(const CorrelateCall<E>& call, const CorrelateBlock<E>& block)
      : call_(call),
        b_(block),
        spans_(spans_of_block()),
        panel_size_(b_.groups * call.c.channels * call.plan.layout.row),
        panels_((spans_.back().packed_before + spans_.back().packed) * b_.samples * panel_size_),
        gathered_(call.together ? b_.groups * call.c.channels * call.c.source_length * call.width : 0) {}

  // Those of the block's positions.
  const std::vector<Span>& spans() const { return spans_; }

  void pack() const {
    for (int64_t n = 0; n < b_.samples; ++n)
      if (call_.together)
        pack_sample<T>(call_.copy_sums, gather(n), 0, 0, n);
      else
        pack_sample<E>(call_.copy, call_.source, b_.n0 + n, b_.group0 * channels_of_tensor(), n);
  }

  // What tiles of sample n and a group of the block read: the first channel, and how to find the others and the taps.
  void set(const Span& span, int64_t n, int64_t group, int64_t tap0, CorrelateArgs<T>& args) const {
    const PanelLayout& layout = call_.plan.layout;
    args.from_memory = !span.packed && !call_.plan.passes;
    if constexpr (std::is_same_v<E, T>)
      if (!span.packed) {
        args.x = in_place(span, n, group);
        args.x_row = row_in_place();
        args.offset = layout.tap_offset.data() + tap0;
        return;
      }
    args.x = panel(span, n) + group * channels_of_tensor() * layout.row;
    args.x_row = call_.source.tensors > 1 ? panel_size_ / call_.source.tensors : layout.row;
    args.offset = layout.tap_at.data() + tap0;
  }

  // Where a tap of no offset reads the source itself.
  const E* in_place(const Span& span, int64_t n, int64_t group) const {
    const View& v = call_.source;
    return static_cast<const E*>(v.data) + (b_.n0 + n) * v.stride_n +
           (b_.group0 + group) * channels_of_tensor() * v.stride_c + span.q0 * call_.c.source_stride;
  }
  // From one channel of a group to the next.
  int64_t row_in_place() const { return call_.source.tensors > 1 ? call_.source.to_next : call_.source.stride_c; }

  // What the block after this one reads of its sample n, from the first channel of its first group on: so many
  // bytes of each channel, `row` bytes apart.
  struct Ahead {
    const char* first = nullptr;
    int64_t row = 0, bytes = 0;
  };
  Ahead ahead(int64_t n) const {
    const Correlation& c = call_.c;
    const CorrelationPlan& plan = call_.plan;
    const View& v = call_.source;
    if ((plan.direct != DirectTile::none && !plan.passes && !plan.from_memory) || call_.together || v.stride_l != 1 ||
        c.channels < kFetchedChannels)
      return {};
    int64_t q = b_.q0 + plan.q_block, group = b_.group0, sample = b_.n0 + n;
    if (q >= c.q_total()) {
      q = 0;
      group += b_.groups;
      if (group >= c.groups) {
        group = 0;
        sample += plan.n_block;
      }
    }
    const int64_t begin = std::clamp<int64_t>(q * c.source_stride + c.first_offset(), 0, c.source_length);
    const int64_t end = std::min(begin + plan.q_block * c.source_stride, c.source_length);
    if (sample >= c.n) return {};
    return {
        reinterpret_cast<const char*>(
            static_cast<const E*>(v.data) + sample * v.stride_n + group * c.channels * v.stride_c + begin),
        v.stride_c * int64_t(sizeof(E)), (end - begin) * int64_t(sizeof(E))};
  }

 private:
  std::vector<Span> spans_of_block() const {
    std::vector<Span> spans;
    cut_spans(
        call_.c, call_.plan.direct != DirectTile::none, call_.plan.panel_length, kNarrowness<E> * call_.kernels.lanes,
        b_.q0, b_.q_len, spans);
    return spans;
  }

  View gather(int64_t n) const {
    View v = call_.source;
    v.data =
        static_cast<const E*>(v.data) + b_.first_sample(n) * v.stride_n + b_.group0 * call_.c.channels * v.stride_c;
    return gather_samples<E>(
        call_.copy, v, b_.sample_count(n), call_.width, b_.groups * call_.c.channels, call_.c.source_length,
        gathered_.data());
  }

  // Of several tensors, a group has a channel of each.
  int64_t channels_of_tensor() const { return call_.c.channels / call_.source.tensors; }

  // Sample n, which is `source_n` of a source; the channels of one tensor before those of the next.
  template <class S>
  void pack_sample(const CopyKernels<S>& copy, View source, int64_t source_n, int64_t channel, int64_t n) const {
    for (int64_t tensor = 0; tensor < source.tensors; ++tensor) {
      for (const Span& span : spans_)
        if (span.packed)
          pack_panel<S>(
              call_.c, call_.plan.layout, copy, source, source_n, channel, b_.groups * channels_of_tensor(), span.q0,
              span.q_len, panel(span, n) + tensor * (panel_size_ / source.tensors));
      source.data = static_cast<const S*>(source.data) + source.to_next;
    }
    if constexpr (std::is_same_v<E, BFloat16>)
      for (const Span& span : spans_)
        for (int64_t group = 0; call_.pairs && group < b_.groups; ++group)
          join_channels(
              *call_.pairs, panel(span, n) + group * call_.c.channels * call_.plan.layout.row, call_.plan.layout.row,
              call_.c.channels);
  }

  T* panel(const Span& span, int64_t n) const {
    return panels_.data() + (span.packed_before * b_.samples + n) * panel_size_;
  }

  const CorrelateCall<E>& call_;
  const CorrelateBlock<E>& b_;
  const std::vector<Span> spans_;
  const int64_t panel_size_;
  const Scratch<T> panels_;    // [packed span][sample][channel]
  const Scratch<T> gathered_;  // samples of short rows, side by side
};

}  // namespace torch_conv1d::cpu
