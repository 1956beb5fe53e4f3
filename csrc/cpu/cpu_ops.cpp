// The CPU key: check, allocate, take pointers, call the drivers of conv1d_cpu.h.
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include "../algorithm.h"
#include "../operands.h"
#include "conv1d_cpu.h"

namespace torch_conv1d {
namespace {

using Options = Conv1dOptions<int64_t>;

at::Tensor forward(
    const at::Tensor& input, const at::Tensor& weight, const std::optional<at::Tensor>& bias, const Options& options) {
  const int64_t l_out = checked_output_length(input, weight, bias, options);
  const Conv1dProblem p = make_problem(input, weight, l_out, options);
  at::Tensor y = empty_result(p.n, p.c_out, p.l_out, options.channels_last, input);
  if (y.numel() == 0) return y;
  const auto w = weight.expect_contiguous();
  const bool has_bias = bias.has_value() && bias->defined();
  const auto b = has_bias ? bias->expect_contiguous() : c10::MaybeOwned<at::Tensor>::owned(at::Tensor());
  cpu::forward(
      p, dtype_of(input), active_algorithm(), view(input), w->const_data_ptr(),
      has_bias ? b->const_data_ptr() : nullptr, mutable_view(y));
  return y;
}

Gradients backward(
    const at::Tensor& grad_output,
    const at::Tensor& input,
    const at::Tensor& weight,
    const Options& options,
    Mask mask) {
  check_backward(grad_output, input, weight, options);
  const Conv1dProblem p = make_problem(input, weight, grad_output.size(2), options);
  const DType dtype = dtype_of(input);
  const cpu::Algorithm algorithm = active_algorithm();
  Gradients result;
  auto& [grad_x, grad_w, grad_b] = result;
  if (mask[0]) {
    grad_x = empty_result(p.n, p.c_in, p.l_in, options.channels_last, input);
    if (grad_x.numel() > 0)
      cpu::grad_input(
          p, dtype, algorithm, view(grad_output), weight.expect_contiguous()->const_data_ptr(), mutable_view(grad_x));
  }
  if (mask[1]) grad_w = at::empty(weight.sizes(), weight.options());
  if (mask[2]) grad_b = at::empty({p.c_out}, weight.options());
  void *const w_data = data_or_null(grad_w), *const b_data = data_or_null(grad_b);
  if (w_data || b_data) cpu::grad_weight(p, dtype, algorithm, view(grad_output), view(input), w_data, b_data);
  return result;
}

TORCH_LIBRARY_IMPL(torch_conv1d, CPU, m) {
  m.impl("_conv1d", flat<forward>);
  m.impl("_conv1d_backward", flat<backward>);
}

}  // namespace

at::Tensor cpu_forward_of_two(
    const at::Tensor& x1,
    const at::Tensor& w1,
    const at::Tensor& x2,
    const at::Tensor& w2,
    const at::Tensor& bias,
    const SymOptions& o) {
  const Options options{o.stride.expect_int(),   o.pad_left.expect_int(), o.pad_right.expect_int(),
                        o.dilation.expect_int(), o.groups.expect_int(),   o.padding_mode,
                        o.channels_last};
  const int64_t l_out = checked_output_length<int64_t>(x1, w1, bias, options);
  checked_output_length<int64_t>(x2, w2, bias, options);
  if (x1.sizes() != x2.sizes() || w1.sizes() != w2.sizes() || x1.scalar_type() != x2.scalar_type()) return {};
  const Conv1dProblem p = make_problem(x1, w1, l_out, options);
  const at::Tensor y = empty_result(p.n, p.c_out, p.l_out, options.channels_last, x1);
  const auto w1_data = w1.expect_contiguous(), w2_data = w2.expect_contiguous();
  const auto b = bias.defined() ? bias.expect_contiguous() : c10::MaybeOwned<at::Tensor>::owned(at::Tensor());
  const bool done = cpu::forward_of_two(
      p, dtype_of(x1), active_algorithm(), view(x1), w1_data->const_data_ptr(), view(x2), w2_data->const_data_ptr(),
      bias.defined() ? b->const_data_ptr() : nullptr, mutable_view(y));
  return done ? y : at::Tensor();
}

}  // namespace torch_conv1d
