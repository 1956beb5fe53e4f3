// What is packed next, out of more rows than the hardware follows.
#pragma once

#include <cstdint>

namespace torch_conv1d::cpu {

// Fetches `count` elements of each row into the L2 cache. They need not exist.
template <class E>
void fetch_rows(const E* first, int64_t row, int64_t rows, int64_t count) {
  constexpr int64_t kLine = 64 / int64_t(sizeof(E));
  asm volatile("");  // g++ drops calls of functions that do nothing but fetch
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t i = 0; i < count; i += kLine) __builtin_prefetch(first + r * row + i, 0, 2);
}

}  // namespace torch_conv1d::cpu
