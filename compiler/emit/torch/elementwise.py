"""Elementwise operations: operands broadcast by name, numbers stay Python numbers, precision as PyTorch promotes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ....lang.axes import TensorType
from ...ir.graph import Node
from ...ir.ops import OPS
from ...ir.primitive import Frame
from . import layout
from .text import Expr, Level, Precision
from .writer import Writer

# op -> Python operator, level, whether operands of the same level on the right need no parentheses
INFIX = {
    "add": ("+", Level.ADD), "sub": ("-", Level.ADD), "mul": ("*", Level.MULTIPLY), "div": ("/", Level.MULTIPLY),
    "floordiv": ("//", Level.MULTIPLY), "mod": ("%", Level.MULTIPLY), "and": ("&", Level.AND), "or": ("|", Level.OR),
    "eq": ("==", Level.COMPARE), "ne": ("!=", Level.COMPARE), "lt": ("<", Level.COMPARE), "le": ("<=", Level.COMPARE),
    "gt": (">", Level.COMPARE), "ge": (">=", Level.COMPARE),
}
NEUTRAL = {"add": 0, "sub": 0, "mul": 1}
PREFIX = {"neg": "-", "not": "~"}
# Operations that keep whole numbers whole: an int64 tensor that means a real number may pass through them.
EXACT = frozenset(("add", "sub", "mul", "neg", "abs"))
# Operations that PyTorch carries out in the default dtype when it is given whole numbers.
PROMOTING = frozenset(("div", "exp", "log", "sqrt", "rsqrt", "sin", "cos", "tanh", "sigmoid", "erf", "pow"))
COMPARISONS = frozenset(("eq", "ne", "lt", "le", "gt", "ge"))


def elementwise(writer: Writer, node: Node) -> Expr:
    """The expression of an elementwise node; all-number operands are computed now."""
    operands = [writer.values[v] for v in node.operands]
    if all(e.number is not None for e in operands):
        return _folded(writer, node, operands)
    kept = _neutral(node, operands)
    if kept is not None:
        return kept
    return writer.fit(lambda: _render(writer, node), node.operands)


def _neutral(node: Node, operands: list[Expr]) -> Expr | None:
    """The operand that is the result, where a number does nothing: x + 0, x * 1, x & True, where(True, x, y)."""
    numbers = [e.number for e in operands]
    if node.op == "where":
        return None if numbers[0] is None else operands[1 if numbers[0] else 2]
    if node.op in ("and", "or"):
        for i, number in enumerate(numbers):
            if number is not None:
                return operands[1 - i] if number is (node.op == "and") else operands[i]
    if node.op in NEUTRAL:
        for i, number in enumerate(numbers):
            if number is not None and number == NEUTRAL[node.op] and (i == 1 or node.op in ("add", "mul")):
                return operands[1 - i]
    return None


def _folded(writer: Writer, node: Node, operands: list[Expr]) -> Expr:
    arrays = tuple(np.asarray(e.number) for e in operands)
    scalar = TensorType((), node.types[0].dtype)
    types = tuple(TensorType((), t) for t in ("real",) * len(arrays))
    with np.errstate(all="ignore"):
        value = OPS[node.op].run(arrays, types, scalar, dict(node.attributes), Frame({}))
    kind = {"real": float, "int": int, "bool": bool}[node.types[0].dtype]
    return writer.number(kind(value))


def _render(writer: Writer, node: Node) -> Expr:
    result = node.types[0]
    operands, precision = _precise(writer, node, [writer.values[v] for v in node.operands])
    operands = _narrowed(writer, node, operands)
    target = layout.merged([e.axes for e in operands if e.axes], (*writer.preferred, *result.names))
    names = [a.name for a in target]
    views = [layout.aligned(e, names) for e in operands]
    text, level = _text(writer, node, views)
    return Expr(text, level, target, precision)


def _precise(writer: Writer, node: Node, operands: list[Expr]) -> tuple[list[Expr], Precision]:
    """The operands with the casts they need, and the precision of the result."""
    if node.types[0].dtype != "real":
        return operands, Precision.WHOLE
    if node.op == "pow":
        operands = [writer.real(operands[0]), operands[1]]
    tensors = [e for e in operands if e.number is None and e.precision is not Precision.WHOLE]
    kinds = {e.precision for e in tensors if e.axes} or {e.precision for e in tensors}
    numbers = any(isinstance(e.number, float) for e in operands)
    if kinds == {Precision.COUNT}:
        if node.op in EXACT and not numbers:
            return operands, Precision.COUNT
        if node.op not in EXACT and node.op not in PROMOTING:
            operands = [writer.real(e) for e in operands]
        return operands, Precision.WIDE
    if Precision.COUNT in kinds and not kinds <= {Precision.COUNT, Precision.WIDE}:
        operands = [writer.real(e) for e in operands]
        return operands, Precision.WIDE
    return operands, max(kinds, default=Precision.WIDE)


def _narrowed(writer: Writer, node: Node, operands: list[Expr]) -> list[Expr]:
    """A parameter beside a matrix product takes its dtype: under autocast the product is the narrower one."""
    for i, j in ((0, 1), (1, 0)):
        if len(operands) != 2 or operands[i].precision is not Precision.PARAMETER or not operands[i].is_simple:
            continue
        if writer.graph[node.operands[j]].op == "dot" and operands[j].precision is Precision.COMPUTE:
            product = writer.assign(node.operands[j])
            cast = operands[i].with_text(f"{operands[i].text}.to({product.text}.dtype)")
            return [cast if k == i else product for k in (0, 1)]
    return operands


def _text(writer: Writer, node: Node, operands: list[Expr]) -> tuple[str, Level]:
    if node.op in INFIX:
        sign, level = INFIX[node.op]
        tighter = Level(level + 1)
        left = operands[0].at(tighter if level is Level.COMPARE else level)
        return f"{left} {sign} {_number(writer, node, operands[1], tighter)}", level
    if node.op in PREFIX:
        return f"{PREFIX[node.op]}{operands[0].at(Level.SIGN)}", Level.SIGN
    if node.op == "pow":
        return _power(writer, node, operands)
    if node.op in ("minimum", "maximum") and any(e.number is not None for e in operands):
        return _clamped(node, operands)
    template = OPS[node.op].torch
    if template.startswith("{0}"):
        return template.format(operands[0].at(Level.ATOM)), Level.ATOM
    return template.format(*(e.text for e in operands)), Level.ATOM


def _number(writer: Writer, node: Node, expr: Expr, level: Level) -> str:
    """The right operand; dividing by 16.0 reads better as dividing by 16."""
    if node.op == "div" and isinstance(expr.number, float) and expr.number.is_integer() and 0 < expr.number < 1e15:
        return writer.number(int(expr.number)).text
    return expr.at(level)


def _power(writer: Writer, node: Node, operands: list[Expr]) -> tuple[str, Level]:
    base, exponent = operands
    if isinstance(exponent.number, int | float) and float(exponent.number).is_integer():
        whole = int(exponent.number)
        if node.types[0].dtype == "int":
            whole = max(whole, 0)
        return f"{base.at(Level.ATOM)} ** {writer.number(whole).at(Level.SIGN)}", Level.POWER
    if node.types[0].dtype == "int":
        exponent = exponent.with_text(f"{exponent.at(Level.ATOM)}.clamp(min=0)")
    return f"{base.at(Level.ATOM)} ** {exponent.at(Level.SIGN)}", Level.POWER


def _clamped(node: Node, operands: list[Expr]) -> tuple[str, Level]:
    tensor, number = operands if operands[1].number is not None else operands[::-1]
    if node.op == "maximum" and number.number == 0 and node.types[0].dtype == "real":
        return f"F.relu({tensor.text})", Level.ATOM
    side = "min" if node.op == "maximum" else "max"
    return f"{tensor.at(Level.ATOM)}.clamp({side}={number.text})", Level.ATOM


def cast(writer: Writer, node: Node) -> Expr:
    """Between real, int and bool. Whole numbers stay int64 until an operation needs them real."""
    expr, before, after = writer.values[node.operands[0]], writer.type(node.operands[0]).dtype, node["dtype"]
    if expr.number is not None:
        return writer.number({"real": float, "int": int, "bool": bool}[after](expr.number))
    if after == before:
        return expr
    if after == "bool":
        return replace(expr.with_text(f"{expr.at(Level.ADD)} != 0", Level.COMPARE), precision=Precision.WHOLE)
    if after == "int":
        if expr.precision is Precision.COUNT:
            return replace(expr, precision=Precision.WHOLE)
        return replace(expr.with_text(f"{expr.at(Level.ATOM)}.long()"), precision=Precision.WHOLE)
    counted = replace(expr, precision=Precision.COUNT)
    return counted if before == "int" else writer.real(counted)
