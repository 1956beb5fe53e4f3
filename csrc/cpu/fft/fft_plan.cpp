#include <cmath>
#include <cstdlib>

#include "../../division.h"
#include "fft.h"

namespace torch_conv1d::cpu {
namespace {

// Costs in multiply-adds of direct sums, which run at about 0.85 of the peak. A transform and its inverse cost kLevel
// for each position and level of the recursion, the more the less of it stays in caches (twice that at kFarPositions),
// a quarter more where one level is of three. Packing, products and results cost kPasses a position.
constexpr double kLevel = 13, kFarPositions = 49152, kThree = 1.25, kPasses = 60;
// What a call of one channel costs: torch's operators, and plans of three transforms, a position each.
constexpr double kCall = 1 << 18, kPlans = 400;
// By how much direct sums have to cost more
constexpr double kGain = 1.1;
// The shortest transform costs as much as this many taps a position.
constexpr int64_t kLeastLength = 512, kLeastTaps = 192;

double position_cost(int64_t length, bool three) {
  const double level = kLevel * (1 + double(length) / kFarPositions) * (three ? kThree : 1);
  return level * std::log2(double(length)) + kPasses;
}

}  // namespace

FftForm::FftForm(const Correlation& c) : length(0), step(0), blocks(0), cost(INFINITY), source(c) {
  source.first = c.first_offset();
  source.step = source.taps = 1;
  const int64_t span = c.last_offset() - c.first_offset() + 1;
  const auto consider = [&](int64_t candidate, bool three) {
    if (candidate < span) return;
    const int64_t results = candidate - span + 1, count = ceil_div(c.out_length, results);
    // The weights are half of a block: they are not transformed back.
    const double rows = (double(count) + 0.5) * double(c.groups);
    const double total = kCall + double(candidate) * (kPlans + rows * position_cost(candidate, three));
    if (total < cost) {
      length = candidate;
      step = results;
      blocks = count;
      cost = total;
    }
  };
  // Powers of two, and three times those, up to one block a row.
  for (int64_t power = kLeastLength;; power *= 2) {
    consider(power, false);
    consider(power / 2 * 3, true);
    if (power >= c.out_length + span - 1) break;
  }
}

bool uses_fft(const Correlation& c, Algorithm algorithm) {
  if (algorithm == Algorithm::direct || c.rows != 1 || c.channels != 1 || c.taps < kLeastTaps) return false;
  if (c.phases > 1 || c.source_stride > 1 || c.folds()) return false;
  const double direct = double(c.groups) * double(c.out_length) * double(c.taps);
  return direct > kGain * FftForm(c).cost;
}

}  // namespace torch_conv1d::cpu
