// The transformed weights of Toom-Cook's filtering (toom_cook.h): those of a band, or some of its channels,
//
//     [point][channel][tap group][j][row of the band],
//
// for an item just before their products, or those of all bands once for all items.
#pragma once

#include <algorithm>

#include "../packing/fetch.h"
#include "../parallel.h"
#include "../scratch.h"
#include "toom_cook.h"

namespace torch_conv1d::cpu {

template <class E>
class ToomCookWeights {
  using T = SumOf<E>;

 public:
  // Transforms all, if the plan shares them.
  ToomCookWeights(
      const ToomCookPlan& plan,
      const Correlation& c,
      const ArithmeticKernels<T>& kernels,
      const CopyKernels<E>& copy,
      const E* w)
      : plan_(plan), c_(c), kernels_(kernels), copy_(copy), w_(w), shared_(plan.shared_weights ? at(c.groups, 0) : 0) {
    if (!plan.shared_weights) return;
    parallel_for(c.groups * plan.bands(), true, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t group = i / plan.bands(), band = i % plan.bands();
        transform(group, plan.band(band), 0, c.channels, shared_.data() + at(group, band));
      }
    });
  }

  // Room that an item needs for its own.
  int64_t of_item() const {
    return plan_.shared_weights ? 0 : plan_.points * point(plan_.band_rows(), plan_.weight_channels);
  }

  // Those of a band and channels c: from among the shared ones, or transformed into `room`.
  const T* get(int64_t group, int64_t band, int64_t channel0, int64_t channels, T* room) const {
    if (plan_.shared_weights) return shared_.data() + at(group, band);
    transform(group, plan_.band(band), channel0, channels, room);
    return room;
  }

  // From one point to the next, of rows and channels c.
  int64_t point(int64_t rows, int64_t channels) const {
    return channels * plan_.source_phases * plan_.tap_groups * rows + kVectorRoom;
  }

 private:
  // What stays in the L1 cache on its way into the transform.
  static constexpr int64_t kPackedBytes = 16 << 10;

  // Where those of a band are, of all.
  int64_t at(int64_t group, int64_t band) const {
    const ToomCookBand b = plan_.band(band);
    const int64_t rows = group * plan_.rows + b.r0 * plan_.phases + b.j0 * b.channels;
    return plan_.points * (rows * plan_.channels * plan_.tap_groups + (group * plan_.bands() + band) * kVectorRoom);
  }

  void transform(int64_t group, const ToomCookBand& band, int64_t channel0, int64_t channels, T* to) const {
    // Taps of a channel c in the order [t][j][r], those beyond the kernel being zeros: k, or backwards for a negative
    // step.
    const int64_t padded = plan_.tap_groups * plan_.taps * plan_.source_phases, rows = band.rows();
    const int64_t of_tap = plan_.source_phases * rows, fitting = kPackedBytes / (padded * rows * int64_t(sizeof(T)));
    const int64_t most =
        std::clamp<int64_t>(fitting < kVectorRoom ? fitting : fitting / kVectorRoom * kVectorRoom, 1, channels);
    const Scratch<T> packed(most * padded * rows + kVectorRoom);
    int64_t offsets[kMaxToomCookTaps];
    for (int64_t s = 0; s < plan_.taps; ++s) offsets[s] = s * of_tap;
    const E* w = w_ + group * c_.w_group + band.r0 * c_.w_row + channel0 * c_.w_channel;
    for (int64_t first = 0; first < channels; first += most, w += most * c_.w_channel) {
      const int64_t count = std::min(most, channels - first);
      const E* const next = w + most * c_.w_channel;
      if (c_.step > 0) {
        fetch_rows(next, c_.w_row, rows, most * c_.taps);
        pack_forwards(w, rows, count, padded, packed.data());
      } else {
        fetch_rows(next, c_.w_channel, most, band.channels * c_.taps);
        pack_backwards(w, band, count, padded, packed.data());
      }
      kernels_.transform_weight[plan_.taps](
          {packed.data(), plan_.taps * of_tap, offsets, T(0), to + first * plan_.tap_groups * of_tap, of_tap,
           point(rows, channels), count * plan_.tap_groups, of_tap});
    }
  }

  // Of rows that are channels of the result. Their weights follow each other as they should: one transposition of long
  // rows, to the end of the room, from where those of each channel move to their place.
  void pack_forwards(const E* w, int64_t rows, int64_t channels, int64_t padded, T* to) const {
    const int64_t of_channel = c_.taps * rows, gap = padded * rows - of_channel;
    T* from = to + gap * channels;
    copy_.in({from, 1, rows, w, c_.w_row, 1, rows, channels * c_.taps});
    for (int64_t channel = 0; channel < channels && gap; ++channel, from += of_channel)
      std::fill_n(std::copy_n(from, of_channel, to + channel * padded * rows), gap, T(0));
  }
  void pack_backwards(const E* w, const ToomCookBand& band, int64_t channels, int64_t padded, T* to) const {
    const int64_t rows = band.rows();
    // Of all phases, the taps of one t follow those of the one before.
    const bool whole = band.phases == plan_.phases;
    std::fill_n(to, channels * padded * rows, T(0));
    for (int64_t channel = 0; channel < channels; ++channel)
      for (int64_t t = 0; t < plan_.tap_count; t += whole ? plan_.tap_count : 1) {
        const int64_t left = c_.taps - t * plan_.phases - band.j0, count = whole ? left : std::min(band.phases, left);
        if (count > 0)
          copy_.in(
              {to + (channel * padded + t) * rows + (count - 1) * band.channels, 1, -band.channels,
               w + channel * c_.w_channel + left - count, c_.w_row, 1, band.channels, count});
      }
  }

  const ToomCookPlan& plan_;
  const Correlation& c_;
  const ArithmeticKernels<T>& kernels_;
  const CopyKernels<E>& copy_;
  const E* const w_;
  const Scratch<T> shared_;  // of all bands, or none
};

}  // namespace torch_conv1d::cpu
