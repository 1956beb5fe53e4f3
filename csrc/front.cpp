// The front op: every form in which a user may write the arguments -> the private op, or ATen for what has no
// kernel of ours. A composite of differentiable ops, so it needs no derivative.
#include <torch/library.h>

#include "ops.h"

namespace torch_conv1d {
namespace {

bool has_kernel(const at::Tensor& input) {
  const auto dtype = input.scalar_type();
  const bool device = input.is_cpu() || input.is_meta() || (input.is_cuda() && has_cuda_kernels());
  return device && input.layout() == at::kStrided && !input.is_nested() &&
         (dtype == at::kFloat || dtype == at::kDouble || dtype == at::kBFloat16 || dtype == at::kHalf);
}

c10::SymInt single(c10::SymIntArrayRef values, const char* name) {
  TORCH_CHECK(
      values.size() == 1, "conv1d: expected ", name,
      " to be a single integer value or a list of 1 values to match "
      "the convolution dimensions, but got ",
      name, "=", values);
  return values[0];
}

int64_t mode_number(std::string_view name) {
  const auto mode = find_padding_mode(name);
  TORCH_CHECK_VALUE(
      mode.has_value(), "conv1d: padding_mode must be one of 'zeros', 'reflect', 'replicate' or 'circular', but got '",
      name, "'");
  return static_cast<int64_t>(*mode);
}

at::Tensor run(
    const at::Tensor& input,
    const at::Tensor& weight,
    const std::optional<at::Tensor>& bias,
    const SymOptions& options) {
  const auto dim = input.dim();
  TORCH_CHECK(
      dim == 2 || dim == 3,
      "conv1d: Expected 2D (unbatched) or 3D (batched) input to conv1d, but got input of size: ", input.sym_sizes());
  at::Tensor x = options.channels_last ? input.transpose(-2, -1) : input;
  if (!has_kernel(input)) {
    const at::Tensor y = aten_conv1d(x, weight, bias, options);
    return options.channels_last ? y.transpose(-2, -1).contiguous() : y;
  }
  if (dim == 2) x = x.unsqueeze(0);
  at::Tensor y = call_forward(x, weight, bias, options);
  if (dim == 2) y = y.squeeze(0);
  return options.channels_last ? y.transpose(-2, -1) : y;
}

}  // namespace

at::Tensor conv1d(
    const at::Tensor& input,
    const at::Tensor& weight,
    const std::optional<at::Tensor>& bias,
    c10::SymIntArrayRef stride,
    c10::SymIntArrayRef padding,
    c10::SymIntArrayRef dilation,
    c10::SymInt groups,
    std::string_view padding_mode,
    bool channels_last) {
  TORCH_CHECK(
      padding.size() == 1 || padding.size() == 2,
      "conv1d: expected padding to be a single integer value, a list of 1 "
      "value or of 2 (left, right), but got padding=",
      padding);
  return run(
      input, weight, bias,
      {single(stride, "stride"), padding.front(), padding.back(), single(dilation, "dilation"), std::move(groups),
       mode_number(padding_mode), channels_last});
}

at::Tensor conv1d_padding(
    const at::Tensor& input,
    const at::Tensor& weight,
    const std::optional<at::Tensor>& bias,
    c10::SymIntArrayRef stride,
    std::string_view padding,
    c10::SymIntArrayRef dilation,
    c10::SymInt groups,
    std::string_view padding_mode,
    bool channels_last) {
  SymOptions o{
      single(stride, "stride"),
      0,
      0,
      single(dilation, "dilation"),
      std::move(groups),
      mode_number(padding_mode),
      channels_last};
  if (padding == "same" || padding == "causal") {
    TORCH_CHECK(
        weight.dim() == 3,
        "conv1d: weight should have at least three dimensions: expected the 3 of (out_channels, "
        "in_channels / groups, kernel_size), got shape ",
        weight.sym_sizes());
    const c10::SymInt total = o.dilation * (weight.sym_size(2) - 1);
    if (padding == "same") {
      TORCH_CHECK(
          o.stride == 1, "conv1d: padding='same' is not supported for strided convolutions: expected stride 1, got ",
          o.stride);
      o.pad_left = total / 2;
      o.pad_right = total - o.pad_left;
    } else {
      o.pad_left = total;
    }
  } else {
    TORCH_CHECK(
        padding == "valid", "conv1d: Invalid padding string: '", padding,
        "', expected 'same', 'valid', 'causal', an int or (left, right)");
  }
  return run(input, weight, bias, o);
}

namespace {

TORCH_LIBRARY_IMPL(torch_conv1d, CompositeImplicitAutograd, m) {
  m.impl("conv1d", conv1d);
  m.impl("conv1d.padding", conv1d_padding);
}

}  // namespace
}  // namespace torch_conv1d
