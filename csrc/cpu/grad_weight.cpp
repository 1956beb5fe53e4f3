// grad_weight and grad_bias: the block loops around the outer and dot tiles.
//
// Every weight of an output channel, counted as j = ci * kernel_size + k, meets the same grad_y; its x is the packed row
// of channel ci from tap k on. The bias is one more weight, whose x is a row of ones.
//
//   for every item (part of the reduction, groups, output channels, input channels), in parallel:
//     for every block of positions of the part:
//       pack x; pack grad_y (outer: transposed, so that output channels are lanes)
//       sums[...] += tiles over the block
//     write the sums of the part
//   add the parts in order, convert
#include "grad_weight.h"

#include <algorithm>
#include <type_traits>
#include <vector>

#include "../division.h"
#include "dispatch.h"
#include "panel.h"
#include "parallel.h"
#include "plan.h"
#include "scratch.h"

namespace torch_conv1d::cpu {
namespace {

template <class E>
class GradWeightCall {
  using T = SumOf<E>;

 public:
  GradWeightCall(const Conv1dProblem& p, const KernelTable& table, View grad_y, View x, void* grad_w, void* grad_b)
      : p_(p),
        c_(forward_correlation(p)),
        kernels_(arithmetic_kernels<E>(table)),
        copy_(copy_kernels<E>(table)),
        copy_sums_(copy_kernels<T>(table)),
        grad_y_(grad_y),
        x_(x),
        grad_w_(static_cast<E*>(grad_w)),
        grad_b_(static_cast<E*>(grad_b)),
        plan_(plan_grad_weight(p, sizeof(T), machine_with(kernels_))),
        layout_(c_, plan_.reduction.length, kDotLanes<T>),
        weights_(grad_w ? c_.channels * c_.taps : 0),
        in_place_(std::is_same_v<E, T> && plan_.reduction.parts == 1),
        w_parts_(in_place_ ? 0 : plan_.reduction.parts * p.c_out * weights_),
        b_parts_(in_place_ ? 0 : plan_.reduction.parts * p.c_out),
        w_sums_(in_place_ ? static_cast<T*>(grad_w) : w_parts_.data()),
        b_sums_(in_place_ ? static_cast<T*>(grad_b) : b_parts_.data()) {}

  void run() const {
    const int64_t ci_blocks = grad_w_ ? ceil_div(std::max<int64_t>(c_.channels, 1), plan_.ci_block) : 1;
    const int64_t co_blocks = ceil_div(c_.rows, plan_.co_block);
    const int64_t group_blocks = ceil_div(c_.groups, plan_.group_block);
    const int64_t items = plan_.reduction.parts * group_blocks * co_blocks * ci_blocks;
    parallel_for(items, plan_.worth_threads, [&](int64_t begin, int64_t end) {
      for (int64_t item = begin; item < end; ++item) {
        int64_t rest = item;
        const int64_t ci0 = rest % ci_blocks * plan_.ci_block;
        const int64_t co0 = (rest /= ci_blocks) % co_blocks * plan_.co_block;
        const int64_t group0 = (rest /= co_blocks) % group_blocks * plan_.group_block;
        Item(*this, rest / group_blocks, group0, co0, ci0).run();
      }
    });
    if (in_place_) return;
    parallel_for(p_.c_out, plan_.worth_threads, [&](int64_t begin, int64_t end) {
      if (grad_w_) add_parts(w_sums_, p_.c_out * weights_, begin * weights_, end * weights_, grad_w_);
      if (grad_b_) add_parts(b_sums_, p_.c_out, begin, end, grad_b_);
    });
  }

 private:
  // Adds elements [begin, end) of all parts in order and converts them.
  void add_parts(T* parts, int64_t part_size, int64_t begin, int64_t end, E* to) const {
    for (int64_t part = 1; part < plan_.reduction.parts; ++part)
      for (int64_t i = begin; i < end; ++i) parts[i] += parts[part * part_size + i];
    copy_.out({to + begin, 0, 1, parts + begin, 0, 1, 1, end - begin});
  }

  class Item {
   public:
    Item(const GradWeightCall& call, int64_t part, int64_t group0, int64_t co0, int64_t ci0)
        : call_(call),
          c_(call.c_),
          reduction_(call.plan_.reduction),
          part_(part),
          group0_(group0),
          groups_(std::min(call.plan_.group_block, c_.groups - group0)),
          co0_(co0),
          co_count_(std::min(call.plan_.co_block, c_.rows - co0)),
          ci0_(ci0),
          ci_count_(call.grad_w_ ? std::min(call.plan_.ci_block, c_.channels - ci0) : 0),
          // The last item of an output channel adds its bias.
          has_bias_(call.grad_b_ && ci0 + ci_count_ >= (call.grad_w_ ? c_.channels : 0)),
          x_run_((groups_ * ci_count_ + 1) * call.layout_.row),
          x_(reduction_.runs * x_run_),
          g_rows_(
              reduction_.lanes_are_positions ? groups_ * co_count_
                                             : ceil_div(co_count_, call.kernels_.lanes) * call.kernels_.lanes),
          g_length_(reduction_.lanes_are_positions ? call.layout_.padded(reduction_.length) : reduction_.length),
          g_(reduction_.runs * g_rows_ * g_length_),
          sum_count_(ci_count_ * c_.taps + has_bias_),
          sums_(sum_count_ * g_rows_ * (reduction_.lanes_are_positions ? kDotLanes<T> : 1)) {}

    void run() const {
      // Room that packing leaves alone: the row of ones, output channels that round a tile up, the ends of rows.
      std::fill_n(g_.data(), reduction_.runs * g_rows_ * g_length_, T(0));
      for (int64_t m = 0; m < reduction_.runs; ++m)
        std::fill_n(x_.data() + (m + 1) * x_run_ - call_.layout_.row, call_.layout_.row, T(1));
      std::fill_n(sums_.data(), sum_count_ * g_rows_ * (reduction_.lanes_are_positions ? kDotLanes<T> : 1), T(0));

      const std::vector<int64_t> offsets = offsets_of_weights();
      const int64_t first = part_ * reduction_.blocks / reduction_.parts;
      const int64_t last = (part_ + 1) * reduction_.blocks / reduction_.parts;
      for (int64_t block = first; block < last; ++block) {
        const int64_t n0 = block / reduction_.blocks_per_sample * reduction_.runs;
        const int64_t lo0 = block % reduction_.blocks_per_sample * reduction_.length;
        const int64_t runs = std::min(reduction_.runs, call_.p_.n - n0);
        const int64_t length = std::min(reduction_.length, call_.p_.l_out - lo0);
        if (length <= 0) continue;
        pack(n0, runs, lo0, length);
        if (reduction_.lanes_are_positions)
          add_dots(offsets, runs, length);
        else
          add_outer_products(offsets, runs, length);
      }
      write();
    }

   private:
    // Where the x of weight j of the first group starts; the row of ones comes last.
    std::vector<int64_t> offsets_of_weights() const {
      std::vector<int64_t> offsets;
      offsets.reserve(size_t(sum_count_));
      for (int64_t ci = 0; ci < ci_count_; ++ci)
        for (int64_t k = 0; k < c_.taps; ++k) offsets.push_back(ci * call_.layout_.row + call_.layout_.tap_at[k]);
      if (has_bias_) offsets.push_back(x_run_ - call_.layout_.row);
      return offsets;
    }

    void pack(int64_t n0, int64_t runs, int64_t lo0, int64_t length) const {
      for (int64_t m = 0; m < runs; ++m) {
        for (int64_t group = 0; group < groups_ && ci_count_; ++group)
          pack_panel<E>(
              c_, call_.layout_, call_.copy_, call_.x_, n0 + m, (group0_ + group) * c_.channels + ci0_, ci_count_, lo0,
              length, x_.data() + m * x_run_ + group * ci_count_ * call_.layout_.row);
        const View& from = call_.grad_y_;
        const E* g = static_cast<const E*>(from.data) + (n0 + m) * from.stride_n +
                     (group0_ * c_.rows + co0_) * from.stride_c + lo0 * from.stride_l;
        if (reduction_.lanes_are_positions) {
          call_.copy_.in(
              {g_.data() + m * g_rows_ * g_length_, g_length_, 1, g, from.stride_c, from.stride_l, g_rows_, length});
          continue;
        }
        for (int64_t co = 0; co < co_count_; co += width(co))
          call_.copy_.in(
              {g_.data() + (co * runs + m * width(co)) * length, 1, width(co), g + co * from.stride_c, from.stride_c,
               from.stride_l, std::min(width(co), co_count_ - co), length});
      }
    }

    void add_outer_products(const std::vector<int64_t>& offsets, int64_t runs, int64_t length) const {
      const auto& kernels = call_.kernels_;
      for (int64_t co = 0; co < co_count_; co += width(co))
        for (int64_t j = 0; j < sum_count_; j += kernels.outer_rows) {
          const int64_t rows = std::min(kernels.outer_rows, sum_count_ - j);
          kernels.outer[rows][width(co) / kernels.lanes](
              {x_.data(), x_run_, offsets.data() + j, g_.data() + co * runs * length, runs, length,
               sums_.data() + j * g_rows_ + co, g_rows_});
        }
    }

    void add_dots(std::vector<int64_t> offsets, int64_t runs, int64_t length) const {
      const auto& kernels = call_.kernels_;
      const int64_t x_group = ci_count_ * call_.layout_.row;
      for (int64_t group = 0; group < groups_; ++group) {
        for (int64_t m = 0; m < runs; ++m) {
          const T* x = x_.data() + m * x_run_ + group * x_group;
          for (int64_t co = 0; co < co_count_; co += kernels.dot_rows) {
            const int64_t rows = std::min(kernels.dot_rows, co_count_ - co), row = group * co_count_ + co;
            const T* g = g_.data() + (m * g_rows_ + row) * g_length_;
            for (int64_t j = 0; j < sum_count_; j += kernels.dot_taps[rows]) {
              const int64_t taps = std::min(kernels.dot_taps[rows], sum_count_ - j);
              T* sums = sums_.data() + (row * sum_count_ + j) * kDotLanes<T>;
              kernels.dot[rows][taps]({x, offsets.data() + j, g, g_length_, length, sums, sum_count_});
            }
          }
        }
        if (has_bias_) offsets.back() -= x_group;  // all groups share the row of ones
      }
    }

    // Output channels of the outer tile that starts at co; grad_y is packed tile by tile.
    int64_t width(int64_t co) const {
      const auto& kernels = call_.kernels_;
      return std::min(kernels.outer_vectors, ceil_div(co_count_ - co, kernels.lanes)) * kernels.lanes;
    }

    // The lanes of one sum, as a balanced tree.
    static T add_lanes(T* lanes) {
      for (int64_t half = kDotLanes<T> / 2; half; half /= 2)
        for (int64_t i = 0; i < half; ++i) lanes[i] += lanes[i + half];
      return lanes[0];
    }

    void write() const {
      const int64_t stride = call_.weights_, weights = ci_count_ * c_.taps, rows = groups_ * co_count_;
      const int64_t co = part_ * call_.p_.c_out + group0_ * c_.rows + co0_;
      T* to = call_.w_sums_ + co * stride + ci0_ * c_.taps;
      if (reduction_.lanes_are_positions) {
        for (int64_t row = 0; row < rows; ++row) {
          T* lanes = &sums_[row * sum_count_ * kDotLanes<T>];
          for (int64_t j = 0; j < weights; ++j) to[row * stride + j] = add_lanes(lanes + j * kDotLanes<T>);
          if (has_bias_) call_.b_sums_[co + row] = add_lanes(lanes + weights * kDotLanes<T>);
        }
      } else {
        call_.copy_sums_.in({to, stride, 1, sums_.data(), 1, g_rows_, rows, weights});
        if (has_bias_) call_.copy_sums_.in({call_.b_sums_ + co, 1, 1, &sums_[weights * g_rows_], 1, g_rows_, rows, 1});
      }
    }

    const GradWeightCall& call_;
    const Correlation& c_;
    const ReductionPlan& reduction_;
    const int64_t part_, group0_, groups_, co0_, co_count_, ci0_, ci_count_;
    const bool has_bias_;
    const int64_t x_run_;
    const Scratch<T> x_;
    const int64_t g_rows_, g_length_;
    const Scratch<T> g_;
    const int64_t sum_count_;
    const Scratch<T> sums_;
  };

  const Conv1dProblem& p_;
  const Correlation c_;
  const ArithmeticKernels<T>& kernels_;
  const CopyKernels<E>& copy_;
  const CopyKernels<T>& copy_sums_;
  const View grad_y_, x_;
  E* const grad_w_;
  E* const grad_b_;
  const GradWeightPlan plan_;
  const PanelLayout layout_;
  const int64_t weights_;  // of one output channel
  const bool in_place_;    // one part, of the type of the result
  const Scratch<T> w_parts_, b_parts_;
  T* const w_sums_;  // [part][co][weight]
  T* const b_sums_;  // [part][co]
};

}  // namespace

void sum_grad_weight(
    const Conv1dProblem& p, DType dtype, const KernelTable& table, View grad_y, View x, void* grad_w, void* grad_b) {
  if (p.c_out == 0 || (!grad_w && !grad_b)) return;
  with_element(
      dtype, [&](auto element) { GradWeightCall<decltype(element)>(p, table, grad_y, x, grad_w, grad_b).run(); });
}

}  // namespace torch_conv1d::cpu
