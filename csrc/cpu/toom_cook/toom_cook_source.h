// The transformed source of Toom-Cook's filtering (toom_cook.h), which forward, grad_input and grad_weight share.
#pragma once

#include <algorithm>

#include "../packing/fetch.h"
#include "../packing/panel.h"
#include "../scratch.h"
#include "toom_cook.h"

namespace torch_conv1d::cpu {

// A few channels c of the source, and all (c, j), at tiles [q0, q0 + q_len) of each phase.
template <class E>
struct ToomCookSource {
  using T = SumOf<E>;

  const ToomCookForm& form;
  const ArithmeticKernels<T>& kernels;
  const CopyKernels<E>& copy;
  View source;
  int64_t n, first_channel, channels;
  int64_t q0, q_len;

  // Column i of channel (c, j) at point a becomes to[a * point + (c * source_phases + j) * row + i].
  void transform(T* to, int64_t row, int64_t point) const {
    const int64_t positions = form.source_positions(q_len), columns = form.sample_columns(q_len);
    const PanelLayout layout(form.source, positions, kernels.lanes);
    const int64_t least = source.stride_l == 1 ? 1 : std::min(kChannelsTransposed, channels);
    const int64_t most = std::clamp<int64_t>(kPanelBytes / (layout.row * int64_t(sizeof(T))), least, channels);
    const Scratch<T> panel(most * layout.row + kToomCookOutputs * kVectorRoom);
    const int64_t place_row = padded_row(positions / kToomCookOutputs);
    const Scratch<T> places(kToomCookOutputs * place_row);
    const bool whole_runs = form.runs_fill(kernels.lanes);
    int64_t offsets[2 * kToomCookOutputs];
    for (int64_t s = 0; s < form.points; ++s)
      offsets[s] =
          whole_runs ? s * form.dilation : s % kToomCookOutputs * place_row + s / kToomCookOutputs * form.dilation;
    for (int64_t first = 0; first < channels; first += most) {
      const int64_t count = std::min(most, channels - first);
      if (source.stride_l == 1) fetch(first + count, std::min(most, channels - first - count), positions);
      pack_panel<E>(
          form.source, layout, copy, source, n, first_channel + first, count, q0 * form.positions(), positions,
          panel.data());
      for (int64_t c = 0; c < count; ++c)
        for (int64_t at : layout.tap_at) {
          T* from = panel.data() + c * layout.row + at;
          if (whole_runs) {
            kernels.transform_source[form.taps](
                {from, form.positions(), offsets, T(0), to, form.dilation, point, columns / form.dilation,
                 form.dilation});
          } else {
            kernels.split({places.data(), place_row, from, positions / form.positions(), form.dilation});
            kernels.transform_source[form.taps]({places.data(), 0, offsets, T(0), to, 0, point, 1, columns});
          }
          to += row;
        }
    }
  }

 private:
  // A panel that stays in the L1 cache on its way into the transform; of channels that are neighbours, whole cache
  // lines.
  static constexpr int64_t kPanelBytes = 16 << 10, kChannelsTransposed = 16;

  // What is packed next: `count` channels from `first` on.
  void fetch(int64_t first, int64_t count, int64_t positions) const {
    const Correlation& c = form.source;
    const int64_t begin =
        std::clamp<int64_t>(q0 * form.positions() * c.source_stride + c.first_offset(), 0, c.source_length);
    fetch_rows(
        static_cast<const E*>(source.data) + n * source.stride_n + (first_channel + first) * source.stride_c + begin,
        source.stride_c, count, std::min(positions * c.source_stride, c.source_length - begin));
  }
};

}  // namespace torch_conv1d::cpu
