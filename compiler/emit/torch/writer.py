"""Writes one graph: every value becomes an expression, and a statement where it needs a name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from ....lang import errors
from ....lang.axes import Axis, TensorType
from ....lang.diagnostics import WeftError
from ....lang.sizes import Size
from ...ir.graph import Graph, Node, Value
from ...ir.module import Function, Reference
from . import layout
from .emission import Emission
from .method import Method, is_ambient
from .names import Names, key_part
from .text import Expr, Level, Line, Precision, literal, shape_of

WIDTH = 92


@dataclass(eq=False)
class Scope:
    """What the bodies written into one method share.

    `shaped`: variables whose shapes can be asked. `structure`: what is known of the mask of attention. `steps`: how
    many loops over time are around what is being written.
    """

    emission: Emission
    method: Method
    names: Names
    shaped: list[tuple[str, tuple[Axis, ...]]] = field(default_factory=list)
    indent: int = 2
    structure: str = ""
    steps: int = 0

    def line(self, text: str, shapes: Sequence[tuple[Axis, ...]] = ()) -> None:
        self.method.lines.append(Line(text, self.indent, tuple(shape_of(s) for s in shapes)))


class Writer:
    """Writes one graph. `inline` bodies (of small functions and scans) take over names only where they need some."""

    def __init__(self, scope: Scope, function: Function, inputs: dict[str, Expr], inline: bool = False) -> None:
        self.scope, self.function, self.inline = scope, function, inline
        self.emission = scope.emission
        self.graph: Graph = function.graph
        self.values: dict[Value, Expr] = {}
        self.inputs = inputs
        self.emitted: set[int] = set()
        self.uses = self.emission.liveness.uses(function)
        largest = max(function.output_types, key=lambda t: len(t.axes), default=TensorType(()))
        self.preferred: tuple[str, ...] = largest.names
        self.spec_names = _spec_names(self.graph)

    # ------------------------------------------------------------ the body

    def run(self) -> tuple[Expr, ...]:
        """Write every live node; the expressions of the outputs."""
        for node in self.graph.nodes():
            if node.op == "input":
                if node["name"] in self.inputs:
                    self.values[node.values[0]] = self.inputs[node["name"]]
            elif any(v in self.uses for v in node.values) or not node.values:
                self.emit(node)
        return tuple(self.values[v] for v in self.graph.outputs)

    def emit(self, node: Node) -> None:
        """Write one node, unless it was needed earlier and is written already."""
        if node.id not in self.emitted:
            self.emitted.add(node.id)
            self.emission.emit(self, node)

    def write_states(self) -> None:
        """The new states, after everything that reads the old ones (those have variables)."""
        for state in self.function.states:
            if self.graph[state.update].op == "state":
                continue  # a constant stays what it is
            update = layout.ordered(self.real(self.shaped(state.update)), state.type.names)
            self.scope.line(f"states[{self.key(key_part(state.name))}] = {update.text}", (update.axes,))

    def returned(self, value: Value, expr: Expr) -> Expr:
        """An output with all axes of its type, in order, in the precision of what came in."""
        type = self.graph.type(value)
        if expr.number is not None and not type.axes and self.function.name != self.emission.module.entry:
            return expr
        expr = layout.ordered(self.real(self.shaped(value)), type.names)
        narrow = next((e for e in self.inputs.values() if e.precision is Precision.COMPUTE and e.number is None), None)
        if expr.precision is Precision.WIDE and narrow is not None and expr.axes:
            text = f"{expr.at(Level.ATOM)}.to({narrow.text}.dtype)"
            return replace(expr.with_text(text), precision=Precision.COMPUTE)
        return expr

    # ------------------------------------------------------------ values

    def type(self, value: Value) -> TensorType:
        return self.graph.type(value)

    def settle(self, value: Value, expr: Expr) -> None:
        """Keep an expression: as it is where it is used once, under a name otherwise."""
        count = self.uses.get(value, 0)
        named = value in self.spec_names and not self.inline
        self.values[value] = expr
        if count and not expr.is_simple and (count > 1 or (named and value not in self.graph.outputs)):
            self.assign(value)

    def assign(self, value: Value, wanted: str = "") -> Expr:
        """Give a value a variable."""
        expr = self.values[value]
        if expr.is_simple:
            return expr
        name = self.scope.names.take(self.spec_names.get(value) or wanted or self.default_name(value), "y")
        self.scope.line(f"{name} = {expr.text}", (expr.axes,))
        self.values[value] = expr.with_text(name)
        if self.scope.indent == (1 if self.scope.method.is_free else 2):
            self.scope.shaped.append((name, expr.axes))
        return self.values[value]

    def default_name(self, value: Value) -> str:
        """A name for a value that the spec gives none: never one that the spec uses for another value here."""
        node = self.graph[value]
        if node.op == "input" or (node.op == "call" and node["instance"] is not None):
            wanted = node["name"] if node.op == "input" else node["site"]
        elif node.op in ("position", "index"):
            wanted = node["axis"].name.lower()
        else:
            wanted = "mask" if self.type(value).dtype == "bool" else DEFAULT_NAMES.get(node.op, "y")
        taken = {*self.spec_names.values(), *self.scope.names.taken}
        return next((n for n in (wanted, "y", "z", "u", "w") if n not in taken), wanted)

    def fit(self, render: Callable[[], Expr], operands: Sequence[Value], hints: Sequence[str] = ()) -> Expr:
        """Render an expression; while it is too long for a line, give its longest operand a name."""
        expr = render()
        while len(self.emission.blanks.fill(expr.text)) + 4 * self.scope.indent > WIDTH:
            waiting = [v for v in dict.fromkeys(operands) if not self.values[v].is_simple]
            waiting = [v for v in waiting if len(self.values[v].text) > 16]
            if not waiting:
                break
            longest = max(waiting, key=lambda v: len(self.values[v].text))
            hint = hints[operands.index(longest)] if hints else ""
            self.assign(longest, "" if hint in self.scope.names.taken else hint)
            expr = render()
        return expr

    def shaped(self, value: Value) -> Expr:
        """The value as a tensor that really has all axes of its type (in whatever order)."""
        expr, type = self.values[value], self.type(value)
        missing = [a for a in type.axes if a.name not in expr.names]
        if expr.number is not None:
            return self.filled(expr, type)
        if not missing:
            return expr
        target = layout.merged((expr.axes, type.axes), type.names)
        lengths = ", ".join("-1" if a.name in expr.names else self.size(a) for a in target)
        view = layout.aligned(expr, [a.name for a in target])
        return replace(expr.with_text(f"{view.at(Level.ATOM)}.expand({lengths})"), axes=target)

    def filled(self, expr: Expr, type: TensorType) -> Expr:
        """A tensor of one number."""
        number = expr.number
        sizes = ", ".join(map(self.size, type.axes)) if type.axes else "()"
        dtype = {"real": "", "int": ", dtype=torch.int64", "bool": ", dtype=torch.bool"}[type.dtype]
        end = f"{dtype}{self.on_device()})"
        if (number in (0, 1) and not isinstance(number, bool)) or type.dtype == "bool":
            text = f"torch.{'ones' if number else 'zeros'}({sizes}{end}"
        else:
            shape = f"({sizes},)" if len(type.axes) == 1 else f"({sizes})" if type.axes else "()"
            text = f"torch.full({shape}, {expr.text}{end}"
        precision = Precision.WIDE if type.dtype == "real" else Precision.WHOLE
        return Expr(text, Level.ATOM, type.axes, precision)

    def number(self, value: bool | int | float) -> Expr:
        """A Python number, which another instance of the same class may have otherwise."""
        plain = literal(value)
        if isinstance(value, bool):
            return plain
        names = (name for name, static in self.function.statics if static == value)
        return replace(plain, text=self.emission.blanks.mark(value, next(names, "number")))

    def real(self, expr: Expr) -> Expr:
        """A number that is real in the program as a tensor that is real in PyTorch."""
        if expr.precision is not Precision.COUNT:
            return expr
        text = f"{expr.at(Level.ATOM)}.to(torch.get_default_dtype())"
        return replace(expr.with_text(text), precision=Precision.WIDE)

    # ------------------------------------------------------------ sizes, devices, states

    def size(self, axis: Axis) -> str:
        """The length of an axis."""
        return self.length(axis.size, axis.name).text

    def length(self, size: Size, label: str) -> Expr:
        if size.is_constant:
            return Expr(self.emission.blanks.mark(size.value, label), Level.ATOM)
        found = self._known_length(size)
        if found is None and any(self._known_length(Size.symbol(s)) is None for s in size.symbols):
            self._provide(size)
            found = self._known_length(size)
        if found is not None:
            return Expr(found, Level.ATOM)
        terms: list[str] = []
        for monomial, coefficient in reversed(size.terms):
            factors = [self._symbol(s, size) + (f" ** {p}" if p > 1 else "") for s, p in monomial if p > 0]
            number, under = coefficient.numerator, [self._symbol(s, size) for s, p in monomial for _ in range(-p)]
            if number != 1 or not factors:
                factors.insert(0, str(number))
            text = " * ".join(factors)
            under += [str(coefficient.denominator)] if coefficient.denominator != 1 else []
            terms.append(text + "".join(f" // {u}" for u in under))
        return Expr(" + ".join(terms), Level.ADD if len(terms) > 1 else Level.MULTIPLY)

    def _provide(self, size: Size) -> None:
        """Write a tensor that has this size before its turn, if there is one that can be written now."""
        for node in self.graph.nodes():
            has_it = any(a.size == size for a in node.types[0].axes)
            if has_it and node.op in ("append", "call", "take", "state") and node.values[0] in self.uses:
                waiting = self._before(node)
                if not any(n.id in self.emitted or self._is_unmeasured(n) for n in waiting):
                    for one in waiting:
                        self.emit(one)
                    self.assign(node.values[0])
                    return

    def _is_unmeasured(self, node: Node) -> bool:
        """Whether a node counts along an axis whose length is not known yet."""
        if node.op not in ("index", "position", "size"):
            return False
        size: Size = node["axis"].size
        return not size.is_constant and self._known_length(size) is None

    def _before(self, node: Node) -> list[Node]:
        """A node and what has to be written before it, in order."""
        wanted, waiting = set[int](), [node]
        while waiting:
            here = waiting.pop()
            if here.id not in wanted and here.values[0] not in self.values:
                wanted.add(here.id)
                waiting += [self.graph[here.operands[i]] for i in self.emission.liveness.operands(self.function, here)]
        return [n for n in self.graph.nodes() if n.id in wanted]

    def _known_length(self, size: Size) -> str | None:
        for variable, axes in self.scope.shaped:
            for i, axis in enumerate(axes):
                if axis.size == size:
                    return f"{variable}.shape[{i}]"
        return None

    def _symbol(self, symbol: str, whole: Size) -> str:
        found = self._known_length(Size.symbol(symbol))
        if found is not None:
            return found
        token, history = self.emission.module.stream or ("", "")
        if symbol == history and not self.emission.is_step:
            return self._symbol(token, whole)
        for first, second, sign in ((history, token, -1), ("P", token, 1)):
            if symbol == ("P" if sign < 0 else history) and first:
                a, b = self._known_length(Size.symbol(first)), self._known_length(Size.symbol(second))
                if a and b:
                    return f"({a} {'+' if sign > 0 else '-'} {b})"
        why = f"no tensor of `{self.function.name}` has it"
        raise WeftError(errors.not_in_torch(f"the size {whole}", why, self.function.origin.first_span()))

    def on_device(self) -> str:
        """`, device=..` of a tensor made here."""
        if self.scope.shaped:
            return f", device={self.scope.shaped[0][0]}.device"
        name = next((n["name"] for n in self.graph.nodes() if n.op == "param"), None)
        return f", device=self.{name}.device" if name else ""

    def key(self, text: str) -> str:
        """The key of a state below this method's place, as source."""
        if self.function.name in self.emission.module.entries:
            return f'"{text}"' if "{" not in text else f'f"{text}"'
        return f'f"{{path}}.{text}"'

    # ------------------------------------------------------------ what comes from outside

    def ambient(self, name: str) -> str:
        """The parameter that holds an ambient value."""
        if not is_ambient(name):
            raise WeftError(errors.not_in_torch(f"the ambient value `{name}`", "it has no parameter", None))
        ambients = self.scope.method.ambients
        if name not in ambients:
            ambients[name] = self.scope.names.take(name)
            if name != "past":
                self.scope.shaped.append((ambients[name], self._ambient_axes(name)))
        return ambients[name]

    def _ambient_axes(self, name: str) -> tuple[Axis, ...]:
        for function in (self.function, *self.emission.module.functions.values()):
            for node in function.graph.nodes():
                if node.op == "ambient" and node["name"] == name:
                    return node.types[0].axes
        return ()

    def outside(self, reference: Reference) -> str:
        """The parameter that holds an instance outside of this one."""
        known = self.scope.method.outside
        if reference not in known:
            known[reference] = self.scope.names.take(reference.down[-1] if reference.down else "outer", "outer")
        return known[reference]


def _spec_names(graph: Graph) -> dict[Value, str]:
    """What the spec calls values. Of several nodes that a derivation made of one, the last needed has it."""
    needed = {v.node for v in graph.outputs} or {node.id for node in graph.nodes()}
    found: dict[str, Value] = {}
    for node in reversed(list(graph.nodes())):
        if node.id in needed:
            needed |= {v.node for v in node.operands}
        is_given = not node.values or node.op in ("input", "param", "state", "ambient")
        if node.origin.name and not is_given and node.id in needed:
            found.setdefault(node.origin.name, node.values[0])
    return {value: name for name, value in found.items()}


DEFAULT_NAMES = {
    "take": "rows", "pow": "power", "softmax": "weights", "split": "parts",
    "top": "chosen", "sum": "total", "mean": "mean", "max": "top", "append": "history", "argmax": "best",
    "stack": "pair", "delays": "near", "table": "table",
}
