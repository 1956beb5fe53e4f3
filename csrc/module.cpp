// The Python module torch_conv1d._C: an entry to the front op with little overhead, and what the CPU side tells
// about itself. No tensor arithmetic.
#include <ATen/PythonTorchFunctionTLS.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include <torch/csrc/Exceptions.h>
#include <torch/csrc/autograd/python_variable.h>
#include <torch/csrc/jit/frontend/tracer.h>
#include <torch/version.h>

#include "algorithm.h"
#include "cpu/conv1d_cpu.h"
#include "cuda/plan.h"
#include "ops.h"

// setup.py gives the version and the architectures, where it builds CUDA kernels.
#ifndef TORCH_CONV1D_CUDA
#define TORCH_CONV1D_CUDA "not built"
#endif

namespace torch_conv1d {
namespace {

namespace py = pybind11;

// The Python function for calls that the fast path does not take; owned for the life of the process.
PyObject* general_path = nullptr;

constexpr std::array kArguments{"input",    "weight", "bias",         "stride",       "padding",
                                "dilation", "groups", "padding_mode", "channels_last"};
constexpr size_t kPositional = kArguments.size();
using Arguments = std::array<PyObject*, kArguments.size()>;

// Python's calling convention -> one slot per argument, null where not given. False for a call that does not fit.
bool bind_arguments(PyObject* const* args, size_t count, PyObject* keywords, Arguments& bound) {
  if (count > kPositional) return false;
  std::copy(args, args + count, bound.begin());
  const Py_ssize_t keyword_count = keywords ? PyTuple_GET_SIZE(keywords) : 0;
  for (Py_ssize_t i = 0; i < keyword_count; ++i) {
    PyObject* name = PyTuple_GET_ITEM(keywords, i);
    size_t slot = 0;
    while (slot < bound.size() && PyUnicode_CompareWithASCIIString(name, kArguments[slot]) != 0) ++slot;
    if (slot == bound.size() || bound[slot]) return false;
    bound[slot] = args[count + i];
  }
  return bound[0] && bound[1];
}

bool read_int(PyObject* object, int64_t& value) {
  if (!PyLong_CheckExact(object)) return false;
  int overflow = 0;
  value = PyLong_AsLongLongAndOverflow(object, &overflow);
  return overflow == 0;
}

// One or two numbers: an int, or a tuple or list of ints.
struct Numbers {
  std::array<int64_t, 2> values;
  size_t count = 1;

  bool read(PyObject* object) {
    if (!object || PyLong_CheckExact(object)) return !object || read_int(object, values[0]);
    if (!PyTuple_CheckExact(object) && !PyList_CheckExact(object)) return false;
    count = PySequence_Fast_GET_SIZE(object);
    if (count < 1 || count > values.size()) return false;
    for (size_t i = 0; i < count; ++i)
      if (!read_int(PySequence_Fast_GET_ITEM(object, i), values[i])) return false;
    return true;
  }
};

bool read_string(PyObject* object, std::string_view& value) {
  if (!object) return true;
  if (!PyUnicode_CheckExact(object)) return false;
  Py_ssize_t size = 0;
  const char* data = PyUnicode_AsUTF8AndSize(object, &size);
  if (!data) {
    PyErr_Clear();
    return false;
  }
  value = {data, static_cast<size_t>(size)};
  return true;
}

// The plain case, whole: tensors that are no subclass, numbers and strings, no mode that wants to see the call.
// False, with nothing done, for all others.
bool run_plain(const Arguments& a, at::Tensor& result) {
  PyObject* bias_object = a[2] == Py_None ? nullptr : a[2];
  if (!THPVariable_CheckExact(a[0]) || !THPVariable_CheckExact(a[1]) ||
      (bias_object && !THPVariable_CheckExact(bias_object)))
    return false;
  Numbers stride{{1}}, padding{{0}}, dilation{{1}};
  int64_t groups = 1;
  std::string_view padding_name, padding_mode = "zeros";
  const bool named_padding = a[4] && PyUnicode_CheckExact(a[4]);
  if (!stride.read(a[3]) || !dilation.read(a[5]) || (a[6] && !read_int(a[6], groups)) ||
      !(named_padding ? read_string(a[4], padding_name) : padding.read(a[4])) || !read_string(a[7], padding_mode) ||
      (a[8] && !PyBool_Check(a[8])))
    return false;
  if (at::impl::torch_function_mode_enabled() || torch::jit::tracer::isTracing()) return false;

  const at::Tensor& input = THPVariable_Unpack(a[0]);
  const at::Tensor& weight = THPVariable_Unpack(a[1]);
  const auto bias = bias_object ? std::optional<at::Tensor>(THPVariable_Unpack(bias_object)) : std::nullopt;
  const auto symbols = [](const Numbers& n) {
    return std::array<c10::SymInt, 2>{n.values[0], n.count > 1 ? n.values[1] : 0};
  };
  const auto s = symbols(stride), p = symbols(padding), d = symbols(dilation);
  const c10::SymIntArrayRef s_ref(s.data(), stride.count), p_ref(p.data(), padding.count);
  const c10::SymIntArrayRef d_ref(d.data(), dilation.count);
  const bool channels_last = a[8] == Py_True;
  const py::gil_scoped_release no_gil;
  result = named_padding
               ? conv1d_padding(input, weight, bias, s_ref, padding_name, d_ref, groups, padding_mode, channels_last)
               : conv1d(input, weight, bias, s_ref, p_ref, d_ref, groups, padding_mode, channels_last);
  return true;
}

PyObject* conv1d_entry(PyObject*, PyObject* const* args, Py_ssize_t count, PyObject* keywords) {
  HANDLE_TH_ERRORS
  Arguments bound{};
  at::Tensor result;
  if (bind_arguments(args, count, keywords, bound) && run_plain(bound, result))
    return THPVariable_Wrap(std::move(result));
  return PyObject_Vectorcall(general_path, args, count, keywords);
  END_HANDLE_TH_ERRORS
}

PyMethodDef conv1d_method[] = {
    {"conv1d", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(conv1d_entry)), METH_FASTCALL | METH_KEYWORDS,
     "The front op; calls that are not plain go to the general path."},
    {nullptr, nullptr, 0, nullptr}};

DType parse_dtype(const std::string& name) {
  if (name == "float32") return DType::float32;
  if (name == "float64") return DType::float64;
  if (name == "bfloat16") return DType::bfloat16;
  if (name == "float16") return DType::float16;
  throw py::value_error("dtype: expected float32, float64, bfloat16 or float16, got \"" + name + "\"");
}

PYBIND11_MODULE(_C, m) {
  if (PyModule_AddFunctions(m.ptr(), conv1d_method) != 0) throw py::error_already_set();
  m.def(
      "set_general_path", [](const py::function& function) { general_path = function.inc_ref().ptr(); },
      py::arg("function"));
  m.def("build_info", [] {
    py::dict info;
    info["torch"] = TORCH_VERSION;
    info["compiler"] = __VERSION__;
    info["cxx_standard"] = __cplusplus;
    info["cuda"] = TORCH_CONV1D_CUDA;
    return info;
  });
  m.def("supported_instruction_sets", cpu::supported_instruction_sets);
  m.def("active_instruction_set", cpu::active_instruction_set);
  m.def("set_instruction_set", cpu::set_instruction_set, py::arg("name"));
  m.def("chosen_algorithm", chosen_algorithm);
  m.def("set_algorithm", set_algorithm, py::arg("name"));
  m.def(
      "run_multiply_adds",
      [](int64_t steps, const std::string& dtype) { return cpu::run_multiply_adds(steps, parse_dtype(dtype)); },
      py::arg("steps"), py::arg("dtype") = "float32", py::call_guard<py::gil_scoped_release>());
  m.def(
      "explain",
      [](const std::string& problem, const std::string& dtype, const std::string& device, bool channels_last,
         int64_t multiprocessors, int64_t architecture) {
        const Conv1dProblem p = parse_problem(problem);
        if (device == "cpu") return cpu::explain(p, parse_dtype(dtype), active_algorithm(), channels_last);
        if (device == "cuda")
          return cuda::explain(p, parse_dtype(dtype), channels_last, {multiprocessors, architecture});
        throw py::value_error("device: expected cpu or cuda, got \"" + device + "\"");
      },
      py::arg("problem"), py::arg("dtype") = "float32", py::arg("device") = "cpu", py::arg("channels_last") = false,
      // Those of an H100.
      py::arg("multiprocessors") = 132, py::arg("architecture") = 90);
}

}  // namespace
}  // namespace torch_conv1d
