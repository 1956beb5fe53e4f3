#pragma once

#include "../../../csrc/cpu/element.h"

struct __nv_bfloat16 : torch_conv1d::cpu::BFloat16 {};
inline float __bfloat162float(__nv_bfloat16 value) { return torch_conv1d::cpu::to_sum(value); }
inline __nv_bfloat16 __float2bfloat16_rn(float value) {
  __nv_bfloat16 result;
  torch_conv1d::cpu::from_sum(value, result);
  return result;
}
