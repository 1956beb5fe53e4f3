#include <algorithm>
#include <cstdlib>
#include <numeric>

#include "../../division.h"
#include "toom_cook.h"

namespace torch_conv1d::cpu {
namespace {

// In products with direct sums of forward and grad_input: one at the points, where sums are stored in between; the
// transform of an element of a row or a channel at a point, with its share of packing and of writing; of a weight; what
// it takes to have one that is shared come from beyond the L2 cache; and in grad_weight to store and load its sum, and
// a product of direct sums, for which grad_y is transposed too. Fitted to 2000 layers of 2 to 1024 channels, 2 to 100
// taps and 8 to 2000 positions, on AVX2 and AVX-512.
constexpr double kProduct = 1.1, kTransform = 12, kWeight = 9, kSharedWeight = 6, kSum = 10, kDirectSum = 1.2;
// A source of more bytes comes from memory, and takes so much longer to transform.
constexpr int64_t kFarBytes = 6 << 20;
constexpr double kFarSource = 0.4;
// Columns fill vectors, at least those of AVX2. A run of them in grad_weight begins and ends, which takes as long as so
// many more.
constexpr int64_t kLanes = 8, kRunColumns = 3;
// A padding mode repeats a small part of a row: sums of as many positions at either end are kept until all are known.
constexpr int64_t kEnds = 16;
// Beside its result, a call may take 4 MiB for each thread, of which a sixteenth is left to what else takes memory: for
// columns of the transformed source and its part of the shared weights this much, or kRowBytes with what is stored
// beyond them, and, beside the products of a band, for weights of some of its channels, if they are not shared.
constexpr int64_t kThreadBytes = 60 << 16, kItemBytes = 12 << 18, kRowBytes = 13 << 18, kSharedBytes = 3 << 19;
constexpr int64_t kWeightBytes = 3 << 17;
// Of at least so many channels, where long rows leave no room.
constexpr int64_t kWeightChannels = 16;
// Products stay in the L2 cache, beside a point of the source; twice as many, where the source passes from beyond for
// every band.
constexpr int64_t kProductBytes = 3 << 16;
// Rows of a band: vectors of weights to transform, and in grad_input as many neighbours in memory.
constexpr int64_t kBandRows = 64, kLineBytes = 64;
// Columns that fit come in whole tiles of about so many.
constexpr int64_t kTileColumns = 32;
// Columns of an item: enough for few of them to lie between samples or beyond the end; or those that tap groups share
// with the next item, kHalos times, as far as products of kTileRows rows have room.
constexpr int64_t kColumns = 288, kHalos = 4, kTileRows = 8;

int64_t most_columns(const ToomCookForm& form, int64_t sum_bytes) {
  return std::max(kColumns, std::min(kHalos * form.halo(), kProductBytes / sum_bytes / (form.points * kTileRows)));
}

// Whether there is a form, and rows for it: a single one is the fir tile's.
bool has_form(const Correlation& c, Algorithm algorithm) {
  const int64_t stride = c.phases * c.source_stride;
  return algorithm != Algorithm::direct && c.taps > stride && (stride == 1 || std::abs(c.step) == 1) &&
         c.rows * c.phases > 1 && c.channels > 0;
}

int64_t weight_bytes(const Correlation& c, const ToomCookForm& form, int64_t sum_bytes) {
  return c.groups * form.rows * form.points * form.channels * form.tap_groups * sum_bytes;
}

// How a call is cut into items.
struct Cut {
  bool shared;               // weights
  bool whole_vectors;        // of columns, and what is left at the end of a row; otherwise equal parts
  int64_t column_parts = 1;  // at least
  int64_t row_parts = 1;
};

ToomCookPlan cut_into(
    const Correlation& c, int64_t sum_bytes, bool rows_innermost, const Machine& machine, const Cut& cut) {
  ToomCookPlan plan(c);
  const int64_t n = std::max<int64_t>(c.n, 1), lanes = machine.lanes;
  const int64_t unit_rows = std::min(machine.correlate_rows, plan.rows);
  const int64_t tile = lanes * machine.correlate_vectors[unit_rows];

  // The transformed source of a point meets all rows of a band, and stays in the L2 cache beside their weights and
  // products. Items that share many weights have less room for it.
  const int64_t column_bytes = plan.points * plan.channels * sum_bytes;
  const int64_t shared_bytes = weight_bytes(c, plan, sum_bytes) / machine.threads;
  const int64_t fitting =
      (cut.shared ? std::min(plan.points * machine.l2_bytes / 8, kItemBytes - shared_bytes) : kItemBytes) /
      column_bytes;
  const int64_t columns = std::clamp(fitting / lanes * lanes, lanes, most_columns(plan, sum_bytes) / tile * tile);

  // Parts of the samples, then of the tiles.
  const int64_t most = std::max<int64_t>(columns / plan.dilation - plan.tap_groups + 1, 1);
  const int64_t least_q_parts = ceil_div(plan.tiles, most);
  int64_t samples = least_q_parts > 1 ? 1 : std::clamp<int64_t>(columns / plan.sample_columns(plan.tiles), 1, n);
  while (samples > 1 && plan.row(samples, plan.tiles, lanes) * column_bytes > kRowBytes) --samples;
  const int64_t n_parts = std::clamp(cut.column_parts / least_q_parts, ceil_div(n, samples), n);
  const int64_t q_parts = std::max(least_q_parts, ceil_div(cut.column_parts, n_parts));
  // Of one thread whole tiles, as far as they fit: half of one takes longer than half of the time.
  const int64_t vectors = machine.threads == 1 && q_parts > 1 ? tile : lanes;
  const int64_t unit = cut.whole_vectors ? vectors / std::gcd(vectors, plan.dilation) : 1;
  const int64_t part = ceil_div(plan.tiles, q_parts) + plan.tap_groups - 1;
  plan.n_block = ceil_div(n, n_parts);
  plan.q_block = std::min({most, ceil_div(part, unit) * unit - plan.tap_groups + 1, plan.tiles});
  // Weights that meet one block of positions belong to its item.
  plan.shared_weights = cut.shared && (plan.n_block < n || plan.q_block < plan.tiles);

  // As many rows as products have room for, the fewer of them the more often passes the source: whole tiles of them.
  const int64_t row_products = plan.points * plan.n_block * plan.sample_columns(plan.q_block);
  const int64_t band_rows =
      std::min((plan.shared_weights ? 1 : 2) * kProductBytes / sum_bytes / row_products, kBandRows);
  const int64_t fitting_channels = band_rows / plan.phases, step = unit_rows / std::gcd(unit_rows, plan.phases);
  const int64_t whole = fitting_channels < step ? fitting_channels : fitting_channels / step * step;
  // Channels that are neighbours in memory, and whole cache lines: less than two lines of them are whole ones, if these
  // are not fewer, and if need be of a part of the phases.
  const int64_t line = kLineBytes / sum_bytes, of_lines = std::max(fitting_channels / line, int64_t(1)) * line;
  const bool lines =
      rows_innermost && c.rows % line == 0 && 2 * band_rows >= line && whole < 2 * line && whole <= of_lines;
  const int64_t unit_channels = lines ? line : step;
  if (lines) {
    plan.band_channels = std::min(of_lines, c.rows);
    plan.band_phases = std::clamp<int64_t>(band_rows / of_lines, 1, plan.phases);
  } else {
    plan.band_channels = std::clamp<int64_t>(whole, 1, c.rows);
    plan.band_phases = fitting_channels > 0
                           ? plan.phases
                           : std::min(std::max(band_rows / unit_rows * unit_rows, unit_rows), plan.phases);
  }
  const int64_t channels = ceil_div(c.rows, cut.row_parts), bands = ceil_div(channels, plan.band_channels);
  if (plan.band_channels >= unit_channels)
    plan.band_channels = std::min(ceil_div(ceil_div(channels, bands), unit_channels) * unit_channels, c.rows);
  plan.band_block = ceil_div(channels, plan.band_channels) * ceil_div(plan.phases, plan.band_phases);
  const int64_t channel_weights = plan.points * plan.tap_groups * plan.source_phases * plan.band_rows();
  const int64_t others =
      plan.points * (plan.channels + plan.band_rows()) * plan.row(plan.n_block, plan.q_block, lanes) * sum_bytes;
  const int64_t left = std::min(kThreadBytes - others, kWeightBytes) / sum_bytes;
  const int64_t least = std::min(kWeightChannels, c.channels);
  const int64_t most_channels =
      plan.shared_weights ? c.channels : std::clamp(left / channel_weights, least, c.channels);
  plan.weight_channels = ceil_div(c.channels, ceil_div(c.channels, most_channels));
  return plan;
}

// What the first thread does, whose share is the largest.
double cost(const Correlation& c, const ToomCookPlan& plan, const Machine& machine) {
  const int64_t q_blocks = ceil_div(plan.tiles, plan.q_block);
  const int64_t items = plan.column_blocks(c.n) * c.groups * ceil_div(plan.bands(), plan.band_block);
  const int64_t of_first = ceil_div(items, machine.threads), last_blocks = of_first / q_blocks;
  const double channels = double(c.channels), layer_rows = double(c.rows),
               weights = double(plan.weights()) * layer_rows * channels;
  const double part = std::min(double(plan.band_block * plan.band_rows()) / double(plan.rows), 1.0);
  const auto item = [&](int64_t q_len) {
    const int64_t columns = plan.n_block * plan.sample_columns(q_len) - plan.halo();
    return double(ceil_div(columns, machine.lanes) * machine.lanes) * plan.column_cost(layer_rows * part, channels) +
           double(plan.halo()) * plan.source_cost(channels) +
           part * weights * (plan.shared_weights ? kSharedWeight : kWeight);
  };
  return double(of_first - last_blocks) * item(plan.q_block) +
         double(last_blocks) * item(plan.tiles - (q_blocks - 1) * plan.q_block) +
         (plan.shared_weights ? kWeight * weights * double(c.groups) / double(machine.threads) : 0);
}

}  // namespace

bool uses_toom_cook(const Correlation& c, Algorithm algorithm, int64_t sum_bytes) {
  if (!has_form(c, algorithm) || (c.fold_left + c.fold_right) * kEnds > c.out_length) return false;
  const ToomCookForm form(c);
  // Few weights are transformed once, others for as many columns as there is room for; the source of every block with
  // those that its tap groups share with the next.
  const int64_t column_bytes = form.points * form.channels * sum_bytes;
  const int64_t fitting =
      std::min(kItemBytes / column_bytes / kTileColumns * kTileColumns, most_columns(form, sum_bytes));
  const int64_t most = fitting / form.dilation - form.tap_groups + 1;
  const int64_t blocks = ceil_div(form.tiles, std::max<int64_t>(most, 1)), columns = form.tiles * form.dilation;
  const bool few_weights = form.rows * column_bytes * form.tap_groups <= kSharedBytes;
  const double rows = double(c.rows), channels = double(c.channels);
  const bool far = c.channels * c.source_length * sum_bytes > kFarBytes;
  return double(ceil_div(columns, kLanes) * kLanes) * form.column_cost(rows, channels) +
             (double(blocks * form.halo()) + (far ? kFarSource * double(columns) : 0)) * form.source_cost(channels) +
             kWeight * double((few_weights ? 1 : blocks) * form.weights()) * rows * channels <
         double(form.length * c.taps) * rows * channels;
}

bool sums_by_toom_cook(const Correlation& c, Algorithm algorithm) {
  if (!has_form(c, algorithm)) return false;
  const ToomCookForm form(c);
  const double n = double(c.n), rows = double(c.rows), channels = double(c.channels);
  return n * (double(form.tiles * form.dilation + kRunColumns) * form.column_cost(rows, channels) +
              double(form.halo()) * form.source_cost(channels)) +
             (kWeight + kSum) * double(form.weights()) * rows * channels <
         kDirectSum * n * double(form.length * c.taps) * rows * channels;
}

double ToomCookForm::source_cost(double of_channels) const {
  return kTransform * double(points * source_phases) * of_channels;
}

double ToomCookForm::column_cost(double of_rows, double of_channels) const {
  return kProduct * double(products()) * of_rows * of_channels + kTransform * double(points * phases) * of_rows +
         source_cost(of_channels);
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

ToomCookPlan plan_toom_cook(const Correlation& c, int64_t sum_bytes, bool rows_innermost, const Machine& machine) {
  // Few weights are transformed once. More than that are transformed by every item, those of a band just before they
  // are used, for as many columns as there is room for; or are shared by several threads, which have room for them
  // together.
  const int64_t threads = machine.threads, bytes = weight_bytes(c, ToomCookForm(c), sum_bytes);
  ToomCookPlan best = cut_into(c, sum_bytes, rows_innermost, machine, {bytes <= kSharedBytes, true});
  if (threads == 1) return best;
  // As few items as there is room for, or more of them that are equal shares.
  double least = cost(c, best, machine);
  for (const bool shared : {false, true}) {
    if (shared ? bytes > kSharedBytes * threads : bytes <= kSharedBytes) continue;
    for (const bool whole_vectors : {true, false})
      for (int64_t row_parts = 1; row_parts <= std::min(threads, c.rows); row_parts *= 2) {
        const int64_t unit = threads / std::gcd(threads, c.groups * row_parts);
        for (int64_t parts = 1, tried = 0; tried < 4; ++tried) {
          const ToomCookPlan plan =
              cut_into(c, sum_bytes, rows_innermost, machine, {shared, whole_vectors, parts, row_parts});
          if (const double its = cost(c, plan, machine); its < least) best = plan, least = its;
          parts = (plan.column_blocks(c.n) / unit + 1) * unit;
        }
      }
  }
  return best;
}

}  // namespace torch_conv1d::cpu
