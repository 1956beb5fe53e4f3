// The Meta key: shapes and strides of the results, with symbols. torch derives the fake-tensor kernels from these.
#include <torch/library.h>

#include "checks.h"

namespace torch_conv1d {
namespace {

at::Tensor empty_result(c10::SymInt n, c10::SymInt c, c10::SymInt l, bool channels_last, const at::Tensor& like) {
  const auto strides = result_strides(c, l, channels_last);
  return like.new_empty_strided_symint({n, c, l}, strides);
}

at::Tensor forward(
    const at::Tensor& input,
    const at::Tensor& weight,
    const std::optional<at::Tensor>& bias,
    const SymOptions& options) {
  const c10::SymInt l_out = checked_output_length(input, weight, bias, options);
  return empty_result(input.sym_size(0), weight.sym_size(0), l_out, options.channels_last, input);
}

Gradients backward(
    const at::Tensor& grad_output,
    const at::Tensor& input,
    const at::Tensor& weight,
    const SymOptions& options,
    Mask mask) {
  check_backward(grad_output, input, weight, options);
  Gradients result;
  auto& [grad_x, grad_w, grad_b] = result;
  if (mask[0])
    grad_x = empty_result(input.sym_size(0), input.sym_size(1), input.sym_size(2), options.channels_last, input);
  if (mask[1]) grad_w = weight.new_empty_symint(weight.sym_sizes());
  if (mask[2]) grad_b = weight.new_empty_symint({weight.sym_size(0)});
  return result;
}

TORCH_LIBRARY_IMPL(torch_conv1d, Meta, m) {
  m.impl("_conv1d", flat<forward>);
  m.impl("_conv1d_backward", flat<backward>);
}

}  // namespace
}  // namespace torch_conv1d
