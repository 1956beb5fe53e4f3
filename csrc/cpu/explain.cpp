// The plan in words.
#include <sstream>

#include "conv1d_cpu.h"
#include "dispatch.h"
#include "parallel.h"
#include "plan.h"
#include "toom_cook.h"

namespace torch_conv1d::cpu {
namespace {

void explain_toom_cook(
    std::ostream& out, const char* name, const Correlation& c, int64_t sum_bytes, const Machine& machine) {
  const ToomCookPlan plan = plan_toom_cook(c, sum_bytes, machine);
  const int64_t rows = plan.row_begin(c, 1);
  out << name << ".algorithm: Toom-Cook F(" << kToomCookOutputs << ", " << plan.taps << ")\n"
      << name << ".tile: " << rows << " channels x " << machine.correlate_vectors[rows] * machine.lanes << " products\n"
      << name << ".blocks: n " << plan.n_block << ", positions " << plan.q_block * plan.positions() << ", row tiles "
      << plan.tile_block << " of " << plan.row_tiles << "\n"
      << name << ".reason: " << plan.points << " multiplications for " << kToomCookOutputs << " results of "
      << plan.taps << " taps; " << c.kernel_size << " taps are " << plan.tap_groups << " of these, and " << c.channels
      << " channels and " << c.rows << " rows a group outweigh the transforms\n";
}

void explain_correlation(
    std::ostream& out,
    const char* name,
    const Correlation& asked,
    Algorithm algorithm,
    int64_t sum_bytes,
    const Machine& machine) {
  if (uses_toom_cook(asked, algorithm)) {
    explain_toom_cook(out, name, asked, sum_bytes, machine);
    return;
  }
  const Correlation c = choose_form(asked, machine);
  const CorrelationPlan plan = plan_correlation(c, sum_bytes, true, machine);
  const int64_t rows = plan.row_begin(c, 1), row = plan.layout.row;
  out << name << ".algorithm: " << (c.slide > 1 ? "slide" : "correlate") << "\n" << name << ".tile: ";
  if (c.slide > 1)
    out << "1 channel x " << c.slide << " x " << machine.slide_vectors * machine.lanes << " positions\n";
  else
    out << rows << " channels x " << machine.correlate_vectors[rows] * machine.lanes << " positions\n";
  out << name << ".blocks: n " << plan.n_block << ", groups " << plan.group_block << ", positions "
      << plan.q_block * c.out_step() << ", row tiles " << plan.tile_block << " of " << plan.row_tiles << "\n"
      << name << ".reason: ";
  if (c.slide > 1)
    out << "one row a group: consecutive positions share the loads of a tile";
  else
    out << c.rows << " rows a group in tiles of at most " << machine.correlate_rows;
  if (c.phases > 1) out << "; one dense correlation for each of the " << c.phases << " phases of the stride";
  out << "; a panel of " << c.channels << " x " << row << " elements fits its cache\n";
}

}  // namespace

std::string explain(const Conv1dProblem& p, DType dtype, Algorithm algorithm) {
  std::ostringstream out;
  out << "problem: " << to_string(p) << "\ninstruction_set: " << active().name << "\n";
  if (!active().kernels) {
    out << "algorithm: reference\nreason: the instruction set \"reference\" was selected\n";
    return out.str();
  }
  const auto explain_for = [&](const auto& kernels, int64_t sum_bytes) {
    const Machine machine = machine_with(kernels);
    explain_correlation(out, "forward", forward_correlation(p), algorithm, sum_bytes, machine);
    explain_correlation(out, "grad_input", grad_input_correlation(p), algorithm, sum_bytes, machine);
    const GradWeightPlan plan = plan_grad_weight(p, sum_bytes, machine);
    const ReductionPlan& r = plan.reduction;
    out << "grad_weight.algorithm: " << (r.lanes_are_positions ? "dot" : "outer") << "\n"
        << "grad_weight.reduction: " << r.blocks << " blocks of " << r.runs << " x " << r.length << " positions in "
        << r.parts << " parts\n"
        << "grad_weight.blocks: groups " << plan.group_block << ", output channels " << plan.co_block
        << ", input channels " << plan.ci_block << "\n"
        << "grad_weight.reason: " << p.c_out_per_group() << " output channels a group "
        << (r.lanes_are_positions ? "do not fill a vector, so lanes are positions\n"
                                  : "fill vectors, so lanes are output channels\n");
  };
  if (dtype == DType::float64)
    explain_for(active().kernels->float64, 8);
  else
    explain_for(active().kernels->float32, 4);
  return out.str();
}

}  // namespace torch_conv1d::cpu
