#include "real_fft.h"

#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/ops/_fft_c2r.h>
#include <ATen/ops/_fft_r2c.h>
#include <ATen/ops/from_blob.h>

namespace torch_conv1d::cpu {
namespace {

// The normalisation that divides by the length (fft_norm_mode of ATen), and none.
constexpr int64_t kByLength = 2, kNone = 0;

// MKL takes another path for a single row, which gives other last bits and is slower: there are always two.
at::Tensor at_least_two(const at::Tensor& rows) {
  return rows.size(0) > 1 ? rows : rows.expand({2, rows.size(1)}).contiguous();
}

template <class T>
TransformedRows<T> rows_of(at::Tensor result) {
  T* data = static_cast<T*>(result.mutable_data_ptr());
  return {std::make_shared<const at::Tensor>(std::move(result)), data};
}

}  // namespace

template <class T>
TransformedRows<T> transform_rows(T* from, int64_t rows, int64_t row, int64_t length) {
  const at::AutoDispatchBelowADInplaceOrView below;
  const at::Tensor x = at::from_blob(from, {rows, length}, {row, 1}, c10::CppTypeToScalarType<T>::value);
  return rows_of<T>(at::_fft_r2c(at_least_two(x), 1, kNone, /*onesided=*/true));
}

template <class T>
TransformedRows<T> invert_rows(T* spectra, int64_t rows, int64_t length) {
  const at::AutoDispatchBelowADInplaceOrView below;
  const at::Tensor x = at::from_blob(spectra, {rows, length / 2 + 1}, c10::CppTypeToScalarType<c10::complex<T>>::value);
  return rows_of<T>(at::_fft_c2r(at_least_two(x), 1, kByLength, length));
}

#define INSTANTIATE(T)                                                          \
  template TransformedRows<T> transform_rows<T>(T*, int64_t, int64_t, int64_t); \
  template TransformedRows<T> invert_rows<T>(T*, int64_t, int64_t);
INSTANTIATE(float)
INSTANTIATE(double)
#undef INSTANTIATE

}  // namespace torch_conv1d::cpu
