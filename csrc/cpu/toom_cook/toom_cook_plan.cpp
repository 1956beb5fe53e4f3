#include <algorithm>
#include <cstdlib>
#include <numeric>

#include "../../division.h"
#include "toom_cook.h"

namespace torch_conv1d::cpu {
namespace {

// In products with direct sums: one at the points, where sums are stored in between; the transforms of an element of a row or a channel
// at a point; those of a weight at a point. Fitted to layers of 64 to 512 channels, 3 to 9 taps and 40 to 4000 positions, on AVX-512,
// which gains less than AVX2.
constexpr double kProduct = 1.15, kTransform = 12, kWeight = 9;
// The same of grad_weight, where direct sums are as far from the peak.
constexpr double kSumProduct = 1, kSumWeight = 16;
// Columns and positions fill vectors, at least those of AVX2.
constexpr int64_t kLanes = 8;
// Runs of weights in grad_input, in bytes, below which reading them counts twice.
constexpr int64_t kWeightRun = 256;
// A padding mode repeats a small part of a row: sums of as many positions at either end are kept until all are known.
constexpr int64_t kEnds = 16;
// Beside its result, a call may take 4 MiB for each thread: for the transformed source and its part of the shared weights this
// much, which leaves room for a band: its products and, if they are not shared, its weights.
constexpr int64_t kItemBytes = 12 << 18, kSharedBytes = 3 << 19, kBandBytes = 3 << 18;
// Products alone stay in the L2 cache, beside a point of the source.
constexpr int64_t kProductBytes = kBandBytes / 4;
// Columns of an item: enough for few of them to lie between samples or beyond the end.
constexpr int64_t kColumns = 288;

int64_t in_vectors(int64_t count) { return ceil_div(count, kLanes) * kLanes; }

// Of a column, for each row and channel of the layer; and, in weights, at all points.
double column_cost(const Correlation& c, const ToomCookForm& form, double product) {
  return product * form.products() +
         kTransform * form.points * (form.rows + form.channels) / (double(c.rows) * c.channels);
}
int64_t weights_at_points(const ToomCookForm& form) {
  return form.points * form.tap_groups * form.phases * form.source_phases;
}

// Whether there is a form, and rows for it: a single one is the fir tile's.
bool has_form(const Correlation& c, Algorithm algorithm) {
  const int64_t stride = c.phases * c.source_stride;
  return algorithm != Algorithm::direct && c.taps > stride && (stride == 1 || std::abs(c.step) == 1) &&
         c.rows * c.phases > 1 && c.channels > 0;
}

}  // namespace

bool uses_toom_cook(const Correlation& c, Algorithm algorithm) {
  if (!has_form(c, algorithm) || (c.fold_left + c.fold_right) * kEnds > c.out_length) return false;
  const ToomCookForm form(c);
  // Many weights are transformed for as many columns as there is room for.
  constexpr int64_t kBytes = sizeof(float);
  const int64_t row_bytes = form.points * form.channels * form.tap_groups * kBytes;
  const int64_t columns = form.sample_columns(form.tiles),
                most = form.rows * row_bytes > kSharedBytes ? kItemBytes / (form.points * form.channels * kBytes)
                                                            : columns;
  const int64_t run = kBandBytes / row_bytes / form.phases * c.taps * kBytes;
  const double weight = c.step < 0 && run < kWeightRun ? 2 * kWeight : kWeight;
  return in_vectors(columns) * column_cost(c, form, kProduct) +
             ceil_div(columns, std::max<int64_t>(most, 1)) * weight * weights_at_points(form) <
         in_vectors(form.length) * c.taps;
}

bool sums_by_toom_cook(const Correlation& c, Algorithm algorithm) {
  if (!has_form(c, algorithm)) return false;
  const ToomCookForm form(c);
  return c.n * form.sample_columns(form.tiles) * column_cost(c, form, kSumProduct) +
             kSumWeight * weights_at_points(form) <
         c.n * form.length * c.taps;
}

ToomCookForm::ToomCookForm(const Correlation& c)
    : phases(c.phases),
      source_phases(c.source_stride),
      rows(c.rows * phases),
      channels(c.channels * source_phases),
      tap_count(ceil_div(c.taps, phases * source_phases)),
      taps(tap_count <= kMaxToomCookTaps ? tap_count : kToomCookOutputs),
      points(kToomCookOutputs + taps - 1),
      tap_groups(ceil_div(tap_count, taps)),
      last_phases(
          std::clamp<int64_t>(c.taps - (tap_groups * taps - 1) * phases * source_phases, 0, phases * source_phases)),
      dilation(std::abs(c.step)),
      begin(floor_div(c.first - c.fold_left - c.taps, phases) * phases + c.taps - c.first),
      length(ceil_div(c.out_length + c.fold_right - begin, phases)),
      tiles(ceil_div(length, positions())),
      source(c) {
  source.phases = source.step = 1;
  source.taps = source_phases;
  source.first = ceil_div(begin + c.first + std::min<int64_t>((c.taps - 1) * c.step, 0), phases);
}

ToomCookPlan plan_toom_cook(const Correlation& c, int64_t sum_bytes, const Machine& machine) {
  ToomCookPlan plan(c);

  // Few weights are transformed once; items that share many have less room for the source. More weights than that are transformed
  // by every item, those of a band just before they are used, for as many columns as there is room for.
  const int64_t row_weights = plan.points * plan.channels * plan.tap_groups;
  const int64_t weight_bytes = c.groups * plan.rows * row_weights * sum_bytes / machine.threads;
  plan.shared_weights = weight_bytes <= kSharedBytes;

  // The transformed source of a point meets all rows of a band, and stays in the L2 cache beside their weights and products.
  const int64_t unit_rows = std::min(machine.correlate_rows, plan.rows);
  const int64_t tile = machine.lanes * machine.correlate_vectors[unit_rows];
  const int64_t column_bytes = plan.points * plan.channels * sum_bytes;
  const int64_t fitting = plan.shared_weights
                              ? std::min(plan.points * machine.l2_bytes / 8, kItemBytes - weight_bytes) / column_bytes
                              : kItemBytes / column_bytes;
  const int64_t unit = fitting > tile ? tile : machine.lanes;
  const int64_t columns = std::clamp(fitting / unit * unit, unit, kColumns / tile * tile);
  // Equal parts: of the tiles, in whole vectors, or of the samples. Threads get equal shares of them, if need be in smaller parts.
  const int64_t most = std::max<int64_t>(columns / plan.dilation - plan.tap_groups + 1, 1);
  const int64_t least_parts = ceil_div(plan.tiles, most), rows_of_source = std::max<int64_t>(c.n * c.groups, 1);
  int64_t parts = least_parts;
  while (parts < 2 * least_parts && !shared_evenly(rows_of_source * parts, machine.threads)) ++parts;
  if (!shared_evenly(rows_of_source * parts, machine.threads)) parts = least_parts;
  const int64_t even = ceil_div(plan.tiles, parts) + plan.tap_groups - 1;
  plan.q_block = machine.threads > 1
                     ? ceil_div(plan.tiles, parts)
                     : std::min(most, ceil_div(even, machine.lanes) * machine.lanes - plan.tap_groups + 1);
  const int64_t samples =
      plan.q_block < plan.tiles ? 1 : std::max<int64_t>(columns / plan.sample_columns(plan.tiles), 1);
  const int64_t n = std::max<int64_t>(c.n, 1);
  plan.n_block = ceil_div(n, ceil_div(n, samples));
  // Weights that meet one block of positions belong to its item.
  if (plan.n_block >= n && plan.q_block >= plan.tiles) plan.shared_weights = false;

  // As many rows as there is room for, the fewer of them the more often passes the source: whole tiles of them.
  const int64_t band_rows =
      (plan.shared_weights ? kProductBytes : kBandBytes) / sum_bytes /
      (plan.points * plan.n_block * plan.sample_columns(plan.q_block) + (plan.shared_weights ? 0 : row_weights));
  const int64_t most_channels = band_rows / plan.phases, step = unit_rows / std::gcd(unit_rows, plan.phases);
  plan.band_channels =
      std::clamp<int64_t>(most_channels < step ? most_channels : most_channels / step * step, 1, c.rows);
  plan.band_phases =
      most_channels > 0 ? plan.phases : std::min(std::max(band_rows / unit_rows * unit_rows, unit_rows), plan.phases);
  plan.band_block = plan.bands();

  const auto items = [&] {
    return ceil_div(c.n, plan.n_block) * c.groups * ceil_div(plan.tiles, plan.q_block) *
           ceil_div(plan.bands(), plan.band_block);
  };
  while (!shared_evenly(items(), machine.threads) && plan.n_block > 1) plan.n_block = ceil_div(plan.n_block, 2);
  // Items of other rows transform the source once more.
  while (!shared_evenly(items(), machine.threads) && plan.band_block > 1)
    plan.band_block = ceil_div(plan.band_block, 2);
  while (!shared_evenly(items(), machine.threads) && plan.band_channels > step)
    plan.band_channels = ceil_div(ceil_div(plan.band_channels, 2), step) * step;
  return plan;
}

}  // namespace torch_conv1d::cpu
