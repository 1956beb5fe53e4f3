// The Autograd key: the derivatives of both private ops, reverse and forward mode.
//
// Both are partial derivatives of one trilinear form T(x, w, g) = <F(x, w), g> (cpu/conv1d_cpu.h), so each derivative
// is again a call of the two ops, and derivatives of every order exist:
//
//     y = F(x, w) + b                  reverse: (dx, dw, db) = B(g, x, w)
//                                      tangent: F(x', w) + b' + F(x, w')
//     (dx, dw, db) = B(g, x, w)        given u, v, s for dx, dw, db, reverse:
//                                          g: F(u, w) + s + F(x, v)    x: B(g, ., v).dx    w: B(g, u, .).dw
//                                      tangent: B(g', x, w) + B(g, ., w').dx + B(g, x', .).dw
//
// The kernels are reached through the dispatcher, below torch.func's transforms, and so may record nodes of their
// own, as ATen's generated code does; torch::autograd::Function refuses those transforms.
#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/functions/utils.h>
#include <torch/csrc/autograd/saved_variable.h>
#include <torch/csrc/autograd/variable.h>
#include <torch/csrc/dynamo/compiled_autograd.h>
#include <torch/library.h>
#include <torch/version.h>

#include "ops.h"

namespace torch_conv1d {
namespace {

using torch::autograd::Node;
using torch::autograd::SavedVariable;
using torch::autograd::variable_list;
using torch::dynamo::autograd::CompiledNodeArgs;
using torch::dynamo::autograd::SwapSavedVariables;

// torch 2.13 turned nodes from shared_ptr into intrusive_ptr, and 2.15 brought hooks on their creation.
#if TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR < 13
template <class T>
using NodePtr = std::shared_ptr<T>;
template <class T>
NodePtr<T> make_node() {
  return NodePtr<T>(new T(), torch::autograd::deleteNode);
}
#else
template <class T>
using NodePtr = c10::intrusive_ptr<T>;
template <class T>
NodePtr<T> make_node() {
  return c10::make_intrusive<T>();
}
#endif
template <class T>
void announce(const NodePtr<T>& node) {
#if TORCH_VERSION_MAJOR > 2 || TORCH_VERSION_MINOR >= 15
  torch::autograd::fire_node_creation_hooks(node);
#else
  (void)node;
#endif
}

at::Tensor sum_defined(const at::Tensor& a, const at::Tensor& b) {
  if (!a.defined()) return b;
  return b.defined() ? a.add(b) : a;
}

// The bias gradient's own derivative: one value per channel, at every position.
at::Tensor spread(const at::Tensor& per_channel, c10::SymIntArrayRef shape) {
  return per_channel.view_symint({1, -1, 1}).expand_symint(shape);
}

// An operand of a node. Its value is saved only if a derivative needs it; of the others the shape remains.
struct Operand {
  SavedVariable value;
  std::vector<c10::SymInt> shape;
  bool saved = false;

  void save(const at::Tensor& tensor, bool needed) {
    saved = needed;
    if (needed)
      value = SavedVariable(tensor, /*is_output=*/false);
    else
      shape = tensor.sym_sizes().vec();
  }
  // The operand; of one that was not saved a stand-in of the same shape, which no kernel reads.
  at::Tensor get(const at::Tensor& like) const {
    return saved ? value.unpack() : like.new_empty_symint({}).expand_symint(shape);
  }
};

// What both nodes share: the options, operands, and the chores that torch asks of a node.
struct Conv1dNode : torch::autograd::TraceableFunction {
  SymOptions options;
  std::vector<Operand> operands;

  void release_variables() override {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (Operand& operand : operands) operand.value.reset_data();
  }

  variable_list apply(variable_list&& grads) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    return differentiate(grads);
  }
  virtual variable_list differentiate(const variable_list& grads) = 0;

  // Compiled autograd lifts tensors and symbols out of the node, and replays it on their stand-ins.
  void compiled_args(CompiledNodeArgs& args) const override {
    for (const Operand& operand : operands) {
      args.collect(operand.saved);
      if (operand.saved) args.collect(operand.value, /*is_output=*/false);
      args.collect(operand.shape);
    }
    const SymOptions& o = options;
    for (const auto* number : {&o.stride, &o.pad_left, &o.pad_right, &o.dilation, &o.groups}) args.collect(*number);
    args.collect(o.padding_mode);
    args.collect(o.channels_last);
  }
  variable_list apply_with_saved(const variable_list& grads, SwapSavedVariables& saved) override {
    SymOptions& o = options;
    const std::array numbers{&o.stride, &o.pad_left, &o.pad_right, &o.dilation, &o.groups};
    for (Operand& operand : operands) {
      if (operand.saved) saved.before(operand.value);
      saved.before(operand.shape);
    }
    for (auto* number : numbers) saved.before(*number);
    variable_list result = apply(variable_list(grads));
    for (Operand& operand : operands) {
      if (operand.saved) saved.after(operand.value);
      saved.after(operand.shape);
    }
    for (auto* number : numbers) saved.after(*number);
    return result;
  }
};

struct Conv1dBackward final : Conv1dNode {  // inputs: x, w, b; operands: x, w
  std::string name() const override { return "Conv1dBackward"; }
  variable_list differentiate(const variable_list& grads) override {
    const at::Tensor& g = grads[0];
    const bool has_bias = num_outputs() > 2;
    if (!g.defined()) return variable_list(num_outputs());
    auto [grad_x, grad_w, grad_b] = call_backward(
        g, operands[0].get(g), operands[1].get(g), options,
        {task_should_compute_output(0), task_should_compute_output(1), has_bias && task_should_compute_output(2)});
    variable_list result{grad_x, grad_w};
    if (has_bias) result.push_back(grad_b);
    return result;
  }
};

struct Conv1dBackwardBackward final : Conv1dNode {  // inputs and operands: g, x, w
  std::string name() const override { return "Conv1dBackwardBackward"; }
  variable_list differentiate(const variable_list& grads) override {
    const at::Tensor &u = grads[0], &v = grads[1], &s = grads[2];
    variable_list result(3);
    const at::Tensor& any = u.defined() ? u : v.defined() ? v : s;
    if (!any.defined()) return result;
    const at::Tensor g = operands[0].get(any), x = operands[1].get(any), w = operands[2].get(any);
    if (task_should_compute_output(0)) {
      if (u.defined()) result[0] = call_forward(u, w, s, options);
      if (v.defined())
        result[0] = sum_defined(result[0], call_forward(x, v, u.defined() ? at::Tensor() : s, options));
      if (!result[0].defined()) result[0] = spread(s, g.sym_sizes());
    }
    if (task_should_compute_output(1) && v.defined())
      result[1] = std::get<0>(call_backward(g, x, v, options, {true, false, false}));
    if (task_should_compute_output(2) && u.defined())
      result[2] = std::get<1>(call_backward(g, u, w, options, {false, true, false}));
    return result;
  }
};

bool has_tangent(const at::Tensor& tensor) { return torch::autograd::isFwGradDefined(tensor); }
at::Tensor primal(const at::Tensor& tensor) { return tensor._fw_primal(0); }
at::Tensor tangent(const at::Tensor& tensor) { return tensor._fw_grad(/*level=*/0); }

at::Tensor forward(
    c10::DispatchKeySet keys,
    const at::Tensor& x,
    const at::Tensor& w,
    const std::optional<at::Tensor>& bias,
    c10::SymInt stride,
    c10::SymInt pad_left,
    c10::SymInt pad_right,
    c10::SymInt dilation,
    c10::SymInt groups,
    int64_t padding_mode,
    bool channels_last) {
  const SymOptions options{stride, pad_left, pad_right, dilation, groups, padding_mode, channels_last};
  const at::Tensor b = bias.value_or(at::Tensor());
  NodePtr<Conv1dBackward> node;
  if (torch::autograd::compute_requires_grad(x, w, b)) {
    node = make_node<Conv1dBackward>();
    node->set_next_edges(
        b.defined() ? torch::autograd::collect_next_edges(x, w, b) : torch::autograd::collect_next_edges(x, w));
    node->options = options;
    node->operands.resize(2);
    node->operands[0].save(x, node->should_compute_output(1));
    node->operands[1].save(w, node->should_compute_output(0));
  }
  at::Tensor y;
  {
    const at::AutoDispatchBelowADInplaceOrView below_autograd;
    y = redispatch_forward(keys & c10::after_autograd_keyset, x, w, bias, options);
  }
  if (node) {
    torch::autograd::set_history(y, node);
    announce(node);
  }
  // Forward mode does not depend on requires_grad.
  if (has_tangent(x) || has_tangent(w) || has_tangent(b)) {
    const at::Tensor b_tangent = has_tangent(b) ? tangent(b) : at::Tensor();
    at::Tensor t;
    if (has_tangent(x)) t = call_forward(tangent(x), primal(w), b_tangent, options);
    if (has_tangent(w))
      t = sum_defined(t, call_forward(primal(x), tangent(w), t.defined() ? at::Tensor() : b_tangent, options));
    if (!t.defined()) t = spread(b_tangent, y.sym_sizes());
    y._set_fw_grad(t, /*level=*/0, /*is_inplace_op=*/false);
  }
  return y;
}

Gradients backward(
    c10::DispatchKeySet keys,
    const at::Tensor& g,
    const at::Tensor& x,
    const at::Tensor& w,
    c10::SymInt stride,
    c10::SymInt pad_left,
    c10::SymInt pad_right,
    c10::SymInt dilation,
    c10::SymInt groups,
    int64_t padding_mode,
    bool channels_last,
    Mask mask) {
  const SymOptions options{stride, pad_left, pad_right, dilation, groups, padding_mode, channels_last};
  NodePtr<Conv1dBackwardBackward> node;
  if (torch::autograd::compute_requires_grad(g, x, w)) {
    node = make_node<Conv1dBackwardBackward>();
    node->set_next_edges(torch::autograd::collect_next_edges(g, x, w));
    node->options = options;
    node->operands.resize(3);
    const bool for_g = node->should_compute_output(0);
    const bool for_x = node->should_compute_output(1) && mask[1];
    const bool for_w = node->should_compute_output(2) && mask[0];
    node->operands[0].save(g, for_x || for_w);
    node->operands[1].save(x, for_g && mask[1]);
    node->operands[2].save(w, for_g && mask[0]);
  }
  Gradients result;
  {
    const at::AutoDispatchBelowADInplaceOrView below_autograd;
    result = redispatch_backward(keys & c10::after_autograd_keyset, g, x, w, options, mask);
  }
  auto& [grad_x, grad_w, grad_b] = result;
  if (node) {
    for (const at::Tensor& output : {grad_x, grad_w, grad_b}) torch::autograd::set_history(output, node);
    announce(node);
  }
  if (has_tangent(g) || has_tangent(x) || has_tangent(w)) {
    at::Tensor t_x, t_w, t_b;
    if (has_tangent(g)) std::tie(t_x, t_w, t_b) = call_backward(tangent(g), primal(x), primal(w), options, mask);
    if (has_tangent(w) && mask[0])
      t_x = sum_defined(t_x, std::get<0>(call_backward(primal(g), primal(x), tangent(w), options, {true, false, false})));
    if (has_tangent(x) && mask[1])
      t_w = sum_defined(t_w, std::get<1>(call_backward(primal(g), tangent(x), primal(w), options, {false, true, false})));
    const auto set_tangent = [](at::Tensor& output, const at::Tensor& t) {
      if (output.defined() && t.defined()) output._set_fw_grad(t, /*level=*/0, /*is_inplace_op=*/false);
    };
    set_tangent(grad_x, t_x);
    set_tangent(grad_w, t_w);
    set_tangent(grad_b, t_b);
  }
  return result;
}

TORCH_LIBRARY_IMPL(torch_conv1d, Autograd, m) {
  m.impl("_conv1d", forward);
  m.impl("_conv1d_backward", backward);
}

}  // namespace
}  // namespace torch_conv1d
