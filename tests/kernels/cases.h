// Cases for kernels without torch, and the check of a result. Operands are small integers, whose sums are exact in any
// order, so direct results have to be equal.
#pragma once

#include <cmath>
#include <cstdio>
#include <random>
#include <string>
#include <vector>

#include "../../csrc/problem.h"
#include "host_tensor.h"

namespace torch_conv1d::cpu {

using Values = std::vector<double>;

constexpr DType kTypes[] = {DType::float32, DType::float64, DType::bfloat16, DType::float16};
constexpr const char* kTypeNames[] = {"float32", "float64", "bfloat16", "float16"};
constexpr Layout kLayouts[] = {Layout::channels_first, Layout::channels_last, Layout::gaps};
constexpr const char* kLayoutNames[] = {"channels_first", "channels_last", "gaps"};
constexpr int kTypeCount = std::size(kTypes), kLayoutCount = std::size(kLayouts);

inline int64_t results = 0, failures = 0;

// One call's operands and exact results, in logical order.
struct Case {
  Conv1dProblem p;
  Values x, w, b, grad_y;
  Values y, y_without_bias, grad_x, grad_w, grad_b;
};

inline Values random_integers(int64_t count, std::mt19937& rng) {
  Values values(count);
  for (double& value : values) value = int(rng() % 7) - 3;
  return values;
}

// Position of x that `position` of the padded row repeats; -1 for a zero. Found step by step.
inline int64_t position_read(int64_t position, const Conv1dProblem& p) {
  while (position < 0 || position >= p.l_in) {
    const bool left = position < 0;
    switch (p.padding_mode) {
      case PaddingMode::zeros:
        return -1;
      case PaddingMode::reflect:
        position = left ? -position : 2 * (p.l_in - 1) - position;
        break;
      case PaddingMode::replicate:
        position += left ? 1 : -1;
        break;
      case PaddingMode::circular:
        position += left ? p.l_in : -p.l_in;
        break;
    }
  }
  return position;
}

inline Case make_case(const Conv1dProblem& p) {
  std::mt19937 rng(12345);
  Case c{p, {}, {}, {}, {}, {}, {}, {}, {}, {}};
  const int64_t ci_per_group = p.c_in / p.groups, co_per_group = p.c_out / p.groups;
  c.x = random_integers(p.n * p.c_in * p.l_in, rng);
  c.w = random_integers(p.c_out * ci_per_group * p.kernel_size, rng);
  c.b = random_integers(p.c_out, rng);
  c.grad_y = random_integers(p.n * p.c_out * p.l_out, rng);
  c.y_without_bias.resize(c.grad_y.size());
  c.grad_x.resize(c.x.size());
  c.grad_w.resize(c.w.size());
  c.grad_b.resize(c.b.size());
  for (int64_t n = 0; n < p.n; ++n)
    for (int64_t co = 0; co < p.c_out; ++co)
      for (int64_t lo = 0; lo < p.l_out; ++lo) {
        const int64_t out = (n * p.c_out + co) * p.l_out + lo;
        c.grad_b[co] += c.grad_y[out];
        for (int64_t i = 0; i < ci_per_group; ++i)
          for (int64_t k = 0; k < p.kernel_size; ++k) {
            const int64_t li = position_read(lo * p.stride + k * p.dilation - p.pad_left, p);
            if (li < 0) continue;
            const int64_t in = (n * p.c_in + co / co_per_group * ci_per_group + i) * p.l_in + li;
            const int64_t tap = (co * ci_per_group + i) * p.kernel_size + k;
            c.y_without_bias[out] += c.w[tap] * c.x[in];
            c.grad_x[in] += c.w[tap] * c.grad_y[out];
            c.grad_w[tap] += c.x[in] * c.grad_y[out];
          }
      }
  c.y = c.y_without_bias;
  for (size_t i = 0; i < c.y.size(); ++i) c.y[i] += c.b[int64_t(i) / p.l_out % p.c_out];
  return c;
}

inline double rounded(double value, DType dtype) {
  return with_element(dtype, [&](auto element) -> double {
    from_sum(decltype(to_sum(element))(value), element);
    return to_sum(element);
  });
}

// `what` names the operation and how it was called.
inline void check(
    const Values& expected,
    HostTensor& result,
    DType dtype,
    double tolerance,
    const Conv1dProblem& p,
    const std::string& what) {
  const Values actual = result.take();
  std::string wrong;
  for (size_t i = 0; i < actual.size() && wrong.empty(); ++i)
    if (!(std::abs(rounded(expected[i], dtype) - actual[i]) <= tolerance * (1 + std::abs(expected[i]))))
      wrong = "element " + std::to_string(i) + " is " + std::to_string(actual[i]) + ", expected " +
              std::to_string(expected[i]);
  if (wrong.empty() && !result.all_poison()) wrong = "wrote outside of its elements";
  ++results;
  if (wrong.empty()) return;
  ++failures;
  std::printf("%s %s: %s\n", to_string(p).c_str(), what.c_str(), wrong.c_str());
}

// Sizes next to the widths of vectors, tiles and blocks, cut to a legal problem of bounded work.
inline Conv1dProblem random_problem(std::mt19937& rng, int64_t most_multiply_adds) {
  const auto pick = [&](std::initializer_list<int64_t> values) { return values.begin()[rng() % values.size()]; };
  Conv1dProblem p;
  do {
    p = {};
    p.n = pick({1, 1, 2, 3, 5});
    p.groups = pick({1, 1, 1, 2, 3, 5, 8, 17, 33});
    p.c_in = p.groups * (p.groups > 5 ? pick({1, 2, 3}) : pick({1, 2, 3, 5, 7, 13, 16, 17, 25, 33, 65}));
    p.c_out = p.groups * (p.groups > 5 ? pick({1, 2, 4}) : pick({1, 2, 3, 5, 6, 7, 8, 12, 13, 17, 25, 33, 49}));
    p.l_in = pick({1, 2, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 48, 49, 63, 64, 65, 95, 97, 129, 255, 257, 513, 1025});
    p.kernel_size = pick({1, 2, 3, 3, 4, 5, 6, 7, 8, 9, 13, 16, 17, 31, 63});
    p.stride = pick({1, 1, 1, 2, 3, 4, 5, 7, 16});
    p.dilation = pick({1, 1, 1, 2, 3, 4, 7, 16, 100});
    p.padding_mode = static_cast<PaddingMode>(rng() % 4);
    const int64_t longest = p.padding_mode == PaddingMode::reflect    ? p.l_in - 1
                            : p.padding_mode == PaddingMode::circular ? p.l_in
                                                                      : p.span() + 3;
    p.pad_left = std::min(longest, pick({0, 1, 2, p.span() / 2, p.span() - 1, p.span() + 2}));
    p.pad_right = std::min(longest, pick({0, 1, 3, p.span() / 2, p.span() - 1, p.span() + 3}));
    p.l_in = std::max(p.l_in, p.span() - p.pad_left - p.pad_right);
    p.l_out = output_length(p.l_in, p.pad_left, p.pad_right, p.dilation, p.kernel_size, p.stride);
  } while (p.n * p.c_out * p.l_out * p.c_in / p.groups * p.kernel_size > most_multiply_adds);
  return p;
}

}  // namespace torch_conv1d::cpu
