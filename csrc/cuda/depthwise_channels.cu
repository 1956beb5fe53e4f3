#include "kernels/depthwise_channels.cuh"

#include "launch.h"

namespace torch_conv1d::cuda {
namespace {

// Calls fn with the number of taps and of channels of the instantiation that a plan needs, as constants.
template <class E, class Fn>
void with_sizes(const Plan& plan, int kernel_size, Fn&& fn) {
  const auto with_taps = [&](auto taps) {
    if (plan.vector == 1)
      fn(taps, std::integral_constant<int, 1>());
    else
      fn(taps, std::integral_constant<int, kOwned<E, taps()>>());
  };
  if (kernel_size <= 4)
    with_taps(std::integral_constant<int, 4>());
  else
    with_taps(std::integral_constant<int, 8>());
}

}  // namespace

void launch_depthwise_channels(
    const Plan& plan, const Depthwise& a, DType dtype, const void* w, const void* bias, Stream stream) {
  with_element(dtype, [&](auto element) {
    using E = decltype(element);
    with_sizes<E>(plan, a.kernel_size, [&](auto taps, auto channels) {
      launch(
          plan.grid, stream, depthwise_channels<E, taps(), channels()>, a, static_cast<const E*>(w),
          static_cast<const E*>(bias), int(plan.positions));
    });
  });
}

void launch_depthwise_channels_backward(
    const Plan& plan, const DepthwiseBackward& a, DType dtype, const void* w, void* partial, Stream stream) {
  with_element(dtype, [&](auto element) {
    using E = decltype(element);
    with_sizes<E>(plan, a.kernel_size, [&](auto taps, auto channels) {
      launch(
          plan.grid, stream, depthwise_channels_backward<E, taps(), channels()>, a, int(plan.positions), plan.parts,
          static_cast<const E*>(w), static_cast<Sum<E>*>(partial));
    });
  });
}

}  // namespace torch_conv1d::cuda
