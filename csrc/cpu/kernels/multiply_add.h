// What the arithmetic of every other kernel can at best do: nothing but multiply-adds in registers (contract:
// MultiplyAdd). A chain tends to 2. Each has a start of its own above it, so that the compiler finds no two alike and
// none constant.
#pragma once

#include "vector.h"

namespace torch_conv1d::cpu {
namespace {

template <class T>
T multiply_add(int64_t steps) {
  const Vector<T> half = broadcast(T(0.5)), one = broadcast(T(1));
  Vector<T> chain[kMultiplyAddChains];
  UNROLL for (int i = 0; i < kMultiplyAddChains; ++i)
    chain[i] = broadcast(T(3 + i));
  for (int64_t step = 0; step < steps; ++step) {
    UNROLL for (int i = 0; i < kMultiplyAddChains; ++i)
      chain[i] = chain[i] * half + one;
  }
  T sum = 0;
  UNROLL for (int i = 0; i < kMultiplyAddChains; ++i)
    sum += chain[i][0];
  return sum;
}

}  // namespace
}  // namespace torch_conv1d::cpu
