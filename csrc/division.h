// Integer division that rounds up or down for either sign of the dividend; divisors are positive.
#pragma once

#include <cstdint>

namespace torch_conv1d {
namespace {

constexpr int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b < 0); }
constexpr int64_t ceil_div(int64_t a, int64_t b) { return a / b + (a % b > 0); }
constexpr int64_t modulo(int64_t a, int64_t b) { return a - floor_div(a, b) * b; }

}  // namespace
}  // namespace torch_conv1d
