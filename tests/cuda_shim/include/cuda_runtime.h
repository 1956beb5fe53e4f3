// As much of CUDA as csrc/cuda uses, for a machine without it: kernels compiled by g++ run here, one thread block after
// another, so that the sanitizers see every access.
//
// The threads of a block are fibers. One that is ready, chosen at random, runs until it ends or has to wait at a
// barrier. So a barrier too few is met by some order in which a thread reads what another has not written yet. Dynamic
// shared memory is poison when a block starts, and AddressSanitizer knows its size.
//
// Stricter than a GPU: a barrier that some thread of the block or warp never reaches is an error.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>

#define __global__
#define __device__
#define __shared__
#define __launch_bounds__(threads, blocks)
#define __align__(bytes) __attribute__((aligned(bytes)))

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
};

inline dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace cuda_shim {

// Errors to plant in every kernel, for the test of the tests.
enum class Defect { none, no_barriers, short_shared_memory };
inline Defect defect = Defect::none;

constexpr int kWarp = 32;
constexpr size_t kSlot = 32;

// Runs `kernel` for every thread of every block. Returns why it cannot be launched, or null.
const char* launch(dim3 blocks, dim3 threads, size_t shared_bytes, const std::function<void()>& kernel);
void wait_for_block();
void wait_for_warp();
// Memory that the threads of the running warp share, kSlot bytes for each lane; the next exchange has other memory.
unsigned char* warp_slots();
// The lane that runs, and the threads of its warp.
int lane();
int warp_size();
[[noreturn]] void fail(const char* why);

// Gives `value` to all lanes of the warp. The slots of lanes are to be read before the next exchange.
template <class T>
const unsigned char* exchange(const T& value) {
  static_assert(sizeof(T) <= kSlot);
  unsigned char* slots = warp_slots();
  std::memcpy(slots + lane() * kSlot, &value, sizeof value);
  wait_for_warp();
  return slots;
}

template <class T>
T shuffle(unsigned mask, T value, int from_lane) {
  if (mask != 0xffffffff) fail("a shuffle of a part of a warp");
  if (from_lane >= warp_size()) fail("a shuffle from a lane that does not exist");
  std::memcpy(&value, exchange(value) + from_lane * kSlot, sizeof value);
  return value;
}

}  // namespace cuda_shim

inline void __syncthreads() { cuda_shim::wait_for_block(); }
inline void __syncwarp() { cuda_shim::wait_for_warp(); }
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lanes) {
  return cuda_shim::shuffle(mask, value, cuda_shim::lane() ^ lanes);
}

// Launches. An error is the sentence that explains it; null is success.
using cudaError_t = const char*;
constexpr cudaError_t cudaSuccess = nullptr;
inline const char* cudaGetErrorString(cudaError_t error) { return error; }
inline cudaError_t cudaGetLastError() { return cudaSuccess; }

// A device with few multiprocessors, so that plans find reasons to make more blocks.
enum cudaDeviceAttr { cudaDevAttrMultiProcessorCount };
inline cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr, int) {
  *value = 4;
  return cudaSuccess;
}
struct cudaFuncAttributes {
  int ptxVersion;
};
template <class Kernel>
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, Kernel*) {
  attributes->ptxVersion = 90;
  return cudaSuccess;
}

using cudaStream_t = struct CUstream_st*;
struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  size_t dynamicSmemBytes = 0;
  cudaStream_t stream = nullptr;
};
template <class... Parameters, class... Arguments>
cudaError_t cudaLaunchKernelEx(
    const cudaLaunchConfig_t* config, void (*kernel)(Parameters...), const Arguments&... arguments) {
  return cuda_shim::launch(
      config->gridDim, config->blockDim, config->dynamicSmemBytes, [&] { kernel(Parameters(arguments)...); });
}
