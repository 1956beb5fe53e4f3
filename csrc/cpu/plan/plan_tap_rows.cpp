#include <algorithm>
#include <numeric>

#include "../../division.h"
#include "block_sizes.h"

namespace torch_conv1d::cpu {
namespace {

// As many positions of a channel at a time as memory delivers at full speed, of as many channels as fill a quarter
// of the L2 cache.
constexpr int64_t kTapRowsPositions = 4096, kTapRowsPanel = 256 << 10;
// The weights are packed at once.
constexpr int64_t kMostTapWeights = 1 << 19;

}  // namespace

bool taps_are_rows(const Correlation& c) {
  return c.rows == 1 && c.channels >= kTapRowsChannels && c.taps > 1 && c.source_stride == 1 &&
         c.groups * c.channels * c.taps <= kMostTapWeights && !c.folds();
}

TapRowsPlan plan_tap_rows(const Correlation& c, int64_t sum_bytes, DataFacts data, const Machine& machine) {
  TapRowsPlan plan;
  plan.worth_threads = c.multiply_adds() > kThreadWork;
  const int64_t threads = plan.worth_threads ? machine.threads : 1, q_total = c.q_total(), lanes = machine.lanes;
  const int64_t width = samples_together(c, sum_bytes, machine, lanes, threads);
  plan.direct = width == 1 && data.unit_stride && data.narrowness == 1 && c.source_padding == PaddingMode::zeros;

  // The sums of all taps leave half of the L2 cache to the channels.
  const int64_t fitting = machine.l2_bytes / 2 / ((c.taps + c.phases) * sum_bytes);
  const int64_t most =
      std::clamp(fitting, kTransposedPositions, data.unit_stride ? kTapRowsPositions : kTransposedPositions);
  int64_t parts = width > 1 ? 1 : std::max<int64_t>(ceil_div(q_total, most), 1);
  const auto shares = [&] { return ceil_div(c.n, width) * c.groups * parts; };
  while (!shared_evenly(shares(), threads) && width == 1 && q_total / parts >= 16 * lanes) ++parts;
  plan.q_block = width > 1 ? q_total : ceil_div(ceil_div(q_total, parts), lanes) * lanes;

  plan.taps = PanelLayout(c, plan.q_block, lanes);
  std::vector<int64_t> by_offset(size_t(c.taps));
  std::iota(by_offset.begin(), by_offset.end(), 0);
  const auto offset = [&](int64_t i) { return plan.taps.tap_offset[size_t(by_offset[size_t(i)])]; };
  std::stable_sort(by_offset.begin(), by_offset.end(), [&](int64_t a, int64_t b) {
    return plan.taps.tap_offset[size_t(a)] < plan.taps.tap_offset[size_t(b)];
  });
  // A tile reads from its first tap to its last, and so is cut where the way to the next tap is long.
  const int64_t unit = plan.direct ? lanes : 1;
  int64_t most_extra = 0;
  for (int64_t begin = 0, end; begin < c.taps; begin = end) {
    for (end = begin + 1; end < c.taps && 8 * (offset(end) - offset(end - 1)) <= plan.q_block;) ++end;
    const int64_t tiles = ceil_div(end - begin, machine.correlate_rows);
    for (int64_t i = 0; i < tiles; ++i) {
      const int64_t first = begin + i * (end - begin) / tiles, after = begin + (i + 1) * (end - begin) / tiles;
      const int64_t from = floor_div(offset(first), unit) * unit, extra = offset(after - 1) - from;
      plan.tiles.push_back({first, after - first, from, extra});
      most_extra = std::max(most_extra, extra);
    }
  }
  plan.first_offset = plan.tiles[0].begin;

  plan.one_tap = c;
  plan.one_tap.taps = plan.one_tap.phases = 1;
  plan.one_tap.first = 0;
  int64_t read = plan.q_block + c.last_offset() - c.first_offset();
  if (c.source_padding == PaddingMode::zeros) read = std::min(read, c.source_length);
  plan.channel_block =
      std::clamp<int64_t>(kTapRowsPanel / (std::max<int64_t>(read, lanes) * width * sum_bytes), 1, c.channels);
  plan.panel = PanelLayout(plan.one_tap, plan.direct ? lanes : read, lanes, width);
  plan.z_row = plan.panel.padded(plan.q_block + most_extra) + lanes;
  if (plan.z_row % 512 == 0) plan.z_row += PanelLayout::kAlignment;
  plan.z_at.resize(size_t(c.taps));
  for (const TapTile& tile : plan.tiles)
    for (int64_t i = tile.first; i < tile.first + tile.taps; ++i) {
      plan.order.push_back(plan.taps.tap_order[size_t(by_offset[size_t(i)])]);
      plan.z_at[size_t(by_offset[size_t(i)])] = i * plan.z_row + (offset(i) - tile.begin) * width;
    }
  return plan;
}

}  // namespace torch_conv1d::cpu
