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
}  // namespace torch_conv1d
