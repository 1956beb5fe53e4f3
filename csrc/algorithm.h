// Which algorithms a call may use: the user's choice, for the process.
#pragma once

#include <string>

#include "cpu/conv1d_cpu.h"

namespace torch_conv1d {

// direct if it was chosen, and while torch.use_deterministic_algorithms(True) holds.
cpu::Algorithm active_algorithm();

// "auto" or "direct"; throws std::invalid_argument for another name.
void set_algorithm(const std::string& name);
std::string chosen_algorithm();

}  // namespace torch_conv1d
