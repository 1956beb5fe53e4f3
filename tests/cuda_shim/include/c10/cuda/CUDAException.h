// As much of torch's CUDA headers as csrc/cuda/cuda_ops.cpp uses, for a torch without CUDA: on_cpu.cpp.
#pragma once

#include <c10/util/Exception.h>

#include "cuda_runtime.h"

#define C10_CUDA_CHECK(call) TORCH_CHECK((call) == cudaSuccess)
