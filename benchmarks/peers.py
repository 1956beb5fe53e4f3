"""Other libraries that compute a convolution on the CPU, where they are installed: forward alone.

Each is used as its documentation says an inference should be: weights are constants of the model,
inputs and outputs are not copied, and it has as many threads as torch.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from benchmarks.calls import Case, Operands

# Runs once and returns the result, as the library holds it.
Inference = Callable[[], Any]


class Unsupported(Exception):
    """The peer cannot compute this case."""


def make_inference(name: str, case: Case, operands: Operands, threads: int) -> Inference:
    if case.mode != "forward" or case.layout != "ncl":
        raise Unsupported("forward of (N, C, L) tensors alone")
    make, dtypes = PEERS[name]
    if case.dtype not in dtypes:
        raise Unsupported(f"no {case.dtype}")
    return make(case, operands, threads)


def as_tensor(result: Any) -> Tensor:
    array = result.numpy() if hasattr(result, "numpy") else result  # an OrtValue
    return torch.from_numpy(import_module("numpy").array(array))


def _by_onnxruntime(case: Case, t: Operands, threads: int) -> Inference:
    runtime, onnx = import_module("onnxruntime"), import_module("onnx")
    helper, from_array = onnx.helper, onnx.numpy_helper.from_array
    p, x, w = case.workload, t.x.numpy(), t.w.numpy()
    constants, nodes, source, pads = [from_array(w, "w")], [], "x", [p.pad_left, p.pad_right]
    if p.padding_mode != "zeros":
        around = torch.tensor([0, 0, p.pad_left, 0, 0, p.pad_right]).numpy()
        constants.append(from_array(around, "around"))
        mode = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}[p.padding_mode]
        nodes.append(helper.make_node("Pad", ["x", "around"], ["padded"], mode=mode))
        source, pads = "padded", [0, 0]
    inputs = [source, "w"]
    if t.b is not None:
        constants.append(from_array(t.b.numpy(), "b"))
        inputs.append("b")
    nodes.append(
        helper.make_node(
            "Conv",
            inputs,
            ["y"],
            strides=[p.stride],
            dilations=[p.dilation],
            group=p.groups,
            pads=pads,
        )
    )
    element = helper.np_dtype_to_tensor_dtype(x.dtype)
    graph = helper.make_graph(
        nodes,
        "conv1d",
        [helper.make_tensor_value_info("x", element, x.shape)],
        [helper.make_tensor_value_info("y", element, [p.n, p.c_out, p.l_out])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = runtime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    binding = session.io_binding()
    binding.bind_cpu_input("x", x)
    binding.bind_output("y")

    def infer() -> Any:
        session.run_with_iobinding(binding)
        return binding.get_outputs()[0]

    return infer


def _by_openvino(case: Case, t: Operands, threads: int) -> Inference:
    openvino, ops = import_module("openvino"), import_module("openvino.opset13")
    p, x, w = case.workload, t.x.numpy(), t.w.numpy()
    parameter = ops.parameter(x.shape, x.dtype)
    source, left, right = parameter, p.pad_left, p.pad_right
    if p.padding_mode != "zeros":
        mode = {"reflect": "reflect", "replicate": "edge"}.get(p.padding_mode)
        if mode is None:
            raise Unsupported(f"no padding mode {p.padding_mode}")
        source, left, right = ops.pad(source, [0, 0, left], [0, 0, right], mode), 0, 0
    sizes = ([p.stride], [left], [right], [p.dilation])
    if p.groups == 1:
        y = ops.convolution(source, w, *sizes)
    else:
        grouped = w.reshape(p.groups, p.c_out // p.groups, p.c_in_per_group, p.kernel_size)
        y = ops.group_convolution(source, grouped, *sizes)
    if t.b is not None:
        y = ops.add(y, t.b.numpy().reshape(1, -1, 1))
    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": {"float32": "f32", "float16": "f16"}[case.dtype],
        "NUM_STREAMS": 1,
    }
    model = openvino.Model([y], [parameter], "conv1d")
    request = openvino.Core().compile_model(model, "CPU", settings).create_infer_request()
    request.set_input_tensor(openvino.Tensor(x, shared_memory=True))

    def infer() -> Any:
        request.infer()
        return request.get_output_tensor().data

    return infer


def _by_jax(case: Case, t: Operands, threads: int) -> Inference:
    jax = _jax(threads)
    p = case.workload
    padding = [(p.pad_left, p.pad_right)]

    def convolution(x: Any, w: Any, b: Any) -> Any:
        sides = padding
        if p.padding_mode != "zeros":
            mode = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}[p.padding_mode]
            x, sides = jax.numpy.pad(x, [(0, 0), (0, 0), *padding], mode), [(0, 0)]
        y = jax.lax.conv_general_dilated(
            x,
            w,
            (p.stride,),
            sides,
            rhs_dilation=(p.dilation,),
            dimension_numbers=("NCH", "OIH", "NCH"),
            feature_group_count=p.groups,
        )
        return y if b is None else y + b[None, :, None]

    operands = [None if o is None else jax.numpy.asarray(o.numpy()) for o in (t.x, t.w, t.b)]
    compiled = jax.jit(convolution)
    return lambda: compiled(*operands).block_until_ready()


def _jax(threads: int) -> Any:
    """jax has as many threads as the process has processors when it starts, and no option."""
    processors = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(processors)[:threads])
    try:
        jax = import_module("jax")
        jax.config.update("jax_platforms", "cpu")
        jax.config.update("jax_enable_x64", True)
        jax.devices()
    finally:
        os.sched_setaffinity(0, processors)
    return jax


PEERS: dict[str, tuple[Callable[[Case, Operands, int], Inference], Sequence[str]]] = {
    "onnxruntime": (_by_onnxruntime, ("float32", "float16")),
    "openvino": (_by_openvino, ("float32", "float16")),
    "jax": (_by_jax, ("float32", "float64", "float16")),
}
