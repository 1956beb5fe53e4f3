// Scalar elements of the four dtypes: conversion from and to the type that sums are made in.
// bfloat16 and float16 sum in float; a result is rounded once, to nearest even.
#pragma once

#include <cstdint>
#include <cstring>

#include "conv1d_cpu.h"

namespace torch_conv1d::cpu {

struct BFloat16 {
  uint16_t bits;
};
struct Float16 {
  uint16_t bits;
};

// Internal linkage: each instruction set compiles its own copy, and none can replace another's at link time.
namespace {

template <class E>
constexpr DType kDType = DType::float32;
template <>
constexpr DType kDType<double> = DType::float64;
template <>
constexpr DType kDType<BFloat16> = DType::bfloat16;
template <>
constexpr DType kDType<Float16> = DType::float16;

inline float bits_to_float(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
inline uint32_t float_to_bits(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

inline float to_sum(float value) { return value; }
inline double to_sum(double value) { return value; }
inline float to_sum(BFloat16 value) { return bits_to_float(uint32_t(value.bits) << 16); }
inline float to_sum(Float16 value) {
  const uint32_t sign = uint32_t(value.bits & 0x8000) << 16;
  const uint32_t magnitude = value.bits & 0x7fff;
  if (magnitude >= 0x7c00) return bits_to_float(sign | 0x7f800000 | (magnitude << 13));  // inf, NaN
  // Exponents differ by 112; the multiplication also normalises subnormal numbers.
  return bits_to_float(sign | float_to_bits(bits_to_float(magnitude << 13) * 0x1p112f));
}

inline void from_sum(float sum, float& out) { out = sum; }
inline void from_sum(double sum, double& out) { out = sum; }
// A sum of bfloat16 that is NaN has the payload of one of them or that of the processor, whose lower half is zero: to
// round it is to leave its upper half as it is.
inline void from_sum(float sum, BFloat16& out) {
  const uint32_t bits = float_to_bits(sum);
  out.bits = uint16_t((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}
inline void from_sum(float sum, Float16& out) {
  const uint32_t bits = float_to_bits(sum);
  const uint32_t sign = (bits >> 16) & 0x8000;
  const uint32_t magnitude = bits & 0x7fffffff;
  uint32_t half;
  if (magnitude > 0x7f800000) {
    half = 0x7e00;
  } else if (magnitude >= 0x477ff000) {  // 65520: the first value that rounds to infinity
    half = 0x7c00;
  } else if (magnitude < 0x38800000) {  // below 2^-14: subnormal, rounded by the addition of 0.5
    half = float_to_bits(bits_to_float(magnitude) + 0.5f) - 0x3f000000;
  } else {
    half = (magnitude - 0x38000000 + 0x0fff + ((magnitude >> 13) & 1)) >> 13;
  }
  out.bits = uint16_t(sign | half);
}

// Calls fn with a value of the element type of `dtype`.
template <class Fn>
auto with_element(DType dtype, Fn&& fn) {
  switch (dtype) {
    case DType::float64:
      return fn(double());
    case DType::bfloat16:
      return fn(BFloat16());
    case DType::float16:
      return fn(Float16());
    default:
      return fn(float());
  }
}

}  // namespace
}  // namespace torch_conv1d::cpu
