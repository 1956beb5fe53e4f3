// One call of conv1d as a value: every size, no tensor. Checks build it, plans read it, kernels receive it.
//
// The one index identity of the project:
//
//     li = lo * stride + k * dilation - pad_left
//
// relates a position lo of the output, a tap k of the kernel and a position li of the input. Positions
// outside [0, l_in) are defined by the padding mode.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace torch_conv1d {

// The order is part of the op schema (an int argument): append only.
enum class PaddingMode : int64_t { zeros = 0, reflect = 1, replicate = 2, circular = 3 };

// Indexed by PaddingMode: the names that users write.
inline constexpr std::string_view kPaddingModeNames[] = {"zeros", "reflect", "replicate", "circular"};
std::optional<PaddingMode> find_padding_mode(std::string_view name);

struct Conv1dProblem {
  int64_t n = 0;
  int64_t c_in = 0;
  int64_t c_out = 0;
  int64_t l_in = 0;
  int64_t l_out = 0;
  int64_t kernel_size = 0;
  int64_t stride = 1;
  int64_t pad_left = 0;
  int64_t pad_right = 0;
  int64_t dilation = 1;
  int64_t groups = 1;
  PaddingMode padding_mode = PaddingMode::zeros;

  constexpr int64_t c_in_per_group() const { return c_in / groups; }
  constexpr int64_t c_out_per_group() const { return c_out / groups; }
  // Distance from the first to the last tap of a kernel, both included.
  constexpr int64_t span() const { return dilation * (kernel_size - 1) + 1; }
};

// Length of the output: floor((l_in + pad_left + pad_right - span) / stride) + 1. `Int` is int64_t or
// torch's symbolic integer, so that this formula exists once.
template <class Int>
Int output_length(
    const Int& l_in,
    const Int& pad_left,
    const Int& pad_right,
    const Int& dilation,
    const Int& kernel_size,
    const Int& stride) {
  return (l_in + pad_left + pad_right - dilation * (kernel_size - 1) - 1) / stride + 1;
}

// The same with the taps alone that meet the input at some position, or one of the others; zeros stand around it. The
// first of them is tap (p.pad_left - pad_left) / dilation of p.
Conv1dProblem with_met_taps(const Conv1dProblem& p);

// "n4_ci16_co32_l100_k3_s2_p1_d1_g1": the test id, the benchmark argument and the bug report. Unequal padding
// is "p3x0" (left x right); a padding mode other than zeros is a suffix, "..._g1_reflect".
std::string to_string(const Conv1dProblem& problem);

// The inverse of to_string; throws std::invalid_argument with what was expected. `l_out` is computed.
Conv1dProblem parse_problem(const std::string& text);

}  // namespace torch_conv1d
