// Who computes which sums of grad_weight, in blocks of which sizes.
#include <algorithm>
#include <limits>
#include <numeric>

#include "../../division.h"
#include "../toom_cook/toom_cook.h"
#include "block_sizes.h"

namespace torch_conv1d::cpu {
namespace {

// Sums of an item that meet several blocks.
constexpr int64_t kOuterSumBytes = 2 << 20;
// What an item of transformed operands may take, and together with the sums of all parts.
constexpr int64_t kTransformedBytes = 13 << 18, kTransformedCall = 15 << 18;
// Channels that are transposed at a time: a tile of AVX-512; rows of more are further apart in the caches than they
// need be.
constexpr int64_t kTransposedChannels = 64;
// Positions of a panel of a transposed side: sums are loaded and stored once for so many.
constexpr int64_t kTransposedRun = 256;
// Threads share no fewer output channels than these, where grad_y is transposed for them.
constexpr int64_t kLeastChannels = 64;

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

// Cuts the sums of a call into items of work, by lanes.
class GradWeightCuts {
 public:
  GradWeightCuts(
      const Conv1dProblem& p, const ReductionPlan& reduction, int64_t sum_bytes, DataFacts data, const Machine& machine)
      : p_(p), c_(forward_correlation(p)), sum_bytes_(sum_bytes), data_(data), machine_(machine), r_(reduction) {
    const double multiply_adds = double(p.n) * p.l_out * p.c_out * p.c_in_per_group() * p.kernel_size;
    plan_.reduction = reduction;
    plan_.worth_threads = multiply_adds > kThreadWork;
    plan_.direct = DirectTile::none;
    plan_.in_place = false;
    plan_.panel_length = r_.length;
    plan_.group_block = 1;
    threads_ = plan_.worth_threads ? machine.threads : 1;
  }

  GradWeightPlan cut() {
    switch (r_.lanes) {
      case GradWeightLanes::positions:
        cut_positions();
        break;
      case GradWeightLanes::output_channels:
        cut_output_channels();
        break;
      case GradWeightLanes::weights:
        cut_weights();
        break;
      case GradWeightLanes::channels:
        cut_channels();
        break;
      case GradWeightLanes::transformed:
        cut_transformed();
        break;
    }
    return plan_;
  }

 private:
  void cut_positions() {
    const int64_t sum_lanes = 64 / sum_bytes_;
    // grad_y that is as `outer` wants it stays where it is, if each of its elements is read by one tile of all weights
    // and the bias.
    plan_.in_place = data_.narrowness == 1 && data_.channels_innermost && c_.rows % machine_.lanes == 0 &&
                     c_.channels > 0 && c_.channels * c_.taps < machine_.outer_rows;
    const DirectReads direct(c_, sum_bytes_, data_, sum_lanes);
    if (!plan_.in_place) plan_.direct = direct.tile;
    const bool is_direct = plan_.direct != DirectTile::none;
    // In place, each partial sum reads all lines of x, and wants some positions: 16 or more.
    const int64_t x_bytes_in_place = (c_.channels + 1) * c_.source_stride * sum_bytes_;
    const int64_t in_place_length = std::max<int64_t>(kL1Panel / x_bytes_in_place / sum_lanes, 16) * sum_lanes;
    if (is_direct || plan_.in_place)
      plan_.panel_length = std::min(r_.length, is_direct ? direct.end_length : in_place_length);
    // Of a transposed side, positions of many groups' channels, as they lie, instead of long rows of a few.
    const bool transposed = !data_.unit_stride && !is_direct && !plan_.in_place;
    if (transposed) {
      const int64_t reach = (c_.last_offset() - c_.first_offset()) / c_.source_stride;
      const int64_t parts = std::max<int64_t>(r_.length / std::max(kTransposedRun, kReaches * reach), 1);
      plan_.panel_length = ceil_div(ceil_div(r_.length, parts), sum_lanes) * sum_lanes;
    }

    const int64_t length = transposed ? plan_.panel_length : r_.length, g_bytes = length * sum_bytes_;
    const int64_t x_bytes = is_direct ? g_bytes : this->x_bytes(length), unit = plan_.in_place ? machine_.lanes : 1;
    const int64_t weight_bytes = c_.taps * sum_lanes * sum_bytes_;  // of one row of x and one of grad_y
    plan_.ci_block = fitting(std::max(x_bytes, weight_bytes), c_.channels);
    // Sums are met once a block, and so may be as many as fit the whole cache; grad_y passes by.
    const int64_t co_parts =
        std::max<int64_t>(ceil_div(c_.rows, fitting(plan_.ci_block * weight_bytes / 4, c_.rows)), 1);
    plan_.co_block = part_of(c_.rows, co_parts, unit);
    plan_.g_block = fitting(g_bytes, plan_.co_block);
    if (!plan_.in_place && plan_.ci_block == c_.channels && plan_.co_block == c_.rows)
      plan_.group_block =
          fitting(plan_.ci_block * x_bytes + plan_.co_block * (g_bytes + plan_.ci_block * weight_bytes), p_.groups);
    share_evenly(std::max<int64_t>(8, unit), unit);
  }

  void cut_output_channels() {
    // x stays in the L2 cache for all output channels.
    const int64_t c_in = std::max<int64_t>(c_.channels, 1);
    const int64_t column_bytes = c_.taps * tile() * sum_bytes_;  // sums of a channel
    const int64_t most = std::clamp<int64_t>(kOuterSumBytes / column_bytes, 1, c_in);
    plan_.ci_block = ceil_div(c_in, ceil_div(c_in, fitting(x_bytes(r_.length) * r_.runs / 2, most)));
    const int64_t tile_bytes = plan_.ci_block * column_bytes;
    plan_.co_block =
        one_block() ? c_.rows : std::min(std::max<int64_t>(kOuterSumBytes / tile_bytes, 1) * tile(), c_.rows);
    plan_.co_held = one_block() ? std::max<int64_t>(share() / tile_bytes, 1) * tile() : plan_.co_block;
    while (!is_even() && plan_.co_block > kLeastChannels) plan_.co_block = ceil_div(plan_.co_block, 2);
    share_evenly(kLeastChannels, 1);
  }

  void cut_weights() {
    plan_.co_block = c_.rows;
    plan_.ci_block = fitting(x_bytes(r_.length) * r_.runs / 2, c_.channels);
    if (plan_.ci_block == c_.channels)
      plan_.group_block =
          fitting((plan_.ci_block * x_bytes(r_.length) + plan_.co_block * r_.length * sum_bytes_) * r_.runs, p_.groups);
    const int64_t widest =
        machine_.lanes * machine_.correlate_vectors[std::min(machine_.correlate_rows, plan_.co_block)];
    // Columns pass by for every few output channels; so many at a time that these are seldom begun anew.
    const int64_t column_bytes = (p_.n * p_.l_out + machine_.lanes) * sum_bytes_;
    plan_.j_block = std::max<int64_t>(share() / (column_bytes * widest), 1) * widest;
    share_evenly(kLeastChannels, 1);
  }

  void cut_channels() {
    const bool copies = !data_.channels_innermost || (data_.narrowness > 1 && c_.taps > taps_in_place(sum_bytes_));
    const ChannelsPlan channels = plan_channels(c_, sum_bytes_, 1, copies, machine_);
    const bool in_place = data_.channels_innermost && c_.rows * c_.channels == 1;
    plan_.group_block = in_place ? channels.channel_block : std::min(channels.channel_block, kTransposedChannels);
    plan_.panel_length = std::min(r_.length, channels.q_block);
    plan_.from_memory = !copies && channels.from_memory;
    plan_.co_block = c_.rows;
    plan_.ci_block = c_.channels;
    while (!shared_evenly(r_.parts * ceil_div(p_.groups, plan_.group_block), threads_) &&
           plan_.group_block > machine_.lanes)
      plan_.group_block = ceil_div(plan_.group_block / 2, machine_.lanes) * machine_.lanes;
  }

  void cut_transformed() {
    // Operands and sums at all points, and the weights that these become: all that a call may take.
    const ToomCookForm form(c_);
    const int64_t columns = form.sample_columns(r_.length / form.positions()) * r_.runs;
    const auto sums_of = [&](int64_t held) {
      return (form.points * form.tap_groups * p_.stride + c_.taps) * plan_.ci_block * held * sum_bytes_;
    };
    const auto bytes = [&] {
      const int64_t held = one_block() ? std::min(tile(), plan_.co_block) : plan_.co_block;
      return form.points * columns * (plan_.ci_block * p_.stride + held) * sum_bytes_ + sums_of(held);
    };
    int64_t ci_parts = 1, co_parts = 1;
    plan_.ci_block = c_.channels;
    plan_.co_block = c_.rows;
    const int64_t parts = r_.parts > 1 ? r_.parts * p_.c_out * (c_.channels * c_.taps + 1) * sum_bytes_ : 0;
    while (bytes() > std::min(kTransformedBytes, kTransformedCall - parts) &&
           (plan_.ci_block > 1 || plan_.co_block > tile())) {
      if (plan_.ci_block > 1 &&
          (one_block() || plan_.co_block <= tile() || plan_.ci_block * p_.stride > plan_.co_block))
        plan_.ci_block = ceil_div(c_.channels, ++ci_parts);
      else
        plan_.co_block = ceil_div(ceil_div(c_.rows, ++co_parts), tile()) * tile();
    }
    if (threads_ > 1) finish_soonest(form);
    plan_.co_held = one_block() ? std::max<int64_t>(share() / sums_of(tile()), 1) * tile() : plan_.co_block;
  }

  // The cut that the thread with the most to do finishes first: every item transforms what it reads.
  void finish_soonest(const ToomCookForm& form) {
    const GradWeightPlan least = plan_;
    double soonest = std::numeric_limits<double>::infinity();
    const int64_t co_parts = ceil_div(c_.rows, least.co_block), ci_parts = ceil_div(c_.channels, least.ci_block);
    for (int64_t co = co_parts; co <= co_parts + threads_; ++co) {
      // As few parts of the input channels as there have to be, or so many that the items are equal shares.
      const int64_t unit = threads_ / std::gcd(threads_, r_.parts * p_.groups * co);
      for (const int64_t ci : {ci_parts, ceil_div(ci_parts, unit) * unit}) {
        GradWeightPlan cut = least;
        cut.co_block = part_of(c_.rows, co, machine_.lanes);
        cut.ci_block = part_of(c_.channels, ci, 1);
        if (const double its = transformed_cost(p_, form, cut, threads_); its < soonest) plan_ = cut, soonest = its;
      }
    }
  }

  // Smaller blocks until threads have equal shares. Items of other output channels pack x once more: less than
  // transposing grad_y.
  void share_evenly(int64_t least_co, int64_t unit) {
    while (!is_even() && plan_.group_block > 1) plan_.group_block = ceil_div(plan_.group_block, 2);
    while (!is_even() && plan_.ci_block > 8) plan_.ci_block = ceil_div(plan_.ci_block, 2);
    while (!is_even() && plan_.co_block > least_co) plan_.co_block = part_of(plan_.co_block, 2, unit);
  }

  // Whether threads have equal shares of the items, one part after another: some parts have a block more than others.
  bool is_even() const {
    const int64_t sums = ceil_div(p_.groups, plan_.group_block) * ceil_div(c_.rows, plan_.co_block) *
                         ceil_div(c_.channels, plan_.ci_block);
    const int64_t items = sums * r_.parts, share = ceil_div(items, threads_);
    const auto blocks_before = [&](int64_t item) {
      const int64_t part = item / sums, begin = part * r_.blocks / r_.parts, end = (part + 1) * r_.blocks / r_.parts;
      return begin * sums + item % sums * (end - begin);
    };
    int64_t most = 0;
    for (int64_t item = 0; item < items; item += share)
      most = std::max(most, blocks_before(std::min(item + share, items)) - blocks_before(item));
    return double(most * threads_) <= kEvenShare * double(sums * r_.blocks);
  }

  // What an item reads and the sums that it keeps share the L2 cache.
  int64_t share() const { return machine_.l2_bytes / 4; }
  int64_t fitting(int64_t bytes, int64_t most) const {
    return std::clamp<int64_t>(share() / std::max<int64_t>(bytes, 1), 1, std::max<int64_t>(most, 1));
  }
  // Where a part is one block, sums of a few output channels are finished before the next, in the L2 cache.
  bool one_block() const { return r_.parts == r_.blocks; }
  int64_t tile() const { return 2 * machine_.lanes; }
  // A row of x, packed for so many positions.
  int64_t x_bytes(int64_t length) const { return PanelLayout(c_, length, machine_.lanes).row * sum_bytes_; }

  const Conv1dProblem& p_;
  const Correlation c_;
  const int64_t sum_bytes_;
  const DataFacts data_;
  const Machine& machine_;
  const ReductionPlan& r_;
  int64_t threads_;
  GradWeightPlan plan_{};
};

}  // namespace

GradWeightPlan plan_grad_weight(
    const Conv1dProblem& p, Algorithm algorithm, int64_t sum_bytes, DataFacts data, const Machine& machine) {
  const ReductionPlan reduction = plan_reduction(p, algorithm, sum_bytes, data);
  return GradWeightCuts(p, reduction, sum_bytes, data, machine).cut();
}

}  // namespace torch_conv1d::cpu
