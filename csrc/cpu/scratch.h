// Working memory of a call: uninitialised, aligned to a cache line, recycled by the thread that used it.
//
// A thread keeps at most kKeptBuffers buffers, and kKeptBytes together with what it uses, whatever lengths it has seen.
#pragma once

#include <cstddef>
#include <cstdint>

namespace torch_conv1d::cpu {

class ScratchMemory {
 public:
  explicit ScratchMemory(size_t bytes);
  ~ScratchMemory();
  ScratchMemory(const ScratchMemory&) = delete;
  ScratchMemory& operator=(const ScratchMemory&) = delete;
  void* data() const { return data_; }

 private:
  void* data_;
  size_t capacity_;
};

// `count` elements of T.
template <class T>
class Scratch {
 public:
  explicit Scratch(int64_t count) : memory_(size_t(count) * sizeof(T)) {}
  T* data() const { return static_cast<T*>(memory_.data()); }
  T& operator[](int64_t index) const { return data()[index]; }

 private:
  ScratchMemory memory_;
};

}  // namespace torch_conv1d::cpu
