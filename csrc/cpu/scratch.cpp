#include "scratch.h"

#include <sys/mman.h>

#include <algorithm>
#include <new>

namespace torch_conv1d::cpu {
namespace {

constexpr size_t kAlignment = 64;
// Addresses of a thread's stack: pages of it that no call has used are no memory. What a call may take stays with the
// thread, what another had beyond that is given back when it ends.
constexpr size_t kStackBytes = size_t(16) << 20, kKeptBytes = size_t(4) << 20;

struct Stack {
  char* data = nullptr;
  size_t used = 0, most = 0;

  ~Stack() {
    if (data) munmap(data, kStackBytes);
  }
  char* take(size_t bytes) {
    if (!data) {
      constexpr int kFlags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
      void* const mapped = mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE, kFlags, -1, 0);
      if (mapped == MAP_FAILED) throw std::bad_alloc();
      data = static_cast<char*>(mapped);
    }
    used += bytes;
    most = std::max(most, used);
    return data + used - bytes;
  }
  void give_back(size_t bytes) {
    used -= bytes;
    if (used == 0 && most > kKeptBytes) {
      madvise(data + kKeptBytes, most - kKeptBytes, MADV_DONTNEED);
      most = 0;
    }
  }
  bool holds(const void* piece) const { return piece >= data && piece < data + kStackBytes; }
};
thread_local Stack stack;

}  // namespace

ScratchMemory::ScratchMemory(size_t bytes) : bytes_(bytes / kAlignment * kAlignment + kAlignment) {
  const bool fits = bytes_ <= kStackBytes - stack.used;
  data_ = fits ? stack.take(bytes_) : ::operator new(bytes_, std::align_val_t{kAlignment});
}

ScratchMemory::~ScratchMemory() {
  if (stack.holds(data_))
    stack.give_back(bytes_);
  else
    ::operator delete(data_, std::align_val_t{kAlignment});
}

}  // namespace torch_conv1d::cpu
