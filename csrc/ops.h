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

// Calls f with the options one by one, as the schemas list them.
template <class F>
auto with_flat(const SymOptions& o, F f) {
  return f(o.stride, o.pad_left, o.pad_right, o.dilation, o.groups, o.padding_mode, o.channels_last);
}

namespace detail {
template <class...>
struct Types {};

// The parameters of a kernel, read from left to right until the options are found.
template <class Result, class Before, class After>
struct Flat;
template <class Result, class... Before, class Next, class... After>
struct Flat<Result, Types<Before...>, Types<Next, After...>> : Flat<Result, Types<Before..., Next>, Types<After...>> {};
template <class Result, class... Before, class Int, class... After>
struct Flat<Result, Types<Before...>, Types<const Conv1dOptions<Int>&, After...>> {
  template <auto kernel>
  static Result call(
      Before... before,
      Int stride,
      Int pad_left,
      Int pad_right,
      Int dilation,
      Int groups,
      int64_t padding_mode,
      bool channels_last,
      After... after) {
    return kernel(
        std::forward<Before>(before)...,
        {std::move(stride), std::move(pad_left), std::move(pad_right), std::move(dilation), std::move(groups),
         padding_mode, channels_last},
        std::forward<After>(after)...);
  }
};

template <auto kernel, class Result, class... Parameters>
constexpr auto flat_of(Result (*)(Parameters...)) {
  return &Flat<Result, Types<>, Types<Parameters...>>::template call<kernel>;
}
}  // namespace detail

// The function that the dispatcher calls, with the flat arguments of the schemas, for a kernel that takes them as one
// `const Conv1dOptions<Int>&` among its parameters:  m.impl("_conv1d", flat<forward>).
template <auto kernel>
constexpr auto flat = detail::flat_of<kernel>(kernel);

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

// F(x1, w1) + F(x2, w2) + bias in one pass over both, of plain tensors on a CPU (cpu/cpu_ops.cpp). Undefined where two
// passes are better.
at::Tensor cpu_forward_of_two(
    const at::Tensor& x1,
    const at::Tensor& w1,
    const at::Tensor& x2,
    const at::Tensor& w2,
    const at::Tensor& bias,
    const SymOptions& options);

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

// Whether this library was built with the CUDA key.
bool has_cuda_kernels();

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

// ATen's own ops for the same arguments (aten.cpp): the front op, of whatever ATen accepts, and the private ops.
at::Tensor aten_conv1d(
    const at::Tensor& input,
    const at::Tensor& weight,
    const std::optional<at::Tensor>& bias,
    const SymOptions& options);
at::Tensor aten_forward(
    const at::Tensor& input,
    const at::Tensor& weight,
    const std::optional<at::Tensor>& bias,
    const SymOptions& options);
Gradients aten_backward(
    const at::Tensor& grad_output,
    const at::Tensor& input,
    const at::Tensor& weight,
    const SymOptions& options,
    Mask mask);

}  // namespace torch_conv1d
