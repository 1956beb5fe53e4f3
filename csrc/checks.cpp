#include "checks.h"

#include <algorithm>

namespace torch_conv1d {
namespace {

// Comparisons and arithmetic, once for numbers and once for symbols. A symbol whose value is not known while
// tracing becomes an assertion of the traced program.
bool at_least(int64_t a, int64_t b) { return a >= b; }
bool at_least(const c10::SymInt& a, const c10::SymInt& b) { return a.sym_ge(b).expect_true(__FILE__, __LINE__); }
bool equal(int64_t a, int64_t b) { return a == b; }
bool equal(const c10::SymInt& a, const c10::SymInt& b) { return a.sym_eq(b).expect_true(__FILE__, __LINE__); }

// `what` names the arguments that a sum or product is made of.
int64_t add(int64_t a, int64_t b, const char* what) {
  int64_t sum = 0;
  TORCH_CHECK(!__builtin_add_overflow(a, b, &sum), "conv1d: ", what, " must fit in 64 bits, got ", a, " + ", b);
  return sum;
}
int64_t multiply(int64_t a, int64_t b, const char* what) {
  int64_t product = 0;
  TORCH_CHECK(!__builtin_mul_overflow(a, b, &product), "conv1d: ", what, " must fit in 64 bits, got ", a, " * ", b);
  return product;
}
c10::SymInt add(const c10::SymInt& a, const c10::SymInt& b, const char* what) {
  if (a.is_symbolic() || b.is_symbolic()) return a + b;
  return add(a.expect_int(), b.expect_int(), what);
}
c10::SymInt multiply(const c10::SymInt& a, const c10::SymInt& b, const char* what) {
  if (a.is_symbolic() || b.is_symbolic()) return a * b;
  return multiply(a.expect_int(), b.expect_int(), what);
}

template <class Int>
c10::ArrayRef<Int> sizes(const at::Tensor& tensor) {
  if constexpr (std::is_same_v<Int, int64_t>)
    return tensor.sizes();
  else
    return tensor.sym_sizes();
}

template <class Int>
void check_options(const Conv1dOptions<Int>& o) {
  TORCH_CHECK(
      at_least(o.groups, 1), "conv1d: non-positive groups is not supported: expected groups >= 1, got ", o.groups);
  TORCH_CHECK(
      at_least(o.stride, 1), "conv1d: non-positive stride is not supported: expected stride >= 1, got ", o.stride);
  TORCH_CHECK(
      at_least(o.pad_left, 0) && at_least(o.pad_right, 0),
      "conv1d: negative padding is not supported: expected padding >= 0, got (left, right) = (", o.pad_left, ", ",
      o.pad_right, ")");
  TORCH_CHECK(
      at_least(o.dilation, 1), "conv1d: dilation should be greater than zero: expected a positive dilation, got ",
      o.dilation);
  TORCH_CHECK(
      o.padding_mode >= 0 && o.padding_mode < int64_t(std::size(kPaddingModeNames)),
      "conv1d: expected padding_mode to be 0 (zeros), 1 (reflect), 2 (replicate) or 3 (circular), got ",
      o.padding_mode);
}

void check_like_input(const at::Tensor& input, const at::Tensor& tensor, const char* name) {
  TORCH_CHECK(
      tensor.scalar_type() == input.scalar_type(), "conv1d: Input type (", input.dtype().name(), ") and ", name,
      " type (", tensor.dtype().name(), ") should be the same");
  TORCH_CHECK(
      tensor.device() == input.device(), "conv1d: expected ", name, " on the device of input, ", input.device(),
      ", got ", name, " on ", tensor.device());
  TORCH_CHECK(
      tensor.layout() == at::kStrided, "conv1d: expected ", name, " with layout strided, got ", tensor.layout());
}

void check_dtype_and_layout(const at::Tensor& input) {
  const auto dtype = input.scalar_type();
  TORCH_CHECK(
      dtype == at::kFloat || dtype == at::kDouble || dtype == at::kBFloat16 || dtype == at::kHalf,
      "torch_conv1d::_conv1d: expected input of dtype float32, float64, bfloat16 or float16, got ",
      input.dtype().name(), "; torch_conv1d::conv1d passes other dtypes to torch");
  TORCH_CHECK(input.layout() == at::kStrided, "conv1d: expected input with layout strided, got ", input.layout());
}

template <class Int>
void check_shapes(const at::Tensor& input, const at::Tensor& weight, const Int& groups) {
  TORCH_CHECK(
      weight.dim() >= 3,
      "conv1d: weight should have at least three dimensions: expected the 3 of (out_channels, "
      "in_channels / groups, kernel_size), got shape ",
      sizes<Int>(weight));
  TORCH_CHECK(
      weight.dim() == 3,
      "conv1d: expected weight of the 3 dimensions (out_channels, in_channels / groups, kernel_size), got shape ",
      sizes<Int>(weight));
  TORCH_CHECK(input.dim() == 3, "conv1d: expected input of shape (N, C, L), got ", sizes<Int>(input));
  const auto w = sizes<Int>(weight);
  TORCH_CHECK(
      at_least(w[0], groups), "conv1d: Given groups=", groups, ", expected weight to be at least ", groups,
      " at dimension 0, but got weight of size ", w, " instead");
  TORCH_CHECK(
      equal(w[0] % groups, Int(0)), "conv1d: Given groups=", groups, ", expected weight to be divisible by ", groups,
      " at dimension 0, but got weight of size ", w, " instead");
  TORCH_CHECK(
      equal(sizes<Int>(input)[1], multiply(w[1], groups, "weight.shape[1] * groups")), "conv1d: Given groups=", groups,
      ", weight of size ", w, ", expected input", sizes<Int>(input), " to have ", w[1] * groups, " channels, but got ",
      sizes<Int>(input)[1], " channels instead");
  TORCH_CHECK(at_least(w[2], Int(1)), "conv1d: kernel size should be greater than zero, but got weight of size ", w);
}

template <class Int>
void check_padding_mode(const Int& l_in, const Conv1dOptions<Int>& o) {
  const auto within = [&](const Int& limit) { return at_least(limit, o.pad_left) && at_least(limit, o.pad_right); };
  switch (PaddingMode(o.padding_mode)) {
    case PaddingMode::zeros:
      break;
    case PaddingMode::reflect:
      TORCH_CHECK(
          within(l_in - 1) || (equal(o.pad_left, Int(0)) && equal(o.pad_right, Int(0))),
          "conv1d: Padding size should be less than the corresponding input dimension: padding_mode 'reflect' expects "
          "padding < input length ",
          l_in, ", got (left, right) = (", o.pad_left, ", ", o.pad_right, ")");
      break;
    case PaddingMode::replicate:
      TORCH_CHECK(
          at_least(l_in, Int(1)) || within(Int(0)),
          "conv1d: padding_mode 'replicate' expects a non-empty input length, got length ", l_in,
          " and (left, right) = (", o.pad_left, ", ", o.pad_right, ")");
      break;
    case PaddingMode::circular:
      TORCH_CHECK(
          within(l_in),
          "conv1d: Padding value causes wrapping around more than once: padding_mode 'circular' expects padding <= "
          "input length ",
          l_in, ", got (left, right) = (", o.pad_left, ", ", o.pad_right, ")");
      break;
  }
}

}  // namespace

template <class Int>
Int checked_output_length(
    const at::Tensor& input,
    const at::Tensor& weight,
    const std::optional<at::Tensor>& bias,
    const Conv1dOptions<Int>& o) {
  check_dtype_and_layout(input);
  check_options(o);
  check_shapes(input, weight, o.groups);
  check_like_input(input, weight, "weight");
  const auto x = sizes<Int>(input);
  const auto w = sizes<Int>(weight);
  if (bias.has_value() && bias->defined()) {
    TORCH_CHECK(
        bias->dim() == 1 && equal(sizes<Int>(*bias)[0], w[0]), "conv1d: Given weight of size ", w,
        ", expected bias to be 1-dimensional with ", w[0], " elements, but got bias of size ", sizes<Int>(*bias),
        " instead");
    check_like_input(input, *bias, "bias");
  }
  const char* const kPadded = "input length + left padding + right padding";
  const char* const kSpan = "dilation * (kernel_size - 1) + 1";
  const Int padded = add(add(x[2], o.pad_left, kPadded), o.pad_right, kPadded);
  const Int span = add(multiply(o.dilation, w[2] - 1, kSpan), Int(1), kSpan);
  TORCH_CHECK(
      at_least(padded, span),
      "conv1d: Kernel size can't be greater than actual input size: expected a kernel with dilation * "
      "(kernel_size - 1) + 1 <= padded length, got dilation ",
      o.dilation, " and kernel_size ", w[2], ", that is ", span, ", and length ", x[2], " padded to ", padded);
  check_padding_mode(x[2], o);
  const Int l_out = output_length(x[2], o.pad_left, o.pad_right, o.dilation, w[2], o.stride);
  // So that allocation and addressing stay inside 64 bits.
  const char* const kBytes = "the bytes of the output, N * out_channels * length * 8";
  multiply(multiply(multiply(x[0], w[0], kBytes), l_out, kBytes), Int(8), kBytes);
  return l_out;
}

template <class Int>
void check_backward(
    const at::Tensor& grad_output,
    const at::Tensor& input,
    const at::Tensor& weight,
    const Conv1dOptions<Int>& options) {
  const Int l_out = checked_output_length<Int>(input, weight, std::nullopt, options);
  const auto g = sizes<Int>(grad_output);
  const Int n = sizes<Int>(input)[0], c_out = sizes<Int>(weight)[0];
  TORCH_CHECK(
      g.size() == 3 && equal(g[0], n) && equal(g[1], c_out) && equal(g[2], l_out),
      "conv1d: expected grad_output of the shape of the output, [", n, ", ", c_out, ", ", l_out, "], got ", g);
  check_like_input(input, grad_output, "grad_output");
}

Conv1dProblem make_problem(
    const at::Tensor& input, const at::Tensor& weight, int64_t l_out, const Conv1dOptions<int64_t>& o) {
  Conv1dProblem p;
  p.n = input.size(0);
  p.c_in = input.size(1);
  p.c_out = weight.size(0);
  p.l_in = input.size(2);
  p.l_out = l_out;
  p.kernel_size = weight.size(2);
  // A stride beyond the row and a dilation without a second tap mean nothing; bounded, they cannot overflow a kernel.
  p.stride = std::min(o.stride, p.l_in + o.pad_left + o.pad_right);
  p.pad_left = o.pad_left;
  p.pad_right = o.pad_right;
  p.dilation = p.kernel_size > 1 ? o.dilation : 1;
  p.groups = o.groups;
  p.padding_mode = PaddingMode(o.padding_mode);
  return p;
}

template int64_t checked_output_length<int64_t>(
    const at::Tensor&, const at::Tensor&, const std::optional<at::Tensor>&, const Conv1dOptions<int64_t>&);
template c10::SymInt checked_output_length<c10::SymInt>(
    const at::Tensor&, const at::Tensor&, const std::optional<at::Tensor>&, const Conv1dOptions<c10::SymInt>&);
template void check_backward<int64_t>(
    const at::Tensor&, const at::Tensor&, const at::Tensor&, const Conv1dOptions<int64_t>&);
template void check_backward<c10::SymInt>(
    const at::Tensor&, const at::Tensor&, const at::Tensor&, const Conv1dOptions<c10::SymInt>&);

}  // namespace torch_conv1d
