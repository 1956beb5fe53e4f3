#include "scratch.h"

#include <algorithm>
#include <new>
#include <vector>

namespace torch_conv1d::cpu {
namespace {

constexpr std::align_val_t kAlignment{64};
constexpr size_t kKeptBytes = size_t(4) << 20;
constexpr size_t kKeptBuffers = 8;

struct Buffer {
  void* data;
  size_t capacity;
};

struct Pool {
  std::vector<Buffer> free;
  size_t bytes = 0, used = 0;  // of the free ones, and of those that are not
  ~Pool() {
    while (!free.empty()) drop(free.end() - 1);
  }
  void drop(std::vector<Buffer>::iterator buffer) {
    ::operator delete(buffer->data, kAlignment);
    bytes -= buffer->capacity;
    free.erase(buffer);
  }
};
thread_local Pool pool;

}  // namespace

ScratchMemory::ScratchMemory(size_t bytes) : capacity_(std::max<size_t>(bytes, 64)) {
  auto best = pool.free.end();
  for (auto it = pool.free.begin(); it != pool.free.end(); ++it)
    if (it->capacity >= capacity_ && (best == pool.free.end() || it->capacity < best->capacity)) best = it;
  pool.used += capacity_;
  if (best == pool.free.end()) {
    // What is kept may not add to what a call needs.
    while (!pool.free.empty() && pool.used + pool.bytes > kKeptBytes) pool.drop(pool.free.end() - 1);
    data_ = ::operator new(capacity_, kAlignment);
    return;
  }
  data_ = best->data;
  pool.used += best->capacity - capacity_;
  capacity_ = best->capacity;
  pool.bytes -= capacity_;
  pool.free.erase(best);
}

ScratchMemory::~ScratchMemory() {
  pool.used -= capacity_;
  pool.free.push_back({data_, capacity_});
  pool.bytes += capacity_;
  if (pool.bytes > kKeptBytes)
    pool.drop(pool.free.end() - 1);
  else if (pool.free.size() > kKeptBuffers)  // small ones are the cheapest to get again
    pool.drop(std::min_element(
        pool.free.begin(), pool.free.end(), [](const Buffer& a, const Buffer& b) { return a.capacity < b.capacity; }));
}

}  // namespace torch_conv1d::cpu
