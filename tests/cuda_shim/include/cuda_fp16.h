#pragma once

#include "../../../csrc/cpu/element.h"

struct __half : torch_conv1d::cpu::Float16 {};
inline float __half2float(__half value) { return torch_conv1d::cpu::to_sum(value); }
inline __half __float2half_rn(float value) {
  __half result;
  torch_conv1d::cpu::from_sum(value, result);
  return result;
}
