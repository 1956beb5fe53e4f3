#include "parallel.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>

namespace torch_conv1d::cpu {

int num_threads() { return at::in_parallel_region() ? 1 : at::get_num_threads(); }

// Threads take the next part as they come, an eighth of an equal share: one that something else slows down takes fewer.
void run_threads(int64_t count, const std::function<void(int64_t, int64_t)>& body) {
  constexpr int64_t kParts = 8;
  const int64_t threads = std::min<int64_t>(at::get_num_threads(), count);
  const int64_t part = std::max<int64_t>(count / (threads * kParts), 1);
  std::atomic<int64_t> next{0};
  at::parallel_for(0, threads, 1, [&](int64_t, int64_t) {
    for (int64_t begin; (begin = next.fetch_add(part, std::memory_order_relaxed)) < count;)
      body(begin, std::min(begin + part, count));
  });
}

}  // namespace torch_conv1d::cpu
