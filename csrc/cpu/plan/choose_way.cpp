#include <algorithm>

#include "../../division.h"
#include "../fft/fft.h"
#include "../toom_cook/toom_cook.h"
#include "block_sizes.h"

namespace torch_conv1d::cpu {
namespace {

// So many taps, for each position of grad_y and in all, repay that weights are the source, which is packed in rows of
// taps, and grad_y the kernel, of which a sample with so many bytes is copied. Short rows, which stand side by side, do
// not repay more channels.
constexpr int64_t kTapsForPosition = 4, kManyTaps = 32, kKernelBytes = 1 << 20, kShortRowChannels = 64;

}  // namespace

Choice choose_way(
    const Correlation& layer, Algorithm algorithm, int64_t sum_bytes, DataFacts data, const Machine& machine) {
  // What sums depend on is asked of the layer as it is, whose samples may be joined for all else.
  const Correlation c = data.samples_follow && layer.pointwise() ? layer.with_samples_joined() : layer;
  // The choice of Toom-Cook and thin is one of all taps, and so are they.
  if (uses_fft(layer, algorithm)) return {Way::fft, c};
  const Correlation met = c.with_met_taps();
  if (!c.taps_meet_a_row() && filters_weights(met, sum_bytes)) return {Way::weights, met};
  if (channels_are_pairs(layer, data))
    return {lanes_are_innermost_rows(met, sum_bytes, data, machine) ? Way::innermost_pairs : Way::pairs, met};
  if (!c.taps_meet_a_row() && uses_toom_cook(layer, algorithm, sum_bytes) && !taps_are_fewer_products(layer, algorithm))
    return {Way::toom_cook, c};
  if (filters_channels(c, sum_bytes, data)) return {Way::channels, c};
  if (lanes_are_stored_weights(c, sum_bytes)) return {Way::thin_stored, c};
  if (taps_are_rows(layer.with_met_taps(), algorithm)) return {Way::tap_rows, met};
  if (lanes_are_rows(c, sum_bytes)) return {Way::thin, c};
  if (has_few_positions(met.with_outside(), sum_bytes, data, machine)) return {Way::few_positions, met};
  if (lanes_are_innermost_rows(met, sum_bytes, data, machine)) return {Way::innermost, met};
  if (tiles_end_with_rows(c, sum_bytes, data, machine)) return {Way::fir_rows, c};
  return {Way::correlate, met};
}

bool filters_weights(const Correlation& c, int64_t sum_bytes) {
  return c.step < 0 && c.groups == 1 && c.channels > 0 && !c.folds() && c.taps >= kManyTaps &&
         kTapsForPosition * c.source_length * c.phases <= c.taps * -c.step &&
         (c.channels <= kShortRowChannels || c.out_length >= kShortRow * -c.step) &&
         c.channels * c.source_length * sum_bytes <= kKernelBytes;
}

bool positions_are_channels(const Correlation& c, Way way, int64_t sum_bytes, const Machine& machine) {
  const bool chains =
      way == Way::few_positions || way == Way::innermost || way == Way::correlate || way == Way::tap_rows;
  if (!chains || c.rows <= 1 || !c.taps_meet_a_row()) return false;
  if (c.step < 0) return true;
  // Fewer samples read weights where they are. Of others, a panel as wide as a tile of correlate, and packed weights.
  const int64_t rows_of_tile = ceil_div(c.rows, ceil_div(c.rows, machine.correlate_rows));
  const int64_t tile = machine.lanes * machine.correlate_vectors[rows_of_tile];
  const int64_t row_bytes = c.channels * c.taps * sum_bytes;
  return c.n > kStoredVectors * machine.lanes &&
         row_bytes * tile + std::min(row_bytes * c.rows, kHeldBytes) <= kWorkingBytes;
}

}  // namespace torch_conv1d::cpu
