// Of correlate.cpp.
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "../../division.h"
#include "../packing/spans.h"
#include "block_sizes.h"

namespace torch_conv1d::cpu {
namespace {

// Positions that make it worth while to keep a panel that small: each sum of a tile is loaded and stored once a block.
constexpr int64_t kL1Positions = 512;
// Where half of the L2 cache has no room for a panel of so many positions, or twice as many as the way from the first tap
// to the last, beside this way, those that meet each weight are too few, and a part of the channels is taken at a time:
// one that leaves room for so many, or four times as many, that they repay adding to sums in the result. Of up to so many
// products for an element of the source, long runs of it count more.
constexpr int64_t kTooFewPositions = 64, kRepaidPositions = 128;
constexpr int64_t kStreamedProducts = 128, kTooShortRun = 256, kLongRun = 1024;
// Up to this many vectors of positions in all, packing the weights costs more than it saves: those of a row in a run,
// as forward has them, which are then read once, or a tile's few of each channel.
constexpr int64_t kUnpackedVectors = kStoredVectors, kUnpackedVectorsOfChannels = 3;
// Joining pairs of channels is another pass over panels and weights, which has to meet so many positions: in
// grad_input, whose weights are packed across memory, more.
constexpr int64_t kPairChannels = 8, kPairForward = 32, kPairGradInput = 128;
// Where one position of a row in so many or fewer has to be packed, tiles read the rest where it is: more ends cost more
// than packing all of it, which where a stride's phases are split costs less.
constexpr int64_t kPackedEnds = 5, kHalvedEnds = 24;
// Vectors of a row from which its last one, on its own because it is packed, costs less than packing all of them for
// many rows.
constexpr int64_t kPassedVectors = 16;
// Up to so many products for an element of the source, of several taps, memory takes longer than they do.
constexpr int64_t kMemoryProducts = 8;
// Products for an element of the source that repay copying it where it is not aligned, or where its rows meet.
constexpr int64_t kCopiedProducts = 32;
// Products for an element of the source that repay placing it beside those of other samples, whatever they leave unread.
constexpr int64_t kGatheredProducts = 8;
// Products for an element of a strided source that repay copying it for a few samples side by side.
constexpr int64_t kStridedProducts = 256;

DirectTile tile_of(const Correlation& c, int64_t sum_bytes, bool sums) {
  // Longer chains are added in another order than that of the taps.
  const bool one_row = c.rows == 1 && c.taps <= 64 / sum_bytes * c.phases;
  if (one_row && c.source_stride == 2 && c.step == 1) return DirectTile::halved;
  if (one_row && c.phases == 2 && c.step == -1) return DirectTile::doubled;
  if (c.source_stride > 1) return DirectTile::none;
  return sums ? DirectTile::sums : one_row && c.phases == 1 ? DirectTile::pairs : DirectTile::none;
}

// Whether a panel takes less time than the source where it is, with that of packing it. Rows a multiple of 4 KiB apart, of
// which a tile reads a line each, meet in one set of the L1 cache: they come from the L2 cache one by one, behind those
// that are evicted. Twice as many meet in two sets, and tiles of several taps read a line again for the next of them: this
// many products have to repay. So have the lines that half of the vectors lie in two of, where these are narrower than a
// line and the source is not aligned.
bool repays_panel(const Correlation& c, int64_t row_bytes, int64_t vector_bytes) {
  if (c.taps == 1 && row_bytes % kL1WayBytes == 0 && c.channels >= kL1Ways) return true;
  if (vector_bytes == 64 || c.rows * c.taps < kCopiedProducts) return false;
  const int64_t meeting = c.taps == 1 ? kL1WayBytes / 2 : kL1WayBytes;
  return (row_bytes % meeting == 0 && c.channels >= 2 * kL1Ways) || (c.taps == 1 && row_bytes % vector_bytes);
}

// Whether a row is not much longer than what reads it.
bool gives_most(const Correlation& c) { return c.source_length <= 2 * c.q_total() * c.source_stride + kShortRow; }

}  // namespace

int64_t l2_cache_bytes() {
  static const int64_t bytes = [] {
    long reported = 0;
#if defined(_SC_LEVEL2_CACHE_SIZE)
    reported = sysconf(_SC_LEVEL2_CACHE_SIZE);
#endif
    return std::clamp<int64_t>(reported > 0 ? reported : 512 << 10, 256 << 10, 2 << 20);
  }();
  return bytes;
}

DirectReads::DirectReads(const Correlation& c, int64_t sum_bytes, DataFacts data, int64_t lanes) {
  const int64_t unit = data.narrowness * lanes;
  const Inside inside(c);
  const int64_t left = inside.begin, right = c.q_total() - inside.end + unit;
  end_length = ceil_div(std::max(left, right), unit) * unit;
  const int64_t least = c.source_stride > 1 ? kHalvedEnds : kPackedEnds;
  const bool long_rows = data.unit_stride && least * (left + right) < c.q_total();
  possible = long_rows && data.narrowness == 1 && c.source_stride == 1;
  if (long_rows && c.rows * c.taps <= kDirectProducts * c.phases) tile = tile_of(c, sum_bytes, data.narrowness == 1);
}

bool rows_spread(int64_t channels, int64_t row_bytes, int64_t block_bytes, int64_t l2_bytes) {
  constexpr int64_t kSets = 64 << 10, kPart = 1 << 10, kParts = kSets / kPart;
  int64_t bytes[kParts] = {};
  for (int64_t channel = 0; channel < channels; ++channel)
    for (int64_t at = 0; at < block_bytes; at += kPart) bytes[(channel * row_bytes + at) / kPart % kParts] += kPart;
  return *std::max_element(bytes, bytes + kParts) <= l2_bytes / kParts / 2;
}

int64_t hold_weights(const Correlation& c, int64_t sum_bytes, CorrelationPlan& plan) {
  const int64_t weight_bytes = plan.row_units * plan.row_unit * c.channels * c.taps * sum_bytes;  // of a group
  const int64_t held = std::max<int64_t>(kHeldBytes * plan.row_tiles / std::max<int64_t>(weight_bytes, 1), 1);
  plan.held_tiles = ceil_div(plan.row_tiles, ceil_div(plan.row_tiles, held));
  return std::clamp<int64_t>(held / plan.row_tiles, 1, c.groups);
}

int64_t samples_together(
    const Correlation& c, int64_t sum_bytes, const Machine& machine, int64_t tile, int64_t threads) {
  const int64_t q_total = c.q_total();
  if (!has_short_rows(c)) return 1;
  // Gathering and scattering cost as much as an idle lane in ten; more waits where one row of a few channels has no
  // sums beside its own.
  const bool waits = c.rows == 1 && c.channels < kTapRowsChannels && c.phases == 1;
  const int64_t idle = ceil_div(q_total, machine.lanes) * machine.lanes - q_total;
  const bool fills_tiles = c.taps == 1 && q_total % tile == 0, few_idle = 10 * idle < q_total;
  if (!waits && (fills_tiles || (q_total > kSamplesTogether && few_idle))) return 1;
  const int64_t positions = c.source_length + c.last_offset() - c.first_offset();
  const int64_t fitting = machine.l2_bytes / 2 / std::max<int64_t>(c.channels * positions * sum_bytes, 1);
  const int64_t wanted = std::max(kSamplesTogether, ceil_div(tile, q_total));
  const int64_t most = std::max<int64_t>(std::min({fitting, wanted, ceil_div(c.n, threads)}), 1);
  // As many as make the fewest vectors in all; of one row these count less than long copies.
  const auto vectors_of = [&](int64_t samples) {
    return ceil_div(c.n, samples) * ceil_div(samples * q_total, machine.lanes);
  };
  int64_t together = ceil_div(c.n, ceil_div(c.n, most));
  for (int64_t fewer = together - 1; c.rows > 1 && 2 * fewer >= most; --fewer)
    if (vectors_of(fewer) < vectors_of(together)) together = fewer;
  // Of rows that are long for what they give, lanes are all that this saves.
  const int64_t alone_vectors = together * ceil_div(q_total, machine.lanes);
  if (!gives_most(c) && (8 * ceil_div(together * q_total, machine.lanes) > 7 * alone_vectors ||
                         (c.source_stride > 1 && together < kFewSamplesTogether)))
    return 1;
  // The phases of a stride are one transposition of a sample, and of samples side by side a copy for each position.
  const bool copied =
      c.source_stride > 1 && q_total > machine.lanes && c.rows * c.taps <= kStridedProducts * c.source_stride;
  return copied && together < kFewSamplesTogether ? 1 : together;
}

bool has_short_rows(const Correlation& c) {
  const int64_t q_total = c.q_total();
  // Of one row a group, whose loads cross cache lines where its samples stand alone, with taps enough to repay moving
  // it, those twice as long.
  const bool crosses =
      c.rows == 1 && c.channels < kTapRowsChannels && c.phases * c.source_stride == 1 && c.unit_step() && c.taps > 4;
  return c.n > 1 && q_total > 0 && q_total < (crosses ? 2 * kShortRow : kShortRow) &&
         (gives_most(c) || kGatheredProducts * c.source_length <= c.rows * c.taps * q_total);
}

bool channels_are_pairs(const Correlation& c, DataFacts data) {
  return data.pairs && std::min(c.rows, c.channels) >= kPairChannels &&
         c.with_outside().q_total() >= (c.step > 0 ? kPairForward : kPairGradInput);
}

int64_t channels_at_a_time(const Correlation& c, int64_t sum_bytes, DataFacts data, const Machine& machine) {
  const bool sums_wait = c.phases == 1 && data.unit_stride && data.narrowness == 1 && !data.pairs && !c.folds();
  // Of few products, tiles read rows that have no stride where they are, and fetch ahead.
  const int64_t read_in_place = c.source_stride > 1 ? 0 : c.taps > 1 ? kMemoryProducts : kDirectProducts;
  if (c.groups > 1 || !sums_wait || has_short_rows(c) || c.rows * c.taps <= read_in_place) return c.channels;
  const int64_t reach = (c.last_offset() - c.first_offset()) / c.source_stride;
  const auto parts = [&](int64_t positions) {
    const int64_t read = (std::min(positions, c.q_total()) + reach) * c.source_stride;
    return ceil_div(2 * c.channels * read * sum_bytes, machine.l2_bytes);
  };
  const bool streams = c.rows * c.taps <= kStreamedProducts;
  return parts(std::max(streams ? kTooShortRun : kTooFewPositions, 2 * reach)) > 1
             ? ceil_div(c.channels, parts(std::max(streams ? kLongRun : kRepaidPositions, 4 * reach)))
             : c.channels;
}

CorrelationPlan plan_correlation(const Correlation& c, int64_t sum_bytes, DataFacts data, const Machine& machine) {
  CorrelationPlan plan;
  plan.row_units = c.rows;
  plan.row_tiles = ceil_div(plan.row_units, machine.correlate_rows);
  plan.worth_threads = c.multiply_adds() > kThreadWork;
  const int64_t threads = plan.worth_threads ? machine.threads : 1;

  const int64_t q_total = c.q_total();
  const int64_t tile = machine.lanes * machine.correlate_vectors[ceil_div(c.rows, plan.row_tiles)];
  const DirectReads direct(c, sum_bytes, data, machine.lanes);
  // Positions of a block that leaves room in the L2 cache for the next one.
  const int64_t position_bytes = std::max<int64_t>(c.channels, 1) * sum_bytes;
  const int64_t fitting = std::clamp(machine.l2_bytes / 4 / position_bytes / tile * tile, tile, kDirectPositions);
  const bool many_products = c.rows * c.taps > kDirectProducts * c.phases;
  // One tile of rows reads many channels once, and fetches what its next positions read; few channels are streams.
  plan.passes = many_products && (plan.row_tiles > 1 || c.channels < kFetchedChannels);
  const int64_t result_bytes = c.n * c.groups * c.rows * c.out_length * sum_bytes / data.narrowness;
  plan.from_memory = direct.tile == DirectTile::sums && !plan.passes &&
                     (c.taps == 1 || c.rows * c.taps <= kMemoryProducts * c.phases) && c.channels >= kFetchedChannels &&
                     data.unit_stride &&
                     c.n * c.groups * c.channels * c.source_length * sum_bytes > kL2CachesOfL3 * machine.l2_bytes;
  // Of several rows, results that the L3 cache holds are written faster than fetched.
  plan.to_memory = result_bytes > (c.rows > 1 ? kL2CachesOfL3 : 1) * machine.l2_bytes;
  plan.direct = direct.tile;
  if (many_products && direct.possible && c.phases == 1 && q_total >= kPassedVectors * machine.lanes &&
      c.last_offset() - c.first_offset() < tile &&
      !repays_panel(c, data.source_row * sum_bytes, machine.lanes * sum_bytes) &&
      rows_spread(c.channels, data.source_row * sum_bytes, std::min(fitting, q_total) * sum_bytes, machine.l2_bytes))
    plan.direct = DirectTile::sums;
  const int64_t together = samples_together(c, sum_bytes, machine, tile, threads);
  if (!plan.passes && together >= kFewSamplesTogether) plan.direct = DirectTile::none;
  const bool is_direct = plan.direct != DirectTile::none;
  const int64_t width = is_direct ? 1 : together;
  // Weights that meet a few vectors of positions in all are read where they are.
  const int64_t unpacked = c.w_channel == c.taps ? kUnpackedVectors : kUnpackedVectorsOfChannels;
  plan.pack_weights =
      data.pairs || c.phases > 1 || ceil_div(c.n, width) * ceil_div(q_total * width, machine.lanes) > unpacked;

  // Those that meet in a set of the L1 cache evict each other if they are more than its ways.
  if (!plan.pack_weights && weight_rows_meet(c, sum_bytes))
    plan.row_tiles = ceil_div(plan.row_units, std::min(machine.correlate_rows, kL1Ways));

  // Positions: the longest block whose panel fits its cache, in equal parts that are whole tiles, or of several threads
  // whole vectors.
  const auto part = [&](int64_t parts) {
    const int64_t length = ceil_div(q_total, parts), unit = length > tile && threads == 1 ? tile : machine.lanes;
    return ceil_div(length, unit) * unit;
  };
  int64_t parts = 0;
  const auto set_parts = [&](int64_t count) {
    if (std::exchange(parts, count) == count) return;
    plan.q_block = part(parts);
    plan.panel_length = is_direct ? std::min(plan.q_block, direct.end_length) : plan.q_block;
    plan.layout = PanelLayout(c, plan.panel_length, machine.lanes, width);
  };
  const int64_t rows_of_panel = data.pairs ? ceil_div(c.channels, int64_t(2)) : c.channels;
  const auto panel_bytes = [&] { return std::max<int64_t>(rows_of_panel * plan.layout.row * sum_bytes, 1); };
  const auto bytes = [&] {
    return is_direct ? (c.channels * c.source_stride + c.rows * c.phases) * plan.q_block * sum_bytes : panel_bytes();
  };
  if (is_direct) {
    // Phases and tiles of many rows pass over the source, which should then be in the L2 cache, as what is fetched
    // should.
    set_parts(ceil_div(q_total, c.phases > 1 || plan.passes || plan.from_memory ? fitting : kDirectPositions));
  } else if (width > 1) {
    plan.q_block = plan.panel_length = q_total;
    plan.layout = PanelLayout(c, q_total, machine.lanes, width);
  } else {
    set_parts(1);
    const int64_t whole_bytes = panel_bytes();
    // Of a transposed source, or to a transposed result, both sides want long runs: of positions and of all groups'
    // channels.
    const int64_t least = data.unit_stride ? kL1Positions : kTransposedPositions;
    const int64_t groups = data.unit_stride ? 1 : c.groups;
    while (panel_bytes() * groups > kL1Panel && plan.q_block >= 2 * least) set_parts(parts * 2);
    if (panel_bytes() > kL1Panel) {
      const int64_t most = machine.l2_bytes / 2;
      set_parts(ceil_div(whole_bytes, most));
      while (panel_bytes() > most && plan.q_block > tile) set_parts(parts + 1 + parts / 8);
    }
  }

  const int64_t most_groups = hold_weights(c, sum_bytes, plan);

  // Small rows share an item: several groups (with channels innermost, enough of them to fill cache lines), then
  // several samples, which meet the same weights.
  const int64_t group_bytes = is_direct ? kDirectBytes : data.unit_stride ? kL1Panel : kTransposedBytes;
  plan.group_block = std::clamp<int64_t>(group_bytes / bytes(), 1, most_groups);
  plan.n_block = 1;
  if (plan.q_block >= q_total && plan.group_block == c.groups)
    plan.n_block = std::clamp<int64_t>(machine.l2_bytes / 2 / (bytes() * c.groups), 1, std::max<int64_t>(c.n, 1));
  plan.n_block *= width;
  plan.tile_block = plan.held_tiles;

  // Equal shares of what is held, for all threads: give up sharing first, then split positions, then rows, as far as
  // that helps. The first thread has the largest share, because the last block of a row is shorter than others: so much
  // of an equal one.
  const auto share = [&] {
    const int64_t q_blocks = ceil_div(q_total, plan.q_block), tile_blocks = ceil_div(plan.held_tiles, plan.tile_block);
    const int64_t of_row = q_blocks * tile_blocks;
    const int64_t rows = ceil_div(c.n, plan.n_block) * ceil_div(most_groups, plan.group_block);
    const int64_t of_first = ceil_div(rows * of_row, threads), left = of_first % of_row;
    const int64_t positions = of_first / of_row * q_total + std::min(left * plan.q_block / tile_blocks, q_total);
    const double all = double(c.n) * double(most_groups) * double(q_total);
    return std::min(double(positions * plan.n_block * plan.group_block), all) * double(threads) / all;
  };
  const auto even = [&] { return !(share() > kEvenShare); };
  while (!even() && plan.n_block > width) plan.n_block = ceil_div(plan.n_block / 2, width) * width;
  while (!even() && plan.group_block > 1) plan.group_block = ceil_div(plan.group_block, 2);
  if (!even() && width == 1) {
    int64_t best = parts;
    double least = share();
    for (const int64_t most = 2 * std::max(parts, threads); !even() && parts < most && plan.q_block > tile;) {
      set_parts(parts + 1);
      if (share() < least) best = parts, least = share();
    }
    set_parts(best);
  }
  for (double before = share(); !even() && plan.tile_block > 1; before = share()) {
    const int64_t tile_block = std::exchange(plan.tile_block, ceil_div(plan.tile_block, 2));
    if (share() < before) continue;
    plan.tile_block = tile_block;
    break;
  }
  plan.held_groups = most_groups / plan.group_block * plan.group_block;
  return plan;
}

}  // namespace torch_conv1d::cpu
