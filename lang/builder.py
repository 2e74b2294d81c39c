"""Tree nodes made from what the grammar matched, leaves first and without recursion."""

from __future__ import annotations

from typing import Any

from lark import Tree as Match
from lark.lexer import Token

from . import errors, tree
from .diagnostics import Diagnostic
from .recipe_builder import RecipeBuilder, string, texts
from .source import Source, Span

MAX_DEPTH = 120
"""Levels of the tree: nested expressions, and operators in one chain, may be this deep."""


def build(match: Match[Token], source: Source) -> tuple[Any, tuple[Diagnostic, ...]]:
    """The node that `match` stands for, and what is wrong with it.

    A match that is too deep gives None and one problem: what walks the tree later may recurse.
    """
    order: list[Any] = []
    waiting: list[tuple[Any, int]] = [(match, 0)]
    while waiting:
        part, depth = waiting.pop()
        order.append(part)
        if isinstance(part, Match):
            if depth > MAX_DEPTH:
                return None, (errors.too_deep(_span(source, part), "expressions or operators", MAX_DEPTH),)
            waiting += [(child, depth + 1) for child in part.children]
    builder = Builder(source)
    done: list[Any] = []
    for part in reversed(order):
        if isinstance(part, Match):
            first = len(done) - len(part.children)
            children = done[first:]
            del done[first:]
            done.append(getattr(builder, part.data)(_span(source, part), children))
        else:
            done.append(part)
    return done[0], tuple(builder.problems)


def _span(source: Source, match: Match[Token]) -> Span:
    return Span(source, match.meta.start_pos, match.meta.end_pos)


class Builder(RecipeBuilder):
    """One method for each rule of the grammar: `(span, parts) -> node`."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.problems: list[Diagnostic] = []

    def item(self, span: Span, parts: list[Any]) -> tree.Item:
        return parts[0]

    expression_only = item
    group = item

    # -------------------------------------------------------------- items

    def use(self, span: Span, parts: list[Any]) -> tree.Use:
        return tree.Use(parts[0], parts[1], span=span)

    def path(self, span: Span, parts: list[Token]) -> tuple[str, ...]:
        return texts(parts)

    names = path

    def fn(self, span: Span, parts: list[Any]) -> tree.Fn:
        name, signature, body = parts
        return tree.Fn(str(name), signature, self._valued(body), span=span)

    def block(self, span: Span, parts: list[Any]) -> tree.Block:
        name, parameters, interface, members = parts
        return tree.Block(
            str(name), parameters or (), None if interface is None else str(interface), members, span=span
        )

    def interface(self, span: Span, parts: list[Any]) -> tree.Interface:
        return tree.Interface(str(parts[0]), tuple(parts[1:]), span=span)

    def interface_method(self, span: Span, parts: list[Any]) -> tree.InterfaceMethod:
        return tree.InterfaceMethod(str(parts[0]), parts[1], span=span)

    def model(self, span: Span, parts: list[Any]) -> tree.Model:
        name, parameters, members = parts
        return tree.Model(str(name), parameters or (), members, span=span)

    def derived(self, span: Span, parts: list[Any]) -> tree.DerivedModel:
        return tree.DerivedModel(str(parts[0]), parts[1], span=span)

    def rule(self, span: Span, parts: list[Any]) -> tree.Rule:
        name, parameters, before, after, condition = parts
        return tree.Rule(str(name), parameters, before, after, condition, span=span)

    def signature(self, span: Span, parts: list[Any]) -> tree.Signature:
        return tree.Signature(parts[0], parts[1] or (), span=span)

    def results(self, span: Span, parts: list[Any]) -> tuple[tree.TypeExpression, ...]:
        return tuple(parts)

    parameters = results

    def parameter(self, span: Span, parts: list[Any]) -> tree.Parameter:
        name, type_, default = parts
        return tree.Parameter(str(name), type_, default, span=span)

    # -------------------------------------------------------------- types

    def tensor(self, span: Span, parts: list[Any]) -> tree.TensorTypeExpression:
        dtype = "real" if parts[0] is None else str(parts[0])
        return tree.TensorTypeExpression(dtype, tuple(parts[1:]), span=span)

    def named_type(self, span: Span, parts: list[Token]) -> tree.NamedType:
        return tree.NamedType(str(parts[0]), span=span)

    def rest(self, span: Span, parts: list[Token]) -> tree.Rest:
        return tree.Rest(span=span)

    def pack(self, span: Span, parts: list[Token]) -> tree.Pack:
        return tree.Pack(str(parts[0]), span=span)

    # -------------------------------------------------------------- members

    def members(self, span: Span, parts: list[Any]) -> tuple[tree.Member, ...]:
        return tuple(parts)

    def weight(self, span: Span, parts: list[Any]) -> tree.WeightDecl:
        names, type_, initial = parts
        return tree.WeightDecl(names, type_, initial, span=span)

    def dim(self, span: Span, parts: list[Any]) -> tree.DimDecl:
        return tree.DimDecl(str(parts[0]), parts[1], span=span)

    def stream(self, span: Span, parts: list[Token]) -> tree.StreamDecl:
        return tree.StreamDecl(str(parts[0]), str(parts[1]), span=span)

    def require(self, span: Span, parts: list[Any]) -> tree.Require:
        return tree.Require(parts[0], span=span)

    def bind(self, span: Span, parts: list[Any]) -> tree.Bind:
        return tree.Bind(str(parts[0]), parts[1], span=span)

    def method(self, span: Span, parts: list[Any]) -> tree.Method:
        name, signature, body = parts
        return tree.Method(str(name), signature, self._valued(body), span=span)

    # -------------------------------------------------------------- bodies

    def body(self, span: Span, parts: list[Any]) -> tree.Body:
        statements: list[tree.Statement] = []
        result: tree.Expression | None = None
        for i, part in enumerate(parts):
            if isinstance(part, (tree.Let, tree.Next, tree.Yield, tree.Penalty)):
                statements.append(part)
            elif i == len(parts) - 1:
                result = part
            else:
                self.problems.append(errors.unused_value(part.span, self._unused_advice(parts[i + 1])))
        return tree.Body(tuple(statements), result, span=span)

    def _unused_advice(self, following: Any) -> tuple[str, ...]:
        if isinstance(following, tree.Unary) and following.op == "-":
            return ("a line that begins with `-` is a new value: end the line before with `-`, or use ( )",)
        return ("give it a name: `name = ..`",)

    def _valued(self, body: tree.Body) -> tree.Body:
        """A body that must end in a value and is not one step of a scan."""
        for statement in body.statements:
            if isinstance(statement, (tree.Next, tree.Yield)):
                word = "next" if isinstance(statement, tree.Next) else "yield"
                self.problems.append(errors.only_in_scan(statement.span, word))
                return body
        if body.result is None:
            end = Span(body.span.source, body.span.end - 1, body.span.end)
            last = body.statements[-1] if body.statements else None
            if isinstance(last, tree.Let):
                advice = f"end it with what it gives, such as `{last.names[-1]}`"
                self.problems.append(errors.body_without_value(last.span, "the last line gives a name only", advice))
            else:
                advice = "its last line is an expression: what it gives"
                self.problems.append(errors.body_without_value(end, "an expression expected before this", advice))
        return body

    def let(self, span: Span, parts: list[Any]) -> tree.Let:
        return tree.Let(parts[0], parts[1], span=span)

    def next(self, span: Span, parts: list[Any]) -> tree.Next:
        return tree.Next(str(parts[0]), parts[1], span=span)

    def yield_(self, span: Span, parts: list[Any]) -> tree.Yield:
        return tree.Yield(parts[0], span=span)

    def penalty(self, span: Span, parts: list[Any]) -> tree.Penalty:
        return tree.Penalty(str(parts[0]), parts[1], span=span)

    # -------------------------------------------------------------- expressions

    def with_(self, span: Span, parts: list[Any]) -> tree.With:
        return tree.With(parts[0], tuple(parts[1:]), span=span)

    def override(self, span: Span, parts: list[Any]) -> tree.Override:
        return tree.Override(parts[0], parts[1], span=span)

    def binary(self, span: Span, parts: list[Any]) -> tree.Binary:
        left, op, right = parts
        return tree.Binary(str(op), left, right, span=span)

    def unary(self, span: Span, parts: list[Any]) -> tree.Unary:
        return tree.Unary(str(parts[0]), parts[1], span=span)

    def call(self, span: Span, parts: list[Any]) -> tree.Call:
        return tree.Call(parts[0], tuple(parts[1:]), span=span)

    def attribute(self, span: Span, parts: list[Any]) -> tree.Attribute:
        return tree.Attribute(parts[0], str(parts[1]), span=span)

    def index(self, span: Span, parts: list[Any]) -> tree.Index:
        return tree.Index(parts[0], parts[1], span=span)

    def argument(self, span: Span, parts: list[Any]) -> tree.Argument:
        return tree.Argument(None, parts[0], span=span)

    def assigned(self, span: Span, parts: list[Any]) -> tree.Argument:
        """`rank = 16` names an argument; `text("a") = 0.7` gives a weight to one."""
        target, value = parts
        if isinstance(target, tree.Name):
            return tree.Argument(target.id, value, span=span)
        return tree.Argument(None, tree.Weighted(target, value, span=span), span=span)

    def axis_map(self, span: Span, parts: list[Any]) -> tree.AxisMap:
        return tree.AxisMap(parts[0], parts[1], span=span)

    def where(self, span: Span, parts: list[Any]) -> tree.Where:
        return tree.Where(parts[0], parts[1], span=span)

    def name(self, span: Span, parts: list[Token]) -> tree.Name:
        return tree.Name(str(parts[0]), span=span)

    def number(self, span: Span, parts: list[Token]) -> tree.Number:
        text = str(parts[0])
        plain = text.replace("_", "")
        return tree.Number(int(plain) if plain.isdigit() else float(plain), text, span=span)

    def quantity(self, span: Span, parts: list[Token]) -> tree.Quantity:
        end = parts[0].end_pos
        number = self.number(Span(self.source, span.start, span.end if end is None else end), parts[:1])
        return tree.Quantity(number, str(parts[1]), span=span)

    def string(self, span: Span, parts: list[Token]) -> tree.String:
        return string(parts[0], self.source)

    def boolean(self, span: Span, parts: list[Token]) -> tree.Boolean:
        return tree.Boolean(parts[0] == "true", span=span)

    def tuple_(self, span: Span, parts: list[Any]) -> tree.Tuple:
        return tree.Tuple(tuple(parts), span=span)

    def if_(self, span: Span, parts: list[Any]) -> tree.If:
        condition, then, otherwise = parts
        if isinstance(otherwise, tree.If):
            otherwise = tree.Body((), otherwise, span=otherwise.span)
        else:
            self._valued(otherwise)
        return tree.If(condition, self._valued(then), otherwise, span=span)

    def repeat(self, span: Span, parts: list[Any]) -> tree.Repeat:
        count, index, members = parts
        return tree.Repeat(count, None if index is None else str(index), members, None, span=span)

    def repeat_of(self, span: Span, parts: list[Any]) -> tree.Repeat:
        return tree.Repeat(parts[0], None, None, parts[1], span=span)

    def stack(self, span: Span, parts: list[Any]) -> tree.Stack:
        return tree.Stack(parts[0], parts[1], span=span)

    def scan(self, span: Span, parts: list[Any]) -> tree.Scan:
        axis, *states, body = parts
        if body.result is not None:
            advice = "a scan's body gives its output with `yield`"
            self.problems.append(errors.unused_value(body.result.span, (advice,)))
        name = tree.Name(str(axis), span=Span(self.source, axis.start_pos, axis.end_pos))
        return tree.Scan(name, tuple(states), body, span=span)

    def scan_state(self, span: Span, parts: list[Any]) -> tree.ScanState:
        name, type_, initial = parts
        return tree.ScanState(str(name), type_, initial, span=span)
