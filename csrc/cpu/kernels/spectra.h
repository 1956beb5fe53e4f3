// Products of spectra (contract: SpectraArgs).
#pragma once

#include "vector.h"

namespace torch_conv1d::cpu {
namespace {

// sum + a * conj(b) for the complex numbers of a vector: two multiply-adds in this order everywhere,
//   real: sum + a.real * b.real + a.imaginary * b.imaginary    imaginary: sum + a.imaginary * b.real - a.real * b.imaginary
template <class V, int... I>
inline V add_conjugate_product(V sum, V a, V b, Indices<I...>) {
  const V sign = {(I % 2 ? -1 : 1)...};
  sum = sum + a * V(SHUFFLE(b, b, (I - I % 2)...));
  return sum + V(SHUFFLE(a, a, (I + 1 - I % 2 * 2)...)) * (V(SHUFFLE(b, b, (I + 1 - I % 2)...)) * sign);
}

template <class T>
void multiply_spectra(const SpectraArgs<T>& args) {
  using V = Vector<T>;
  constexpr int kCount = kLanes<T>;
  const auto multiply = [](T* out, const T* init, const T* a, const T* b) {
    const V sum = init ? load<V>(init) : V{};
    store(out, add_conjugate_product(sum, load<V>(a), load<V>(b), typename FirstIndices<kCount>::type()));
  };
  const int64_t elements = 2 * args.count, whole = elements / kCount * kCount;
  for (int64_t i = 0; i < whole; i += kCount)
    multiply(args.out + i, args.init ? args.init + i : nullptr, args.a + i, args.b + i);
  if (const size_t rest = size_t(elements - whole) * sizeof(T)) {
    T init[kCount] = {}, a[kCount] = {}, b[kCount] = {};
    if (args.init) std::memcpy(init, args.init + whole, rest);
    std::memcpy(a, args.a + whole, rest);
    std::memcpy(b, args.b + whole, rest);
    multiply(init, init, a, b);
    std::memcpy(args.out + whole, init, rest);
  }
}

}  // namespace
}  // namespace torch_conv1d::cpu
