// Tensors in hostile memory: what a kernel reads or writes beyond its elements is found.
//
// A block holds the elements of a tensor and not a byte more, so AddressSanitizer sees a read past either end. All
// bytes that are no element are poison, and so are the elements of a result before a kernel writes them: read as a
// number, poison is NaN in every type.
#pragma once

#include <algorithm>
#include <vector>

#include "../../csrc/cpu/conv1d_cpu.h"
#include "../../csrc/cpu/element.h"

namespace torch_conv1d::cpu {

inline constexpr uint8_t kPoison = 0xff;

struct Shape {
  int64_t n, c, l;
  int64_t elements() const { return n * c * l; }
};

enum class Layout { channels_first, channels_last, gaps };

inline int64_t element_size(DType dtype) {
  return with_element(dtype, [](auto element) { return int64_t(sizeof element); });
}

class HostTensor {
 public:
  // `guard` poisoned elements stand on both sides of a result; an operand has none.
  HostTensor(DType dtype, Shape shape, Layout layout, int64_t guard) : dtype_(dtype), shape_(shape), first_(guard) {
    switch (layout) {
      case Layout::channels_first:
        stride_l_ = 1, stride_c_ = shape.l, stride_n_ = shape.c * shape.l;
        break;
      case Layout::channels_last:
        stride_c_ = 1, stride_l_ = shape.c, stride_n_ = shape.c * shape.l;
        break;
      case Layout::gaps:
        stride_l_ = 2, stride_c_ = 2 * shape.l + 3, stride_n_ = shape.c * stride_c_ + 5, first_ += 1;
        break;
    }
    const bool empty = shape.elements() == 0;
    const int64_t last = empty ? -1 : (shape.n - 1) * stride_n_ + (shape.c - 1) * stride_c_ + (shape.l - 1) * stride_l_;
    bytes_ = std::vector<uint8_t>((first_ + last + 1 + guard) * element_size(dtype), kPoison);
  }

  void fill(const std::vector<double>& values) {
    visit([&, i = size_t(0)](auto& element) mutable { from_sum(decltype(to_sum(element))(values[i++]), element); });
  }

  // The elements in (n, c, l) order; each becomes poison again.
  std::vector<double> take() {
    std::vector<double> values;
    visit([&](auto& element) {
      values.push_back(to_sum(element));
      std::memset(&element, kPoison, sizeof element);
    });
    return values;
  }

  // After take(): whether everything around the elements is as it was.
  bool all_poison() const {
    return std::all_of(bytes_.begin(), bytes_.end(), [](uint8_t byte) { return byte == kPoison; });
  }

  void* data() { return bytes_.data() + first_ * element_size(dtype_); }
  View view() { return {data(), stride_n_, stride_c_, stride_l_}; }
  MutableView mutable_view() { return {data(), stride_n_, stride_c_, stride_l_}; }

 private:
  template <class Fn>
  void visit(Fn&& fn) {
    with_element(dtype_, [&](auto element) {
      auto* elements = static_cast<decltype(element)*>(data());
      for (int64_t n = 0; n < shape_.n; ++n)
        for (int64_t c = 0; c < shape_.c; ++c)
          for (int64_t l = 0; l < shape_.l; ++l) fn(elements[n * stride_n_ + c * stride_c_ + l * stride_l_]);
    });
  }

  DType dtype_;
  Shape shape_;
  int64_t first_, stride_n_ = 0, stride_c_ = 0, stride_l_ = 0;
  std::vector<uint8_t> bytes_;
};

}  // namespace torch_conv1d::cpu
