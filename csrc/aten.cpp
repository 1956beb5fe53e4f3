// What has no kernel of ours: the same results from ATen's own ops. The front op comes here for dtypes, devices and
// layouts (autograd then differentiates the ATen ops); the private ops come here on other devices, and for what a
// device leaves to ATen.
#include <ATen/ops/conv1d.h>
#include <ATen/ops/convolution_backward.h>
#include <ATen/ops/pad.h>
#include <torch/library.h>

#include "checks.h"

namespace torch_conv1d {
namespace {

// ATen's convolution pads both sides alike, with zeros.
bool aten_pads(const SymOptions& o) {
  return PaddingMode(o.padding_mode) == PaddingMode::zeros && o.pad_left == o.pad_right;
}

at::Tensor padded(const at::Tensor& input, const SymOptions& o) {
  const auto mode = kPaddingModeNames[o.padding_mode];
  return at::pad_symint(input, {o.pad_left, o.pad_right}, mode == "zeros" ? "constant" : mode);
}

}  // namespace

at::Tensor aten_conv1d(
    const at::Tensor& input, const at::Tensor& weight, const std::optional<at::Tensor>& bias, const SymOptions& o) {
  if (aten_pads(o)) return at::conv1d_symint(input, weight, bias, o.stride, o.pad_left, o.dilation, o.groups);
  return at::conv1d_symint(padded(input, o), weight, bias, o.stride, c10::SymInt(0), o.dilation, o.groups);
}

namespace {

at::Tensor laid_out(const at::Tensor& result, bool channels_last) {
  return channels_last ? result.transpose(1, 2).contiguous().transpose(1, 2) : result.contiguous();
}

// The transpose of `padded`: adds the gradient of every padded position to the position it repeats.
at::Tensor fold_padding(const at::Tensor& grad, const c10::SymInt& l_in, const SymOptions& o) {
  const c10::SymInt &left = o.pad_left, &right = o.pad_right;
  const auto part = [&](const c10::SymInt& start, const c10::SymInt& length) {
    return grad.narrow_symint(2, start, length);
  };
  at::Tensor result = part(left, l_in).clone();
  const at::Tensor before = part(0, left), after = part(left + l_in, right);
  switch (PaddingMode(o.padding_mode)) {
    case PaddingMode::zeros:
      break;
    case PaddingMode::reflect:
      result.narrow_symint(2, 1, left).add_(before.flip(2));
      result.narrow_symint(2, l_in - 1 - right, right).add_(after.flip(2));
      break;
    case PaddingMode::replicate:
      result.narrow_symint(2, 0, 1).add_(before.sum(2, true));
      result.narrow_symint(2, l_in - 1, 1).add_(after.sum(2, true));
      break;
    case PaddingMode::circular:
      result.narrow_symint(2, l_in - left, left).add_(before);
      result.narrow_symint(2, 0, right).add_(after);
      break;
  }
  return result;
}

}  // namespace

at::Tensor aten_forward(
    const at::Tensor& input,
    const at::Tensor& weight,
    const std::optional<at::Tensor>& bias,
    const SymOptions& options) {
  checked_output_length(input, weight, bias, options);
  return laid_out(aten_conv1d(input, weight, bias, options), options.channels_last);
}

Gradients aten_backward(
    const at::Tensor& grad_output, const at::Tensor& input, const at::Tensor& weight, const SymOptions& o, Mask mask) {
  check_backward(grad_output, input, weight, o);
  const bool pads = aten_pads(o);
  Gradients result = at::convolution_backward_symint(
      grad_output, pads ? input : padded(input, o), weight, c10::SymIntArrayRef{weight.sym_size(0)}, {o.stride},
      {pads ? o.pad_left : c10::SymInt(0)}, {o.dilation}, /*transposed=*/false, {c10::SymInt(0)}, o.groups, mask);
  auto& [grad_x, grad_w, grad_b] = result;
  if (mask[0]) {
    if (!pads) grad_x = fold_padding(grad_x, input.sym_size(2), o);
    grad_x = laid_out(grad_x, o.channels_last);
  }
  // cuDNN may choose another layout.
  if (mask[1]) grad_w = grad_w.contiguous();
  return result;
}

namespace {

TORCH_LIBRARY_IMPL(torch_conv1d, CompositeExplicitAutograd, m) {
  m.impl("_conv1d", flat<aten_forward>);
  m.impl("_conv1d_backward", flat<aten_backward>);
}

}  // namespace
}  // namespace torch_conv1d
