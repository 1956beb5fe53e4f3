// The CUDA key: check, ask for a plan, allocate, call the drivers of conv1d_cuda.h, or ATen where the plan says so.
// All work is put on the current stream of the input's device and nothing waits for it, so calls can be captured into
// a CUDA graph. float32 is multiplied in float32, or in TF32 where tensor cores do and torch allows convolutions to.
#include <ATen/Context.h>
#include <ATen/ops/baddbmm.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/zeros.h>
#include <c10/core/Allocator.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include "../operands.h"
#include "conv1d_cuda.h"

namespace torch_conv1d {
namespace {

using cuda::Algorithm, cuda::Plan;
using Options = Conv1dOptions<int64_t>;

SymOptions symbolic(const Options& o) {
  return {o.stride, o.pad_left, o.pad_right, o.dilation, o.groups, o.padding_mode, o.channels_last};
}

// torch.backends.cudnn.conv.fp32_precision and the older allow_tf32. The operator's name is a string in torch 2.9,
// later an enumerator.
[[maybe_unused]] bool allows_tf32(bool (at::Context::*allows)(const std::string&) const) {
  return (at::globalContext().*allows)("conv");
}
template <class Operator>
bool allows_tf32(bool (at::Context::*allows)(std::optional<Operator>) const) {
  return (at::globalContext().*allows)(Operator::CONV);
}

// torch.backends.cuda.matmul.fp32_precision, names as above.
template <class Precision, class Backend, class Operator>
bool multiplies_in_tf32(Precision (at::Context::*precision)(Backend, Operator) const) {
  if constexpr (std::is_enum_v<Precision>)
    return (at::globalContext().*precision)(Backend::CUDA, Operator::MATMUL) == Precision::TF32;
  else
    return (at::globalContext().*precision)("cuda", "matmul") == "tf32";
}

cuda::Device current_device() {
  // To ask for them takes as long as a launch.
  thread_local std::array<std::optional<cuda::Device>, C10_COMPILE_TIME_MAX_GPUS> devices;
  const auto index = c10::cuda::current_device();
  auto& device = devices[index];
  if (!device) {
    int multiprocessors = 0;
    C10_CUDA_CHECK(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, index));
    device = cuda::Device{multiprocessors, cuda::compiled_architecture()};
  }
  device->tf32 = allows_tf32(&at::Context::allowTF32CuDNN);
  device->matmul_tf32 = multiplies_in_tf32(&at::Context::float32Precision);
  device->deterministic = at::globalContext().deterministicAlgorithms();
  return *device;
}

// A build may lack code for a device, as other extensions of torch may; here that is torch's own kernels.
bool has_code(const cuda::Device& device) { return device.architecture > 0; }

// From torch's caching allocator: memory that is given back may be used again at once, by work that comes later on the
// same stream.
c10::DataPtr workspace(const Plan& plan) { return c10::GetAllocator(c10::kCUDA)->allocate(plan.workspace_bytes); }

// Layers of one tap as products. Weights serve every sample by a stride of 0: nothing is copied.
at::Tensor matmul_forward(
    const at::Tensor& input, const at::Tensor& weight, const std::optional<at::Tensor>& bias, bool channels_last) {
  const at::Tensor w = weight.select(2, 0);
  if (channels_last) return at::linear(input.transpose(1, 2), w, bias).transpose(1, 2);
  const at::Tensor of_samples = w.expand({input.size(0), -1, -1});
  const bool has_bias = bias.has_value() && bias->defined();
  return has_bias ? at::baddbmm(bias->unsqueeze(1), of_samples, input) : at::bmm(of_samples, input);
}
at::Tensor matmul_grad_input(const at::Tensor& grad_output, const at::Tensor& weight, bool channels_last) {
  const at::Tensor w = weight.select(2, 0);
  if (channels_last) return at::matmul(grad_output.transpose(1, 2), w).transpose(1, 2);
  return at::bmm(w.t().expand({grad_output.size(0), -1, -1}), grad_output);
}

at::Tensor forward(
    const at::Tensor& input, const at::Tensor& weight, const std::optional<at::Tensor>& bias, const Options& options) {
  const int64_t l_out = checked_output_length(input, weight, bias, options);
  const c10::cuda::CUDAGuard guard(input.device());
  const Conv1dProblem p = make_problem(input, weight, l_out, options);
  if (p.n == 0) return empty_result(p.n, p.c_out, p.l_out, options.channels_last, input);

  const DType dtype = dtype_of(input);
  const cuda::Device device = current_device();
  const Plan plan = cuda::plan_forward(p, dtype, view(input), options.channels_last, device);
  if (plan.algorithm == Algorithm::aten || !has_code(device))
    return aten_forward(input, weight, bias, symbolic(options));
  if (plan.algorithm == Algorithm::matmul) return matmul_forward(input, weight, bias, options.channels_last);
  const at::Tensor y = empty_result(p.n, p.c_out, p.l_out, options.channels_last, input);
  const auto w = weight.expect_contiguous();
  const at::Tensor b = bias.has_value() && bias->defined() ? bias->contiguous() : at::Tensor();
  cuda::forward(
      plan, p, dtype, view(input), w->const_data_ptr(), b.defined() ? b.const_data_ptr() : nullptr, mutable_view(y),
      workspace(plan).get(), c10::cuda::getCurrentCUDAStream());
  return y;
}

bool is(Algorithm algorithm, const std::optional<Plan>& plan) { return plan && plan->algorithm == algorithm; }

Gradients backward(
    const at::Tensor& grad_output,
    const at::Tensor& input,
    const at::Tensor& weight,
    const Options& options,
    Mask mask) {
  check_backward(grad_output, input, weight, options);
  const c10::cuda::CUDAGuard guard(input.device());
  const cuda::Device device = current_device();
  if (!has_code(device)) return aten_backward(grad_output, input, weight, symbolic(options), mask);
  const Conv1dProblem p = make_problem(input, weight, grad_output.size(2), options);
  const DType dtype = dtype_of(input);
  const View g = view(grad_output), x = view(input);

  // Kernels take results of at least one element, and no empty batch: its sums are zeros.
  const bool for_x = mask[0] && input.numel() > 0;
  const bool for_w = mask[1] && weight.numel() > 0 && p.n > 0;
  const bool for_b = mask[2] && p.n > 0;  // the kernels compute it with grad_w alone
  std::optional<Plan> all, of_x, of_w;
  if (for_x && for_w) all = cuda::plan_backward(p, dtype, g, x, options.channels_last);
  if (!all && for_x) of_x = cuda::plan_grad_input(p, dtype, g, options.channels_last, device);
  if (!all && for_w) of_w = cuda::plan_grad_weight(p, dtype, g, x, device);

  const bool w_by_aten = is(Algorithm::aten, of_w), x_by_matmul = is(Algorithm::matmul, of_x);
  const Mask aten{is(Algorithm::aten, of_x), w_by_aten, for_b && w_by_aten};
  Gradients result;
  if (aten != Mask{}) result = aten_backward(grad_output, input, weight, symbolic(options), aten);
  auto& [grad_x, grad_w, grad_b] = result;
  const auto empty_sums = [&](at::IntArrayRef sizes) {
    return p.n > 0 ? at::empty(sizes, weight.options()) : at::zeros(sizes, weight.options());
  };
  if (x_by_matmul) grad_x = matmul_grad_input(grad_output, weight, options.channels_last);
  if (mask[0] && !aten[0] && !x_by_matmul) grad_x = empty_result(p.n, p.c_in, p.l_in, options.channels_last, input);
  if (mask[1] && !aten[1]) grad_w = empty_sums(weight.sizes());
  if (for_b && !for_w) grad_b = grad_output.sum(at::IntArrayRef({0, 2}));
  if (mask[2] && !grad_b.defined()) grad_b = empty_sums({p.c_out});

  const auto stream = c10::cuda::getCurrentCUDAStream();
  if (all)
    cuda::backward(
        *all, p, dtype, g, x, weight.expect_contiguous()->const_data_ptr(), mutable_view(grad_x),
        grad_w.mutable_data_ptr(), data_or_null(grad_b), workspace(*all).get(), stream);
  if (of_x && is_own(*of_x))
    cuda::grad_input(
        *of_x, p, dtype, g, weight.expect_contiguous()->const_data_ptr(), mutable_view(grad_x), workspace(*of_x).get(),
        stream);
  if (of_w && is_own(*of_w))
    cuda::grad_weight(
        *of_w, p, dtype, g, x, grad_w.mutable_data_ptr(), data_or_null(grad_b), workspace(*of_w).get(), stream);
  return result;
}

TORCH_LIBRARY_IMPL(torch_conv1d, CUDA, m) {
  m.impl("_conv1d", flat<forward>);
  m.impl("_conv1d_backward", flat<backward>);
}

}  // namespace
}  // namespace torch_conv1d
