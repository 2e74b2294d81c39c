"""`scan` as ONNX's Scan: its body is written as a graph that sees the names around it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from onnx import ValueInfoProto, helper

from ....lang import errors
from ....lang.axes import TensorType
from ....lang.diagnostics import WeftError
from ...ir.graph import Node
from .activation import Argument, Place
from .interface import described
from .joined import whole
from .layout import Tensor, Writer, own
from .scope import BodyScope, Operand, Wire, sweep

if TYPE_CHECKING:
    from .translate import Translator


def scan(translator: Translator, node: Node, operands: Sequence[Tensor], place: Place) -> tuple[Tensor, ...]:
    """The yields over all steps, then the final states. What every step sees is not passed in."""
    w, body = place.writer, translator.module.functions[node["body"]]
    axis, count = node["axis"].name, node["states"]
    inner = BodyScope(w.scope, w.scope.unique(f"{w.label}/step" if w.label else "step") + "/")
    feeds: list[Operand] = []
    axes: list[int] = []
    inputs: list[ValueInfoProto] = []
    arguments: list[Argument] = []
    for i, (tensor, (name, type)) in enumerate(zip(operands, body.inputs, strict=True)):
        if i < count:
            tensor = w.natural(w.cast(_start(tensor, type), type.dtype))
            slice = Tensor(type, tensor.groups, Wire(inner.unique(name), inner))
        elif i < count + node["scanned"] and axis in tensor.axes:
            tensor = w.apart(w.arrange(tensor, tuple(g for g in tensor.groups if g)), axis)
            at = tensor.groups.index((axis,))
            axes.append(at)
            kept = Tensor(tensor.type.without(axis), (*tensor.groups[:at], *tensor.groups[at + 1 :]), None)
            slice = Tensor(type, kept.renamed(type).groups, Wire(inner.unique(name), inner))
        else:
            seen = tensor.type.without(axis) if i < count + node["scanned"] else tensor.type
            arguments.append(Tensor(seen, tensor.groups, tensor.wire).renamed(type))
            continue
        feeds.append(tensor.operand)
        inputs.append(described(slice))
        arguments.append(slice)
    if not axes:
        raise WeftError(errors.no_onnx_form("a `scan` over nothing that changes", body.name, node.origin.first_span()))

    results = translator.run(body, arguments, Place(Writer(inner, w.sizes), place.instance, place.sites))
    outputs: list[Tensor] = []
    for result in results:
        writer = Writer(inner, w.sizes)
        tensor = writer.natural(whole(writer, result))
        taken = [port.name for port in inputs] + [t.wire.name for t in outputs if isinstance(t.wire, Wire)]
        outputs.append(Tensor(tensor.type, tensor.groups, own(writer, tensor, taken)))
    ports = [described(t) for t in outputs]
    graph = helper.make_graph(sweep(inner.nodes, [p.name for p in ports]), body.name.replace(".", "_"), inputs, ports)
    yields, finals = node.types[: len(node.types) - count], node.types[len(node.types) - count :]
    attributes: dict[str, Any] = {"body": graph, "num_scan_inputs": len(axes), "scan_input_axes": axes}
    if yields:
        attributes["scan_output_axes"] = [t.index(axis) for t in yields]
    wires = w.scope.write("Scan", feeds, label=w.label, outputs=len(ports), **attributes)
    pairs = zip((*yields, *finals), (*wires[count:], *wires[:count]), strict=True)
    return tuple(Tensor(type, tuple((n,) for n in type.names), wire) for type, wire in pairs)


def _start(tensor: Tensor, type: TensorType) -> Tensor:
    """An initial state: a scalar fills the state."""
    if not tensor.type.axes:
        return Tensor(type.with_dtype(tensor.type.dtype), (), tensor.wire)
    return tensor.renamed(type.with_dtype(tensor.type.dtype))
