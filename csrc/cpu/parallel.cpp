#include "parallel.h"

#include <ATen/Parallel.h>

namespace torch_conv1d::cpu {

int num_threads() { return at::in_parallel_region() ? 1 : at::get_num_threads(); }

void run_threads(int64_t count, const std::function<void(int64_t, int64_t)>& body) {
  at::parallel_for(0, count, 1, body);
}

}  // namespace torch_conv1d::cpu
