// The thread block of cuda_runtime.h.
#include <sanitizer/asan_interface.h>
#include <ucontext.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <memory>
#include <random>
#include <vector>

#include "cuda_runtime.h"

namespace torch_conv1d::cuda {
// What a launch gets without asking for more: 48 KiB.
constexpr size_t kMostSharedBytes = 48 << 10;
// The array that kernels declare as `extern __shared__`.
alignas(128) unsigned char shared_bytes[kMostSharedBytes + 128];
}  // namespace torch_conv1d::cuda

namespace cuda_shim {
namespace {

using torch_conv1d::cuda::kMostSharedBytes;
using torch_conv1d::cuda::shared_bytes;

constexpr size_t kStackBytes = 64 << 10;
constexpr unsigned kMostThreads = 1024;
constexpr int kPoison = 0xff;

struct Fiber {
  ucontext_t context;
  std::unique_ptr<char[]> stack{new char[kStackBytes]};
  dim3 index;
  int exchanges = 0;
};
struct Warp {
  int threads, waiting;
  // In turn: a lane that is ahead writes for the next exchange while others read for this one, but not two ahead,
  // because every exchange waits for the warp once.
  alignas(kSlot) unsigned char slots[2][kWarp * kSlot];
};

std::deque<Fiber> fibers;  // a context must not move
std::vector<Warp> warps;
std::vector<int> ready, at_block_barrier;
int running, unfinished;
ucontext_t scheduler;
const std::function<void()>* body;
std::mt19937 rng(1);

void stop_running() { swapcontext(&fibers[running].context, &scheduler); }

void run_fiber() {
  for (;;) {
    (*body)();
    --unfinished;
    stop_running();
  }
}

void run_block(dim3 threads) {
  const int count = threads.x * threads.y * threads.z;
  while (int(fibers.size()) < count) {
    Fiber& fiber = fibers.emplace_back();
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack.get();
    fiber.context.uc_stack.ss_size = kStackBytes;
    makecontext(&fiber.context, run_fiber, 0);
  }
  warps.clear();
  at_block_barrier.clear();
  for (int i = 0; i < count; ++i) {
    fibers[i].exchanges = 0;
    fibers[i].index = {i % threads.x, i / threads.x % threads.y, i / threads.x / threads.y};
    ready.push_back(i);
    if (i % kWarp == 0) warps.push_back({std::min(kWarp, count - i), 0, {}});
  }
  for (unfinished = count; !ready.empty();) {
    std::swap(ready[rng() % ready.size()], ready.back());
    running = ready.back();
    ready.pop_back();
    threadIdx = fibers[running].index;
    swapcontext(&scheduler, &fibers[running].context);
  }
  if (unfinished > 0) fail("threads wait at a barrier that others never reach");
}

}  // namespace

void wait_for_block() {
  if (defect == Defect::no_barriers) return;
  at_block_barrier.push_back(running);
  if (at_block_barrier.size() == size_t(blockDim.x) * blockDim.y * blockDim.z) std::swap(ready, at_block_barrier);
  stop_running();
}

void wait_for_warp() {
  Warp& warp = warps[running / kWarp];
  if (++warp.waiting == warp.threads) {
    const int first = running / kWarp * kWarp;
    for (int i = 0; i < warp.threads; ++i) ready.push_back(first + i);
    warp.waiting = 0;
  }
  stop_running();
}

unsigned char* warp_slots() { return warps[running / kWarp].slots[fibers[running].exchanges++ % 2]; }
int lane() { return running % kWarp; }
int warp_size() { return warps[running / kWarp].threads; }

void fail(const char* why) {
  std::printf(
      "block (%u, %u, %u), thread (%u, %u, %u): %s\n", blockIdx.x, blockIdx.y, blockIdx.z, threadIdx.x, threadIdx.y,
      threadIdx.z, why);
  std::exit(1);
}

const char* launch(dim3 blocks, dim3 threads, size_t shared, const std::function<void()>& kernel) {
  if (uint64_t(threads.x) * threads.y * threads.z - 1 >= kMostThreads || threads.z > 64)
    return "a block of 0 or more than 1024 threads, or of more than 64 in its third dimension";
  if (blocks.x - 1 >= (1u << 31) - 1 || blocks.y - 1 >= 65535 || blocks.z - 1 >= 65535)
    return "a grid that is too large";
  if (shared > kMostSharedBytes) return "more than 48 KiB of shared memory";
  if (defect == Defect::short_shared_memory && shared > 0) shared -= 1;
  gridDim = blocks;
  blockDim = threads;
  body = &kernel;
  std::vector<uint64_t> order(uint64_t(blocks.x) * blocks.y * blocks.z);
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::shuffle(order.begin(), order.end(), rng);
  for (const uint64_t i : order) {
    blockIdx = {unsigned(i % blocks.x), unsigned(i / blocks.x % blocks.y), unsigned(i / blocks.x / blocks.y)};
    ASAN_UNPOISON_MEMORY_REGION(shared_bytes, sizeof shared_bytes);
    std::memset(shared_bytes, kPoison, sizeof shared_bytes);
    ASAN_POISON_MEMORY_REGION(shared_bytes + shared, sizeof shared_bytes - shared);
    run_block(threads);
  }
  return nullptr;
}

}  // namespace cuda_shim
