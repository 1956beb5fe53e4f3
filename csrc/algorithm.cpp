#include "algorithm.h"

#include <ATen/Context.h>

#include <atomic>
#include <stdexcept>

namespace torch_conv1d {
namespace {

std::atomic<cpu::Algorithm> chosen = cpu::Algorithm::automatic;

}  // namespace

cpu::Algorithm active_algorithm() {
  return at::globalContext().deterministicAlgorithms() ? cpu::Algorithm::direct
                                                       : chosen.load(std::memory_order_relaxed);
}

void set_algorithm(const std::string& name) {
  if (name != "auto" && name != "direct")
    throw std::invalid_argument("algorithm: expected 'auto' or 'direct', got '" + name + "'");
  chosen = name == "auto" ? cpu::Algorithm::automatic : cpu::Algorithm::direct;
}

std::string chosen_algorithm() { return chosen == cpu::Algorithm::automatic ? "auto" : "direct"; }

}  // namespace torch_conv1d
