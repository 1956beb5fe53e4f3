// What the plans of several kinds of layers have in common.
#pragma once

#include "plan.h"

namespace torch_conv1d::cpu {

// Where one side is transposed, runs of this many positions on the one side, and the channels that fill an item on the
// other.
constexpr int64_t kTransposedPositions = 128, kTransposedBytes = 128 << 10;
// A block of a transposed source is at least so many times as long as the way from its first tap to the last.
constexpr int64_t kReaches = 4;
// Positions and bytes (read and written) of an item that packs next to nothing: enough to forget what an item costs.
constexpr int64_t kDirectPositions = 4096, kDirectBytes = 128 << 10;
// Up to this many multiplications for an element of the source, copying it into a panel is a part of the work that
// counts.
constexpr int64_t kDirectProducts = 16;
// A core's share of the L3 cache holds so many times as much as its L2 cache: what is more comes from memory.
constexpr int64_t kL2CachesOfL3 = 8;
// Packed weights that a call holds at a time. Packing a part of the source again for each such part costs little: they
// are weights enough to meet every element of it a thousand times.
constexpr int64_t kHeldBytes = 3 << 20;
// Working memory of a thread, with these.
constexpr int64_t kWorkingBytes = 4 << 20;
// Rows shorter than this may leave lanes of their last vector idle.
constexpr int64_t kShortRow = 64;
// Of so many samples side by side, a position is a cache line; rows no longer than that take longer to pack than to
// gather.
constexpr int64_t kSamplesTogether = 16;
// One row a group of so many channels: its taps are rows. The sums of a tap are stored and loaded once for each
// position, which takes as long as products of a few channels.
constexpr int64_t kTapRowsChannels = 16;

// Whether blocks of this many bytes of the source's rows share the L2 cache evenly: of the 64 KiB after which its sets
// repeat, not more than half of the ways are taken anywhere.
bool rows_spread(int64_t channels, int64_t row_bytes, int64_t block_bytes, int64_t l2_bytes);

// Lines of a set of the L1 cache, the bytes after which its sets repeat, and whether rows of weights, where they are
// stored, meet in one set.
constexpr int64_t kL1Ways = 8, kL1WayBytes = 4 << 10;
inline bool weight_rows_meet(const Correlation& c, int64_t element_bytes) {
  return c.w_row * element_bytes % kL1WayBytes == 0;
}

// Sets how many row tiles are held, in equal parts, and returns of how many groups if all.
int64_t hold_weights(const Correlation& c, int64_t sum_bytes, CorrelationPlan& plan);

// How many samples stand side by side in a panel: about as few as fill a tile, so that a tile meets neighbouring
// positions, whose taps share their loads; in panels that make the fewest vectors in all, lanes for samples that are not
// there included. A panel fits half of the L2 cache.
int64_t samples_together(
    const Correlation& c, int64_t sum_bytes, const Machine& machine, int64_t tile, int64_t threads);
// From so many on, gathering them costs less than the ends of rows that are read where they are.
constexpr int64_t kFewSamplesTogether = 4;

}  // namespace torch_conv1d::cpu
