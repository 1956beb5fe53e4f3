// The plan in words.
#include <sstream>

#include "../conv1d_cpu.h"
#include "../dispatch.h"
#include "../fft/fft.h"
#include "../parallel.h"
#include "../toom_cook/toom_cook.h"
#include "plan.h"

namespace torch_conv1d::cpu {
namespace {

int64_t narrowness(DType dtype) {
  return with_element(dtype, [](auto element) { return kNarrowness<decltype(element)>; });
}

std::string toom_cook_name(const ToomCookForm& form) {
  return "Toom-Cook F(" + std::to_string(kToomCookOutputs) + ", " + std::to_string(form.taps) + ")";
}

void explain_toom_cook(
    std::ostream& out, const char* name, const Correlation& c, int64_t sum_bytes, const Machine& machine) {
  const ToomCookPlan plan = plan_toom_cook(c, sum_bytes, machine);
  const int64_t rows = std::min(plan.band_rows(), machine.correlate_rows);
  out << name << ".algorithm: " << toom_cook_name(plan) << "\n"
      << name << ".tile: " << rows << " channels x " << machine.correlate_vectors[rows] * machine.lanes << " products\n"
      << name << ".blocks: n " << plan.n_block << ", positions " << plan.q_block * plan.positions() << ", bands "
      << plan.band_block << " of " << plan.bands() << ", of " << plan.band_rows() << " rows\n"
      << name << ".reason: " << plan.products() << " multiplications instead of " << kToomCookOutputs * c.taps
      << ", and " << plan.channels << " channels and " << plan.rows << " rows a group outweigh the transforms";
  if (c.phases * c.source_stride > 1)
    out << "; each phase of the stride is a " << (c.phases > 1 ? "row" : "channel") << " of its own";
  out << "\n";
}

void explain_fft(std::ostream& out, const char* name, const Correlation& c) {
  const FftForm form(c);
  out << name << ".algorithm: fft\n"
      << name << ".blocks: " << form.blocks << " of " << form.step << " positions, transforms of " << form.length
      << "\n"
      << name << ".reason: " << c.taps << " taps on " << c.out_length << " positions of " << c.groups
      << " channels outweigh the transforms\n";
}

void explain_correlation(
    std::ostream& out,
    const char* name,
    const Correlation& c,
    Algorithm algorithm,
    int64_t sum_bytes,
    DataFacts data,
    const Machine& machine) {
  if (uses_fft(c, algorithm)) {
    explain_fft(out, name, c);
    return;
  }
  if (uses_toom_cook(c, algorithm)) {
    explain_toom_cook(out, name, c, sum_bytes, machine);
    return;
  }
  data.source_row = c.source_length;
  const Correlation met = c.with_met_taps();
  if (lanes_are_channels(c, sum_bytes, data)) {
    const ChannelsPlan plan = plan_channels(c, sum_bytes, data.narrowness > 1 || !data.channels_innermost, machine);
    out << name << ".algorithm: channels\n"
        << name << ".tile: " << machine.channel_vectors * machine.lanes << " channels\n"
        << name << ".blocks: channels " << plan.channel_block << ", positions " << plan.q_block * c.phases << "\n"
        << name << ".reason: a depthwise layer whose "
        << (data.channels_innermost ? "channels are innermost" : "rows do not fill a vector")
        << ", so lanes are channels\n";
    return;
  }
  if (lanes_are_stored_weights(c, sum_bytes)) {
    out << name << ".algorithm: thin\n"
        << name << ".reason: " << c.n * c.source_length
        << " positions of grad_y in all, and a position of the result meets one tap, so lanes are weights as they are "
           "stored\n";
    return;
  }
  if (taps_are_rows(met, algorithm)) {
    const TapRowsPlan plan = plan_tap_rows(met.with_outside(), sum_bytes, data, machine);
    const int64_t taps = plan.tiles[0].taps;
    out << name << ".algorithm: taps as rows\n"
        << name << ".tile: " << taps << " taps x " << machine.correlate_vectors[taps] * machine.lanes << " positions\n"
        << name << ".blocks: n " << plan.panel.width << ", rows " << plan.rows_held << ", positions "
        << plan.q_block * c.phases << ", channels " << plan.channel_block << "\n"
        << name << ".reason: ";
    if (c.rows == 1)
      out << "one row a group, and " << c.channels << " channels outweigh adding up the sums of each tap\n";
    else
      out << c.source_length << " positions of grad_y for " << met.with_outside().q_total() * c.phases
          << " of the result, the others would be products with zeros\n";
    return;
  }
  if (lanes_are_rows(c, sum_bytes)) {
    out << name << ".algorithm: thin\n"
        << name << ".tile: " << 64 / sum_bytes << " channels x " << c.n * c.q_total() << " positions\n"
        << name << ".reason: fewer positions in all than fill a vector, so lanes are channels of the result\n";
    return;
  }
  if (const Correlation all = met.with_outside(); has_few_positions(all, sum_bytes, data, machine)) {
    const FewPositionsPlan plan = plan_few_positions(all, sum_bytes, machine);
    out << name << ".algorithm: few positions\n"
        << name << ".tile: " << plan.row_begin(c, 1) << " channels\n"
        << name << ".blocks: n " << plan.n_block << ", row tiles " << plan.band_tiles << " of " << plan.row_tiles
        << ", channels " << plan.channel_block << "\n"
        << name << ".reason: weights meet "
        << (c.phases > 1 ? "the positions of one phase of the stride" : "few positions")
        << ", so lanes are channels of the result, and weights are packed as they are needed\n";
    return;
  }
  if (lanes_are_innermost_rows(met, sum_bytes, data, machine)) {
    const CorrelationPlan plan = plan_innermost(met, sum_bytes, machine);
    out << name << ".algorithm: innermost\n"
        << name << ".tile: " << plan.tile_rows() << " channels\n"
        << name << ".blocks: n 1, groups " << plan.group_block << ", positions " << plan.q_block * c.phases
        << ", row tiles " << plan.tile_block << " of " << plan.row_tiles << "\n"
        << name << ".reason: channels are innermost, so lanes are channels of the result\n";
    return;
  }
  if (tiles_end_with_rows(c, sum_bytes, data, machine)) {
    const FirRowsPlan plan = plan_fir_rows(c.with_outside(), sum_bytes, machine);
    out << name << ".algorithm: fir\n"
        << name << ".tile: " << machine.correlate_vectors[1] * machine.lanes << " positions\n"
        << name << ".blocks: groups " << plan.group_block << ", positions " << plan.q_block * c.phases << "\n"
        << name << ".reason: one row a group" << (c.unit_step() ? ": taps share the loads of a tile" : "")
        << (c.source_stride > 1 ? "; rows are packed by phases of the stride"
                                : "; only what the tiles at the ends of rows read is packed")
        << (c.phases > 1 || c.folds() ? ", and sums wait in the L1 cache for the whole row\n" : "\n");
    return;
  }
  const CorrelationPlan plan = plan_correlation(met.with_outside(), sum_bytes, data, machine);
  const int64_t rows = plan.row_begin(c, 1), row = plan.layout.row;
  out << name << ".algorithm: " << (c.rows == 1 ? "fir" : "correlate") << "\n"
      << name << ".tile: " << rows << " channels x " << machine.correlate_vectors[rows] * machine.lanes
      << " positions\n"
      << name << ".blocks: n " << plan.n_block << ", groups " << plan.group_block << ", positions "
      << plan.q_block * c.phases << ", row tiles " << plan.tile_block << " of " << plan.row_tiles << "\n"
      << name << ".reason: ";
  if (plan.layout.width > 1) out << "rows are short, so " << plan.layout.width << " samples stand side by side; ";
  if (c.rows == 1)
    out << "one row a group" << (c.unit_step() ? ": taps share the loads of a tile" : "");
  else
    out << c.rows << " rows a group in tiles of at most " << machine.correlate_rows;
  if (c.phases > 1) out << "; one dense correlation for each of the " << c.phases << " phases of the stride";
  if (plan.direct != DirectTile::none)
    out << (plan.passes ? "; rows stay in the L2 cache for all of them" : "; an element is read once")
        << ", so only the ends of the source are packed, " << plan.panel_length << " positions at a time\n";
  else
    out << "; a panel of " << c.channels << " x " << row << " elements fits its cache\n";
}

}  // namespace

std::string explain(const Conv1dProblem& p, DType dtype, Algorithm algorithm, bool channels_innermost) {
  std::ostringstream out;
  out << "problem: " << to_string(p) << "\ninstruction_set: " << active().name << "\n";
  if (!active().kernels) {
    out << "algorithm: reference\nreason: the instruction set \"reference\" was selected\n";
    return out.str();
  }
  const DataFacts data{
      .unit_stride = !channels_innermost, .narrowness = narrowness(dtype), .channels_innermost = channels_innermost};
  const auto explain_for = [&](const auto& kernels, int64_t sum_bytes) {
    const Machine machine = machine_with(kernels);
    explain_correlation(out, "forward", forward_correlation(p), algorithm, sum_bytes, data, machine);
    explain_correlation(out, "grad_input", grad_input_correlation(p), algorithm, sum_bytes, data, machine);
    if (uses_fft(forward_correlation(p), algorithm)) {
      explain_fft(out, "grad_weight", forward_correlation(p));
      return;
    }
    const GradWeightPlan plan = plan_grad_weight(p, algorithm, sum_bytes, data, machine);
    const ReductionPlan& r = plan.reduction;
    static constexpr struct {
      const char *algorithm, *reason;
    } kLanes[] = {
        {"dot", "would not repay a transposed grad_y, so lanes are positions"},
        {"outer", "repay a transposed grad_y, so lanes are output channels"},
        {"columns", "outweigh the positions, so lanes are weights"},
        {"channels", "are summed with channels as lanes"},
        {"", "are summed at the points of Toom-Cook's filtering, with output channels as lanes"}};
    const auto& lanes = kLanes[int(r.lanes)];
    out << "grad_weight.algorithm: "
        << (r.lanes == GradWeightLanes::transformed ? toom_cook_name(ToomCookForm(forward_correlation(p)))
                                                    : lanes.algorithm)
        << "\n"
        << "grad_weight.reduction: " << r.blocks << " blocks of " << r.runs << " x " << r.length << " positions in "
        << r.parts << " parts\n"
        << "grad_weight.blocks: groups " << plan.group_block << ", output channels " << plan.co_block
        << ", input channels " << plan.ci_block << "\n"
        << "grad_weight.reason: " << p.c_out_per_group() << " output channels a group with "
        << p.c_in_per_group() * p.kernel_size << " weights each " << lanes.reason << "\n";
  };
  if (dtype == DType::float64)
    explain_for(active().kernels->float64, 8);
  else
    explain_for(active().kernels->float32, 4);
  return out.str();
}

}  // namespace torch_conv1d::cpu
