#include <algorithm>
#include <cstdlib>

#include "../../division.h"
#include "../toom_cook/toom_cook.h"
#include "block_sizes.h"

namespace torch_conv1d::cpu {
namespace {

// As many positions of a channel at a time as memory delivers at full speed, of up to so many channels, which share
// loading and storing the sums of a tile: of more, what is fetched ahead comes late.
constexpr int64_t kTapRowsPositions = 2048, kTapRowsBlock = 64;
// Taps of all rows that repay packing what they meet.
constexpr int64_t kPackedTaps = 32;
// In products of direct sums with a tap at a position, fitted to layers of 2 to 16 rows, 24 to 512 channels, 3 to 15
// taps and 24 to 256 positions, of 1 to 20 samples, on AVX2 and AVX-512. A tile whose rows are taps has a shorter loop,
// the more so the fewer they are; what z of a position is stored and added up for, all channels share. Direct sums pack
// each weight, which costs more where weights leave the L1 cache, and their few rows share unaligned loads and fill
// tiles of long rows alone.
constexpr double kTapProduct = 1.1, kTileProduct = 1.5, kTapSum = 12;
constexpr double kPackedWeight = 8, kDistantWeight = 24, kRowLoads = 0.15, kLongTile = 64;

}  // namespace

bool taps_are_rows(const Correlation& c, Algorithm algorithm) {
  if (c.taps == 1 || c.source_stride > 1) return false;
  if (c.rows == 1) return c.channels >= kTapRowsChannels;
  // Products with the padding are not made, which would lose what is not finite among the weights in forward.
  if (algorithm == Algorithm::direct || c.step > 0) return false;
  // Rows that fill a vector are lanes where there are not many more positions (few_positions.cpp), unless most of these
  // are padding.
  const int64_t q_total = c.with_outside().q_total();
  if (c.rows >= kTapRowsChannels && q_total <= 2 * std::min(c.rows, c.source_length)) return false;
  const double source = double(c.source_length), positions = double(q_total);
  const double taps = double(c.taps), channels = double(c.channels), rows = double(c.rows);
  const double weight =
      c.rows * c.channels * c.taps * int64_t(sizeof(float)) > 2 * kL1Panel ? kDistantWeight : kPackedWeight;
  return source * (kTapProduct + kTileProduct / taps) + kTapSum * positions / channels <
         positions * (1 + kRowLoads / rows) + kLongTile / rows + weight;
}

bool taps_are_fewer_products(const Correlation& c, Algorithm algorithm) {
  if (c.rows == 1 || !taps_are_rows(c, algorithm)) return false;
  const ToomCookForm form(c);
  return double(c.source_length) * (kTapProduct * double(c.taps) + kTileProduct) <
         double(form.sample_columns(form.tiles) * form.products());
}

TapRowsPlan plan_tap_rows(const Correlation& c, int64_t sum_bytes, DataFacts data, const Machine& machine) {
  TapRowsPlan plan;
  plan.worth_threads = c.multiply_adds() > kThreadWork;
  const int64_t threads = plan.worth_threads ? machine.threads : 1, q_total = c.q_total(), lanes = machine.lanes;
  const bool zeros = c.source_padding == PaddingMode::zeros;
  plan.one_tap = c;
  plan.one_tap.taps = plan.one_tap.phases = 1;
  plan.one_tap.first = 0;
  plan.one_tap.out_length = c.source_length;
  plan.one_tap.channels = std::min(c.channels, kTapRowsChannels);
  const int64_t width = samples_together(plan.one_tap, sum_bytes, machine, lanes, threads);
  // The sums of all taps leave most of the L2 cache to the channels: half of it to those that few taps read where they
  // are, a quarter to those that many pass over, for twice as long.
  const bool few_taps = c.rows * c.taps <= kDirectProducts * c.phases;
  const int64_t channel_bytes = machine.l2_bytes / (few_taps ? 2 : 4);
  const int64_t longest_run = few_taps ? kTapRowsPositions : 2 * kTapRowsPositions;
  plan.row_block = c.rows;
  const int64_t z_bytes = machine.l2_bytes / 3, least_rows = std::min(c.rows, ceil_div(kPackedTaps, c.taps));
  const int64_t fitting = z_bytes / (least_rows * (c.taps + c.phases) * sum_bytes);
  // A block reads as far as the taps reach beyond it; of a transposed source few channels are long runs of positions.
  const int64_t transposed = std::max(
      {kTransposedPositions, kTransposedBytes / (c.channels * sum_bytes),
       kReaches * (c.last_offset() - c.first_offset())});
  const int64_t most = std::clamp(fitting, kTransposedPositions, data.unit_stride ? longest_run : transposed);
  int64_t parts = width > 1 ? 1 : std::max<int64_t>(ceil_div(q_total, most), 1);
  const auto shares = [&] { return ceil_div(c.n, width) * c.groups * parts * ceil_div(c.rows, plan.row_block); };
  while (!shared_evenly(shares(), threads) && width == 1 && q_total / parts >= 16 * lanes) ++parts;
  while (!shared_evenly(shares(), threads) && plan.row_block > 1) plan.row_block = ceil_div(plan.row_block, 2);
  plan.q_block = width > 1 ? q_total : ceil_div(ceil_div(q_total, parts), lanes) * lanes;

  int64_t read = plan.q_block + c.last_offset() - c.first_offset();
  if (zeros) read = std::min(read, c.source_length);
  plan.channel_block = std::clamp<int64_t>(
      channel_bytes / (std::max<int64_t>(read, lanes) * width * sum_bytes), 1,
      few_taps ? std::min(c.channels, kTapRowsBlock) : c.channels);
  plan.channel_block = ceil_div(c.channels, ceil_div(c.channels, plan.channel_block));
  // A panel is another pass over the source, but its rows compete for no sets of the caches.
  const bool in_place =
      few_taps ||
      (c.rows == 1 && rows_spread(plan.channel_block, data.source_row * sum_bytes, read * sum_bytes, machine.l2_bytes));
  plan.direct = width == 1 && data.unit_stride && data.narrowness == 1 && zeros && in_place;
  plan.from_memory =
      width == 1 && data.unit_stride &&
      c.n * c.groups * c.channels * c.source_length * sum_bytes / data.narrowness > kL2CachesOfL3 * machine.l2_bytes;

  // A tile reads from its first tap to its last, and so is cut where the way to the next tap is long, unless it reads
  // all of the source anyway.
  const int64_t longest = zeros && q_total <= plan.q_block ? c.last_offset() - c.first_offset() : plan.q_block / 8;
  const int64_t unit = plan.direct ? lanes : 1;
  int64_t most_extra = 0;
  for (int64_t begin = 0, end; begin < c.taps; begin = end) {
    for (end = begin + 1; end < c.taps && std::abs(c.offset(end) - c.offset(end - 1)) <= longest;) ++end;
    const int64_t tiles = ceil_div(end - begin, machine.correlate_rows);
    for (int64_t i = 0; i < tiles; ++i) {
      const int64_t first = begin + i * (end - begin) / tiles, after = begin + (i + 1) * (end - begin) / tiles;
      const auto [least, greatest] = std::minmax({c.offset(first), c.offset(after - 1)});
      const int64_t from = floor_div(least, unit) * unit;
      plan.tiles.push_back({first, after - first, from, greatest - from});
      most_extra = std::max(most_extra, greatest - from);
    }
  }
  plan.first_offset = floor_div(c.first_offset(), unit) * unit;

  // Tiles read whole vectors, which begin anywhere in a panel that has all of what they read.
  plan.panel = PanelLayout(plan.one_tap, plan.direct ? lanes : read + ceil_div(lanes - 1, width), lanes, width);
  plan.z_row = plan.panel.padded(plan.q_block + most_extra) + lanes;
  if (plan.z_row % 512 == 0) plan.z_row += PanelLayout::kAlignment;

  plan.rows_held = std::clamp<int64_t>(
      z_bytes / (c.taps * plan.z_row * sum_bytes), std::min(least_rows, plan.row_block), plan.row_block);

  const PanelLayout taps(c, plan.q_block, lanes);
  plan.phase_begin = taps.phase_begin;
  std::vector<int64_t> z_at(size_t(c.taps));
  for (const TapTile& tile : plan.tiles)
    for (int64_t k = tile.first; k < tile.first + tile.taps; ++k)
      z_at[size_t(k)] = k * plan.z_row + (c.offset(k) - tile.begin) * width;
  for (const int64_t k : taps.tap_order) plan.z_at.push_back(z_at[size_t(k)]);
  return plan;
}

}  // namespace torch_conv1d::cpu
