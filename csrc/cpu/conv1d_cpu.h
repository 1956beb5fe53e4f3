// The CPU side of the project, as the rest of it sees it: three partial derivatives of one trilinear form,
//
//     T(x, w, grad_y) = sum over n, co, ci, k, lo of  w[co, ci, k] * x[n, ci, li] * grad_y[n, co, lo]
//
// on raw pointers. Nothing here knows torch; arguments have been checked by the caller.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "../problem.h"
#include "../tensor_view.h"

namespace torch_conv1d::cpu {

// direct: sums of products and nothing else. automatic: also what needs fewer multiplications (Toom-Cook, fft), where
// it is faster.
enum class Algorithm { automatic, direct };

// y[n, co, lo] = bias[co] + sum over ci, k of w[co, ci, k] * x[n, ci, li].  w is contiguous; bias may be null.
void forward(
    const Conv1dProblem& p, DType dtype, Algorithm algorithm, View x, const void* w, const void* bias, MutableView y);

// y = forward(x1, w1) + forward(x2, w2) + bias in one pass, of layers with one channel and one row a group. False, with
// nothing done, where two passes are better, and where the strides of x1 and x2 differ.
bool forward_of_two(
    const Conv1dProblem& p,
    DType dtype,
    Algorithm algorithm,
    View x1,
    const void* w1,
    View x2,
    const void* w2,
    const void* bias,
    MutableView y);

// grad_x[n, ci, li] = sum over co, k of w[co, ci, k] * grad_y[n, co, lo]; positions that a padding mode repeats
// are folded back. Writes every element of grad_x.
void grad_input(
    const Conv1dProblem& p, DType dtype, Algorithm algorithm, View grad_y, const void* w, MutableView grad_x);

// grad_w[co, ci, k] = sum over n, lo of x[n, ci, li] * grad_y[n, co, lo], contiguous, and
// grad_b[co] = sum over n, lo of grad_y[n, co, lo]. Either may be null.
void grad_weight(
    const Conv1dProblem& p, DType dtype, Algorithm algorithm, View grad_y, View x, void* grad_w, void* grad_b);

// Instruction sets compiled in that this machine can run, slowest first. "reference" (plain loops, any
// problem) is always among them.
std::vector<std::string> supported_instruction_sets();
std::string active_instruction_set();
// Overrides the choice for the process (also: environment variable TORCH_CONV1D_ISA, read once); "" restores
// the automatic one. Throws std::invalid_argument for a name that is not supported.
void set_instruction_set(const std::string& name);

// Multiply-adds in registers, `steps` in every chain of every thread: the FMA peak of the active instruction set, to
// whoever takes the time. Returns the number of operations, two a multiply-add and lane. The reference loops have the
// peak of the slowest set.
int64_t run_multiply_adds(int64_t steps, DType dtype);

// What would run and why, one "name: value" a line, without running it.
std::string explain(const Conv1dProblem& p, DType dtype, Algorithm algorithm, bool channels_innermost);

}  // namespace torch_conv1d::cpu
