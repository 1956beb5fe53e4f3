// What is read next, out of more rows than the hardware follows.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>

#include "../../division.h"
#include "../kernel_table.h"

namespace torch_conv1d::cpu {

// Fetches `count` elements of each row into the L2 cache. They need not exist.
template <class E>
void fetch_rows(const E* first, int64_t row, int64_t rows, int64_t count) {
  constexpr int64_t kLine = 64 / int64_t(sizeof(E));
  asm volatile("");  // g++ drops calls of functions that do nothing but fetch
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t i = 0; i < count; i += kLine) __builtin_prefetch(first + r * row + i, 0, 2);
}

// Has `steps` tiles of so many elements fetch `bytes` of each channel, `row` bytes apart: of each in up to kMostSteps of
// them, so that they do not hold up those that the tiles wait for.
template <class T>
void fetch_meanwhile(
    CorrelateArgs<T>& args, const void* first, int64_t row, int64_t bytes, int64_t steps, int64_t tile_width) {
  constexpr int64_t kMostSteps = 16;
  const int64_t widths = ceil_div(bytes, std::max<int64_t>(tile_width * int64_t(sizeof(T)), 64));
  const int64_t every = std::clamp<int64_t>(steps / std::max<int64_t>(widths, 1), 1, kMostSteps);
  args.next = static_cast<const char*>(first);
  args.next_row = row;
  args.next_shift = std::bit_width(uint64_t(every)) - 1;
  args.next_steps = widths << args.next_shift;
}

}  // namespace torch_conv1d::cpu
