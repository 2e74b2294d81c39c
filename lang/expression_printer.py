"""Expressions, types and bodies as documents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from . import tree
from .documents import HARD, SPACE_OR_BREAK, Document, Group, group, joined, nest, note, row, sequence, text
from .margin import Margin

# How tightly an expression holds together; an operand that holds less tightly needs ( ).
WITH, PIPE, OR, AND, NOT, COMPARE, SUM, PRODUCT, SIGN, POWER, POSTFIX, ATOM = range(12)

_BINARY = {
    "|>": PIPE, "or": OR, "and": AND, "<": COMPARE, "<=": COMPARE, "==": COMPARE, "!=": COMPARE, ">": COMPARE,
    ">=": COMPARE, "+": SUM, "-": SUM, "*": PRODUCT, "/": PRODUCT, "%": PRODUCT, "^": POWER,
}  # fmt: skip

_ESCAPED = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t"})


def tightness(node: tree.Expression) -> int:
    match node:
        case tree.With():
            return WITH
        case tree.Binary(op=op):
            return _BINARY[op]
        case tree.Unary(op=op):
            return NOT if op == "not" else SIGN
        case tree.If() | tree.Repeat() | tree.Stack() | tree.Scan():
            return POWER
        case tree.Call() | tree.Attribute() | tree.Index():
            return POSTFIX
        case _:
            return ATOM


def quoted(value: str) -> str:
    """A string as it is written, with its escapes."""
    return '"' + value.translate(_ESCAPED) + '"'


@dataclass(frozen=True)
class ExpressionPrinter:
    margin: Margin

    # -------------------------------------------------------------- expressions

    def expression(self, node: tree.Expression) -> Document:
        match node:
            case tree.Name(id=name):
                return text(name)
            case tree.Number(text=written):
                return text(written)
            case tree.Quantity(number=number, unit=unit):
                return text(f"{number.text} {unit}")
            case tree.String(value=value):
                return text(quoted(value))
            case tree.Boolean(value=value):
                return text("true" if value else "false")
            case tree.Rest():
                return text("..")
            case tree.Unary(op=op, operand=operand):
                return sequence("not " if op == "not" else "-", self.operand(operand, NOT if op == "not" else SIGN))
            case tree.Binary():
                return self.binary(node)
            case tree.Attribute(value=value, name=name):
                return sequence(self.operand(value, POSTFIX), f".{name}")
            case tree.Index(value=value, position=position):
                return sequence(self.operand(value, POSTFIX), "[", self.expression(position), "]")
            case tree.Call(function=function, arguments=arguments):
                head = self.operand(function, POSTFIX)
                return sequence(head, self.margin.listed(arguments, self.argument, node.span.end - 1, "(", ")"))
            case tree.AxisMap(source=source, target=target):
                return sequence(self.expression(source), " -> ", self.expression(target))
            case tree.Where(value=value, mask=mask):
                return sequence(self.expression(value), " where ", self.expression(mask))
            case tree.Weighted(value=value, weight=weight):
                return sequence(self.expression(value), " = ", self.expression(weight))
            case tree.Tuple(items=items):
                return self.margin.listed(items, self.expression, node.span.end - 1, "(", ")", len(items) == 1)
            case tree.With(base=base, overrides=overrides):
                head = sequence(self.operand(base, WITH), " with ")
                return sequence(head, self.margin.braces(overrides, self.statement, node.span.end))
            case _:
                return self.braced(node)

    def argument(self, node: tree.Argument) -> Document:
        value = self.expression(node.value)
        return value if node.name is None else sequence(f"{node.name} = ", value)

    def operand(self, node: tree.Expression, least: int) -> Document:
        """An operand in ( ) when it would fall apart without, or when an operation was written in them."""
        shown = self.expression(node)
        written = isinstance(node, (tree.Binary, tree.Unary)) and self.margin.in_parentheses(node.span)
        return sequence("(", shown, ")") if written or tightness(node) < least else shown

    def binary(self, node: tree.Binary) -> Document:
        """A chain `a + b - c` of equally tight operators breaks before all of them (behind a `-`) or none."""
        level = _BINARY[node.op]
        if level == POWER:
            return sequence(self.operand(node.left, POSTFIX), " ^ ", self.operand(node.right, SIGN))
        if level == COMPARE:
            left = self.operand(node.left, SUM)
            return group(left, nest(SPACE_OR_BREAK, f"{node.op} ", self.operand(node.right, SUM)))
        links: list[tree.Binary] = [node]
        while (
            isinstance(links[-1].left, tree.Binary)
            and _BINARY[links[-1].left.op] == level
            and not self.margin.in_parentheses(links[-1].left.span)
        ):
            links.append(links[-1].left)
        first = self.operand(links[-1].left, level)
        rest: list[Document] = []
        for link in reversed(links):
            ahead = self.margin.before(link.right.span.start)
            notes = [note(c.text) if not c.alone else sequence(HARD, text(c.text)) for c in ahead]
            right = self.operand(link.right, level + 1)
            if link.op == "-":  # a line that begins with `-` would be a new statement
                rest += [text(" -"), *notes, SPACE_OR_BREAK, right]
            else:
                rest += [*notes, SPACE_OR_BREAK, text(f"{link.op} "), right]
        return group(first, nest(*rest))

    def braced(self, node: tree.Expression) -> Document:
        match node:
            case tree.If():
                return self.choice(node)
            case tree.Repeat(count=count, of=of) if of is not None:
                return sequence("repeat ", self.operand(count, SUM), " of ", self.operand(of, POSTFIX))
            case tree.Repeat(count=count, index=index, members=members):
                head = sequence("repeat ", self.operand(count, SUM), "" if index is None else f" as {index}", " ")
                return sequence(head, self.members(members or (), node.span.end))
            case tree.Stack(axis=axis, of=of):
                return sequence("stack ", self.operand(axis, SUM), " of ", self.operand(of, POSTFIX))
            case tree.Scan(axis=axis, states=states, body=body):
                shown = [sequence(f"{s.name}: ", self.type(s.type), " = ", self.expression(s.initial)) for s in states]
                head = sequence(f"scan {axis.id} from ", joined(shown, text(", ")), " ")
                return sequence(head, self.body(body))
            case _:
                raise TypeError(f"no expression: {type(node).__name__}")

    def choice(self, node: tree.If) -> Document:
        """`if a { .. } else if b { .. } else { .. }`; the bodies are all on one line or all on several."""
        parts: list[Document | str] = []
        last: tree.If | None = node
        while last is not None:
            parts += ["if ", self.operand(last.condition, OR), " ", self.unwrapped(last.then), " else "]
            result = last.otherwise.result
            if isinstance(result, tree.If) and result.span.start == last.otherwise.span.start:
                last = result
            else:
                parts.append(self.unwrapped(last.otherwise))
                last = None
        return group(*parts)

    def unwrapped(self, node: tree.Body) -> Document:
        """A body that shares the line breaks of the group it stands in."""
        shown = self.body(node)
        return shown.body if isinstance(shown, Group) else shown

    # -------------------------------------------------------------- bodies

    def body(self, node: tree.Body) -> Document:
        rows: list[tree.Statement | tree.Expression] = [*node.statements]
        if node.result is not None:
            rows.append(node.result)
        return self.margin.braces(rows, self.statement, node.span.end, start=node.span.start)

    def statement(self, node: tree.Statement | tree.Override | tree.Expression) -> Document:
        match node:
            case tree.Let(names=names, value=value):
                return row(", ".join(names), self.expression(value))
            case tree.Next(name=name, value=value):
                return sequence(f"next {name} = ", self.expression(value))
            case tree.Penalty(name=name, value=value):
                return sequence(f"penalty {name} = ", self.expression(value))
            case tree.Yield(value=value):
                return sequence("yield ", self.expression(value))
            case tree.Override(path=path, value=value):
                return row(".".join(path), self.expression(value))
            case _:
                return self.expression(node)

    # -------------------------------------------------------------- types

    def type(self, node: tree.TypeExpression) -> Document:
        if isinstance(node, tree.NamedType):
            return text(node.name)
        axes = joined([self.axis(a) for a in node.axes], text(", "))
        return sequence("" if node.dtype == "real" else node.dtype, "[", axes, "]")

    def axis(self, node: tree.Rest | tree.Pack | tree.Expression) -> Document:
        return text(f"{node.name}..") if isinstance(node, tree.Pack) else self.expression(node)

    def parameters(self, nodes: tuple[tree.Parameter, ...], start: int) -> Document:
        """`(a: int, b = 3)`; `start` is an offset behind the `(` or before it."""
        end = self.margin.token_after(nodes[-1].span.end if nodes else start, "RPAR")
        return self.margin.listed(nodes, self.parameter, end, "(", ")")

    def parameter(self, node: tree.Parameter) -> Document:
        parts: list[Document | str] = [node.name]
        if node.type is not None:
            parts += [": ", self.type(node.type)]
        if node.default is not None:
            parts += [" = ", self.expression(node.default)]
        return sequence(*parts)

    def signature(self, node: tree.Signature) -> Document:
        """`(x: [.., D]) -> [.., D]`."""
        parameters = self.parameters(node.parameters, node.span.start)
        results = [self.type(r) for r in node.results]
        if not results:
            return parameters
        if len(results) == 1:
            return sequence(parameters, " -> ", results[0])
        return sequence(parameters, " -> (", joined(results, text(", ")), ")")

    # -------------------------------------------------------------- members

    def members(self, nodes: Sequence[tree.Member], end: int) -> Document:
        return self.margin.braces(nodes, self.member, end)

    def member(self, node: tree.Member) -> Document:
        match node:
            case tree.WeightDecl(names=names, type=type_, initial=initial):
                head = sequence(f"param {', '.join(names)}: ", self.type(type_))
                return head if initial is None else sequence(head, " = ", self.expression(initial))
            case tree.DimDecl(name=name, value=value):
                return sequence(f"dim {name} = ", self.expression(value))
            case tree.StreamDecl(axis=axis, history=history):
                return text(f"stream {axis} as {history}")
            case tree.Require(condition=condition):
                return sequence("require ", self.expression(condition))
            case tree.Bind(name=name, value=value):
                return row(name, self.expression(value))
            case tree.Method(name=name, signature=signature, body=body):
                return sequence(name, self.signature(signature), " ", self.body(body))
