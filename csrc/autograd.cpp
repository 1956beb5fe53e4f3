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

#include <algorithm>
#include <mutex>

#include "ops.h"

namespace torch_conv1d {
namespace {

using torch::autograd::SavedVariable;
using torch::autograd::variable_list;
using torch::dynamo::autograd::CompiledNodeArgs;
using torch::dynamo::autograd::IValuePacker;
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

bool has_tangent(const at::Tensor& tensor) { return torch::autograd::isFwGradDefined(tensor); }
at::Tensor primal(const at::Tensor& tensor) { return tensor._fw_primal(0); }
at::Tensor tangent(const at::Tensor& tensor) { return tensor._fw_grad(/*level=*/0); }

// Whether a call with these operands goes straight to a kernel: nothing is recorded, and no mode or transform has a
// say.
bool unobserved(std::initializer_list<at::Tensor> operands) {
  c10::DispatchKeySet keys;
  for (const at::Tensor& operand : operands) {
    if (!operand.defined()) continue;
    if (torch::autograd::compute_requires_grad(operand) || has_tangent(operand)) return false;
    keys = keys | operand.key_set();
  }
  constexpr auto kPassedThrough =
      c10::autograd_dispatch_keyset_with_ADInplaceOrView.add(c10::DispatchKey::BackendSelect);
  keys = c10::impl::computeDispatchKeySet(keys, c10::DispatchKeySet(c10::DispatchKeySet::FULL) - kPassedThrough);
  return keys.highestFunctionalityKey() == c10::DispatchKey::Dense;
}

at::Tensor sum_defined(const at::Tensor& a, const at::Tensor& b) {
  if (!a.defined()) return b;
  return b.defined() ? a.add(b) : a;
}

// F(x, dw) + F(dx, w) + db: the derivative of F(x, w) + b along (dx, dw, db), any of which may be undefined. So is the
// result if both products are.
at::Tensor forward_along(
    const at::Tensor& x,
    const at::Tensor& w,
    const at::Tensor& dx,
    const at::Tensor& dw,
    const at::Tensor& db,
    const SymOptions& options) {
  if (!dx.defined() || !dw.defined())
    return dx.defined()   ? call_forward(dx, w, db, options)
           : dw.defined() ? call_forward(x, dw, db, options)
                          : at::Tensor();
  const bool plain = unobserved({x, w, dx, dw, db});
  if (plain && x.is_cpu())
    if (const at::Tensor sum = cpu_forward_of_two(dx, w, x, dw, db, options); sum.defined()) return sum;
  const at::Tensor first = call_forward(dx, w, db, options), second = call_forward(x, dw, {}, options);
  return plain ? first.add_(second) : first.add(second);
}

// The bias gradient's own derivative: one value per channel, at every position.
at::Tensor spread(const at::Tensor& per_channel, c10::SymIntArrayRef shape) {
  return per_channel.view_symint({1, -1, 1}).expand_symint(shape);
}

// A node of the graph. `Derivative` says what it computes, from saved operands alone; the rest are the chores that
// torch asks of a node. Both ops have three inputs that may need a gradient.
template <class Derivative>
struct Conv1dNode final : torch::autograd::TraceableFunction {
  using Operands = std::array<at::Tensor, Derivative::kOperands>;
  using Shapes = std::array<std::vector<c10::SymInt>, Derivative::kOperands>;

  SymOptions options;
  // An operand whose value no derivative needs is not kept alive: only its shape is saved.
  std::array<SavedVariable, Derivative::kOperands> values;
  Shapes shapes;

  void save(size_t i, const at::Tensor& operand, bool needed) {
    if (needed)
      values[i] = SavedVariable(operand, /*is_output=*/false);
    else
      shapes[i] = operand.sym_sizes().vec();
  }

  std::string name() const override { return Derivative::kName; }

  void release_variables() override {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (SavedVariable& value : values) value.reset_data();
  }

  variable_list apply(variable_list&& grads) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    return differentiate(grads, unpacked(), shapes, options, needed());
  }

  // Compiled autograd lifts tensors and symbols out of the node, and puts a call of the derivative on their
  // stand-ins into its graph.
  void compiled_args(CompiledNodeArgs& args) const override {
    for (const SavedVariable& value : values) args.collect(value, /*is_output=*/false);
    for (const auto& shape : shapes) args.collect(shape);
    for (const auto* number : numbers(options)) args.collect(*number);
    args.collect(options.padding_mode);
    args.collect(options.channels_last);
  }

  variable_list apply_with_saved(const variable_list& grads, SwapSavedVariables& saved) override {
    for (SavedVariable& value : values) saved.before(value);
    for (auto& shape : shapes) saved.before(shape);
    for (auto* number : numbers(options)) saved.before(*number);

    Packer packer;
    for (const at::Tensor& operand : unpacked()) packer.add(operand);
    for (const auto& shape : shapes) packer.add(shape);
    for (const auto* number : numbers(options)) packer.add(*number);
    packer.add(options.padding_mode);
    packer.add(options.channels_last);
    packer.add(needed());
    const auto& python = torch::dynamo::autograd::getPyCompilerInterface();
    static const std::string function =
        python->bind_function(saved.get_py_compiler(), Derivative::kName, differentiate_packed, packer.types);
    const auto results = torch::dynamo::autograd::get_input_metadata(next_edges());
    variable_list result = python->call_function(
        saved.get_py_compiler(), "apply_functional", function, grads, std::move(packer.values).vec(),
        IValuePacker<std::decay_t<decltype(results)>>::pack(results));

    for (SavedVariable& value : values) saved.after(value);
    for (auto& shape : shapes) saved.after(shape);
    for (auto* number : numbers(options)) saved.after(*number);
    return result;
  }

 private:
  struct Packer {
    torch::dynamo::autograd::PackedArgs values;
    std::vector<at::TypePtr> types;

    template <class T>
    void add(const T& value) {
      values.pack(value);
      types.push_back(IValuePacker<T>::packed_type());
    }
  };

  template <class Options>
  static auto numbers(Options& o) {
    return std::array{&o.stride, &o.pad_left, &o.pad_right, &o.dilation, &o.groups};
  }

  Operands unpacked() const {
    Operands operands;
    for (size_t i = 0; i < operands.size(); ++i) operands[i] = values[i].unpack();
    return operands;
  }

  Mask needed() const {
    return {task_should_compute_output(0), task_should_compute_output(1), task_should_compute_output(2)};
  }

  static variable_list differentiate_packed(const variable_list& grads, const std::vector<at::IValue>& arguments) {
    torch::dynamo::autograd::PackedArgs packed(arguments);
    Operands operands;
    for (at::Tensor& operand : operands) operand = packed.unpack<at::Tensor>();
    Shapes shapes;
    for (auto& shape : shapes) shape = packed.unpack<std::vector<c10::SymInt>>();
    SymOptions options;
    for (auto* number : numbers(options)) *number = packed.unpack<c10::SymInt>();
    options.padding_mode = packed.unpack<int64_t>();
    options.channels_last = packed.unpack<bool>();
    return differentiate(grads, std::move(operands), shapes, options, packed.unpack<Mask>());
  }

  static variable_list differentiate(
      const variable_list& grads, Operands operands, const Shapes& shapes, const SymOptions& options, Mask needed) {
    const auto grad = std::find_if(grads.begin(), grads.end(), [](const auto& g) { return g.defined(); });
    if (grad == grads.end()) return variable_list(needed.size());
    // A stand-in for an operand that was not saved: no kernel reads it.
    for (size_t i = 0; i < operands.size(); ++i)
      if (!operands[i].defined()) operands[i] = grad->new_empty_symint({}).expand_symint(shapes[i]);
    return Derivative::compute(grads, operands, options, needed);
  }
};

struct ForwardDerivative {
  static constexpr const char* kName = "Conv1dBackward";
  static constexpr size_t kOperands = 2;

  static variable_list compute(
      const variable_list& grads,
      const std::array<at::Tensor, kOperands>& operands,
      const SymOptions& options,
      Mask needed) {
    const auto& [x, w] = operands;
    const auto [grad_x, grad_w, grad_b] = call_backward(grads[0], x, w, options, needed);
    return {grad_x, grad_w, grad_b};
  }
};

struct BackwardDerivative {
  static constexpr const char* kName = "Conv1dBackwardBackward";
  static constexpr size_t kOperands = 3;

  static variable_list compute(
      const variable_list& grads,
      const std::array<at::Tensor, kOperands>& operands,
      const SymOptions& options,
      Mask needed) {
    const at::Tensor &u = grads[0], &v = grads[1], &s = grads[2];
    const auto& [g, x, w] = operands;
    variable_list result(3);
    if (needed[0]) {
      result[0] = forward_along(x, w, u, v, s, options);
      if (!result[0].defined()) result[0] = spread(s, g.sym_sizes());
    }
    if (needed[1] && v.defined()) result[1] = std::get<0>(call_backward(g, x, v, options, {true, false, false}));
    if (needed[2] && u.defined()) result[2] = std::get<1>(call_backward(g, u, w, options, {false, true, false}));
    return result;
  }
};

at::Tensor forward(
    c10::DispatchKeySet keys,
    const at::Tensor& x,
    const at::Tensor& w,
    const std::optional<at::Tensor>& bias,
    const SymOptions& options) {
  const at::Tensor b = bias.value_or(at::Tensor());
  NodePtr<Conv1dNode<ForwardDerivative>> node;
  if (torch::autograd::compute_requires_grad(x, w, b)) {
    node = make_node<Conv1dNode<ForwardDerivative>>();
    node->set_next_edges(torch::autograd::collect_next_edges(x, w, b));
    node->options = options;
    node->save(0, x, node->should_compute_output(1));
    node->save(1, w, node->should_compute_output(0));
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
    const auto tangent_of = [](const at::Tensor& a) { return has_tangent(a) ? tangent(a) : at::Tensor(); };
    const at::Tensor b_tangent = tangent_of(b);
    at::Tensor t = forward_along(primal(x), primal(w), tangent_of(x), tangent_of(w), b_tangent, options);
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
    const SymOptions& options,
    Mask mask) {
  NodePtr<Conv1dNode<BackwardDerivative>> node;
  if (torch::autograd::compute_requires_grad(g, x, w)) {
    node = make_node<Conv1dNode<BackwardDerivative>>();
    node->set_next_edges(torch::autograd::collect_next_edges(g, x, w));
    node->options = options;
    const bool for_g = node->should_compute_output(0);
    const bool for_x = node->should_compute_output(1) && mask[1];
    const bool for_w = node->should_compute_output(2) && mask[0];
    node->save(0, g, for_x || for_w);
    node->save(1, x, for_g && mask[1]);
    node->save(2, w, for_g && mask[0]);
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
      t_x =
          sum_defined(t_x, std::get<0>(call_backward(primal(g), primal(x), tangent(w), options, {true, false, false})));
    if (has_tangent(x) && mask[1])
      t_w =
          sum_defined(t_w, std::get<1>(call_backward(primal(g), tangent(x), primal(w), options, {false, true, false})));
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
  m.impl("_conv1d", flat<forward>);
  m.impl("_conv1d_backward", flat<backward>);
}

}  // namespace
}  // namespace torch_conv1d
