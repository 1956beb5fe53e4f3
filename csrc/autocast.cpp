// The autocast keys: as torch does for conv1d, operands become the current lower-precision dtype.
#include <ATen/autocast_mode.h>
#include <torch/library.h>

#include "ops.h"

namespace torch_conv1d {
namespace {

template <c10::DispatchKey key, c10::DeviceType device>
at::Tensor forward(
    const at::Tensor& input,
    const at::Tensor& weight,
    const std::optional<at::Tensor>& bias,
    c10::SymInt stride,
    c10::SymInt pad_left,
    c10::SymInt pad_right,
    c10::SymInt dilation,
    c10::SymInt groups,
    int64_t padding_mode,
    bool channels_last) {
  const c10::impl::ExcludeDispatchKeyGuard below_autocast(key);
  const auto dtype = at::autocast::get_autocast_dtype(device);
  return call_forward(
      at::autocast::cached_cast(dtype, input, device), at::autocast::cached_cast(dtype, weight, device),
      at::autocast::cached_cast(dtype, bias, device),
      {stride, pad_left, pad_right, dilation, groups, padding_mode, channels_last});
}

TORCH_LIBRARY_IMPL(torch_conv1d, AutocastCPU, m) {
  m.impl("_conv1d", forward<c10::DispatchKey::AutocastCPU, c10::DeviceType::CPU>);
}
TORCH_LIBRARY_IMPL(torch_conv1d, AutocastCUDA, m) {
  m.impl("_conv1d", forward<c10::DispatchKey::AutocastCUDA, c10::DeviceType::CUDA>);
}

}  // namespace
}  // namespace torch_conv1d
