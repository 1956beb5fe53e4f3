// The operators of csrc/cuda for CPU tensors, on the kernels that run here: a library that takes the place of the CPU's
// operators when it is loaded. So the tests of the operators test what cuda_ops.cpp checks, plans, allocates and leaves
// to ATen.
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

#include "../../csrc/cuda/conv1d_cuda.h"
#include "../../csrc/operands.h"

namespace {
// The allocator of workspaces. A torch built for CUDA may bring its own later, with the lowest priority.
const bool kAllocates = (c10::SetAllocator(c10::kCUDA, c10::GetAllocator(c10::kCPU), /*priority=*/255), true);
}  // namespace

#undef TORCH_LIBRARY_IMPL
#define TORCH_LIBRARY_IMPL(library, key, m) _TORCH_LIBRARY_IMPL(library, CPU, m, C10_UID)
#include "../../csrc/cuda/cuda_ops.cpp"
