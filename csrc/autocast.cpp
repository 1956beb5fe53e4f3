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
    const SymOptions& options) {
  const c10::impl::ExcludeDispatchKeyGuard below_autocast(key);
  const auto dtype = at::autocast::get_autocast_dtype(device);
  return call_forward(
      at::autocast::cached_cast(dtype, input, device), at::autocast::cached_cast(dtype, weight, device),
      at::autocast::cached_cast(dtype, bias, device), options);
}

TORCH_LIBRARY_IMPL(torch_conv1d, AutocastCPU, m) {
  m.impl("_conv1d", flat<forward<c10::DispatchKey::AutocastCPU, c10::DeviceType::CPU>>);
}
TORCH_LIBRARY_IMPL(torch_conv1d, AutocastCUDA, m) {
  m.impl("_conv1d", flat<forward<c10::DispatchKey::AutocastCUDA, c10::DeviceType::CUDA>>);
}

}  // namespace
}  // namespace torch_conv1d
