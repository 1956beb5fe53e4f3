// One call of grad_weight: what its items of work share.
#pragma once

#include <type_traits>

#include "../dispatch.h"
#include "../packing/panel.h"
#include "../plan/plan.h"
#include "../scratch.h"

namespace torch_conv1d::cpu {

template <class E>
struct GradWeightCall {
  using T = SumOf<E>;

  static DataFacts facts(const Conv1dProblem& p, const KernelTable& table, Algorithm algorithm, View grad_y, View x) {
    return {
        .unit_stride = grad_y.stride_l == 1 && x.stride_l == 1,
        .narrowness = kNarrowness<E>,
        .channels_innermost = grad_y.stride_c == 1 && (x.stride_c == 1 || p.c_in == 1),
        .source_innermost = grad_y.stride_c == 1 || x.stride_c == 1,
        .pairs = multiplies_pairs<E>(table, algorithm)};
  }

  GradWeightCall(
      const Conv1dProblem& problem,
      Algorithm algorithm,
      const KernelTable& kernel_table,
      View g,
      View source,
      void* w,
      void* b,
      bool exchanges = false)
      : table(kernel_table),
        p(problem),
        c(forward_correlation(p)),
        kernels(arithmetic_kernels<E>(table)),
        copy(copy_kernels<E>(table)),
        copy_sums(copy_kernels<T>(table)),
        grad_y(g),
        x(source),
        grad_w(static_cast<E*>(w)),
        grad_b(static_cast<E*>(b)),
        plan(plan_grad_weight(p, algorithm, sizeof(T), facts(p, table, algorithm, g, source), machine_with(kernels))),
        layout(c, plan.panel_length, kDotLanes<T>, plan.reduction.together ? plan.reduction.runs : 1),
        weights(grad_w ? c.channels * c.taps : 0),
        exchanged(exchanges),
        one_part(plan.reduction.parts == 1),
        w_parts(one_part ? 0 : plan.reduction.parts * p.c_out * weights),
        b_parts(one_part ? 0 : plan.reduction.parts * p.c_out) {}

  // The sums of a part for `rows` output channels, every co_step-th from co on, and `columns` weights of each from j
  // on, which are from[r * from_row + i * from_column]: to the result, or kept until all parts are there.
  void write_weights(
      int64_t part,
      int64_t co,
      int64_t j,
      const T* from,
      int64_t from_row,
      int64_t from_column,
      int64_t rows,
      int64_t columns,
      int64_t co_step = 1) const {
    if (one_part) return place_weights(co, j, from, from_row, from_column, rows, columns, co_step);
    const int64_t at = (part * p.c_out + co) * weights + j;
    copy_sums.in({w_parts.data() + at, co_step * weights, 1, from, from_row, from_column, rows, columns});
  }
  // The same to the result. Of exchanged operands, row r of a group, channel c and tap k are its channel r, row c and
  // tap taps - 1 - k.
  void place_weights(
      int64_t co,
      int64_t j,
      const T* from,
      int64_t from_row,
      int64_t from_column,
      int64_t rows,
      int64_t columns,
      int64_t co_step = 1) const {
    if (!exchanged)
      return copy.out({grad_w + co * weights + j, co_step * weights, 1, from, from_row, from_column, rows, columns});
    for (int64_t done = 0, count; done < rows; done += count) {
      const int64_t group = (co + done * co_step) / c.rows, row = (co + done * co_step) % c.rows;
      count = co_step == 1 ? std::min(rows - done, c.rows - row) : 1;
      E* const to = grad_w + group * c.rows * weights;
      for (int64_t i = 0; i < std::min(c.taps, columns); ++i) {
        const int64_t channel = (j + i) / c.taps, tap = (j + i) % c.taps;
        copy.out(
            {to + (channel * c.rows + row) * c.taps + c.taps - 1 - tap, c.taps, c.rows * c.taps,
             from + done * from_row + i * from_column, from_row, c.taps * from_column, count,
             ceil_div(columns - i, c.taps)});
      }
    }
  }
  void write_bias(int64_t part, int64_t co, const T* from, int64_t from_row, int64_t rows, int64_t co_step = 1) const {
    if (one_part)
      copy.out({grad_b + co, 0, co_step, from, 0, from_row, 1, rows});
    else
      copy_sums.in({b_parts.data() + part * p.c_out + co, 0, co_step, from, 0, from_row, 1, rows});
  }

  const KernelTable& table;
  const Conv1dProblem& p;
  const Correlation c;
  const ArithmeticKernels<T>& kernels;
  const CopyKernels<E>& copy;
  const CopyKernels<T>& copy_sums;
  const View grad_y, x;
  E* const grad_w;
  E* const grad_b;
  const GradWeightPlan plan;
  const PanelLayout layout;
  const int64_t weights;  // of one output channel
  const bool exchanged;   // x and grad_y have changed places (exchanged_problem)
  const bool one_part;
  const Scratch<T> w_parts;  // [part][co][weight]
  const Scratch<T> b_parts;  // [part][co]
};

// A part of the reduction for a few groups, output channels and input channels.
template <class E>
struct GradWeightBlock {
  GradWeightBlock(const GradWeightCall<E>& call, int64_t part_, int64_t first_group, int64_t first_co, int64_t first_ci)
      : part(part_),
        group0(first_group),
        groups(std::min(call.plan.group_block, call.c.groups - first_group)),
        co0(first_co),
        co_count(std::min(call.plan.co_block, call.c.rows - first_co)),
        ci0(first_ci),
        ci_count(call.grad_w ? std::min(call.plan.ci_block, call.c.channels - first_ci) : 0),
        // The last item of an output channel adds its bias.
        has_bias(call.grad_b && first_ci + ci_count >= (call.grad_w ? call.c.channels : 0)) {}

  int64_t part, group0, groups, co0, co_count, ci0, ci_count;
  bool has_bias;

  // Calls fn(first sample, samples, first position, positions) for every block of the reduction in this part.
  template <class Fn>
  void for_each_block(const GradWeightCall<E>& call, Fn&& fn) const {
    const ReductionPlan& r = call.plan.reduction;
    for (int64_t block = part * r.blocks / r.parts; block < (part + 1) * r.blocks / r.parts; ++block) {
      const int64_t n0 = block / r.blocks_per_sample * r.runs, lo0 = block % r.blocks_per_sample * r.length;
      const int64_t runs = std::min(r.runs, call.p.n - n0), length = std::min(r.length, call.p.l_out - lo0);
      if (length > 0) fn(n0, runs, lo0, length);
    }
  }
};

}  // namespace torch_conv1d::cpu
