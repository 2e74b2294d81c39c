"""Functions become ONNX: calls are written in place, the layers of a repeat call model-local functions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from onnx import FunctionProto

from ....lang import errors
from ....lang.axes import Axis, TensorType
from ....lang.diagnostics import WeftError
from ...ir.graph import Node
from ...ir.module import Function, Module, State
from .activation import Activation, Argument, Place
from .angles import rotation_angles
from .interface import Ambients, Names
from .joined import Joined, whole
from .kernels.kernel import Decision, Declined, Kernels
from .layout import ONNX_TYPE, Tensor, Writer, own
from .plan import Plan, named
from .primitives import primitive
from .scans import scan
from .scope import FunctionScope, MainScope, Wire
from .sizes import Sizes
from .templates import Template

PACKED = "weft.quantized."
"""How the definitions of composites begin that compute with codes."""


class Translator:
    """Writes one module. `ambients` gives the ambient values; `kernels` says which composites have an operator.

    `decisions` are the choices made, one for every call of a composite that is written.
    """

    def __init__(
        self, module: Module, plan: Plan, main: MainScope, sizes: Sizes, ambients: Ambients, kernels: Kernels
    ) -> None:
        self.module, self.plan, self.main, self.sizes = module, plan, main, sizes
        self.ambients, self.kernels, self.names = ambients, kernels, Names(module)
        self.functions: list[FunctionProto] = []
        self.decisions: list[Decision] = []
        self._templates: dict[tuple[object, ...], list[Template]] = {}
        self._nodes: dict[str, tuple[Node, ...]] = {}
        self._angles: dict[tuple[str, int], NDArray[np.float64]] = {}

    def nodes(self, function: Function) -> tuple[Node, ...]:
        """The nodes of a function in order; sorted once."""
        if function.name not in self._nodes:
            self._nodes[function.name] = tuple(function.graph.nodes())
        return self._nodes[function.name]

    @property
    def forms(self) -> dict[str, tuple[int, int]]:
        """Of every written function: how many of its first inputs, and of its first outputs, go from layer to layer."""
        written = (t for templates in self._templates.values() for t in templates)
        return {t.proto.name: (sum(f.kind == "operand" for f in t.formals), t.count) for t in written}

    # -------------------------------------------------------------- functions

    def run(self, function: Function, arguments: Sequence[Argument], place: Place) -> tuple[Argument, ...]:
        """The results of a function in place; the states it updates are noted in the scope."""
        given = {
            name: argument.renamed(type) for (name, type), argument in zip(function.inputs, arguments, strict=True)
        }
        activation = Activation(self, function, given, place)
        results = self._claimed(activation)
        if results is not None:
            return results
        activation.evaluate((*function.graph.outputs, *(s.update for s in function.states)))
        for node in self.nodes(function):
            if not node.types:
                self.node(activation, node)  # it runs for what it remembers
        for state in function.states:
            if function.graph[state.update].op != "state":
                self._update(activation, state)
        return tuple(activation.argument(v) for v in function.graph.outputs)

    def _claimed(self, activation: Activation) -> tuple[Argument, ...] | None:
        """The results of a call that a kernel stands for; None where its body must be written."""
        definition = activation.function.definition
        if definition not in self.kernels:
            return None
        declined: list[str] = []
        for kernel in self.kernels[definition]:
            results = kernel.write(activation.place.writer, activation)
            if not isinstance(results, Declined):
                self.decisions.append(Decision(definition, kernel.operator, tuple(declined)))
                return results
            declined.append(f"{kernel.operator}: {results.reason}")
        if definition.startswith(PACKED):  # a body cannot read codes of which several lie in a byte
            raise WeftError(errors.no_onnx_form(f"`{definition}` ({'; '.join(declined)})", activation.function.name))
        self.decisions.append(Decision(definition, "", tuple(declined)))
        return None

    def angles(self, function: Function, count: int) -> NDArray[np.float64]:
        """The angles that the body of a function rotates by at the first `count` positions, [count, K / 2]."""
        key = (function.name, count)
        if key not in self._angles:
            self._angles[key] = rotation_angles(self.module, function, count)
        return self._angles[key]

    def _update(self, activation: Activation, state: State) -> None:
        place, type = activation.place, activation.function.graph.type(state.update)
        after = TensorType(tuple(Axis(n, a.size) for n, a in zip(state.type.names, type.axes, strict=True)), type.dtype)
        tensor = place.writer.fill(activation.read(state.update), type.names).renamed(after)
        path = (*place.sites, state.name)
        groups = named(self.plan.states[path].dimensions, state.type)
        place.writer.scope.updates[path] = own(place.writer, place.writer.arrange(tensor, groups))

    def node(self, activation: Activation, node: Node) -> tuple[Argument, ...]:
        """The results of one node. The shapes of those in the main graph are noted: runtimes plan memory by them."""
        results = self._node(activation, node)
        for result in results:
            if isinstance(result, Tensor):
                self._note(result)
        return results

    def _note(self, tensor: Tensor) -> None:
        if isinstance(tensor.wire, Wire) and tensor.wire.scope is self.main:
            self.main.shapes.setdefault(tensor.wire.name, (tensor.type.dtype, self._shape(tensor)))

    def _shape(self, tensor: Tensor) -> tuple[int | str | None, ...]:
        sizes = [self.names.size(tensor.size(g)) for g in tensor.groups]
        return tuple(n if isinstance(n, int) or n.isidentifier() else None for n in sizes)

    def _node(self, activation: Activation, node: Node) -> tuple[Argument, ...]:
        place, w = activation.place, activation.place.writer
        if node.op in ("call", "repeat", "scan"):
            operands = tuple(activation.argument(v) for v in node.operands)
            return tuple(getattr(self, "_" + node.op)(node, operands, place))
        if node.op == "param":
            return (self._parameter(node, place),)
        if node.op == "state":
            path = (*place.sites, node["name"])
            groups = named(self.plan.states[path].dimensions, node.types[0])
            return (Tensor(node.types[0], groups, w.scope.state(path)),)
        if node.op == "ambient":
            return (self.ambients.read(w, node["name"], node.types[0]),)
        tensors = tuple(activation.read(v) for v in node.operands)
        if node.op == "append":
            return (Joined.of(tensors[0], tensors[1], node["axis"], node.types[0], node["to"].name),)
        result = primitive(w, node, tensors)
        if result is None:
            raise WeftError(errors.no_onnx_form(f"`{node.op}`", activation.function.name, node.origin.first_span()))
        return (result,)

    def _parameter(self, node: Node, place: Place) -> Tensor:
        path = (*place.instance, node["name"])
        stored = self.plan.parameters[path]
        wire = place.writer.scope.parameter(path)
        if stored.format.kind in ("float16", "bfloat16"):
            wire = place.writer.emit("Cast", wire, to=ONNX_TYPE["real"])
        return Tensor(node.types[0], named(stored.dimensions, node.types[0]), wire)

    # -------------------------------------------------------------- call, repeat, scan

    def _call(self, node: Node, operands: tuple[Argument, ...], place: Place) -> tuple[Argument, ...]:
        inner = place.instance if node["instance"] is None else node["instance"].resolve(place.instance)
        label = f"{place.writer.label}/{node['site']}" if place.writer.label else node["site"]
        writer = Writer(place.writer.scope, self.sizes, label)
        callee = self.module.functions[node["callee"]]
        results = self.run(callee, operands, Place(writer, inner, (*place.sites, node["site"])))
        return tuple(r.renamed(type) for r, type in zip(results, node.types, strict=True))

    def _repeat(self, node: Node, operands: tuple[Argument, ...], place: Place) -> tuple[Argument, ...]:
        w, carried = place.writer, node["carried"]
        tensors = [w.natural(whole(w, o)) for o in operands]
        layers = node["instance"].resolve(place.instance)
        for i, body in enumerate(node["schedule"]):
            function = self.module.functions[node["bodies"][body]]
            layer = Place(w, (*layers, i), (*place.sites, node["site"], i))
            given = [t.renamed(type) for t, (_, type) in zip(tensors, function.inputs, strict=True)]
            results = self._layer(function, given, layer)
            for k, (type, wire) in enumerate(zip(node.types[:carried], results, strict=True)):
                tensors[k] = Tensor(type, tuple((n,) for n in type.names), wire)
                self._note(tensors[k])
        return tuple(tensors[:carried])

    def _layer(self, function: Function, given: list[Tensor], place: Place) -> tuple[Wire, ...]:
        """One layer as a call of its function, which is written at its first layer and shared by all that fit it."""
        shared = tuple((t.type, t.groups) for t in given)
        known = self._templates.setdefault((function.name, shared), [])
        template = next((t for t in known if t.fits(self.plan, place.instance, place.sites)), None)
        if template is None:
            template = self._template(function, given, place)
            known.append(template)
        return template.call(place.writer.scope, [t.operand for t in given], place.instance, place.sites)

    def _template(self, function: Function, given: list[Tensor], place: Place) -> Template:
        scope = FunctionScope(self.main, place.instance, place.sites)
        inner = Place(Writer(scope, self.sizes), place.instance, place.sites)
        arguments = [
            Tensor(t.type, t.groups, scope.formal("operand", i, name))
            for i, (t, (name, _)) in enumerate(zip(given, function.inputs, strict=True))
        ]
        results = self.run(function, arguments, inner)
        wires: list[Wire] = []
        for result in results:
            tensor = inner.writer.natural(whole(inner.writer, result))
            wires.append(own(inner.writer, tensor, [wire.name for wire in wires]))
        template = Template.close(self._unused_name(function), function, scope, wires, self.plan)
        self.functions.append(template.proto)
        return template

    def _unused_name(self, function: Function) -> str:
        taken = {f.name for f in self.functions}
        name, count = function.name.replace(".", "_"), 1
        while name in taken:
            count += 1
            name = f"{function.name.replace('.', '_')}_{count}"
        return name

    def _scan(self, node: Node, operands: tuple[Argument, ...], place: Place) -> tuple[Argument, ...]:
        return scan(self, node, [whole(place.writer, o) for o in operands], place)
