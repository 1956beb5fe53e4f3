#include "problem.h"

#include <charconv>
#include <stdexcept>

namespace torch_conv1d {
namespace {

// Reads "_k3": consumes the prefix and the digits after it.
int64_t read_number(std::string_view& rest, std::string_view prefix, const std::string& text) {
  int64_t value = 0;
  if (rest.substr(0, prefix.size()) == prefix) {
    const char* begin = rest.data() + prefix.size();
    const auto [end, error] = std::from_chars(begin, rest.data() + rest.size(), value);
    if (error == std::errc() && end != begin && value >= 0) {
      rest.remove_prefix(end - rest.data());
      return value;
    }
  }
  throw std::invalid_argument(
      "problem: expected the form n4_ci16_co32_l100_k3_s2_p1_d1_g1 (optionally p3x0, and _reflect, _replicate or "
      "_circular at the end), got \"" +
      text + "\": no \"" + std::string(prefix) + "\" with a number at \"" + std::string(rest) + "\"");
}

}  // namespace

std::optional<PaddingMode> find_padding_mode(std::string_view name) {
  for (size_t i = 0; i < std::size(kPaddingModeNames); ++i)
    if (name == kPaddingModeNames[i]) return PaddingMode(i);
  return std::nullopt;
}

Conv1dProblem with_met_taps(const Conv1dProblem& p) {
  if (p.padding_mode != PaddingMode::zeros) return p;
  const auto met = [&](int64_t k) {
    const int64_t first = k * p.dilation - p.pad_left;
    return first < p.l_in && first + (p.l_out - 1) * p.stride >= 0;
  };
  int64_t begin = 0, end = p.kernel_size;
  while (begin + 1 < end && !met(begin)) ++begin;
  while (begin + 1 < end && !met(end - 1)) --end;
  Conv1dProblem fewer = p;
  fewer.kernel_size = end - begin;
  fewer.pad_left -= begin * p.dilation;
  fewer.pad_right -= (p.kernel_size - end) * p.dilation;
  return fewer;
}

std::string to_string(const Conv1dProblem& p) {
  const auto number = [](const char* prefix, int64_t value) { return prefix + std::to_string(value); };
  std::string text = number("n", p.n) + number("_ci", p.c_in) + number("_co", p.c_out) + number("_l", p.l_in) +
                     number("_k", p.kernel_size) + number("_s", p.stride) + number("_p", p.pad_left);
  if (p.pad_right != p.pad_left) text += number("x", p.pad_right);
  text += number("_d", p.dilation) + number("_g", p.groups);
  if (p.padding_mode != PaddingMode::zeros)
    text.append("_").append(kPaddingModeNames[static_cast<int64_t>(p.padding_mode)]);
  return text;
}

Conv1dProblem parse_problem(const std::string& text) {
  std::string_view rest = text;
  Conv1dProblem p;
  p.n = read_number(rest, "n", text);
  p.c_in = read_number(rest, "_ci", text);
  p.c_out = read_number(rest, "_co", text);
  p.l_in = read_number(rest, "_l", text);
  p.kernel_size = read_number(rest, "_k", text);
  p.stride = read_number(rest, "_s", text);
  p.pad_left = read_number(rest, "_p", text);
  p.pad_right = rest.substr(0, 1) == "x" ? read_number(rest, "x", text) : p.pad_left;
  p.dilation = read_number(rest, "_d", text);
  p.groups = read_number(rest, "_g", text);
  if (!rest.empty()) {
    const auto mode = find_padding_mode(rest.substr(1));
    if (rest[0] != '_' || !mode)
      throw std::invalid_argument(
          "problem: expected _reflect, _replicate or _circular at the end of \"" + text + "\", got \"" +
          std::string(rest) + "\"");
    p.padding_mode = *mode;
  }
  if (p.stride < 1 || p.dilation < 1 || p.groups < 1 || p.kernel_size < 1 || p.c_in % p.groups || p.c_out % p.groups ||
      p.span() > p.l_in + p.pad_left + p.pad_right)
    throw std::invalid_argument(
        "problem: expected positive k, s, d and g, ci and co that are multiples of g, and a kernel no longer than the "
        "padded row, got \"" +
        text + "\"");
  p.l_out = output_length(p.l_in, p.pad_left, p.pad_right, p.dilation, p.kernel_size, p.stride);
  return p;
}

}  // namespace torch_conv1d
