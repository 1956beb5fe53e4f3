// Transforms of real rows: torch's FFT, behind a declaration that does not know torch.
//
// A row's result does not depend on the other rows of a call, nor on their number (real_fft.cpp).
#pragma once

#include <cstdint>
#include <memory>

namespace torch_conv1d::cpu {

// What a transform has allocated.
template <class T>
struct TransformedRows {
  std::shared_ptr<const void> owner;
  T* data;
};

constexpr int64_t spectrum_elements(int64_t length) { return 2 * (length / 2 + 1); }

// from[r * row + i], r < rows, i < length, becomes [rows][length / 2 + 1] complex numbers (real, imaginary).
template <class T>
TransformedRows<T> transform_rows(T* from, int64_t rows, int64_t row, int64_t length);

// The inverse, into [rows][length]. `spectra` may be overwritten.
template <class T>
TransformedRows<T> invert_rows(T* spectra, int64_t rows, int64_t length);

}  // namespace torch_conv1d::cpu
