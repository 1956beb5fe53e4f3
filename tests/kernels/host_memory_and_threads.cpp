// What csrc/cpu takes from its surroundings, made to find errors.
//
// Working memory: each piece is a heap block of exactly its size, full of poison, freed at once; nothing of an earlier
// call is left in it and nothing lies behind it. Threads: every range on a thread of its own, last one first.
#include <cstring>
#include <new>
#include <thread>
#include <vector>

#include "../../csrc/cpu/parallel.h"
#include "../../csrc/cpu/scratch.h"
#include "host_tensor.h"

namespace torch_conv1d::cpu {
namespace {
constexpr std::align_val_t kAlignment{64};
thread_local bool in_parallel_region = false;
}  // namespace

int thread_count = 1;

ScratchMemory::ScratchMemory(size_t bytes) : data_(::operator new(bytes, kAlignment)), bytes_(bytes) {
  std::memset(data_, kPoison, bytes_);
}
ScratchMemory::~ScratchMemory() { ::operator delete(data_, kAlignment); }

int num_threads() { return in_parallel_region ? 1 : thread_count; }

void run_threads(int64_t count, const std::function<void(int64_t, int64_t)>& body) {
  const int64_t ranges = std::min<int64_t>(count, num_threads());
  std::vector<std::thread> threads;
  for (int64_t i = ranges; i-- > 0;)
    threads.emplace_back([&body, begin = i * count / ranges, end = (i + 1) * count / ranges] {
      in_parallel_region = true;
      body(begin, end);
    });
  for (std::thread& thread : threads) thread.join();
}

}  // namespace torch_conv1d::cpu
