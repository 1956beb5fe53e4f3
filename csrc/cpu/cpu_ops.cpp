// The CPU key: check, allocate, take pointers, call the drivers of conv1d_cpu.h.
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_strided.h>
#include <torch/library.h>

#include "../algorithm.h"
#include "../checks.h"
#include "conv1d_cpu.h"

namespace torch_conv1d {
namespace {

using Options = Conv1dOptions<int64_t>;

DType dtype_of(const at::Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case at::kFloat:
      return DType::float32;
    case at::kDouble:
      return DType::float64;
    case at::kBFloat16:
      return DType::bfloat16;
    case at::kHalf:
      return DType::float16;
    default:
      TORCH_INTERNAL_ASSERT(false, "checked before: ", tensor.scalar_type());
  }
}

View view(const at::Tensor& t) { return {t.const_data_ptr(), t.stride(0), t.stride(1), t.stride(2)}; }
MutableView mutable_view(const at::Tensor& t) { return {t.mutable_data_ptr(), t.stride(0), t.stride(1), t.stride(2)}; }

at::Tensor empty_result(int64_t n, int64_t c, int64_t l, bool channels_last, const at::Tensor& like) {
  return at::empty_strided({n, c, l}, result_strides(c, l, channels_last), like.options());
}

at::Tensor forward(
    const at::Tensor& input,
    const at::Tensor& weight,
    const std::optional<at::Tensor>& bias,
    int64_t stride,
    int64_t pad_left,
    int64_t pad_right,
    int64_t dilation,
    int64_t groups,
    int64_t padding_mode,
    bool channels_last) {
  const Options options{stride, pad_left, pad_right, dilation, groups, padding_mode, channels_last};
  const int64_t l_out = checked_output_length(input, weight, bias, options);
  const Conv1dProblem p = make_problem(input, weight, l_out, options);
  at::Tensor y = empty_result(p.n, p.c_out, p.l_out, channels_last, input);
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
    int64_t stride,
    int64_t pad_left,
    int64_t pad_right,
    int64_t dilation,
    int64_t groups,
    int64_t padding_mode,
    bool channels_last,
    Mask mask) {
  const Options options{stride, pad_left, pad_right, dilation, groups, padding_mode, channels_last};
  check_backward(grad_output, input, weight, options);
  const Conv1dProblem p = make_problem(input, weight, grad_output.size(2), options);
  const DType dtype = dtype_of(input);
  const cpu::Algorithm algorithm = active_algorithm();
  Gradients result;
  auto& [grad_x, grad_w, grad_b] = result;
  if (mask[0]) {
    grad_x = empty_result(p.n, p.c_in, p.l_in, channels_last, input);
    if (grad_x.numel() > 0)
      cpu::grad_input(
          p, dtype, algorithm, view(grad_output), weight.expect_contiguous()->const_data_ptr(), mutable_view(grad_x));
  }
  if (mask[1]) grad_w = at::empty(weight.sizes(), weight.options());
  if (mask[2]) grad_b = at::empty({p.c_out}, weight.options());
  const auto data = [](const at::Tensor& t) { return t.defined() && t.numel() > 0 ? t.mutable_data_ptr() : nullptr; };
  void *const w_data = data(grad_w), *const b_data = data(grad_b);
  if (w_data || b_data) cpu::grad_weight(p, dtype, algorithm, view(grad_output), view(input), w_data, b_data);
  return result;
}

TORCH_LIBRARY_IMPL(torch_conv1d, CPU, m) {
  m.impl("_conv1d", forward);
  m.impl("_conv1d_backward", backward);
}

}  // namespace
}  // namespace torch_conv1d
