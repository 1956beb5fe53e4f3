// grad_weight and grad_bias: the items of work around the outer, dot and channels tiles.
//
//   for every item (part of the reduction, groups, output channels, input channels), in parallel:
//     for every block of positions of the part:
//       pack what the tiles read (outer: grad_y transposed, so that output channels are lanes)
//       sums[...] += tiles over the block
//     write the sums of the part
//   add the parts in order, convert
#include "grad_weight.h"

#include <algorithm>

#include "../../division.h"
#include "../drivers.h"
#include "../packing/grad_y_kernel.h"
#include "../parallel.h"
#include "../toom_cook/toom_cook_item.h"
#include "channels_item.h"
#include "columns_item.h"
#include "dot_item.h"
#include "innermost_item.h"
#include "outer_item.h"

namespace torch_conv1d::cpu {
namespace {

template <class E>
void run_channels(const GradWeightCall<E>& call, const GradWeightBlock<E>& block) {
  using InPlace = ChannelsItem<E, E>;
  if (InPlace::x_lies_as_lanes(call, block) && InPlace::g_lies_as_lanes(call, block))
    InPlace(call, block).run();
  else
    ChannelsItem<E, SumOf<E>>(call, block).run();
}

template <class E>
void run(const GradWeightCall<E>& call) {
  const GradWeightPlan& plan = call.plan;
  const int64_t parts = plan.reduction.parts;
  const int64_t ci_blocks = call.grad_w ? ceil_div(std::max<int64_t>(call.c.channels, 1), plan.ci_block) : 1;
  const int64_t co_blocks = ceil_div(call.c.rows, plan.co_block);
  const int64_t group_blocks = ceil_div(call.c.groups, plan.group_block);
  parallel_for(parts * group_blocks * co_blocks * ci_blocks, plan.worth_threads, [&](int64_t begin, int64_t end) {
    for (int64_t item = begin; item < end; ++item) {
      int64_t rest = item;
      const int64_t ci0 = rest % ci_blocks * plan.ci_block;
      const int64_t co0 = (rest /= ci_blocks) % co_blocks * plan.co_block;
      const int64_t group0 = (rest /= co_blocks) % group_blocks * plan.group_block;
      const GradWeightBlock<E> block(call, rest / group_blocks, group0, co0, ci0);
      switch (plan.reduction.lanes) {
        case GradWeightLanes::positions:
          if constexpr (std::is_same_v<E, SumOf<E>>)
            if (plan.in_place) {
              InnermostItem<E>(call, block).run();
              break;
            }
          DotItem<E>(call, block).run();
          break;
        case GradWeightLanes::output_channels:
          OuterItem<E>(call, block).run();
          break;
        case GradWeightLanes::weights:
          ColumnsItem<E>(call, block).run();
          break;
        case GradWeightLanes::channels:
          run_channels(call, block);
          break;
        case GradWeightLanes::transformed:
          ToomCookItem<E>(call, block).run();
          break;
      }
    }
  });
  if (call.one_part) return;
  // Adds elements [begin, end) of all parts in order.
  const auto add_parts = [&](auto* sums, int64_t part_size, int64_t begin, int64_t end) {
    for (int64_t part = 1; part < parts; ++part)
      for (int64_t i = begin; i < end; ++i) sums[i] += sums[part * part_size + i];
    return sums + begin;
  };
  const int64_t c_out = call.p.c_out, weights = call.weights;
  parallel_for(c_out, plan.worth_threads, [&](int64_t begin, int64_t end) {
    if (call.grad_w)
      call.place_weights(
          begin, 0, add_parts(call.w_parts.data(), c_out * weights, begin * weights, end * weights), weights, 1,
          end - begin, weights);
    if (call.grad_b)
      call.copy.out(
          {call.grad_b + begin, 0, 1, add_parts(call.b_parts.data(), c_out, begin, end), 0, 1, 1, end - begin});
  });
}

// The forward pass whose kernel is grad_y.
template <class E>
void filter_by_grad_y(
    const Conv1dProblem& p,
    DType dtype,
    Algorithm algorithm,
    const KernelTable& table,
    View grad_y,
    View x,
    E* grad_w) {
  const Scratch<E> kernel(p.c_out * p.n * p.l_out);
  copy_as_kernel(
      kernel.data(), static_cast<const E*>(grad_y.data), p.c_out, grad_y.stride_c, p.n, grad_y.stride_n, p.l_out,
      grad_y.stride_l);
  run_correlation(
      grad_weight_correlation(p), dtype, algorithm, table, {x.data, x.stride_c, x.stride_n, x.stride_l}, kernel.data(),
      nullptr, {grad_w, p.kernel_size, p.c_in * p.kernel_size, 1});
}

}  // namespace

void sum_grad_weight(
    const Conv1dProblem& p,
    DType dtype,
    Algorithm algorithm,
    const KernelTable& table,
    View grad_y,
    View x,
    void* grad_w,
    void* grad_b) {
  if (p.c_out == 0 || (!grad_w && !grad_b)) return;
  with_element(dtype, [&](auto element) {
    using E = decltype(element);
    using Call = GradWeightCall<E>;
    const DataFacts data = Call::facts(p, table, algorithm, grad_y, x);
    const bool filters = grad_w && sums_by_filtering(p, algorithm, sizeof(SumOf<E>), data);
    const bool exchanges = grad_w && !filters && exchanges_operands(p, algorithm, sizeof(SumOf<E>), data);
    if (filters) filter_by_grad_y(p, dtype, algorithm, table, grad_y, x, static_cast<E*>(grad_w));
    if (exchanges) {
      const Conv1dProblem exchanged = exchanged_problem(p);
      run(Call(exchanged, algorithm, table, x, grad_y, grad_w, nullptr, true));
    }
    if (filters || exchanges) grad_w = nullptr;
    if (grad_w || grad_b) run(Call(p, algorithm, table, grad_y, x, grad_w, grad_b));
  });
}

}  // namespace torch_conv1d::cpu
