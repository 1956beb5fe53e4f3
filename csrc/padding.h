// The padding modes as index maps: which position of a row stands at a position outside it.
#pragma once

#include <cstdint>

#include "problem.h"

namespace torch_conv1d {
namespace {

// Position in [0, length) that `position` repeats, or -1 for a zero. Inside the row it is the identity.
constexpr int64_t padded_source(int64_t position, int64_t length, PaddingMode mode) {
  if (position >= 0 && position < length) return position;
  switch (mode) {
    case PaddingMode::reflect:
      return position < 0 ? -position : 2 * (length - 1) - position;
    case PaddingMode::replicate:
      return position < 0 ? 0 : length - 1;
    case PaddingMode::circular:
      return position < 0 ? position + length : position - length;
    default:
      return -1;
  }
}

}  // namespace
}  // namespace torch_conv1d
