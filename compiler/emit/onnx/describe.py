"""A summary of an ONNX model for people: inputs, outputs, functions, and how often each operator occurs."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import onnx
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto

from .manifest import DECODER_FILE, ENCODER_FILE, MODEL_FILE
from .scope import DOMAIN


def describe_onnx(model: ModelProto | str | os.PathLike[str]) -> str:
    """The summary of a model, of a model file, or of an export folder. Weights are not read."""
    if not isinstance(model, ModelProto):
        path = Path(model)
        if path.is_dir():
            if (path / ENCODER_FILE).is_file():
                return "\n\n".join(describe_onnx(path / name) for name in (ENCODER_FILE, DECODER_FILE))
            path = path / MODEL_FILE
        model = onnx.load(path, load_external_data=False)
    graph = model.graph
    weights = sum(_length(t) for t in graph.initializer)
    opset = next((o.version for o in model.opset_import if not o.domain), 0)
    calls = Counter(n.op_type for n in graph.node if n.domain == DOMAIN)
    lines = [
        f"{graph.name}: opset {opset}, IR version {model.ir_version}, {len(graph.initializer)} weights"
        f" ({weights:,} values), {model.ByteSize():,} bytes without them",
        "",
        "inputs",
        *_ports(graph.input),
        "outputs",
        *_ports(graph.output),
        "",
        f"main graph: {_operators(graph.node)}",
    ]
    for function in model.functions:
        times = calls[function.name]
        lines.append(f"{function.name} (called {times} time{'' if times == 1 else 's'}): {_operators(function.node)}")
    return "\n".join(lines)


def _length(tensor: TensorProto) -> int:
    total = 1
    for length in tensor.dims:
        total *= length
    return total


def _ports(ports: Iterable[ValueInfoProto]) -> list[str]:
    """One line per port; those of layer after layer that look alike are folded."""
    shown: dict[str, list[str]] = {}
    for port in ports:
        tensor = port.type.tensor_type
        shape = ", ".join(d.dim_param or str(d.dim_value) for d in tensor.shape.dim)
        dtype = TensorProto.DataType.Name(tensor.elem_type).lower()
        pattern = ".".join("*" if part.isdigit() else part for part in port.name.split("."))
        shown.setdefault(f"{pattern}\0{dtype} [{shape}]", []).append(port.name)
    lines = []
    for key, names in shown.items():
        pattern, what = key.split("\0")
        times = f"  x {len(names)}" if len(names) > 1 else ""
        lines.append(f"  {pattern if len(names) > 1 else names[0]}: {what}{times}")
    return lines


def _operators(nodes: Iterable[NodeProto]) -> str:
    """Operators by how often they occur, constants left out."""
    counts = Counter(n.op_type for n in _all(nodes) if n.op_type != "Constant")
    parts = [f"{op} {count}" for op, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]
    return f"{sum(counts.values())} nodes - {', '.join(parts)}" if parts else "no nodes"


def _all(nodes: Iterable[NodeProto]) -> Iterable[NodeProto]:
    for node in nodes:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _all(attribute.g.node)
