// Working memory of a call: uninitialised, aligned to a cache line, on a stack that each thread keeps. What is taken
// last is given back first, so the stack never holds more than the call that needed most, whatever lengths it has seen.
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
  size_t bytes_;
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
