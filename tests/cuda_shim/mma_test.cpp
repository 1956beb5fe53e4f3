// The multiply-add of one warp against a plain product of matrices, with operands laid out element by element as the
// PTX ISA says: matrix fragments for mma.m16n8k16 with floating point type and for mma.m16n8k8 with .tf32.
#include "mma_test.h"

#include <array>
#include <cstdio>
#include <random>

#include "../../csrc/cuda/kernels/mma.cuh"
#include "../../csrc/cuda/launch.h"

namespace torch_conv1d::cuda {
namespace {

constexpr int kInner = 16;  // of bfloat16 and float16; TF32 has half of it
struct Matrices {
  float a[kMmaRows][kInner], b[kInner][kMmaColumns], c[kMmaRows][kMmaColumns];
};

template <class E>
void multiply(Matrices* m) {
  const int group = threadIdx.x >> 2, in_group = threadIdx.x % 4;
  RowFragment<E> a;
  ColumnFragment<E> b;
  if constexpr (sizeof(E) == 2) {
    for (int i = 0; i < 8; ++i) {
      const int row = i < 2 || (i >= 4 && i < 6) ? group : group + 8;
      const int column = in_group * 2 + (i & 1) + (i >= 4 ? 8 : 0);
      a.value[i / 2].value[i % 2] = from_sum<E>(m->a[row][column]);
    }
    for (int i = 0; i < 4; ++i)
      b.value[i / 2].value[i % 2] = from_sum<E>(m->b[in_group * 2 + (i & 1) + (i >= 2 ? 8 : 0)][group]);
  } else {
    a.value[0].value[0] = m->a[group][in_group];
    a.value[1].value[0] = m->a[group + 8][in_group];
    a.value[2].value[0] = m->a[group][in_group + 4];
    a.value[3].value[0] = m->a[group + 8][in_group + 4];
    b.value[0].value[0] = m->b[in_group][group];
    b.value[1].value[0] = m->b[in_group + 4][group];
  }
  float sums[4];
  const auto element = [&](int i) -> float& { return m->c[i < 2 ? group : group + 8][in_group * 2 + (i & 1)]; };
  for (int i = 0; i < 4; ++i) sums[i] = element(i);
  mma(sums, a, b);
  for (int i = 0; i < 4; ++i) element(i) = sums[i];
}

template <class E>
bool matches() {
  std::mt19937 rng(1);
  const auto random = [&](auto& matrix) {
    for (auto& row : matrix)
      for (float& value : row) value = float(int(rng() % 15) - 7);
  };
  Matrices m;
  random(m.a), random(m.b), random(m.c);
  const Matrices before = m;
  Grid warp;
  warp.threads.x = kWarp;
  launch(warp, nullptr, multiply<E>, &m);
  for (int row = 0; row < kMmaRows; ++row)
    for (int column = 0; column < kMmaColumns; ++column) {
      float expected = before.c[row][column];
      for (int k = 0; k < kMmaWords * kOfWord<E>; ++k) expected += before.a[row][k] * before.b[k][column];
      if (m.c[row][column] != expected) return false;
    }
  return true;
}

// Half of the last kept bit rounds away from zero, less than half of it does not.
bool rounds() {
  return to_tf32(1 + 0x1p-11f) == 1 + 0x1p-10f && to_tf32(-1 - 0x1p-11f) == -1 - 0x1p-10f &&
         to_tf32(1 + 0x1p-11f - 0x1p-23f) == 1 && to_tf32(3) == 3;
}

}  // namespace

bool multiply_add_is_right() { return matches<__nv_bfloat16>() && matches<__half>() && matches<float>() && rounds(); }

}  // namespace torch_conv1d::cuda
