// How the sums of grad_weight are cut, and who computes which of them.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "../../division.h"
#include "../toom_cook/toom_cook.h"
#include "block_sizes.h"

namespace torch_conv1d::cpu {
namespace {

// From this many output channels in a group they fill the lanes of a vector, if need be with zeros.
constexpr int64_t kOuterChannels = 8;
// Costs of a position, in products of 64 bytes that `outer` makes from two vectors of output channels. Fitted to layers of 1 to 512 channels,
// 1 to 41 taps and 16 to 30,000 positions, on both instruction sets.
//   dot      a product of rows that are not aligned, and of a single row, which loads x for each; what a row of positions adds to load and
//            store sums, more for a short one, much of which is a tail
//   outer    the part that a tile one vector wide adds, because it loads an element of x for each product; transposing 64 bytes of channels
//   columns  an element of x made a column
// and for all, an element of x packed.
constexpr double kDotProduct = 1.15, kDotSingle = 1.7, kDotRow = 8, kDotShortRow = 24;
constexpr double kOneVector = 0.15, kTransposed = 10, kColumn = 2.6, kPacked = 0.25;
// A product of pairs of bfloat16, of which each position is one half.
constexpr double kPairProduct = 0.6;
// Rows from this many positions on are long.
constexpr int64_t kDotLength = 256;
// What products by Toom-Cook's filtering leave of them, with its transforms.
constexpr double kTransformedProduct = 0.6;
// Exchanged operands place each weight on its own, and are a call beside that of the bias; they have to save a little.
constexpr double kPlaced = 4.4, kCall = 8000, kExchanged = 0.95;
// Of fewer output channels, each loads and stores 64 bytes of sums for every weight and short row, and columns want to be made once for
// all of them: which of the two is more. So many weights fill vectors.
constexpr int64_t kColumnLength = 8, kColumnWeights = 48;
// Positions of a block: long enough to hide the loads and stores of the sums, short enough for L2. `dot` reads rows where
// they are, from memory that delivers long runs faster: pages of them where x has few channels.
constexpr int64_t kOuterPositions = 256, kTransformedPositions = 1024;
constexpr int64_t kDotElements = 1 << 14, kLeastDotPositions = 1024, kMostDotPositions = 4096;
// Sums and copied rows of an item whose sums meet few positions stay in the L1 cache.
constexpr int64_t kL1Bytes = 24 << 10;
// Sums of an item that meet several blocks.
constexpr int64_t kOuterSumBytes = 2 << 20;
// What an item of transformed operands may take, and together with the sums of all parts.
constexpr int64_t kTransformedBytes = 13 << 18, kTransformedCall = 15 << 18;
// Channels that are transposed at a time: a tile of AVX-512; rows of more are further apart in the caches than they need be.
constexpr int64_t kTransposedChannels = 64;
// A small result is summed in up to kParts parts, so that threads have something to share.
constexpr int64_t kParts = 16, kPartElements = 1 << 18;
// Of so many parts, one block more or less is little.
constexpr int64_t kManyParts = 8;

// `count` in so many equal parts, of whole units.
int64_t part_of(int64_t count, int64_t parts, int64_t unit) {
  return std::min(ceil_div(ceil_div(count, std::min(parts, count)), unit) * unit, count);
}

// What the thread with the most to do has to, for each column of a block.
double transformed_cost(const Conv1dProblem& p, const ToomCookForm& form, const GradWeightPlan& plan, int64_t threads) {
  const ReductionPlan& r = plan.reduction;
  const int64_t co_blocks = ceil_div(p.c_out_per_group(), plan.co_block);
  const int64_t ci_blocks = ceil_div(p.c_in_per_group(), plan.ci_block);
  const int64_t sums = p.groups * co_blocks * ci_blocks, share = ceil_div(sums * r.parts, threads);
  double most = 0, of_thread = 0;
  for (int64_t item = 0; item < sums * r.parts; ++item) {
    if (item % share == 0) of_thread = 0;
    const int64_t part = item / sums, blocks = (part + 1) * r.blocks / r.parts - part * r.blocks / r.parts;
    const int64_t ci0 = item % ci_blocks * plan.ci_block, co0 = item / ci_blocks % co_blocks * plan.co_block;
    const double ci = double(std::min(plan.ci_block, p.c_in_per_group() - ci0));
    const double co = double(std::min(plan.co_block, p.c_out_per_group() - co0));
    of_thread += double(blocks) * form.column_cost(co, ci);
    most = std::max(most, of_thread);
  }
  return most;
}

// Of one group, for all positions.
double sum_cost(const Conv1dProblem& p, GradWeightLanes lanes, int64_t sum_bytes, bool pairs) {
  const double rows = double(p.c_out_per_group()), channels = double(p.c_in_per_group());
  const double weights = channels * p.kernel_size, lane_count = 64. / sum_bytes, vectors = std::ceil(rows / lane_count);
  const double products = rows * weights / lane_count;
  const bool is_long = p.l_out >= kDotLength;
  const auto of_position = [&] {
    switch (lanes) {
      case GradWeightLanes::positions:
        return products * (rows == 1 && p.kernel_size > 1 ? kDotSingle : 1) *
                   (kDotProduct + (is_long ? kDotRow : kDotShortRow) * lane_count / p.l_out) +
               (p.kernel_size > 1 ? kPacked * channels : 0);
      case GradWeightLanes::weights:
        return products + kColumn * weights;
      case GradWeightLanes::channels: {
        const double idle = double(ceil_div(p.groups, 64 / sum_bytes)) * lane_count / double(p.groups);
        return idle * (products + kTransposed * (rows + channels * double(p.stride)) / lane_count);
      }
      case GradWeightLanes::transformed:
        return kTransformedProduct * vectors * weights + kPacked * channels;
      default:
        return (vectors + kOneVector * std::fmod(vectors, 2)) * (weights * (pairs ? kPairProduct : 1) + kTransposed) +
               kPacked * channels;
    }
  };
  return p.n * p.l_out * of_position();
}

GradWeightLanes lanes_of(const Conv1dProblem& p, Algorithm algorithm, int64_t sum_bytes, DataFacts data) {
  const Correlation c = forward_correlation(p);
  const bool few_channels = c.rows < kOuterChannels;
  if (!few_channels && !data.pairs && sums_by_toom_cook(c, algorithm)) return GradWeightLanes::transformed;
  if (sums_by_channels(c, sum_bytes, data)) return GradWeightLanes::channels;
  const auto cost = [&](GradWeightLanes lanes) { return sum_cost(p, lanes, sum_bytes, data.pairs); };
  const bool dot = p.l_out >= kDotLength && cost(GradWeightLanes::positions) < cost(GradWeightLanes::output_channels);
  const GradWeightLanes others = sums_few_positions(p) ? GradWeightLanes::weights
                                 : few_channels || dot ? GradWeightLanes::positions
                                                       : GradWeightLanes::output_channels;
  const bool groups = c.rows * c.channels > 1 && fill_lanes(c, sum_bytes) && c.source_stride <= c.taps;
  return groups && cost(GradWeightLanes::channels) < cost(others) ? GradWeightLanes::channels : others;
}

}  // namespace

bool sums_few_positions(const Conv1dProblem& p) {
  const int64_t positions = p.n * p.l_out, rows = p.c_out_per_group(), weights = p.c_in_per_group() * p.kernel_size;
  if (positions == 0 || positions > kOuterPositions) return false;
  return positions * (rows + weights) <= rows * weights ||
         (rows < kOuterChannels && weights >= kColumnWeights && p.l_out <= kColumnLength * rows &&
          has_short_rows(forward_correlation(p)));
}

ReductionPlan plan_reduction(const Conv1dProblem& p, GradWeightLanes lanes, bool pairs) {
  ReductionPlan r;
  r.lanes = lanes;
  r.pairs = pairs && lanes == GradWeightLanes::output_channels;
  const bool transformed = lanes == GradWeightLanes::transformed;
  const int64_t dot_positions =
      std::clamp(kDotElements / std::max<int64_t>(p.c_in_per_group(), 1), kLeastDotPositions, kMostDotPositions);
  const bool outer = lanes == GradWeightLanes::output_channels || lanes == GradWeightLanes::weights;
  const int64_t positions = transformed ? kTransformedPositions : outer ? kOuterPositions : dot_positions;
  const int64_t unit = transformed ? kToomCookOutputs * p.dilation : 1;
  const int64_t equal_parts = std::max<int64_t>(ceil_div(p.l_out, positions), 1);
  r.length = ceil_div(ceil_div(p.l_out, equal_parts), unit) * unit;
  r.blocks_per_sample = std::max<int64_t>(ceil_div(p.l_out, std::max<int64_t>(r.length, 1)), 1);
  // Blocks of equal numbers of samples: where they stand side by side, those that the last one lacks are multiplied too.
  const int64_t n = std::max<int64_t>(p.n, 1);
  r.runs = ceil_div(n, ceil_div(n, std::clamp<int64_t>(positions / std::max<int64_t>(p.l_out, 1), 1, n)));
  r.blocks = ceil_div(p.n, r.runs) * r.blocks_per_sample;
  // Pointwise, samples side by side would be gathered for the positions that a stride leaves out.
  const bool skips = p.kernel_size == 1 && p.stride > 1 && p.l_out > kSamplesTogether;
  r.together = outer && r.runs > 1 && has_short_rows(forward_correlation(p)) && !skips;
  const int64_t elements = p.c_out * (p.c_in_per_group() * p.kernel_size + 1);
  const int64_t most = std::clamp<int64_t>(
      kPartElements / std::max<int64_t>(elements, 1), 1, std::min(kParts, std::max<int64_t>(r.blocks, 1)));
  // Equal parts, and an even number of them, if there are enough of these; otherwise many, or one for each block.
  r.parts = most;
  if (r.blocks > most)
    while (r.parts > 1 && (r.blocks % r.parts || r.parts % 2)) --r.parts;
  if (2 * r.parts < most && most >= kManyParts) r.parts = most;
  return r;
}

Conv1dProblem exchanged_problem(const Conv1dProblem& p) {
  Conv1dProblem exchanged = p;
  std::swap(exchanged.c_in, exchanged.c_out);
  std::swap(exchanged.l_in, exchanged.l_out);
  exchanged.pad_left = p.span() - 1 - p.pad_left;
  exchanged.pad_right = p.span() - 1 - p.pad_right;
  exchanged.padding_mode = PaddingMode::zeros;
  return exchanged;
}

bool exchanges_operands(const Conv1dProblem& p, Algorithm algorithm, int64_t sum_bytes, DataFacts data) {
  const bool outside = p.padding_mode != PaddingMode::zeros && (p.pad_left > 0 || p.pad_right > 0);
  const int64_t rows = p.c_out_per_group(), channels = p.c_in_per_group();
  if (p.stride > 1 || outside || rows * channels <= 1 || p.n * p.l_out == 0) return false;
  const auto cost = [&](const Conv1dProblem& q) {
    return sum_cost(q, lanes_of(q, algorithm, sum_bytes, data), sum_bytes, data.pairs);
  };
  Conv1dProblem bias = p;
  bias.c_in = 0;
  return cost(exchanged_problem(p)) + kPlaced * rows * channels * p.kernel_size +
             sum_cost(bias, lanes_of(p, algorithm, sum_bytes, data), sum_bytes, false) + kCall / p.groups <
         kExchanged * cost(p);
}

GradWeightPlan plan_grad_weight(
    const Conv1dProblem& p, Algorithm algorithm, int64_t sum_bytes, DataFacts data, const Machine& machine) {
  GradWeightPlan plan;
  const Correlation c = forward_correlation(p);
  plan.reduction = plan_reduction(p, lanes_of(p, algorithm, sum_bytes, data), data.pairs);
  const ReductionPlan& r = plan.reduction;
  const bool dot = r.lanes == GradWeightLanes::positions;
  const double multiply_adds = double(p.n) * p.l_out * p.c_out * p.c_in_per_group() * p.kernel_size;
  plan.worth_threads = multiply_adds > kThreadWork;
  const int64_t threads = plan.worth_threads ? machine.threads : 1;

  const int64_t sum_lanes = dot ? 64 / sum_bytes : 1;
  // grad_y that is as `outer` wants it stays where it is, if each of its elements is read by one tile of all weights and the bias.
  plan.in_place = dot && data.narrowness == 1 && data.channels_innermost && c.rows % machine.lanes == 0 &&
                  c.channels > 0 && c.channels * c.taps < machine.outer_rows;
  // Each partial sum reads all lines of x, and wants some positions: 16 or more.
  const int64_t x_bytes_in_place = (c.channels + 1) * c.source_stride * sum_bytes;
  const int64_t in_place_length = std::max<int64_t>(kL1Panel / x_bytes_in_place / sum_lanes, 16) * sum_lanes;
  const DirectReads direct(c, sum_bytes, data, sum_lanes);
  plan.direct = dot && !plan.in_place ? direct.tile : DirectTile::none;
  const bool is_direct = plan.direct != DirectTile::none;
  plan.panel_length = std::min(r.length, is_direct ? direct.end_length : plan.in_place ? in_place_length : r.length);

  // What an item reads and the sums that it keeps share the L2 cache.
  const int64_t share = machine.l2_bytes / 4;
  const auto fit = [&](int64_t bytes, int64_t most) {
    return std::clamp<int64_t>(share / std::max<int64_t>(bytes, 1), 1, std::max<int64_t>(most, 1));
  };
  const int64_t x_row = is_direct ? r.length : PanelLayout(c, r.length, machine.lanes).row;
  const int64_t x_bytes = x_row * sum_bytes, g_bytes = r.length * sum_bytes;
  // Where a part is one block, sums of a few output channels are finished before the next, in the L2 cache.
  const bool one_block = r.parts == r.blocks;
  const int64_t tile = 2 * machine.lanes, unit = plan.in_place ? machine.lanes : 1;
  plan.group_block = 1;
  if (r.lanes == GradWeightLanes::channels) {
    const ChannelsPlan channels =
        plan_channels(c, sum_bytes, 1, data.narrowness > 1 || !data.channels_innermost, machine);
    plan.group_block = data.channels_innermost && c.rows * c.channels == 1
                           ? channels.channel_block
                           : std::min(channels.channel_block, kTransposedChannels);
    plan.panel_length = std::min(r.length, channels.q_block);
    plan.co_block = c.rows;
    plan.ci_block = c.channels;
    while (!shared_evenly(r.parts * ceil_div(p.groups, plan.group_block), threads) && plan.group_block > machine.lanes)
      plan.group_block = ceil_div(plan.group_block / 2, machine.lanes) * machine.lanes;
    return plan;
  }
  if (dot) {
    const int64_t weight_bytes = p.kernel_size * sum_lanes * sum_bytes;  // of one row of x and one of grad_y
    plan.ci_block = fit(std::max(x_bytes, weight_bytes), p.c_in_per_group());
    // Sums are met once a block, and so may be as many as fit the whole cache; grad_y passes by.
    const int64_t co_parts =
        std::max<int64_t>(ceil_div(p.c_out_per_group(), fit(plan.ci_block * weight_bytes / 4, p.c_out_per_group())), 1);
    plan.co_block = part_of(p.c_out_per_group(), co_parts, unit);
    plan.g_block = fit(g_bytes, plan.co_block);
    if (!plan.in_place && plan.ci_block == p.c_in_per_group() && plan.co_block == p.c_out_per_group())
      plan.group_block =
          fit(plan.ci_block * x_bytes + plan.co_block * (g_bytes + plan.ci_block * weight_bytes), p.groups);
    // What a depthwise layer sums a row of few positions into is loaded and stored as often as it is used.
    if (!plan.in_place && plan.ci_block == 1 && plan.co_block == 1)
      plan.group_block =
          std::clamp<int64_t>(kL1Bytes / (weight_bytes + (is_direct ? 0 : x_bytes)), 1, plan.group_block);
  } else if (r.lanes == GradWeightLanes::transformed) {
    // Operands and sums at all points, and the weights that these become: all that a call may take. Where a part is one block, sums
    // of a few output channels are finished before the next, in the L2 cache.
    const ToomCookForm form(c);
    const int64_t columns = form.sample_columns(r.length / form.positions()) * r.runs;
    const auto sums_of = [&](int64_t held) {
      return (form.points * form.tap_groups * p.stride + p.kernel_size) * plan.ci_block * held * sum_bytes;
    };
    const auto bytes = [&] {
      const int64_t held = one_block ? std::min(tile, plan.co_block) : plan.co_block;
      return form.points * columns * (plan.ci_block * p.stride + held) * sum_bytes + sums_of(held);
    };
    int64_t ci_parts = 1, co_parts = 1;
    plan.ci_block = p.c_in_per_group();
    plan.co_block = p.c_out_per_group();
    const int64_t parts = r.parts > 1 ? r.parts * p.c_out * (p.c_in_per_group() * p.kernel_size + 1) * sum_bytes : 0;
    while (bytes() > std::min(kTransformedBytes, kTransformedCall - parts) &&
           (plan.ci_block > 1 || plan.co_block > tile)) {
      if (plan.ci_block > 1 && (one_block || plan.co_block <= tile || plan.ci_block * p.stride > plan.co_block))
        plan.ci_block = ceil_div(p.c_in_per_group(), ++ci_parts);
      else
        plan.co_block = ceil_div(ceil_div(p.c_out_per_group(), ++co_parts), tile) * tile;
    }
    if (threads > 1) {
      // The cut that the thread with the most to do finishes first: every item transforms what it reads.
      const GradWeightPlan least = plan;
      double soonest = std::numeric_limits<double>::infinity();
      const int64_t co_parts = ceil_div(p.c_out_per_group(), least.co_block);
      const int64_t ci_parts = ceil_div(p.c_in_per_group(), least.ci_block);
      for (int64_t co = co_parts; co <= co_parts + threads; ++co) {
        // As few parts of the input channels as there have to be, or so many that the items are equal shares.
        const int64_t unit = threads / std::gcd(threads, r.parts * p.groups * co);
        for (const int64_t ci : {ci_parts, ceil_div(ci_parts, unit) * unit}) {
          GradWeightPlan cut = least;
          cut.co_block = part_of(p.c_out_per_group(), co, machine.lanes);
          cut.ci_block = part_of(p.c_in_per_group(), ci, 1);
          if (const double its = transformed_cost(p, form, cut, threads); its < soonest) plan = cut, soonest = its;
        }
      }
    }
    plan.co_held = one_block ? std::max(share / sums_of(tile), int64_t(1)) * tile : plan.co_block;
    return plan;
  } else if (r.lanes == GradWeightLanes::weights) {
    plan.co_block = p.c_out_per_group();
    plan.ci_block = fit(x_bytes * r.runs / 2, p.c_in_per_group());
    if (plan.ci_block == p.c_in_per_group())
      plan.group_block = fit((plan.ci_block * x_bytes + plan.co_block * g_bytes) * r.runs, p.groups);
    const int64_t widest = machine.lanes * machine.correlate_vectors[std::min(machine.correlate_rows, plan.co_block)];
    plan.j_block = std::max<int64_t>(kL1Bytes / (p.n * p.l_out * sum_bytes * widest), 1) * widest;
  } else {
    // x stays in the L2 cache for all output channels.
    const int64_t c_in = std::max<int64_t>(p.c_in_per_group(), 1), c_out = p.c_out_per_group();
    const int64_t column_bytes = p.kernel_size * tile * sum_bytes;  // sums of a channel
    const int64_t most = std::clamp<int64_t>(kOuterSumBytes / column_bytes, 1, c_in);
    plan.ci_block = ceil_div(c_in, ceil_div(c_in, fit(x_bytes * r.runs / 2, most)));
    const int64_t tile_bytes = plan.ci_block * column_bytes;
    plan.co_block = one_block ? c_out : std::min(std::max<int64_t>(kOuterSumBytes / tile_bytes, 1) * tile, c_out);
    plan.co_held = one_block ? std::max<int64_t>(share / tile_bytes, 1) * tile : plan.co_block;
  }

  // Whether threads have equal shares of the items, one part after another: some parts have a block more than others.
  const auto even = [&] {
    const int64_t sums = ceil_div(p.groups, plan.group_block) * ceil_div(p.c_out_per_group(), plan.co_block) *
                         ceil_div(p.c_in_per_group(), plan.ci_block);
    const int64_t items = sums * r.parts, share = ceil_div(items, threads);
    const auto blocks_before = [&](int64_t item) {
      const int64_t part = item / sums, begin = part * r.blocks / r.parts, end = (part + 1) * r.blocks / r.parts;
      return begin * sums + item % sums * (end - begin);
    };
    int64_t most = 0;
    for (int64_t item = 0; item < items; item += share)
      most = std::max(most, blocks_before(std::min(item + share, items)) - blocks_before(item));
    return double(most * threads) <= kEvenShare * double(sums * r.blocks);
  };
  // Items of other output channels pack x once more: less than transposing grad_y.
  const int64_t least_co = dot ? std::max<int64_t>(8, unit) : 64;
  while (!even() && plan.group_block > 1) plan.group_block = ceil_div(plan.group_block, 2);
  while (!even() && r.lanes == GradWeightLanes::output_channels && plan.co_block > least_co)
    plan.co_block = ceil_div(plan.co_block, 2);
  while (!even() && plan.ci_block > 8) plan.ci_block = ceil_div(plan.ci_block, 2);
  while (!even() && plan.co_block > least_co) plan.co_block = part_of(plan.co_block, 2, unit);
  return plan;
}

}  // namespace torch_conv1d::cpu
