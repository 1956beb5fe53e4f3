#include "reference.h"

#include <vector>

#include "../padding.h"
#include "element.h"

namespace torch_conv1d::cpu::reference {
namespace {

// Calls fn(co, ci, k, lo, li) for every product of one sample; li is a position of x, products with a padded zero
// are left out.
template <class Fn>
void for_each_product(const Conv1dProblem& p, Fn&& fn) {
  for (int64_t co = 0; co < p.c_out; ++co) {
    const int64_t first = co / p.c_out_per_group() * p.c_in_per_group();
    for (int64_t lo = 0; lo < p.l_out; ++lo)
      for (int64_t ci = first; ci < first + p.c_in_per_group(); ++ci)
        for (int64_t k = 0; k < p.kernel_size; ++k) {
          const int64_t li = padded_source(lo * p.stride + k * p.dilation - p.pad_left, p.l_in, p.padding_mode);
          if (li >= 0) fn(co, ci, k, lo, li);
        }
  }
}

int64_t weight_index(const Conv1dProblem& p, int64_t co, int64_t ci, int64_t k) {
  return (co * p.c_in_per_group() + ci % p.c_in_per_group()) * p.kernel_size + k;
}

template <class E, class V>
double load(const V& view, int64_t n, int64_t c, int64_t l) {
  return to_sum(static_cast<const E*>(view.data)[n * view.stride_n + c * view.stride_c + l * view.stride_l]);
}

template <class E>
void store(double sum, E& out) {
  from_sum(decltype(to_sum(out))(sum), out);
}

template <class E>
void store_sample(const std::vector<double>& sums, MutableView out, int64_t n, int64_t channels, int64_t length) {
  E* data = static_cast<E*>(out.data) + n * out.stride_n;
  for (int64_t c = 0; c < channels; ++c)
    for (int64_t l = 0; l < length; ++l) store(sums[c * length + l], data[c * out.stride_c + l * out.stride_l]);
}

}  // namespace

void forward(const Conv1dProblem& p, DType dtype, View x, const void* w, const void* bias, MutableView y) {
  with_element(dtype, [&](auto element) {
    using E = decltype(element);
    for (int64_t n = 0; n < p.n; ++n) {
      std::vector<double> sums(p.c_out * p.l_out);
      for (int64_t co = 0; bias && co < p.c_out; ++co)
        for (int64_t lo = 0; lo < p.l_out; ++lo) sums[co * p.l_out + lo] = to_sum(static_cast<const E*>(bias)[co]);
      for_each_product(p, [&](int64_t co, int64_t ci, int64_t k, int64_t lo, int64_t li) {
        sums[co * p.l_out + lo] +=
            double(to_sum(static_cast<const E*>(w)[weight_index(p, co, ci, k)])) * load<E>(x, n, ci, li);
      });
      store_sample<E>(sums, y, n, p.c_out, p.l_out);
    }
  });
}

void grad_input(const Conv1dProblem& p, DType dtype, View grad_y, const void* w, MutableView grad_x) {
  with_element(dtype, [&](auto element) {
    using E = decltype(element);
    for (int64_t n = 0; n < p.n; ++n) {
      std::vector<double> sums(p.c_in * p.l_in);
      for_each_product(p, [&](int64_t co, int64_t ci, int64_t k, int64_t lo, int64_t li) {
        sums[ci * p.l_in + li] +=
            double(to_sum(static_cast<const E*>(w)[weight_index(p, co, ci, k)])) * load<E>(grad_y, n, co, lo);
      });
      store_sample<E>(sums, grad_x, n, p.c_in, p.l_in);
    }
  });
}

void grad_weight(const Conv1dProblem& p, DType dtype, View grad_y, View x, void* grad_w, void* grad_b) {
  with_element(dtype, [&](auto element) {
    using E = decltype(element);
    std::vector<double> sums_w(p.c_out * p.c_in_per_group() * p.kernel_size), sums_b(p.c_out);
    for (int64_t n = 0; n < p.n; ++n) {
      for (int64_t co = 0; co < p.c_out; ++co)
        for (int64_t lo = 0; lo < p.l_out; ++lo) sums_b[co] += load<E>(grad_y, n, co, lo);
      if (!grad_w) continue;
      for_each_product(p, [&](int64_t co, int64_t ci, int64_t k, int64_t lo, int64_t li) {
        sums_w[weight_index(p, co, ci, k)] += load<E>(grad_y, n, co, lo) * load<E>(x, n, ci, li);
      });
    }
    for (size_t i = 0; grad_w && i < sums_w.size(); ++i) store(sums_w[i], static_cast<E*>(grad_w)[i]);
    for (size_t i = 0; grad_b && i < sums_b.size(); ++i) store(sums_b[i], static_cast<E*>(grad_b)[i]);
  });
}

}  // namespace torch_conv1d::cpu::reference
