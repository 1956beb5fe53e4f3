// forward and grad_input: the block loops around the correlate, fir and direct tiles.
//
//   for all channels, or as many at a time as leave room for enough positions in the L2 cache:
//   pack the weights, of as many row tiles as are held at a time (packed_weights.h)
//   for every item (samples, groups, positions, row tiles), in parallel:
//     pack panels of the source for each sample, of few rows a group only where the source ends (correlate_source.h)
//     for a few row tiles at a time, for each sample, for each phase:
//       tiles of (rows x vectors of positions), each the whole sum over channels and taps, in registers (correlate_tiles.h)
//       transpose and interleave the rows into the result, unless they are written in place (correlate_item.h)
//   fold back what a padding mode repeats (folded_ends.h)
#include "../drivers.h"
#include "correlate_item.h"

namespace torch_conv1d::cpu {
namespace {

template <class E>
void run(CorrelateCall<E> call) {
  const auto run_items = [&](const RowTiles& part) {
    for_items(call.c, call.plan, part, [&](int64_t n0, const RowTiles& block, int64_t q0) {
      CorrelateItem<E>(call, n0, block, q0).run();
    });
  };
  if (call.stored)
    run_items({0, call.c.groups, 0, call.plan.row_tiles});
  else
    for_held_tiles(call.c, call.plan, [&](const RowTiles& part) {
      call.packed.pack(part);
      run_items(part);
    });
  call.folded.fold(call.copy, call.out, call.plan.worth_threads);
}

}  // namespace

void correlate(const CorrelationOperands& o) {
  with_element(o.dtype, [&](auto element) {
    using E = decltype(element);
    const DataFacts data{.unit_stride = o.source.stride_l == 1 && o.out.stride_l == 1, .narrowness = kNarrowness<E>};
    const int64_t most = channels_at_a_time(o.c, sizeof(SumOf<E>), data, machine_with(arithmetic_kernels<E>(o.table)));
    if (most == o.c.channels) return run<E>({o, nullptr});
    for (int64_t channel = 0; channel < o.c.channels; channel += most) {
      Correlation part = o.c;
      part.channels = std::min(most, o.c.channels - channel);
      View source = o.source;
      source.data = static_cast<const E*>(source.data) + channel * source.stride_c;
      const E* const w = static_cast<const E*>(o.w) + channel * o.c.w_channel;
      run<E>(
          {{part, o.dtype, o.table, source, w, channel ? nullptr : o.bias, o.out, o.one_order}, nullptr, channel > 0});
    }
  });
}

void correlate_pairs(const CorrelationOperands& o) { run<BFloat16>({o, o.table.pairs}); }

}  // namespace torch_conv1d::cpu
