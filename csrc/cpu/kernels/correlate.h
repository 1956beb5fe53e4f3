// The tile of forward and grad_input (contract: CorrelateArgs). Vectors lie along positions; each weight is
// broadcast and meets `Vectors` vectors of x, each vector of x meets `Rows` weights.
#pragma once

#include "convert.h"
#include "vector.h"

namespace torch_conv1d::cpu {
namespace {

// How many bytes ahead of its stores rows of the result are fetched: the hardware sees one or two streams of stores
// coming, not as many as a tile has rows.
constexpr int64_t kResultRowsAhead = 512;

// How far from the row of a channel to prefetch. Rows of a panel come from the L2 cache, each from another page, so
// that the hardware does not see the next one coming. Those of the source itself come from memory: what a later tile
// reads of the same rows, the next one or as far ahead as makes 16 KiB of all rows on their way; at most a page, where
// the hardware stops.
template <class T>
inline int64_t prefetch_distance(const CorrelateArgs<T>& a, int64_t width) {
  constexpr int64_t kChannels = 8, kPage = 4096 / sizeof(T);
  const int64_t ahead = a.channels > 4 ? 4 * kPage / a.channels : kPage;
  const int64_t distance = !a.from_memory ? kChannels * a.x_row : ahead > width ? ahead : width;
  return distance + (a.taps ? a.offset[0] : 0);
}

// Fetches what a tile reads of a row, which may begin anywhere in a line: the last element of each line's length, because
// the line of the first one is the last of the tile before.
template <int Width, class T>
inline __attribute__((always_inline)) void fetch_tile(const T* first) {
  constexpr int kLine = 64 / int(sizeof(T));
  UNROLL for (int i = 0; i < Width; i += kLine)
    __builtin_prefetch(first + (i + kLine < Width ? i + kLine : Width) - 1);
}

// Where sums go. A copy of what the arguments say: they would be read again after every store.
template <class T>
struct SumsOut {
  explicit SumsOut(const CorrelateArgs<T>& a) : out(a.out), row(a.out_row), type(a.out_type) {}

  void* const out;
  const int64_t row;
  const DType type;

  // Fetches lines that later tiles write: of each row, as many as a tile from element `at` on has, so many bytes after
  // them.
  template <int Rows, int Vectors>
  inline __attribute__((always_inline)) void fetch(int64_t at, int64_t bytes_after) const {
    const int64_t element = type == kDType<T> ? sizeof(T) : sizeof(BFloat16);
    const char* const first = static_cast<const char*>(out) + at * element + bytes_after;
    UNROLL for (int r = 0; r < Rows; ++r) {
      UNROLL for (int i = 0; i < Vectors * kLanes<T>; i += 64 / int(sizeof(T)))
        __builtin_prefetch(first + (r * row + i) * element, 1);
    }
  }

  // A tile, from element `at` of the first row on.
  template <int Rows, int Vectors>
  inline __attribute__((always_inline)) void store_tile(int64_t at, const Vector<T> (&sum)[Rows][Vectors]) const {
    if constexpr (sizeof(T) == sizeof(float)) {
      const auto store_narrow = [&](auto* to) __attribute__((always_inline)) {
        UNROLL for (int r = 0; r < Rows; ++r) {
          UNROLL for (int v = 0; v + 1 < Vectors; v += 2)
            store_rounded<VECTOR_BYTES>(to + r * row + v * kLanes<T>, sum[r][v], sum[r][v + 1]);
          if constexpr (Vectors % 2)
            store_rounded<VECTOR_BYTES>(to + r * row + (Vectors - 1) * kLanes<T>, sum[r][Vectors - 1]);
        }
      };
      if (type == DType::bfloat16) return store_narrow(static_cast<BFloat16*>(out) + at);
      if (type == DType::float16) return store_narrow(static_cast<Float16*>(out) + at);
    }
    UNROLL for (int r = 0; r < Rows; ++r) {
      UNROLL for (int v = 0; v < Vectors; ++v)
        store(static_cast<T*>(out) + at + r * row + v * kLanes<T>, sum[r][v]);
    }
  }
};

// Packed: w is [channel][tap][row], with room in between. Otherwise it is where the caller of conv1d stored it.
template <class T, int Rows, int Vectors, bool Packed, class Products = ElementProducts>
void correlate(const CorrelateArgs<T>& a) {
  constexpr int kWidth = Vectors * kLanes<T>, kFetched = kWidth * int(sizeof(T)) < 64 ? 64 : kWidth * int(sizeof(T));
  const int64_t ahead = prefetch_distance(a, kWidth);
  const SumsOut<T> out(a);
  const auto compute_tile = [&]<bool SingleTap>(int64_t tile, bool many_channels) __attribute__((always_inline)) {
    Vector<T> sum[Rows][Vectors];
    if (a.goes_on) {
      const T* before = static_cast<const T*>(a.out) + tile * kWidth;
      UNROLL for (int r = 0; r < Rows; ++r) {
        UNROLL for (int v = 0; v < Vectors; ++v)
          sum[r][v] = load<Vector<T>>(before + r * a.out_row + v * kLanes<T>);
      }
    } else {
      UNROLL for (int r = 0; r < Rows; ++r) {
        const Vector<T> init = a.init ? broadcast(a.init[r]) : Vector<T>{};
        UNROLL for (int v = 0; v < Vectors; ++v)
          sum[r][v] = init;
      }
    }
    // Copies, which a loop over channels keeps in registers; the arguments themselves would be read for each of them.
    const int64_t* const offset = a.offset;
    const int64_t taps = a.taps, x_row = a.x_row, w_tap = Packed ? Rows + a.w_gap : 1;
    [[maybe_unused]] const int64_t w_skip = a.w_skip;
    const T* w = a.w;
    const T* row = a.x + tile * kWidth + (SingleTap ? offset[0] : 0);
    const auto add_tap = [&](const T* at) __attribute__((always_inline)) {
      const auto weight = [&](int r) { return Products::broadcast(w + (Packed ? r : r * a.w_row)); };
      // Beside the sums, registers hold the fewer of the two, and one of the other.
      if constexpr (Rows < Vectors) {
        Vector<T> weights[Rows];
        UNROLL for (int r = 0; r < Rows; ++r)
          weights[r] = weight(r);
        UNROLL for (int v = 0; v < Vectors; ++v) {
          Vector<T> x = load<Vector<T>>(at + v * kLanes<T>);
          if (Rows > 1) keep_in_register(x);
          UNROLL for (int r = 0; r < Rows; ++r)
            Products::add(sum[r][v], weights[r], x);
        }
      } else {
        Vector<T> x[Vectors];
        UNROLL for (int v = 0; v < Vectors; ++v) {
          x[v] = load<Vector<T>>(at + v * kLanes<T>);
          if (SingleTap && Rows > 1) keep_in_register(x[v]);
        }
        UNROLL for (int r = 0; r < Rows; ++r) {
          const Vector<T> one = weight(r);
          UNROLL for (int v = 0; v < Vectors; ++v)
            Products::add(sum[r][v], one, x[v]);
        }
      }
      w += w_tap;
    };
    const auto add_channel = [&](int64_t c) __attribute__((always_inline)) {
      fetch_tile<kWidth>(row + ahead);
      if constexpr (!Packed) w = a.w + c * a.w_channel;
      if constexpr (SingleTap)
        add_tap(row);
      else
        for (int64_t t = 0; t < taps; ++t) add_tap(row + offset[t]);
      if constexpr (Packed) w += w_skip;
      row += x_row;
    };
    if (many_channels) {
      const int64_t step = a.next_step + tile;
      const bool fetches = step < a.next_steps;
      const int64_t every = fetches ? int64_t(1) << a.next_shift : a.channels;
      const char* next = fetches ? a.next + (step >> a.next_shift) * kFetched + (step & (every - 1)) * a.next_row
                                 : reinterpret_cast<const char*>(row);
      for (int64_t c = 0, end = 0; c < a.channels; next += every * a.next_row) {
        UNROLL for (int i = 0; i < kFetched; i += 64)
          __builtin_prefetch(next + i, 0, 2);
        end = end + every < a.channels ? end + every : a.channels;
        for (; c < end; ++c) add_channel(c);
      }
    } else {
      for (int64_t c = 0; c < a.channels; ++c) add_channel(c);
    }
    out.store_tile(tile * kWidth, sum);
  };
  // Loops of their own for few products, which leave no time for what fetching has to know; and for single taps of narrow
  // vectors: with a loop over taps, a channel would be more instructions than half a core starts in the time of its
  // products, and half is what another program on the core leaves.
  constexpr bool kNarrow = sizeof(Vector<T>) < 64;
  if (kNarrow && a.channels >= kFetchedChannels && a.taps == 1)
    for (int64_t tile = 0; tile < a.tiles; ++tile) compute_tile.template operator()<kNarrow>(tile, true);
  else if (a.channels >= kFetchedChannels)
    for (int64_t tile = 0; tile < a.tiles; ++tile) compute_tile.template operator()<false>(tile, true);
  else if (!a.to_memory)
    for (int64_t tile = 0; tile < a.tiles; ++tile) compute_tile.template operator()<false>(tile, false);
  else
    for (int64_t tile = 0; tile < a.tiles; ++tile) {
      out.template fetch<Rows, Vectors>(tile * kWidth, kResultRowsAhead);
      compute_tile.template operator()<false>(tile, false);
    }
}

}  // namespace
}  // namespace torch_conv1d::cpu
