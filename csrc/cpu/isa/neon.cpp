// AArch64, every one: 16-byte vectors, fused multiply-add, 32 registers. Tiles of 24 sums, as with 64-byte vectors; but
// kDotLanes partial sums take four registers.
#define VECTOR_BYTES 16
#include "../kernels/table.h"

namespace torch_conv1d::cpu {
namespace {
struct Budget {
  static constexpr int correlate_vectors[] = {12, 8, 8, 6, 4, 4, 3, 3};
  static constexpr int innermost_vectors = 4;
  static constexpr int channel_vectors = 4, channel_taps = 6, channel_fir_positions = 12;
  static constexpr int outer_rows = 12, outer_vectors = 2;
  static constexpr int dot_taps[] = {12, 12, 8, 6};
  static constexpr int fir_dot_taps[] = {12, 8, 8, 6};
  static constexpr int row_sums_rows = 4;
};
}  // namespace

extern const KernelTable kNeonKernels;
constexpr KernelTable kNeonKernels = make_table<Budget>();
}  // namespace torch_conv1d::cpu
