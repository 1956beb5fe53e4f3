#pragma once

namespace torch_conv1d::cuda {

// Whether the multiply-add of tensor cores in mma.cpp, on which the tests of kernels stand, is the documented one.
bool multiply_add_is_right();

}  // namespace torch_conv1d::cuda
