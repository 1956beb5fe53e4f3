// Which kernel runs, over which grid, and why: a pure function of the problem, the layout of the operands and the
// number of multiprocessors. It needs neither CUDA nor a device, so it is compiled, explained and tested everywhere.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "../problem.h"
#include "../tensor_view.h"

namespace torch_conv1d::cuda {

// The facts beside a problem that a plan depends on.
struct Device {
  int64_t multiprocessors;
  int64_t architecture = 90;   // see compiled_architecture
  bool tf32 = true;            // torch allows convolutions TF32, as it does by default,
  bool matmul_tf32 = false;    // and matrix products, as it does not
  bool deterministic = false;  // torch.use_deterministic_algorithms
};

enum class Algorithm {
  reference,           // one thread an element, any problem
  depthwise_rows,      // depthwise, short kernel, positions innermost: 16 bytes of a row a thread
  depthwise_channels,  // depthwise, short kernel, channels innermost: a thread slides along the row
  correlate,           // forward and grad_input: tiles in shared memory, any kernel, stride and dilation
  correlate_mma,       // the same on tensor cores
  outer,               // grad_weight: the same as correlate for the reduction over positions
  outer_mma,           // the same on tensor cores
  matmul,              // forward and grad_input: the caller runs torch's matrix product
  aten,                // the caller runs torch's own operator
};

const char* algorithm_name(Algorithm algorithm);

struct Dim3 {
  int64_t x = 1, y = 1, z = 1;
};

struct Grid {
  Dim3 threads;  // of a block
  Dim3 blocks;
  int64_t shared_bytes = 0;  // dynamic shared memory of a block
};
// Blocks of one row of threads, at least one thread for each of `count` items.
Grid grid_of(int64_t count);

struct Plan {
  Algorithm algorithm;
  const char* reason;
  Grid grid = {};
  int64_t vector = 1;              // elements that a thread loads at a time
  int64_t rows = 1;                // output channels (slide: positions) that a thread sums, of tensor cores a warp
  int64_t slide = 1;               // positions of a channel that take the place of rows, see kernels.h
  int64_t positions = 0;           // that a block covers in one turn; depthwise_channels: a thread
  int64_t channels = 0, taps = 0;  // of one stage in shared memory
  int64_t parts = 1;               // a reduction over (n, position) is cut into parts, added in order
  int64_t workspace_bytes = 0;
};

// Whether a function of conv1d_cuda.h takes this plan.
inline bool is_own(const Plan& plan) {
  return plan.algorithm != Algorithm::matmul && plan.algorithm != Algorithm::aten;
}

// `channels_last` is the layout of the result, which is contiguous in it; see Conv1dOptions::channels_last.
Plan plan_forward(const Conv1dProblem& p, DType dtype, View x, bool channels_last, const Device& device);
Plan plan_grad_input(const Conv1dProblem& p, DType dtype, View grad_y, bool channels_last, const Device& device);
// Sums depend on the parts of a reduction, so those of these plans follow from the problem and the layout alone, not
// from the device.
Plan plan_grad_weight(const Conv1dProblem& p, DType dtype, View grad_y, View x, const Device& device);
// All three gradients in one pass over grad_y and x, where there is a kernel for it.
std::optional<Plan> plan_backward(const Conv1dProblem& p, DType dtype, View grad_y, View x, bool channels_last);

// What would run and why, one "name: value" a line, for contiguous operands in either layout.
std::string explain(const Conv1dProblem& p, DType dtype, bool channels_last, const Device& device);

}  // namespace torch_conv1d::cuda
