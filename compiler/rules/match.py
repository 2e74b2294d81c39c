"""Finding the left side of a rule in a function: from an output down, trying both orders of what commutes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ...lang.axes import Axis, TensorType
from ..ir.graph import Graph, Node, Value
from ..ir.module import Function
from ..ir.ops import OPS
from ..ir.splice import NAMES
from .binding import Binding, Constant, axis_map, match_type
from .rule import Number, Rule, is_rest


@dataclass(frozen=True)
class Miss:
    """Why a rule was not found at one place: how much of it was, what failed, and the node that is to blame."""

    score: int
    reason: str
    node: int


@dataclass
class Matcher:
    """Looks for one rule in one body; `graph.outputs` are values that someone outside may read.

    `functions` are those of the module. `misses` collects what went wrong on the way, when `explain` is set.
    """

    rule: Rule
    graph: Graph
    functions: Mapping[str, Function]
    explain: bool = False
    misses: list[Miss] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.pattern = self.rule.before.graph
        self.template = axes_of(self.rule.before)
        self.root = max(self.pattern.outputs, key=lambda v: (len(below(self.pattern, v)), v))

    def at(self, node: Node) -> Iterator[Binding]:
        """Every complete match whose root is a node."""
        if self.root.index < len(node.types):
            for binding in self._value(self.root, Value(node.id, self.root.index), Binding()):
                for complete in self._others(binding):
                    if self._checked(complete, node):
                        yield complete

    def bound(self, binding: Binding, value: Value) -> Value:
        """What an output of the left side stands for."""
        return Value(binding.nodes[value.node], value.index)

    # ------------------------------------------------------------------ values and nodes

    def _miss(self, binding: Binding, node: int, reason: str, bonus: int = 0) -> None:
        if self.explain:
            self.misses.append(Miss(binding.score + bonus, reason, node))

    def _others(self, binding: Binding) -> Iterator[Binding]:
        """The outputs that the root does not reach are looked for everywhere."""
        missing = next((o for o in self.pattern.outputs if o.node not in binding.nodes), None)
        if missing is None:
            yield binding
            return
        for node in self.graph.nodes():
            if node.id not in binding.nodes.values() and missing.index < len(node.types):
                for more in self._value(missing, Value(node.id, missing.index), binding):
                    yield from self._others(more)

    def _value(self, wanted: Value, value: Value, binding: Binding) -> Iterator[Binding]:
        pattern, node = self.pattern[wanted], self.graph[value]
        if pattern.op == "input":
            yield from self._variable(pattern, value, binding)
        elif pattern.op == "const":
            if node.op == "const" and node.types == pattern.types and node["value"] == pattern["value"]:
                yield binding.with_node(pattern.id, node.id)
            else:
                self._miss(binding, node.id, f"{self._shown(node)}, the rule has the constant {pattern['value']} there")
        elif wanted.index != value.index or binding.nodes.get(pattern.id, node.id) != node.id:
            self._miss(binding, node.id, "what is one value in the rule is two values here")
        elif pattern.id in binding.nodes:
            yield binding
        elif pattern.op == "call":
            yield from self._call(pattern, node, binding)
        else:
            yield from self._primitive(pattern, node, binding)

    def _variable(self, pattern: Node, value: Value, binding: Binding) -> Iterator[Binding]:
        name, type, node = pattern["name"], pattern.types[0], self.graph[value]
        if not type.axes and node.op == "const" and not node.types[0].axes:
            yield from self._number(name, type.dtype, node["value"], node.id, binding)
            return
        known = binding.variables.get(name)
        if known is not None:
            if known == value:
                yield binding
            else:
                self._miss(binding, node.id, f"`{name}` stands for two different values")
            return
        found = False
        for typed in match_type(type, self.graph.type(value), binding):
            found = True
            yield typed.with_variable(name, value)
        if not found:
            wanted, bound = f"`{name}` is {type} in the rule", _axes_shown(binding)
            self._miss(binding, node.id, f"{wanted} and {self.graph.type(value)} here{bound}")

    def _number(self, name: str, dtype: str, number: Number, node: int, binding: Binding) -> Iterator[Binding]:
        """A scalar variable stands for a number: one that is written out, or a compile-time argument."""
        kind = "bool" if isinstance(number, bool) else "int" if isinstance(number, int) else "real"
        known = binding.variables.get(name)
        if kind != dtype and not (kind == "int" and dtype == "real"):
            self._miss(binding, node, f"`{name}` is {dtype} in the rule and {number!r} here")
        elif known is None:
            number = float(number) if dtype == "real" else number
            yield binding.with_variable(name, Constant(number))
        elif known == Constant(number):
            yield binding
        else:
            self._miss(binding, node, f"`{name}` stands for two different values, one is {number!r}")

    def _primitive(self, pattern: Node, node: Node, binding: Binding) -> Iterator[Binding]:
        if pattern.op != node.op or len(pattern.operands) != len(node.operands):
            self._miss(binding, node.id, f"{self._shown(node)}, the rule has `{pattern.op}` there")
            return
        orders = [node.operands]
        if OPS[node.op].commutative and node.operands[0] != node.operands[1]:
            orders.append(node.operands[::-1])
        for operands in orders:
            pairs = tuple(zip(pattern.operands, operands, strict=True))
            for below in self._all(pairs, binding.with_node(pattern.id, node.id)):
                yield from self._typed(pattern, node, below)

    def _all(self, pairs: tuple[tuple[Value, Value], ...], binding: Binding) -> Iterator[Binding]:
        if not pairs:
            yield binding
            return
        for first in self._value(*pairs[0], binding):
            yield from self._all(pairs[1:], first)

    def _typed(self, pattern: Node, node: Node, binding: Binding) -> Iterator[Binding]:
        """Result types and attributes agree under what the axes stand for by now."""
        alternatives = [binding]
        for template, actual in zip(pattern.types, node.types, strict=True):
            alternatives = [more for b in alternatives for more in self._result(node, template, actual, b)]
        if not alternatives:
            made, wanted = (", ".join(map(str, n.types)) for n in (node, pattern))
            self._miss(binding, node.id, f"`{node.op}` makes {made}, {wanted} in the rule{_axes_shown(binding)}")
        for typed in alternatives:
            axes = axis_map(typed, self.template)
            if axes is None:
                self._miss(typed, node.id, f"the sizes of the axes do not fit the rule{_axes_shown(typed)}")
                continue
            wanted_attributes = axes.attributes(pattern)
            differing = [k for k, v in node.attributes if not _equal(k, wanted_attributes.get(k), v)]
            if node.op != "call" and differing:
                key = differing[0]
                values = f"is {_word(node[key])}, the rule has {_word(pattern[key])}"
                self._miss(typed, node.id, f"`{key}` of `{node.op}` {values}")
                continue
            yield typed

    def _result(self, node: Node, template: TensorType, actual: TensorType, binding: Binding) -> Iterator[Binding]:
        """A result has the axes it should; their order follows the operands', which may have changed places."""
        known = all(a.name in binding.axes or a.name in binding.rests for a in template.axes)
        if node.op == "call" or not known:
            yield from match_type(template, actual, binding)
            return
        axes = axis_map(binding, self.template)
        if axes is not None and template.dtype == actual.dtype and set(axes.type(template).axes) == set(actual.axes):
            yield binding

    # ------------------------------------------------------------------ calls of composites

    def _call(self, pattern: Node, node: Node, binding: Binding) -> Iterator[Binding]:
        """A call of a function of the same definition; arguments go by name, at run time or at compile time."""
        wanted = self.rule.functions[pattern["callee"]]
        found = self.functions[node["callee"]] if node.op == "call" else None
        if found is None or found.block or found.definition != wanted.definition:
            hidden = found is not None and self._hides(found, wanted.definition)
            hint = "; it calls that inside: run the pass `unwrap` first" if hidden else ""
            reason = f"{self._shown(node)}, the rule has `{wanted.definition}` there{hint}"
            self._miss(binding, node.id, reason, len(self.pattern) if hidden else 0)
            return
        if len(node.types) != len(pattern.types):
            counts = f"{len(node.types)} results here, {len(pattern.types)} in the rule"
            self._miss(binding, node.id, f"`{node['callee']}` has {counts}")
            return
        here, there = _arguments(pattern, wanted), _arguments(node, found)
        if here.keys() != there.keys():
            odd = sorted(here.keys() ^ there.keys())
            self._miss(binding, node.id, f"`{odd[0]}` is an argument of `{wanted.definition}` on one side only")
            return
        pairs = tuple((here[name], there[name]) for name in here)
        for below in self._arguments_match(pairs, binding.with_node(pattern.id, node.id), node):
            yield from self._typed(pattern, node, below)

    def _arguments_match(self, pairs: tuple[tuple[Any, Any], ...], binding: Binding, node: Node) -> Iterator[Binding]:
        if not pairs:
            yield binding
            return
        for first in self._argument(*pairs[0], binding, node):
            yield from self._arguments_match(pairs[1:], first, node)

    def _argument(self, wanted: Any, given: Any, binding: Binding, node: Node) -> Iterator[Binding]:
        pattern = self.pattern[wanted] if isinstance(wanted, Value) else None
        number = _static(self.graph, given)
        if pattern is not None and pattern.op == "input" and number is not None and not _leads(pattern.types[0]):
            # A number in the place of a tensor stands for all its entries.
            yield from self._number(pattern["name"], pattern.types[0].dtype, number, node.id, binding)
            return
        if isinstance(wanted, Value) and isinstance(given, Value):
            yield from self._value(wanted, given, binding)
            return
        if _static(self.pattern, wanted) == _static(self.graph, given):
            yield binding
        else:
            self._miss(binding, node.id, f"an argument of `{node['callee']}` is {_static(self.graph, given)!r} here")

    def _hides(self, function: Function, definition: str) -> bool:
        if function.definition in self.rule.makes:
            return False  # the rule itself has put it there
        inner = [n for n in function.graph.nodes() if n.op == "call"]
        return any(self.functions[n["callee"]].definition == definition for n in inner)

    # ------------------------------------------------------------------ the match as a whole

    def _checked(self, binding: Binding, node: Node) -> bool:
        problem = self._open(binding) or self._escapes(binding) or self._circle(binding) or self._condition(binding)
        if problem:
            self._miss(binding, node.id, problem, 1)
        return not problem

    def _open(self, binding: Binding) -> str:
        """An axis that only a number's place has stands for nothing."""
        missing = [n for n in self.template if n not in binding.axes and n not in binding.rests]
        return f"nothing says what the axis `{missing[0]}` of the rule is" if missing else ""

    def _escapes(self, binding: Binding) -> str:
        """A value inside of the match that someone outside reads keeps its operation alive: nothing is gained."""
        inner = set(binding.nodes.values())
        outputs = {self.bound(binding, o) for o in self.pattern.outputs}
        for id in sorted(inner):
            node = self.graph[id]
            if not node.operands:
                continue
            for value in node.values:
                outside = [u for u, _ in self.graph.users(value) if u not in inner]
                if value not in outputs and (outside or value in self.graph.outputs):
                    user = self._shown(self.graph[outside[0]]) if outside else "it is an output of the function"
                    return f"the result of `{node.op}` is also used outside of the rule ({user})"
        return ""

    def _circle(self, binding: Binding) -> str:
        """Nothing the rule reads may depend on what it replaces."""
        inner = {i for i in binding.nodes.values() if self.graph[i].operands}
        for name, value in binding.variables.items():
            if isinstance(value, Value) and not inner.isdisjoint(below(self.graph, value)):
                return f"`{name}` depends on what the rule replaces"
        return ""

    def _condition(self, binding: Binding) -> str:
        condition = self.rule.condition
        if condition is None:
            return ""
        known: dict[str, Any] = {n: axis.size for n, axis in binding.axes.items()}
        known |= {n: v.number for n, v in binding.variables.items() if isinstance(v, Constant)}
        for name, bound in binding.variables.items():
            if isinstance(bound, Value) and re.search(rf"\b{re.escape(name)}\b", condition.text):
                return f"the condition `{condition.text}` needs a number, but `{name}` is computed at run time"
        if condition.holds(known):
            return ""
        values = ", ".join(f"{n} = {v}" for n, v in known.items() if n in condition.text)
        return f"the condition `{condition.text}` does not hold" + (f": {values}" if values else "")

    def _shown(self, node: Node) -> str:
        """An operation in words."""
        if node.op == "call":
            function = self.functions[node["callee"]]
            return f"this is a call of `{function.definition or function.name}`"
        return f"this is `{node.op}`" + (f" {node['value']}" if node.op == "const" else "")


def axes_of(function: Function) -> Mapping[str, Axis]:
    """The axes of a function's values by name."""
    found: dict[str, Axis] = {}
    for node in function.graph.nodes():
        for type in node.types:
            for axis in type.axes:
                found.setdefault(axis.name, axis)
    return found


def below(graph: Graph, value: Value) -> set[int]:
    """The nodes a value is made from, its own included."""
    waiting, seen = [value.node], set[int]()
    while waiting:
        node = waiting.pop()
        if node not in seen:
            seen.add(node)
            waiting += [v.node for v in graph[node].operands]
    return seen


def _leads(type: TensorType) -> bool:
    """Whether a type has leading axes of any number: none of them, and a scalar fits."""
    return any(is_rest(a.name) for a in type.axes)


def _arguments(node: Node, callee: Function) -> dict[str, Any]:
    """The arguments of a call by name: values, and the numbers the callee was specialised to."""
    given = {name: value for (name, _), value in zip(callee.inputs, node.operands, strict=True)}
    return {**dict(callee.statics), **given}


def _static(graph: Graph, argument: Any) -> Any:
    """A compile-time argument, or the number that a value is; None for any other value."""
    if not isinstance(argument, Value):
        return argument
    node = graph[argument]
    return node["value"] if node.op == "const" and not node.types[0].axes else None


def _equal(key: str, wanted: Any, given: Any) -> bool:
    """Reductions name their axes in any order."""
    if key in NAMES and isinstance(wanted, tuple) and all(isinstance(n, str) for n in wanted):
        return (key == "over" and set(wanted) == set(given)) or wanted == given
    return bool(wanted == given)


def _axes_shown(binding: Binding) -> str:
    known = [f"`{n}` stands for {axis}" for n, axis in binding.axes.items()]
    known += [f"`{n}` stands for ({', '.join(map(str, axes))})" for n, axes in binding.rests.items()]
    return f" ({', '.join(known)})" if known else ""


def _word(value: Any) -> str:
    return ", ".join(map(_word, value)) if isinstance(value, tuple) else f"`{value}`"
