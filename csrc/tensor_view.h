// A tensor as the drivers of every device receive it: a pointer, three strides and an element type. No torch.
#pragma once

#include <cstdint>

namespace torch_conv1d {

enum class DType { float32, float64, bfloat16, float16 };

// A rank-3 tensor (n, channel, position) of any strides, counted in elements. An (N, L, C) tensor is a view
// whose stride_c is 1; an expanded one has strides of 0.
struct View {
  const void* data;
  int64_t stride_n, stride_c, stride_l;
  // Tensors of these strides whose channels take turns, and how many elements each lies after the one before it.
  int64_t tensors = 1, to_next = 0;
};
struct MutableView {
  void* data;
  int64_t stride_n, stride_c, stride_l;
};

}  // namespace torch_conv1d
