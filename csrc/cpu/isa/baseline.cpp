// Any machine: 16-byte vectors. On x86-64 that is SSE2: 16 registers and no fused multiply-add, so
// the results differ in their last bits from those of the other instruction sets.
#define VECTOR_BYTES 16
#include "../kernels/table.h"

namespace torch_conv1d::cpu {
namespace {
struct Budget {
  static constexpr int correlate_vectors[] = {8, 5, 3, 3, 2, 2};  // rows x vectors <= 12, of 16 registers
  static constexpr int innermost_vectors = 2;
  static constexpr int channel_vectors = 2, channel_taps = 5, channel_fir_positions = 8;
  static constexpr int outer_rows = 6, outer_vectors = 2;
  static constexpr int dot_taps[] = {12, 6, 4, 3};
  static constexpr int fir_dot_taps[] = {10, 5};
  static constexpr int row_sums_rows = 2;
};
}  // namespace

extern const KernelTable kBaselineKernels;
constexpr KernelTable kBaselineKernels = make_table<Budget>();
}  // namespace torch_conv1d::cpu
