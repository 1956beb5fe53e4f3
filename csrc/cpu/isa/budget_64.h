// The register budget of 64-byte vectors with 32 registers: tiles of 24 sums, few loads for each FMA. Of correlate,
// high tiles are read from the L2 cache the least: 12 x 2 takes 2 lines of the source for 24 FMAs, 8 x 3 takes 3.
#define VECTOR_BYTES 64
#include "../kernels/table.h"

namespace torch_conv1d::cpu {
namespace {
struct Budget {
  static constexpr int correlate_vectors[] = {12, 8, 8, 6, 4, 4, 3, 3, 2, 2, 2, 2};
  static constexpr int innermost_vectors = 4;
  static constexpr int channel_vectors = 4, channel_taps = 6, channel_fir_positions = 12;
  static constexpr int outer_rows = 12, outer_vectors = 2;
  static constexpr int dot_taps[] = {12, 12, 8, 6};
  static constexpr int fir_dot_taps[] = {12, 8, 8, 6};
  static constexpr int row_sums_rows = 8;
};
}  // namespace
}  // namespace torch_conv1d::cpu
