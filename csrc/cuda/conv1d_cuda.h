// The CUDA side of the project, as the rest of it sees it: the three derivatives of cpu/conv1d_cpu.h on pointers to
// device memory. Nothing here knows torch.
//
// The caller asks plan.h for a plan, runs torch's own operator where the plan says so, and otherwise hands over
// plan.workspace_bytes of device memory (null for 0) and a stream. Every call only launches: no allocation, no
// synchronisation, no atomic sums; a launch that fails throws std::runtime_error. Results have at least one
// element; activations among them are contiguous in the layout that the plan was asked for and aligned to 16 bytes.
// A plan is for the views it was made with.
//
// plan*.cpp and explain.cpp are plain C++ and belong to every build; the other files need CUDA.
#pragma once

#include "plan.h"

struct CUstream_st;  // what a cudaStream_t points to

namespace torch_conv1d::cuda {

using Stream = CUstream_st*;

// The architecture, 90 for sm_90, of the code that the current device runs: where a build has none for it but PTX of an
// older one, that one, which may lack instructions that the device has. 0 if there is no code for it.
int64_t compiled_architecture();

// y[n, co, lo] = bias[co] + sum over ci, k of w[co, ci, k] * x[n, ci, li].  w is contiguous; bias may be null.
void forward(
    const Plan& plan,
    const Conv1dProblem& p,
    DType dtype,
    View x,
    const void* w,
    const void* bias,
    MutableView y,
    void* workspace,
    Stream stream);

// grad_x[n, ci, li] = sum over co, k of w[co, ci, k] * grad_y[n, co, lo]; positions that a padding mode repeats
// are folded back. Writes every element of grad_x.
void grad_input(
    const Plan& plan,
    const Conv1dProblem& p,
    DType dtype,
    View grad_y,
    const void* w,
    MutableView grad_x,
    void* workspace,
    Stream stream);

// grad_w[co, ci, k] = sum over n, lo of x[n, ci, li] * grad_y[n, co, lo], contiguous, and
// grad_b[co] = sum over n, lo of grad_y[n, co, lo], which may be null.
void grad_weight(
    const Plan& plan,
    const Conv1dProblem& p,
    DType dtype,
    View grad_y,
    View x,
    void* grad_w,
    void* grad_b,
    void* workspace,
    Stream stream);

// All three, for a plan of plan_backward. grad_b may be null.
void backward(
    const Plan& plan,
    const Conv1dProblem& p,
    DType dtype,
    View grad_y,
    View x,
    const void* w,
    MutableView grad_x,
    void* grad_w,
    void* grad_b,
    void* workspace,
    Stream stream);

}  // namespace torch_conv1d::cuda
