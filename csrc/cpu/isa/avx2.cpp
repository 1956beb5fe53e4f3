// AVX2, FMA and F16C (Haswell 2013, Zen 2017 and later): 32-byte vectors, 16 registers. A tile wants at least 8 sums,
// to hide an FMA of 4 to 5 cycles that starts twice a cycle; 12 leave room for 2 to 3 vectors of x and one weight.
#define VECTOR_BYTES 32
#include "../kernels/table.h"

namespace torch_conv1d::cpu {
namespace {
struct Budget {
  static constexpr int correlate_vectors[] = {8, 6, 4, 3, 2, 2};
  static constexpr int innermost_vectors = 2;
  static constexpr int channel_vectors = 2, channel_taps = 6, channel_fir_positions = 10;
  static constexpr int outer_rows = 6, outer_vectors = 2;
  static constexpr int dot_taps[] = {12, 6, 4, 3};
  static constexpr int fir_dot_taps[] = {12, 6, 4};
  static constexpr int row_sums_rows = 4;
};
}  // namespace

extern const KernelTable kAvx2Kernels;
constexpr KernelTable kAvx2Kernels = make_table<Budget>();
}  // namespace torch_conv1d::cpu
