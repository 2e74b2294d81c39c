"""Running modules through ONNX Runtime and holding them against the reference."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from weft.compiler.emit.onnx import to_onnx
from weft.compiler.emit.onnx.scope import DOMAIN
from weft.compiler.emit.reference import run
from weft.compiler.ir.module import Module
from weft.compiler.tolerance import judge, scales

ROUNDING = 2.0**-22


def checked(folder: Path) -> onnx.ModelProto:
    """The model of an export, which must satisfy onnx's own checker and the promises of the portable target."""
    file = folder / "model.onnx"
    onnx.checker.check_model(str(file), full_check=True)
    model = onnx.load(file, load_external_data=False)
    assert model.ir_version <= 11
    assert {o.domain: o.version for o in model.opset_import} == {"": 23, DOMAIN: 1}
    names = {f.name for f in model.functions}
    for node in every_node(model):
        assert node.domain == "" or (node.domain == DOMAIN and node.op_type in names)
    return model


def every_node(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """All nodes: of the main graph, of functions, and of bodies inside of them."""
    waiting = [*model.graph.node, *(n for f in model.functions for n in f.node)]
    found = []
    while waiting:
        node = waiting.pop()
        found.append(node)
        waiting += [n for a in node.attribute if a.HasField("g") for n in a.g.node]
    return found


def operators(model: onnx.ModelProto) -> list[str]:
    return [n.op_type for n in every_node(model)]


def run_onnx(folder: Path, inputs: Mapping[str, NDArray]) -> list[NDArray]:
    """The outputs of an export on inputs by the names of the module's entry."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"])
    wanted = {i.name: i.type for i in session.get_inputs()}
    feeds = {}
    for name, array in inputs.items():
        name = name if name in wanted else "input_ids"
        dtype = {"tensor(float)": np.float32, "tensor(int64)": np.int64, "tensor(bool)": np.bool_}[wanted[name]]
        feeds[name] = np.asarray(array, dtype)
    return session.run(None, feeds)


def agree(
    module: Module, inputs: Mapping[str, NDArray], weights: Mapping[str, NDArray], folder: Path
) -> onnx.ModelProto:
    """Export a module in full form and compare its outputs with the reference; returns the model."""
    to_onnx(module, weights, folder)
    model = checked(folder)
    given = {name: as_float32(array) for name, array in inputs.items()}
    exact = run(module, weights, given).values
    found = run_onnx(folder, given)
    expected = scales(module, weights, given)
    for a, b, scale in zip(found, exact, expected, strict=True):
        assert a.shape == b.shape
        if b.dtype == np.float64:
            size = float(np.sqrt(np.mean(b**2))) if b.size else 0.0
            verdict = judge(a, b, max(scale.rms, ROUNDING * size / 4), max(scale.max, ROUNDING * size / 4))
            assert verdict.accepted, f"{verdict}\n{a}\n{b}"
        else:
            np.testing.assert_array_equal(a, b)
    return model


def as_float32(array: NDArray) -> NDArray:
    """Real values that float32 holds exactly."""
    return np.asarray(array, np.float32).astype(np.float64) if array.dtype == np.float64 else array
