"""A model-local function for layers that are alike, and how each of them calls it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from onnx import FunctionProto, NodeProto, OperatorSetIdProto, helper

from ...ir.module import Function, Path, join
from .plan import Dimensions, Plan
from .scope import DOMAIN, Formal, FunctionScope, Operand, Scope, Wire, reads, sweep

OPSET = 23
ORDER = ("operand", "parameter", "state", "capture")


def opset_imports(nodes: Iterable[NodeProto]) -> list[OperatorSetIdProto]:
    """The operator sets that nodes need, the standard one and the model's own functions always among them."""
    others = dict.fromkeys(n.domain for n in nodes if n.domain not in ("", DOMAIN))
    known = [helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, 1)]
    return known + [helper.make_opsetid(d, 1) for d in others]


@dataclass(frozen=True)
class Template:
    """`formals` say what each input is, seen from the layer; `states` are those it updates, after `count` results."""

    proto: FunctionProto
    formals: tuple[Formal, ...]
    layouts: Mapping[Formal, Dimensions]
    count: int
    states: tuple[Path, ...]

    @staticmethod
    def close(name: str, function: Function, scope: FunctionScope, results: Sequence[Wire], plan: Plan) -> Template:
        """The function whose body is what was written in a scope."""
        outputs = [w.name for w in (*results, *scope.updates.values())]
        nodes = sweep(scope.nodes, outputs)
        read = {n for node in nodes for n in reads(node)}
        formals = [f for kind in ORDER for f, wire in scope.formals.items() if f.kind == kind and wire.name in read]
        inputs = [scope.formals[f].name for f in formals]
        proto = helper.make_function(DOMAIN, name, inputs, outputs, nodes, opset_imports(nodes))
        proto.doc_string = f"{function.name}"
        layouts = {f: d for f in formals if (d := _layout(f, plan, scope.instance, scope.sites)) is not None}
        states = tuple(path[len(scope.sites) :] for path in scope.updates)
        return Template(proto, tuple(formals), layouts, len(results), states)

    def fits(self, plan: Plan, instance: Path, sites: Path) -> bool:
        """Whether the parameters and states of another layer are stored the same way."""
        return all(_layout(f, plan, instance, sites) == d for f, d in self.layouts.items())

    def call(self, scope: Scope, operands: Sequence[Operand], instance: Path, sites: Path) -> tuple[Wire, ...]:
        """Call the function for the layer on an instance; returns its results and notes the states it updated."""
        given: list[Operand] = []
        for formal in self.formals:
            if formal.kind == "operand":
                given.append(operands[formal.key])
            elif formal.kind == "parameter":
                given.append(scope.parameter(_resolved(formal, instance)))
            elif formal.kind == "state":
                given.append(scope.state((*sites, *formal.key)))
            else:
                given.append(formal.key)
        found = scope.write(
            self.proto.name, given, domain=DOMAIN, label=join(sites), outputs=self.count + len(self.states)
        )
        for path, wire in zip(self.states, found[self.count :], strict=True):
            scope.updates[(*sites, *path)] = wire
        return found[: self.count]


def _resolved(formal: Formal, instance: Path) -> Path:
    up, down = formal.key
    return (*instance[: len(instance) - up], *down)


def _layout(formal: Formal, plan: Plan, instance: Path, sites: Path) -> Dimensions | None:
    if formal.kind == "parameter":
        return plan.parameters[_resolved(formal, instance)].dimensions
    if formal.kind == "state":
        return plan.states[(*sites, *formal.key)].dimensions
    return None
