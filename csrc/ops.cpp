// The whole native API on one screen. Kernels are registered beside their implementation: cpu/cpu_ops.cpp,
// meta.cpp, aten.cpp (other devices), autograd.cpp, autocast.cpp, front.cpp; vmap rules are in Python.
#include "ops.h"

#include <torch/library.h>

namespace torch_conv1d {

// The private ops take logical (N, C, L) tensors of any strides. padding_mode is a PaddingMode (problem.h).
// The front op takes padding of one or two elements (left, right), and (N, L, C) tensors with channels_last.
TORCH_LIBRARY(torch_conv1d, m) {
  m.def(
      "_conv1d(Tensor input, Tensor weight, Tensor? bias, SymInt stride, SymInt pad_left, SymInt pad_right, "
      "SymInt dilation, SymInt groups, int padding_mode, bool channels_last) -> Tensor",
      {at::Tag::pt2_compliant_tag});
  m.def(
      "_conv1d_backward(Tensor grad_output, Tensor input, Tensor weight, SymInt stride, SymInt pad_left, "
      "SymInt pad_right, SymInt dilation, SymInt groups, int padding_mode, bool channels_last, bool[3] output_mask) "
      "-> (Tensor, Tensor, Tensor)",
      {at::Tag::pt2_compliant_tag});
  m.def(
      "conv1d(Tensor input, Tensor weight, Tensor? bias=None, SymInt[1] stride=1, SymInt[1] padding=0, "
      "SymInt[1] dilation=1, SymInt groups=1, *, str padding_mode=\"zeros\", bool channels_last=False) -> Tensor",
      {at::Tag::pt2_compliant_tag});
  m.def(
      "conv1d.padding(Tensor input, Tensor weight, Tensor? bias=None, SymInt[1] stride=1, str padding=\"valid\", "
      "SymInt[1] dilation=1, SymInt groups=1, *, str padding_mode=\"zeros\", bool channels_last=False) -> Tensor",
      {at::Tag::pt2_compliant_tag});
}

namespace {

// Each op has the signature of the function that calls it.
template <auto caller>
auto find_op(const char* name) {
  using Signature = std::remove_pointer_t<decltype(flat<caller>)>;
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, "").typed<Signature>();
}
const auto& forward_op() {
  static const auto op = find_op<call_forward>("torch_conv1d::_conv1d");
  return op;
}
const auto& backward_op() {
  static const auto op = find_op<call_backward>("torch_conv1d::_conv1d_backward");
  return op;
}

}  // namespace

bool has_cuda_kernels() {
  static const bool found = forward_op().hasKernelForDispatchKey(c10::DispatchKey::CUDA);
  return found;
}

at::Tensor call_forward(
    const at::Tensor& input, const at::Tensor& weight, const std::optional<at::Tensor>& bias, const SymOptions& o) {
  return with_flat(o, [&](const auto&... options) { return forward_op().call(input, weight, bias, options...); });
}

Gradients call_backward(
    const at::Tensor& grad_output, const at::Tensor& input, const at::Tensor& weight, const SymOptions& o, Mask mask) {
  return with_flat(
      o, [&](const auto&... options) { return backward_op().call(grad_output, input, weight, options..., mask); });
}

at::Tensor redispatch_forward(
    c10::DispatchKeySet keys,
    const at::Tensor& input,
    const at::Tensor& weight,
    const std::optional<at::Tensor>& bias,
    const SymOptions& o) {
  return with_flat(
      o, [&](const auto&... options) { return forward_op().redispatch(keys, input, weight, bias, options...); });
}

Gradients redispatch_backward(
    c10::DispatchKeySet keys,
    const at::Tensor& grad_output,
    const at::Tensor& input,
    const at::Tensor& weight,
    const SymOptions& o,
    Mask mask) {
  return with_flat(o, [&](const auto&... options) {
    return backward_op().redispatch(keys, grad_output, input, weight, options..., mask);
  });
}

}  // namespace torch_conv1d
