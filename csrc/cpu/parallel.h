// Threads, in one place. parallel.cpp hands the work to at::parallel_for, so that torch.set_num_threads rules.
#pragma once

#include <cstdint>
#include <functional>

namespace torch_conv1d::cpu {

// The number of threads that a call from here may use: 1 inside a parallel region.
int num_threads();

// Runs body(begin, end) over disjoint ranges that cover [0, count), several on a thread.
void run_threads(int64_t count, const std::function<void(int64_t, int64_t)>& body);

// As run_threads, but a call that is not worth a thread stays on this one. Results may not depend on the split.
template <class Body>
void parallel_for(int64_t count, bool worth_threads, Body&& body) {
  if (count <= 0) return;
  if (count == 1 || !worth_threads || num_threads() == 1)
    body(int64_t(0), count);
  else
    run_threads(count, body);
}

}  // namespace torch_conv1d::cpu
