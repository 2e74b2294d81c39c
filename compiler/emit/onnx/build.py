"""A module as an ONNX model without its weights: nodes, functions, inputs, outputs, and where each weight will lie."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod

from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper

from ....lang import errors
from ....lang.diagnostics import WeftError
from ...ir.module import Module, Path, join
from ...passes.inference import drop_penalties
from .activation import Place
from .composites import PORTABLE
from .interface import Ambients, Names, Port, ambient_ports, bind_sizes, entry_ports, state_ports
from .joined import whole
from .layout import ONNX_TYPE, Tensor, Writer, own
from .plan import Plan, StoredParameter, StoredState, plan
from .scope import MainScope, Wire, reads, sweep
from .sizes import Sizes
from .templates import opset_imports
from .translate import Translator

IR_VERSION = 11
DATA_FILE = "model.onnx.data"
PAGE, LINE = 4096, 64


@dataclass(frozen=True)
class Slot:
    """Where a parameter's float32 values lie in the data file, and the dimensions they are stored with."""

    path: str
    stored: StoredParameter
    offset: int

    @property
    def shape(self) -> tuple[int, ...]:
        sizes = self.stored.parameter.shape
        return tuple(prod(sizes[i] for i in group) for group in self.stored.dimensions)

    @property
    def length(self) -> int:
        return 4 * prod(self.shape)


@dataclass(frozen=True)
class Built:
    """The model, the slots of its data file in order, and its interface."""

    module: Module
    model: ModelProto
    slots: tuple[Slot, ...]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    states: Mapping[Path, tuple[StoredState, Port, Port]]


def build(module: Module) -> Built:
    """The ONNX model of a module of any form, with standard operators only (opset 23).

    Raises WeftError (E0930) for what has no ONNX form.
    """
    module = drop_penalties(module)
    stored = plan(module)
    _refuse_constants(module, stored)
    main = MainScope()
    entry, ambient, states = entry_ports(module), ambient_ports(module), state_ports(module, stored)
    tokens = [main.input(p.name) for p in entry]
    extra = {p.name: main.input(p.name) for p in ambient}
    main.states = {path: main.input(read.name) for path, (read, _) in states.items()}
    sizes, mask = Sizes(main), extra.get("attention_mask")
    bind_sizes(module, sizes, tokens, mask, stored, main)
    ambients = Ambients(module, sizes, mask, extra.get("position_ids"))
    translator = Translator(module, stored, main, sizes, ambients, PORTABLE)
    writer = Writer(main, sizes)
    arguments = [
        Tensor(type, tuple((n,) for n in type.names), wire)
        for (_, type), wire in zip(module.main.inputs, tokens, strict=True)
    ]
    results = translator.run(module.main, arguments, Place(writer))
    values = [writer.natural(whole(writer, r)) for r in results]

    outputs = _value_ports(module, values)
    wires = {p.name: own(writer, t) for p, t in zip(outputs, values, strict=True)}
    for path, (_, written) in states.items():
        wires[written.name] = main.updates[path]
    nodes = _finished(main, wires)
    outputs += [written for _, written in states.values()]
    inputs = [*entry, *ambient, *(read for read, _ in states.values())]
    used = {name for node in nodes for name in reads(node)}
    slots = tuple(_slots(stored, {path: w for path, w in main.parameters.items() if w.name in used}))
    graph = helper.make_graph(
        nodes, module.name, [p.proto() for p in inputs], [p.proto() for p in outputs], [_initializer(s) for s in slots],
        value_info=_values(main, nodes, outputs),
    )
    model = helper.make_model(graph, opset_imports=opset_imports(), functions=translator.functions)
    model.ir_version, model.producer_name = IR_VERSION, "weft"
    entries = {path: (stored.states[path], *ports) for path, ports in states.items()}
    return Built(module, model, slots, tuple(inputs), tuple(outputs), entries)


def _refuse_constants(module: Module, stored: Plan) -> None:
    for entry in stored.states.values():
        if entry.state.kind == "constant":
            what = f"`{entry.state.name}`, which is computed once before the first step,"
            raise WeftError(errors.no_onnx_form(what, module.name, module.main.origin.first_span()))


def _value_ports(module: Module, values: Sequence[Tensor]) -> list[Port]:
    names = Names(module)
    ports = []
    for i, tensor in enumerate(values):
        name = "logits" if i == 0 else f"output.{i}"
        ports.append(Port(name, tensor.type.dtype, names.shape(tensor.type, tensor.groups)))
    return ports


def _finished(main: MainScope, outputs: Mapping[str, Wire]) -> list[NodeProto]:
    """The nodes that the outputs need, with each output under its public name."""
    renamed: dict[str, str] = {}
    for name, wire in outputs.items():
        if wire.scope is main and not main.is_given(wire) and wire.name not in renamed:
            renamed[wire.name] = name
        else:
            source = renamed.get(wire.name, wire.name)
            main.nodes.append(helper.make_node("Identity", [source], [name], name=name))
    for node in main.nodes:
        _rename(node, renamed)
    return sweep(main.nodes, outputs)


def _rename(node: NodeProto, names: Mapping[str, str]) -> None:
    for field in (node.input, node.output):
        field[:] = [names.get(n, n) for n in field]
    for attribute in node.attribute:
        if attribute.HasField("g"):
            _rename_graph(attribute.g, names)


def _rename_graph(graph: GraphProto, names: Mapping[str, str]) -> None:
    for node in graph.node:
        _rename(node, names)


def _values(main: MainScope, nodes: Sequence[NodeProto], outputs: Sequence[Port]) -> list[ValueInfoProto]:
    """What is known of the shapes of inner values."""
    public = {p.name for p in outputs}
    names = [name for node in nodes for name in node.output if name in main.shapes and name not in public]
    return [helper.make_tensor_value_info(n, ONNX_TYPE[main.shapes[n][0]], main.shapes[n][1]) for n in names]


def _slots(stored: Plan, wires: Mapping[Path, Wire]) -> Iterator[Slot]:
    end = 0
    for path, parameter in stored.parameters.items():
        if path in wires:
            slot = Slot(join(path), parameter, 0)
            unit = PAGE if slot.length >= PAGE else LINE
            slot = Slot(slot.path, parameter, -(-end // unit) * unit)
            end = slot.offset + slot.length
            yield slot


def _initializer(slot: Slot) -> TensorProto:
    tensor = TensorProto(name=slot.path, data_type=TensorProto.FLOAT, dims=slot.shape)
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", DATA_FILE), ("offset", slot.offset), ("length", slot.length)):
        tensor.external_data.add(key=key, value=str(value))
    return tensor
