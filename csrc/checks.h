// Tensors and options -> the sizes of a call, or an error that names the argument, its value and what was expected.
// Every kernel of the private ops begins here, so no dispatch path can skip a check. Where torch's conv1d refuses
// the same call, its sentence is part of the message.
#pragma once

#include "ops.h"

namespace torch_conv1d {

// Checks one call of the forward op and returns the length of its output. `Int` is int64_t or c10::SymInt.
template <class Int>
Int checked_output_length(
    const at::Tensor& input,
    const at::Tensor& weight,
    const std::optional<at::Tensor>& bias,
    const Conv1dOptions<Int>& options);

// The same for the backward op: grad_output must look like the output.
template <class Int>
void check_backward(
    const at::Tensor& grad_output,
    const at::Tensor& input,
    const at::Tensor& weight,
    const Conv1dOptions<Int>& options);

// The call as a value, for kernels. The arguments have been checked.
Conv1dProblem make_problem(
    const at::Tensor& input, const at::Tensor& weight, int64_t l_out, const Conv1dOptions<int64_t>& options);

// Strides of a result of this shape (see Conv1dOptions::channels_last).
template <class Int>
std::array<Int, 3> result_strides(const Int& channels, const Int& length, bool channels_last) {
  if (channels_last) return {length * channels, Int(1), channels};
  return {length * channels, length, Int(1)};
}

}  // namespace torch_conv1d
