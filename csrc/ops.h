// The native ops as C++ functions. Every layer of the rim (front, autograd, autocast) calls the next one through
// these, that is through torch's dispatcher, so that no mode or transform is skipped.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>

#include <array>
#include <optional>
#include <string_view>
#include <tuple>

#include "problem.h"

namespace torch_conv1d {

// The arguments of one call that are not tensors. `Int` is int64_t or torch's symbolic integer.
template <class Int>
struct Conv1dOptions {
  Int stride, pad_left, pad_right, dilation, groups;
  // A PaddingMode, as the schema passes it.
  int64_t padding_mode;
  // The layout of the result: true for a transposed view of a contiguous (N, L, C) tensor, false for a contiguous
  // (N, C, L) one. Tensors are logically (N, C, L) either way.
  bool channels_last;
};
using SymOptions = Conv1dOptions<c10::SymInt>;

using Mask = std::array<bool, 3>;
using Gradients = std::tuple<at::Tensor, at::Tensor, at::Tensor>;

// torch_conv1d::_conv1d and torch_conv1d::_conv1d_backward. The latter returns the gradients of input, weight and
// bias, undefined where the mask is false.
at::Tensor call_forward(
    const at::Tensor& input,
    const at::Tensor& weight,
    const std::optional<at::Tensor>& bias,
    const SymOptions& options);
Gradients call_backward(
    const at::Tensor& grad_output,
    const at::Tensor& input,
    const at::Tensor& weight,
    const SymOptions& options,
    Mask mask);

// The same for a kernel that passes a call on to the dispatch keys below its own.
at::Tensor redispatch_forward(
    c10::DispatchKeySet keys,
    const at::Tensor& input,
    const at::Tensor& weight,
    const std::optional<at::Tensor>& bias,
    const SymOptions& options);
Gradients redispatch_backward(
    c10::DispatchKeySet keys,
    const at::Tensor& grad_output,
    const at::Tensor& input,
    const at::Tensor& weight,
    const SymOptions& options,
    Mask mask);

// torch_conv1d::conv1d and its overload torch_conv1d::conv1d.padding (front.cpp).
at::Tensor conv1d(
    const at::Tensor& input,
    const at::Tensor& weight,
    const std::optional<at::Tensor>& bias,
    c10::SymIntArrayRef stride,
    c10::SymIntArrayRef padding,
    c10::SymIntArrayRef dilation,
    c10::SymInt groups,
    std::string_view padding_mode,
    bool channels_last);
at::Tensor conv1d_padding(
    const at::Tensor& input,
    const at::Tensor& weight,
    const std::optional<at::Tensor>& bias,
    c10::SymIntArrayRef stride,
    std::string_view padding,
    c10::SymIntArrayRef dilation,
    c10::SymInt groups,
    std::string_view padding_mode,
    bool channels_last);

// What ATen computes for the same arguments (aten.cpp).
at::Tensor aten_forward(
    const at::Tensor& input,
    const at::Tensor& weight,
    const std::optional<at::Tensor>& bias,
    const SymOptions& options);

}  // namespace torch_conv1d
