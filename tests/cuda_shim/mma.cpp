// The multiply-add of tensor cores: exact products, added in order in float.
#include "../../csrc/cuda/kernels/mma.cuh"

#include <bit>

namespace torch_conv1d::cuda {
namespace {

template <class E>
void multiply_add(float (&sums)[4], const RowFragment<E>& a, const ColumnFragment<E>& b) {
  struct Operands {
    RowFragment<E> a;
    ColumnFragment<E> b;
  };
  if (cuda_shim::warp_size() != kWarp) cuda_shim::fail("a multiply-add of a part of a warp");
  static_assert(sizeof(Operands) == cuda_shim::kSlot);
  const auto* const of_lane = reinterpret_cast<const Operands*>(cuda_shim::exchange(Operands{a, b}));
  const int lane = cuda_shim::lane();
  for (int i = 0; i < 4; ++i) {
    const int row = lane / 4 + 8 * (i / 2), column = 2 * (lane % 4) + i % 2;
    for (int word = 0; word < kMmaWords; ++word) {
      const Word<E>& x = of_lane[row % 8 * 4 + word % 4].a.value[row / 8 + 2 * (word / 4)];
      const Word<E>& y = of_lane[column * 4 + word % 4].b.value[word / 4];
      for (int j = 0; j < kOfWord<E>; ++j) sums[i] = std::fma(to_sum(x.value[j]), to_sum(y.value[j]), sums[i]);
    }
  }
}

}  // namespace

void mma(float (&sums)[4], const RowFragment<__nv_bfloat16>& a, const ColumnFragment<__nv_bfloat16>& b) {
  multiply_add(sums, a, b);
}
void mma(float (&sums)[4], const RowFragment<__half>& a, const ColumnFragment<__half>& b) { multiply_add(sums, a, b); }
void mma(float (&sums)[4], const RowFragment<float>& a, const ColumnFragment<float>& b) { multiply_add(sums, a, b); }

// 10 of the 23 bits behind the point are kept.
float to_tf32(float value) {
  if (!std::isfinite(value)) return value;
  return std::bit_cast<float>((std::bit_cast<uint32_t>(value) + 0x1000) & ~uint32_t(0x1fff));
}

}  // namespace torch_conv1d::cuda
