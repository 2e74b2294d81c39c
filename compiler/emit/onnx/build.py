"""A module as an ONNX model without its weights: nodes, functions, inputs, outputs, and where each weight will lie."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np
from onnx import FunctionProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from ...ir.module import Module, Path, join
from ...ir.sources import one_per_row
from ...passes.inference import drop_penalties
from ...stream.constants import encoding
from .activation import Place
from .formats import FLOAT32, Format
from .half import NARROW, Halved, half
from .interface import (
    LOGITS_TO_KEEP,
    Ambients,
    Names,
    Port,
    ambient_ports,
    bind_sizes,
    entry_ports,
    shares_caches,
    state_ports,
)
from .joined import whole
from .kernels.kernel import Decision
from .layout import ONNX_TYPE, Tensor, Writer, own
from .packed_states import Packed, pack, packed, unpack
from .plan import Plan, StoredParameter, StoredState, plan
from .scope import MainScope, Wire, reads, sweep
from .sizes import Sizes
from .targets import TARGETS, Target
from .templates import opset_imports
from .translate import Translator

IR_VERSION = 11
DATA_FILE = "model.onnx.data"
PAGE, LINE = 4096, 64


@dataclass(frozen=True)
class Slot:
    """Where a parameter's values lie in the data file, and the dimensions they are stored with."""

    path: str
    stored: StoredParameter
    offset: int
    format: Format = FLOAT32

    @property
    def shape(self) -> tuple[int, ...]:
        sizes = self.stored.parameter.shape
        return self.format.shape(tuple(prod(sizes[i] for i in group) for group in self.stored.dimensions))

    @property
    def length(self) -> int:
        return self.format.width * prod(self.shape)


@dataclass(frozen=True)
class Encoder:
    """The model that runs first and computes the states of kind constant."""

    model: ModelProto
    inputs: tuple[Port, ...]
    states: Mapping[Path, Port]


@dataclass(frozen=True)
class Built:
    """The model, the slots of its data file in order, and its interface; `encoder` reads the same data file.

    For every state there is the port it comes in by, and the one it leaves by: a constant does not leave. Those that
    are `packed` have none of their own.
    """

    module: Module
    model: ModelProto
    slots: tuple[Slot, ...]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    states: Mapping[Path, tuple[StoredState, Port, Port | None]]
    encoder: Encoder | None = None
    packed: tuple[Packed, ...] = ()
    target: Target = TARGETS["portable"]
    decisions: tuple[Decision, ...] = ()
    prefill: Module | None = None
    prefill_model: ModelProto | None = None

    @property
    def cache(self) -> str:
        """How caches are passed: `shared` buffers with compact rows, or values that are `appended` to."""
        return "shared" if shares_caches(self.module) else "appended"


def build(
    module: Module, target: Target = TARGETS["portable"], prefill: Module | None = None, exact: Collection[str] = (),
) -> Built:
    """The ONNX model of a module of any form, with the operators of a target.

    A module with an encoder becomes two models. `prefill` is the same module with weights stored in another way, for
    steps of many tokens: one more model, which shares what both store alike. Parameters in `exact` stay float32 where
    the target computes with 16 bits. Raises WeftError (E0930) for what has no ONNX form.
    """
    module = drop_penalties(module)
    stored = plan(module)
    parts = [_written(module, stored, target)]
    alone = encoding(module)
    if alone is not None:
        parts.append(_written(alone, stored, target))
    used = {path: stored.parameters[path] for part in parts for path in stored.parameters if path in part.weights}
    if prefill is not None:
        prefill = drop_penalties(prefill)
        other = plan(prefill)
        parts.append(_written(prefill, other, target))
        used |= {path: other.parameters[path] for path in other.parameters if path in parts[-1].weights}
    formats = {path: parameter.format for path, parameter in used.items()}
    if target.precision != "float32":
        parts, wide = _halved(parts, formats, target.precision, exact)
        narrow = Format(target.precision)
        formats = {p: narrow if f == FLOAT32 and join(p) not in wide else f for p, f in formats.items()}
    slots = tuple(_slots(used, formats))
    long = parts.pop() if prefill is not None else None
    first, *others = parts
    kept = {path: (stored.states[path], read, first.written.get(path)) for path, read in first.read.items()}
    encoder = None
    if others:
        encoder = Encoder(others[0].model(slots), tuple(others[0].inputs), others[0].written)
    inputs, outputs = tuple(first.inputs), tuple(first.outputs)
    decisions = tuple(d for part in parts for d in part.decisions)
    return Built(
        module, first.model(slots), slots, inputs, outputs, kept, encoder, first.packed, target, decisions, prefill,
        long.model(slots) if long else None,
    )


@dataclass(frozen=True)
class _Part:
    """One model before its weights have places. `read` and `written`: the ports of states.

    `forms` say what functions pass from layer to layer (`half`), `narrow` are the ports that may have 16 bits.
    """

    name: str
    graph: GraphProto
    functions: Sequence[FunctionProto]
    weights: Mapping[Path, Wire]
    inputs: Sequence[Port]
    outputs: Sequence[Port]
    read: Mapping[Path, Port]
    written: Mapping[Path, Port]
    forms: Mapping[str, tuple[int, int]]
    packed: tuple[Packed, ...] = ()
    decisions: tuple[Decision, ...] = ()
    narrow: frozenset[str] = frozenset()

    def model(self, slots: Sequence[Slot]) -> ModelProto:
        mine = {join(path) for path in self.weights}
        self.graph.initializer.extend(_initializer(slot) for slot in slots if slot.path in mine)
        domains = opset_imports([*self.graph.node, *(n for f in self.functions for n in f.node)])
        model = helper.make_model(self.graph, opset_imports=domains, functions=list(self.functions))
        model.ir_version, model.producer_name = IR_VERSION, "weft"
        return model


def _written(module: Module, stored: Plan, target: Target) -> _Part:
    """The graph of a module's entry."""
    main = MainScope()
    entry, ambient, states = entry_ports(module), ambient_ports(module), state_ports(module, stored)
    constant = {path for path in states if stored.states[path].state.kind == "constant"}
    is_step = "step" in module.form
    packs = packed(stored.states, states) if is_step and not module.encoder else ()
    inside = {part.path for state in packs for part in state.parts}
    read = {path: port for path, (port, _) in states.items() if is_step and path not in inside}
    written = {p: port for p, (_, port) in states.items() if (p in constant) != is_step and p not in inside}
    tokens = [main.input(p.name) for p in entry]
    extra = {p.name: main.input(p.name) for p in ambient}
    main.states = {path: main.input(port.name) for path, port in read.items()}
    given = [main.input(state.read.name) for state in packs]
    sizes = Sizes(main)
    bind_sizes(module, sizes, tokens, extra, stored, main)
    ambients = Ambients(module, sizes, extra)
    translator = Translator(module, stored, main, sizes, ambients, target.kernels)
    writer = Writer(main, sizes)
    for state, wire in zip(packs, given, strict=True):
        main.states |= unpack(writer, state, wire)
    arguments = [
        Tensor(type, tuple((n,) for n in type.names), wire)
        for (_, type), wire in zip(module.main.inputs, tokens, strict=True)
    ]
    results = translator.run(module.main, arguments, Place(writer))
    values = [writer.natural(whole(writer, r)) for r in results]

    outputs = _value_ports(module, values)
    wires = {p.name: own(writer, t) for p, t in zip(outputs, values, strict=True)}
    for path, port in written.items():
        wires[port.name] = main.updates[path]
    for state, wire in zip(packs, given, strict=True):
        wires[state.written.name] = pack(writer, state, wire, main.updates)
    nodes = _finished(main, wires)
    outputs += [*written.values(), *(state.written for state in packs)]
    inputs = [*entry, *ambient, *read.values(), *(state.read for state in packs)]
    used = {name for node in nodes for name in reads(node)}
    graph = helper.make_graph(
        nodes, module.name, [p.proto() for p in inputs], [p.proto() for p in outputs],
        value_info=_values(main, nodes, outputs),
        initializer=[_default(port) for port in inputs if port.name == LOGITS_TO_KEEP],
    )
    weights = {path: wire for path, wire in main.parameters.items() if wire.name in used}
    return _Part(
        module.name, graph, translator.functions, weights, inputs, outputs, read, written, translator.forms, packs,
        tuple(translator.decisions), _narrow_ports(module, stored, target.precision, read, written, packs),
    )


def _narrow_ports(
    module: Module, stored: Plan, precision: str, read: Mapping[Path, Port], written: Mapping[Path, Port],
    packs: Sequence[Packed],
) -> frozenset[str]:
    """The ports of states that may have 16 bits: what is remembered of tokens, but not what is summed up over them.

    NumPy has no bfloat16: of that type are only caches that stay where they are, and are bound as they lie.
    """
    if precision == "float32":
        return frozenset()
    kept = {path: stored.states[path].state for path in {*read, *written}}
    real = {path: state for path, state in kept.items() if state.type.dtype == "real"}
    short = {path for path, state in real.items() if state.kind != "carry" and not isinstance(state.initial, str)}
    names = {port.name for p in packs if p.kind == "delay" for port in (p.read, p.written)}
    if precision == "bfloat16":
        short = {path for path in short if shares_caches(module) and kept[path].kind == "grow"}
        names = set()
    return frozenset(names | {side[path].name for side in (read, written) for path in short if path in side})


def _halved(
    parts: Sequence[_Part], formats: Mapping[Path, Format], precision: str, exact: Collection[str]
) -> tuple[list[_Part], frozenset[str]]:
    """The parts in 16 bits, and the parameters that stay float32: those that all parts read in float32 alone."""
    elements = {join(path): format.onnx for path, format in formats.items()}
    mine = [{join(path): elements[join(path)] for path in part.weights} for part in parts]
    ports = [dict.fromkeys(part.narrow, NARROW[precision]) for part in parts]

    def made(wide: frozenset[str]) -> list[Halved]:
        return [
            half(part.graph, part.functions, precision, own, wide, given, part.forms)
            for part, own, given in zip(parts, mine, ports, strict=True)
        ]

    read = list(zip(mine, made(frozenset(exact)), strict=True))
    wide = frozenset(exact) | {n for n in elements if all(n in found.wide for own, found in read if n in own)}
    return [_with_half(part, m.graph, m.functions, precision) for part, m in zip(parts, made(wide), strict=True)], wide


def _with_half(part: _Part, graph: GraphProto, functions: Sequence[FunctionProto], precision: str) -> _Part:
    def port(given: Port) -> Port:
        return replace(given, dtype=precision) if given.name in part.narrow else given

    read, written = ({path: port(p) for path, p in side.items()} for side in (part.read, part.written))
    return replace(
        part, graph=graph, functions=functions, inputs=[port(p) for p in part.inputs],
        outputs=[port(p) for p in part.outputs], read=read, written=written,
        packed=tuple(replace(p, read=port(p.read), written=port(p.written)) for p in part.packed),
    )


def _default(port: Port) -> TensorProto:
    """What stands in for an input that runtimes need not know of."""
    return numpy_helper.from_array(np.array(port.default, np.int64), port.name)


def _value_ports(module: Module, values: Sequence[Tensor]) -> list[Port]:
    names = Names(module)
    ports = []
    for i, tensor in enumerate(values):
        first = "embeddings" if one_per_row(module) else "logits"
        name = first if i == 0 else f"output.{i}"
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


def _slots(used: Mapping[Path, StoredParameter], formats: Mapping[Path, Format]) -> Iterator[Slot]:
    end = 0
    for path, parameter in used.items():
        slot = Slot(join(path), parameter, 0, formats[path])
        unit = PAGE if slot.length >= PAGE else LINE
        slot = replace(slot, offset=-(-end // unit) * unit)
        end = slot.offset + slot.length
        yield slot


def _initializer(slot: Slot) -> TensorProto:
    tensor = TensorProto(name=slot.path, data_type=slot.format.onnx, dims=slot.shape)
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", DATA_FILE), ("offset", slot.offset), ("length", slot.length)):
        tensor.external_data.add(key=key, value=str(value))
    return tensor
