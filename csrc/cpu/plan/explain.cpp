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

template <class... Parts>
std::string text(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

std::string toom_cook_name(const ToomCookForm& form) {
  return text("Toom-Cook F(", kToomCookOutputs, ", ", form.taps, ")");
}

// One line each; none where it is empty.
struct Words {
  std::string algorithm, tile, blocks, reason, reduction = {};
};

Words explain_fft(const Correlation& c) {
  const FftForm form(c);
  return {
      "fft", "", text(form.blocks, " of ", form.step, " positions, transforms of ", form.length),
      text(c.taps, " taps on ", c.out_length, " positions of ", c.groups, " channels outweigh the transforms")};
}

Words explain_toom_cook(const Correlation& c, int64_t sum_bytes, DataFacts data, const Machine& machine) {
  const ToomCookPlan plan = plan_toom_cook(c, sum_bytes, data.channels_innermost, machine);
  const int64_t rows = std::min(plan.band_rows(), machine.correlate_rows);
  const bool strided = c.phases * c.source_stride > 1;
  return {
      toom_cook_name(plan), text(rows, " channels x ", machine.correlate_vectors[rows] * machine.lanes, " products"),
      text(
          "n ", plan.n_block, ", positions ", plan.q_block * plan.positions(), ", bands ", plan.band_block, " of ",
          plan.bands(), ", of ", plan.band_rows(), " rows"),
      text(
          plan.products(), " multiplications instead of ", kToomCookOutputs * c.taps, ", and ", plan.channels,
          " channels and ", plan.rows, " rows a group outweigh the transforms",
          strided ? text("; each phase of the stride is a ", c.phases > 1 ? "row" : "channel", " of its own") : "")};
}

Words explain_channels(const Correlation& c, int64_t sum_bytes, DataFacts data, const Machine& machine) {
  const ChannelsPlan plan = plan_channels(
      c, sum_bytes, c.rows * c.channels, data.narrowness > 1 || !data.channels_innermost || c.rows * c.channels > 1,
      machine);
  return {
      "channels", text(machine.channel_vectors * machine.lanes, " channels"),
      text("channels ", plan.channel_block, ", positions ", plan.q_block * c.phases),
      text(
          "a depthwise layer whose ", data.channels_innermost ? "channels are innermost" : "rows are short",
          ", so lanes are ", c.rows * c.channels > 1 ? "groups" : "channels")};
}

Words explain_tap_rows(const Correlation& c, int64_t sum_bytes, DataFacts data, const Machine& machine) {
  const TapRowsPlan plan = plan_tap_rows(c.with_outside(), sum_bytes, data, machine);
  const int64_t taps = plan.tiles[0].taps;
  return {
      "taps as rows", text(taps, " taps x ", machine.correlate_vectors[taps] * machine.lanes, " positions"),
      text(
          "n ", plan.panel.width, ", rows ", plan.rows_held, ", positions ", plan.q_block * c.phases, ", channels ",
          plan.channel_block),
      c.rows == 1 ? text("one row a group, and ", c.channels, " channels outweigh adding up the sums of each tap")
                  : text(
                        c.source_length, " positions of grad_y for ", c.with_outside().q_total() * c.phases,
                        " of the result, the others would be products with zeros")};
}

Words explain_few_positions(const Correlation& c, int64_t sum_bytes, const Machine& machine) {
  const FewPositionsPlan plan = plan_few_positions(c.with_outside(), sum_bytes, machine);
  return {
      "few positions", text(plan.row_begin(c, 1), " channels"),
      text(
          "n ", plan.n_block, ", row tiles ", plan.band_tiles, " of ", plan.row_tiles, ", channels ",
          plan.channel_block),
      text(
          "weights meet ", c.phases > 1 ? "the positions of one phase of the stride" : "few positions",
          ", so lanes are channels of the result, and weights are packed as they are needed")};
}

Words explain_innermost(const Correlation& c, int64_t sum_bytes, const Machine& machine) {
  const CorrelationPlan plan = plan_innermost(c.with_outside(), sum_bytes, machine);
  return {
      "innermost", text(plan.tile_rows(), " channels"),
      text(
          "n 1, groups ", plan.group_block, ", positions ", plan.q_block * c.phases, ", row tiles ", plan.tile_block,
          " of ", plan.row_tiles),
      "channels are innermost, so lanes are channels of the result"};
}

const char* shared_loads(const Correlation& c) { return c.unit_step() ? ": taps share the loads of a tile" : ""; }

Words explain_fir_rows(const Correlation& c, int64_t sum_bytes, const Machine& machine) {
  const FirRowsPlan plan = plan_fir_rows(c.with_outside(), sum_bytes, machine);
  return {
      "fir", text(machine.correlate_vectors[1] * machine.lanes, " positions"),
      text("groups ", plan.group_block, ", positions ", plan.q_block * c.phases),
      text(
          "one row a group", shared_loads(c),
          c.source_stride > 1 ? "; rows are packed by phases of the stride"
                              : "; only what the tiles at the ends of rows read is packed",
          c.phases > 1 || c.folds() ? ", and sums wait in the L1 cache for the whole row" : "")};
}

Words explain_correlate(Correlation c, int64_t sum_bytes, DataFacts data, const Machine& machine) {
  data.source_row = c.source_length;
  const int64_t channels = c.channels;
  c.channels = channels_at_a_time(c, sum_bytes, data, machine);
  const CorrelationPlan plan = plan_correlation(c.with_outside(), sum_bytes, data, machine);
  const int64_t rows = plan.row_begin(c, 1), width = plan.layout.width;
  const bool is_fir = c.rows == 1 && c.taps > 1;
  return {
      is_fir ? "fir" : "correlate",
      text(rows, " channels x ", machine.correlate_vectors[rows] * machine.lanes, " positions"),
      text(
          "n ", plan.n_block, ", groups ", plan.group_block, ", positions ", plan.q_block * c.phases, ", row tiles ",
          plan.tile_block, " of ", plan.row_tiles),
      text(
          width > 1 ? text("rows are short, so ", width, " samples stand side by side; ") : "",
          c.rows == 1 ? text("one row a group", is_fir ? shared_loads(c) : "")
                      : text(c.rows, " rows a group in tiles of at most ", plan.tile_rows()),
          c.phases > 1 ? text("; one dense correlation for each of the ", c.phases, " phases of the stride") : "",
          c.rows > 1 && !plan.pack_weights ? "; weights meet so few positions that they are read where they are" : "",
          plan.direct == DirectTile::none
              ? text("; a panel of ", c.channels, " x ", plan.layout.row, " elements fits its cache")
              : text(
                    plan.passes ? "; rows stay in the L2 cache for all of them" : "; an element is read once",
                    ", so only the ends of the source are packed, ", plan.panel_length, " positions at a time"),
          c.channels < channels ? text("; ", c.channels, " of ", channels, " channels at a time") : "")};
}

Words in_pairs(Words words) {
  words.algorithm += ", pairs of channels";
  return words;
}

Words with_grad_y_as_kernel(Words words, int64_t taps, int64_t positions) {
  words.reason =
      text(taps, " taps meet ", positions, " positions of grad_y, which is the kernel instead: ", words.reason);
  return words;
}

Words explain_correlation(
    const Correlation& c, Algorithm algorithm, int64_t sum_bytes, DataFacts data, const Machine& machine) {
  // Contiguous (N, C, 1) tensors have their channels innermost.
  const bool one_position = c.source_length == 1 && c.out_length == 1;
  if (one_position) data.channels_innermost = data.source_innermost = data.samples_follow = true;
  if (one_position && c.pointwise()) data.unit_stride = false;
  const auto [way, computed] = choose_way(c, algorithm, sum_bytes, data, machine);
  if (data.unit_stride && positions_are_channels(c, way, sum_bytes, machine))
    return explain_correlation(c.with_positions_as_channels(), algorithm, sum_bytes, data, machine);
  switch (way) {
    case Way::fft:
      return explain_fft(computed);
    case Way::toom_cook:
      return explain_toom_cook(computed, sum_bytes, data, machine);
    case Way::weights:
      return with_grad_y_as_kernel(
          explain_correlate(computed.with_operands_exchanged(), sum_bytes, data, machine), computed.taps,
          computed.source_length);
    case Way::channels:
      return explain_channels(computed, sum_bytes, data, machine);
    case Way::thin_stored:
      return {
          "thin", "", "",
          text(
              c.n * c.source_length,
              " positions of grad_y in all, and a position of the result meets one tap, so lanes are weights as they "
              "are stored")};
    case Way::tap_rows:
      return explain_tap_rows(computed, sum_bytes, data, machine);
    case Way::thin:
      return {
          "thin", text(64 / sum_bytes, " channels x ", c.n * c.q_total(), " positions"), "",
          "fewer positions in all than fill a vector, so lanes are channels of the result"};
    case Way::few_positions:
      return explain_few_positions(computed, sum_bytes, machine);
    case Way::innermost:
      return explain_innermost(computed, sum_bytes, machine);
    case Way::fir_rows:
      return explain_fir_rows(computed, sum_bytes, machine);
    case Way::innermost_pairs:
      return in_pairs(explain_innermost(computed, sum_bytes, machine));
    case Way::pairs:
      return in_pairs(explain_correlate(computed, sum_bytes, data, machine));
    case Way::correlate:
      break;
  }
  return explain_correlate(computed, sum_bytes, data, machine);
}

Words explain_grad_weight(
    const Conv1dProblem& all, Algorithm algorithm, int64_t sum_bytes, DataFacts data, const Machine& machine) {
  const Conv1dProblem p = with_met_taps(all);
  const Correlation c = forward_correlation(p);
  if (uses_fft(c, algorithm)) return explain_fft(c);
  if (sums_by_filtering(p, algorithm, sum_bytes, data))
    return with_grad_y_as_kernel(
        explain_correlation(grad_weight_correlation(p), algorithm, sum_bytes, data, machine), p.kernel_size, p.l_out);
  const bool exchanges = exchanges_operands(p, algorithm, sum_bytes, data);
  const Conv1dProblem summed = exchanges ? exchanged_problem(p) : p;
  const GradWeightPlan plan = plan_grad_weight(summed, algorithm, sum_bytes, data, machine);
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
  return {
      r.lanes == GradWeightLanes::transformed ? toom_cook_name(ToomCookForm(forward_correlation(summed)))
      : r.pairs                               ? text(lanes.algorithm, ", pairs of positions")
                                              : lanes.algorithm,
      "", text("groups ", plan.group_block, ", output channels ", plan.co_block, ", input channels ", plan.ci_block),
      text(
          p.kernel_size < all.kernel_size
              ? text("only ", p.kernel_size, " of ", all.kernel_size, " taps meet more than padding; ")
              : "",
          exchanges ? "x and grad_y change places, so that the channels of one are those of the other: " : "",
          summed.c_out_per_group(), " output channels a group with ", summed.c_in_per_group() * p.kernel_size,
          " weights each ", lanes.reason),
      text(r.blocks, " blocks of ", r.runs, " x ", r.length, " positions in ", r.parts, " parts")};
}

}  // namespace

std::string explain(const Conv1dProblem& p, DType dtype, Algorithm algorithm, bool channels_innermost) {
  std::ostringstream out;
  out << "problem: " << to_string(p) << "\ninstruction_set: " << active().name << "\n";
  if (!active().kernels) {
    out << "algorithm: reference\nreason: the instruction set \"reference\" was selected\n";
    return out.str();
  }
  const auto print = [&](const char* name, const Words& words) {
    const auto line = [&](const char* what, const std::string& value) {
      if (!value.empty()) out << name << "." << what << ": " << value << "\n";
    };
    line("algorithm", words.algorithm);
    line("tile", words.tile);
    line("reduction", words.reduction);
    line("blocks", words.blocks);
    line("reason", words.reason);
  };
  with_element(dtype, [&](auto element) {
    using E = decltype(element);
    constexpr int64_t kSumBytes = sizeof(SumOf<E>);
    const DataFacts data{
        .unit_stride = !channels_innermost,
        .narrowness = kNarrowness<E>,
        .channels_innermost = channels_innermost,
        .pairs = multiplies_pairs<E>(*active().kernels, algorithm),
        .samples_follow = channels_innermost};
    const Machine machine = machine_with(arithmetic_kernels<E>(*active().kernels));
    print("forward", explain_correlation(forward_correlation(p), algorithm, kSumBytes, data, machine));
    print("grad_input", explain_correlation(grad_input_correlation(p), algorithm, kSumBytes, data, machine));
    print("grad_weight", explain_grad_weight(p, algorithm, kSumBytes, data, machine));
  });
  return out.str();
}

}  // namespace torch_conv1d::cpu
