// Tensors that have been checked -> what the drivers of a device receive, and the tensors that they fill.
#pragma once

#include <ATen/ops/empty_strided.h>

#include "checks.h"
#include "tensor_view.h"

namespace torch_conv1d {

inline DType dtype_of(const at::Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case at::kFloat:
      return DType::float32;
    case at::kDouble:
      return DType::float64;
    case at::kBFloat16:
      return DType::bfloat16;
    case at::kHalf:
      return DType::float16;
    default:
      TORCH_INTERNAL_ASSERT(false, "checked before: ", tensor.scalar_type());
  }
}

inline View view(const at::Tensor& t) { return {t.const_data_ptr(), t.stride(0), t.stride(1), t.stride(2)}; }
inline MutableView mutable_view(const at::Tensor& t) {
  return {t.mutable_data_ptr(), t.stride(0), t.stride(1), t.stride(2)};
}

// The address of a contiguous result that may be absent or empty.
inline void* data_or_null(const at::Tensor& t) { return t.defined() && t.numel() > 0 ? t.mutable_data_ptr() : nullptr; }

inline at::Tensor empty_result(int64_t n, int64_t c, int64_t l, bool channels_last, const at::Tensor& like) {
  return at::empty_strided({n, c, l}, result_strides(c, l, channels_last), like.options());
}

}  // namespace torch_conv1d
