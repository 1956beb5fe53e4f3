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
    for (const Buffer& buffer : free) ::operator delete(buffer.data, kAlignment);
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
    while (!pool.free.empty() && pool.used + pool.bytes > kKeptBytes) {
      pool.bytes -= pool.free.back().capacity;
      ::operator delete(pool.free.back().data, kAlignment);
      pool.free.pop_back();
    }
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
  if (pool.free.size() < kKeptBuffers && pool.bytes + capacity_ <= kKeptBytes) {
    pool.free.push_back({data_, capacity_});
    pool.bytes += capacity_;
  } else {
    ::operator delete(data_, kAlignment);
  }
}

}  // namespace torch_conv1d::cpu
