// How the sums of grad_weight are made and cut. They depend on both, so neither depends on the machine.
#include <algorithm>
#include <cmath>
#include <utility>

#include "../../division.h"
#include "../toom_cook/toom_cook.h"
#include "block_sizes.h"

namespace torch_conv1d::cpu {
namespace {

// From this many output channels in a group they fill the lanes of a vector, if need be with zeros.
constexpr int64_t kOuterChannels = 8;
// Costs of a position, in products of 64 bytes that `outer` makes from two vectors of output channels. Fitted to layers
// of 1 to 512 channels, 1 to 41 taps and 16 to 30,000 positions, on both instruction sets.
//   dot      a product of rows that are not aligned, of single taps, whose x comes from the L2 cache for each, and of a single row, which loads
//            x for each; what a row of positions adds to load and store sums, more for a short one, much of which is a tail
//   outer    the part that a tile one vector wide adds, because it loads an element of x for each product; transposing 64 bytes of channels
//   columns  an element of x made a column
// and for all, an element of x packed, or, of single taps, read by `dot` where it is, in memory, from which nothing has
// fetched it.
constexpr double kDotProduct = 1.15, kDotTap = 1.3, kDotSingle = 1.7, kDotRow = 8, kDotShortRow = 24;
constexpr double kOneVector = 0.15, kTransposed = 10, kColumn = 2.6, kPacked = 0.25, kFromMemory = 0.3;
// What the L3 cache may hold.
constexpr int64_t kCachedBytes = 8 << 20;
// A product of pairs of bfloat16, of which each position is one half.
constexpr double kPairProduct = 0.6;
// Rows from this many positions on are long.
constexpr int64_t kDotLength = 256;
// What products by Toom-Cook's filtering leave of them, with its transforms.
constexpr double kTransformedProduct = 0.6;
// Exchanged operands place each weight on its own. Any are a call beside that of the bias; they have to save a little.
constexpr double kPlaced = 4.4, kCall = 8000, kExchanged = 0.95;
// A product of neighbouring taps with grad_y as the kernel, and of taps whose source is strided; how many taps that wants,
// for each position and in all, and of how many bytes of grad_y, which is copied.
constexpr double kFiltered = 1.5, kFilteredStrided = 2.5;
constexpr int64_t kTapsOfPosition = 2, kManyTaps = 32, kKernelBytes = 1 << 18;
// Of fewer output channels, each loads and stores 64 bytes of sums for every weight and short row, and columns want to
// be made once for all of them: which of the two is more. So many weights fill vectors.
constexpr int64_t kColumnLength = 8, kColumnWeights = 48;
// Positions of a block: long enough to hide the loads and stores of the sums, short enough for L2; of few weights, a
// tile of grad_y that stays in the L1 cache. `dot` reads rows where they are, from memory that delivers long runs faster:
// pages of them where x has few channels.
constexpr int64_t kFewWeights = 64, kFewWeightsPositions = 256, kOuterPositions = 512, kTransformedPositions = 1024;
// Of so few positions in all that `columns` makes its sums in one block.
constexpr int64_t kColumnPositions = 256;
constexpr int64_t kDotElements = 1 << 14, kLeastDotPositions = 1024, kMostDotPositions = 4096;
// Sums of a vector of groups, which every few positions meet, stay in the L2 cache.
constexpr int64_t kGroupSumBytes = 1 << 20;
// A small result is summed in up to kParts parts, so that threads have something to share.
constexpr int64_t kParts = 16, kPartElements = 1 << 18;
// Of so many parts, one block more or less is little.
constexpr int64_t kManyParts = 8;

// Of one group, for all positions.
double sum_cost(const Conv1dProblem& p, GradWeightLanes lanes, int64_t sum_bytes, bool pairs) {
  const double rows = double(p.c_out_per_group()), channels = double(p.c_in_per_group());
  const double weights = channels * p.kernel_size, lane_count = 64. / sum_bytes, vectors = std::ceil(rows / lane_count);
  const double products = rows * weights / lane_count;
  const bool is_long = p.l_out >= kDotLength;
  const bool cached = p.n * p.c_in * p.l_in * sum_bytes <= kCachedBytes;
  const double x_read = p.kernel_size > 1 ? kPacked : cached ? 0 : kFromMemory;  // by `dot`
  const auto of_position = [&] {
    switch (lanes) {
      case GradWeightLanes::positions:
        return products * (rows == 1 && p.kernel_size > 1 ? kDotSingle : 1) *
                   ((p.kernel_size > 1 ? kDotProduct : kDotTap) +
                    (is_long ? kDotRow : kDotShortRow) * lane_count / p.l_out) +
               x_read * channels;
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
  // Of groups of many channels on both sides, each element meets more products in tiles of its own group.
  const bool few_products = c.rows * c.channels > 1 && std::min(c.rows, c.channels) < kOuterChannels;
  const bool groups = few_products && fill_lanes(c, sum_bytes) && c.source_stride <= c.taps &&
                      64 * c.rows * c.channels * c.taps <= kGroupSumBytes;
  return groups && cost(GradWeightLanes::channels) < cost(others) ? GradWeightLanes::channels : others;
}

}  // namespace

bool sums_few_positions(const Conv1dProblem& p) {
  const int64_t positions = p.n * p.l_out, rows = p.c_out_per_group(), weights = p.c_in_per_group() * p.kernel_size;
  if (positions == 0 || positions > kColumnPositions) return false;
  return positions * (rows + weights) <= rows * weights ||
         (rows < kOuterChannels && weights >= kColumnWeights && p.l_out <= kColumnLength * rows &&
          has_short_rows(forward_correlation(p)));
}

ReductionPlan plan_reduction(const Conv1dProblem& p, Algorithm algorithm, int64_t sum_bytes, DataFacts data) {
  const GradWeightLanes lanes = lanes_of(p, algorithm, sum_bytes, data);
  ReductionPlan r;
  r.lanes = lanes;
  r.pairs = data.pairs && lanes == GradWeightLanes::output_channels;
  const bool transformed = lanes == GradWeightLanes::transformed;
  const int64_t dot_positions =
      std::clamp(kDotElements / std::max<int64_t>(p.c_in_per_group(), 1), kLeastDotPositions, kMostDotPositions);
  const bool outer = lanes == GradWeightLanes::output_channels || lanes == GradWeightLanes::weights;
  const int64_t weights = p.c_in_per_group() * p.kernel_size;
  const int64_t positions = transformed ? kTransformedPositions
                            : !outer    ? dot_positions
                                        : (weights < kFewWeights ? kFewWeightsPositions : kOuterPositions);
  const int64_t unit = transformed ? kToomCookOutputs * p.dilation : 1;
  const int64_t equal_parts = std::max<int64_t>(ceil_div(p.l_out, positions), 1);
  r.length = ceil_div(ceil_div(p.l_out, equal_parts), unit) * unit;
  r.blocks_per_sample = std::max<int64_t>(ceil_div(p.l_out, std::max<int64_t>(r.length, 1)), 1);
  // Blocks of equal numbers of samples: where they stand side by side, those that the last one lacks are multiplied
  // too.
  const int64_t n = std::max<int64_t>(p.n, 1);
  r.runs = ceil_div(n, ceil_div(n, std::clamp<int64_t>(positions / std::max<int64_t>(p.l_out, 1), 1, n)));
  r.blocks = ceil_div(p.n, r.runs) * r.blocks_per_sample;
  // Pointwise, samples side by side would be gathered for the positions that a stride leaves out.
  const bool skips = p.kernel_size == 1 && p.stride > 1 && p.l_out > kSamplesTogether;
  r.together = outer && r.runs > 1 && has_short_rows(forward_correlation(p)) && !skips;
  const int64_t elements = p.c_out * (weights + 1);
  const int64_t most = std::clamp<int64_t>(
      kPartElements / std::max<int64_t>(elements, 1), 1, std::min(kParts, std::max<int64_t>(r.blocks, 1)));
  // Equal parts, and an even number of them, if there are enough of these; otherwise many, or one for each block.
  r.parts = most;
  if (r.blocks > most)
    while (r.parts > 1 && (r.blocks % r.parts || r.parts % 2)) --r.parts;
  if (2 * r.parts < most && most >= kManyParts) r.parts = most;
  return r;
}

bool sums_by_filtering(const Conv1dProblem& p, Algorithm algorithm, int64_t sum_bytes, DataFacts data) {
  const int64_t positions = p.n * p.l_out;
  if (p.groups > 1 || positions == 0 || p.c_in == 0 || p.kernel_size < kManyTaps ||
      kTapsOfPosition * p.l_out > p.kernel_size || positions * p.c_out * sum_bytes > kKernelBytes)
    return false;
  const double vectors = double(ceil_div(p.kernel_size * sum_bytes, int64_t(64)));
  const double products = double(positions) * double(p.c_out) * double(p.c_in) * vectors;
  return products * (p.dilation == 1 ? kFiltered : kFilteredStrided) + kPacked * double(p.n * p.c_in * p.l_in) + kCall <
         sum_cost(p, lanes_of(p, algorithm, sum_bytes, data), sum_bytes, data.pairs);
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

}  // namespace torch_conv1d::cpu
