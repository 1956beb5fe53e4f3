// The transforms that csrc/cpu takes from torch, as the definition has them: in double, into memory of exactly their
// size.
#include "../../csrc/cpu/fft/real_fft.h"

#include <cmath>
#include <complex>
#include <numbers>
#include <vector>

namespace torch_conv1d::cpu {
namespace {

using Complex = std::complex<double>;
using Row = std::vector<Complex>;

// result[f] = sum over i of x[i] * exp(sign * 2 pi i f / length), from those of every second or third element.
Row transform(const Row& x, int sign) {
  const size_t length = x.size(), parts = length % 2 ? std::min<size_t>(length, 3) : 2;
  if (length == 1) return x;
  Row result(length);
  for (size_t part = 0; part < parts; ++part) {
    Row taken;
    for (size_t i = part; i < length; i += parts) taken.push_back(x[i]);
    taken = transform(taken, sign);
    for (size_t f = 0; f < length; ++f)
      result[f] +=
          taken[f % taken.size()] * std::polar(1., sign * 2 * std::numbers::pi * double(part * f) / double(length));
  }
  return result;
}

template <class T>
TransformedRows<T> rows_of(std::vector<T> values) {
  const auto owner = std::make_shared<std::vector<T>>(std::move(values));
  return {owner, owner->data()};
}

}  // namespace

template <class T>
TransformedRows<T> transform_rows(T* from, int64_t rows, int64_t row, int64_t length) {
  std::vector<T> result;
  for (int64_t r = 0; r < rows; ++r) {
    const Row spectrum = transform(Row(from + r * row, from + r * row + length), -1);
    for (int64_t f = 0; f <= length / 2; ++f) {
      result.push_back(T(spectrum[size_t(f)].real()));
      result.push_back(T(spectrum[size_t(f)].imag()));
    }
  }
  return rows_of(std::move(result));
}

template <class T>
TransformedRows<T> invert_rows(T* spectra, int64_t rows, int64_t length) {
  std::vector<T> result;
  for (int64_t r = 0; r < rows; ++r, spectra += spectrum_elements(length)) {
    Row whole;
    for (int64_t f = 0; f < length; ++f) {
      const int64_t stored = std::min(f, length - f);
      whole.emplace_back(spectra[2 * stored], f == stored ? spectra[2 * stored + 1] : -spectra[2 * stored + 1]);
    }
    for (const Complex& value : transform(whole, 1)) result.push_back(T(value.real() / double(length)));
  }
  return rows_of(std::move(result));
}

#define INSTANTIATE(T)                                                          \
  template TransformedRows<T> transform_rows<T>(T*, int64_t, int64_t, int64_t); \
  template TransformedRows<T> invert_rows<T>(T*, int64_t, int64_t);
INSTANTIATE(float)
INSTANTIATE(double)
#undef INSTANTIATE

}  // namespace torch_conv1d::cpu
