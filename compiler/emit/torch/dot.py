"""`dot`: a matrix product with a parameter, or an einsum whose letters are the names of the axes."""

from __future__ import annotations

from dataclasses import replace
from string import ascii_letters

from ....lang.axes import Axis
from ...ir.graph import Node
from .text import Expr, Level, Precision
from .writer import Writer


def dot(writer: Writer, node: Node) -> Expr:
    """Sum over the axes `over` of the product of two tensors."""
    return writer.fit(lambda: _render(writer, node), node.operands)


def _render(writer: Writer, node: Node) -> Expr:
    over: tuple[str, ...] = node["over"]
    a, b = (_summed(writer, node, i) for i in (0, 1))
    if node.types[0].dtype == "int":
        return _whole(writer, node)
    a, b, precision = _agreed(writer, a, b)
    kept = tuple(x for x in a.axes if x.name not in over)
    kept += tuple(x for x in b.axes if x.name not in over and x.name not in a.names)
    is_product = b.precision is Precision.PARAMETER and not any(n in b.names for n in a.names if n not in over)
    if is_product and a.names[len(a.names) - len(over) :] == b.names[: len(over)]:
        return Expr(_tensordot(writer, node, a, b), Level.ATOM, kept, precision)
    if is_product and len(b.axes) == 2 and over == (b.names[1],) == (a.names[-1],):
        return Expr(f"F.linear({a.text}, {b.text})", Level.ATOM, kept, precision)
    return Expr(f'torch.einsum("{_equation(a, b, kept)}", {a.text}, {b.text})', Level.ATOM, kept, precision)


def _tensordot(writer: Writer, node: Node, a: Expr, b: Expr) -> str:
    """A product with a weight, which takes the dtype of the activations (under autocast they differ)."""
    dims = writer.emission.blanks.mark(len(node["over"]), "dims")
    if writer.values[node.operands[0]].precision is Precision.WIDE:  # narrowed to the weight's dtype already
        return f"torch.tensordot({a.text}, {b.text}, dims={dims})"
    if not a.is_simple:
        a = writer.assign(node.operands[0])
    return f"torch.tensordot({a.text}, {b.at(Level.ATOM)}.to({a.text}.dtype), dims={dims})"


def _summed(writer: Writer, node: Node, position: int) -> Expr:
    """An operand that really has the axes that are summed over."""
    value = node.operands[position]
    expr = writer.values[value]
    return expr if all(n in expr.names for n in node["over"]) and expr.number is None else writer.shaped(value)


def _agreed(writer: Writer, a: Expr, b: Expr) -> tuple[Expr, Expr, Precision]:
    """Operands of one dtype: wide ones are narrowed for a product with a parameter, else narrow ones widened."""
    a, b = writer.real(a), writer.real(b)
    kinds = {a.precision, b.precision}
    if kinds == {Precision.WIDE, Precision.PARAMETER}:
        parameter = a if a.precision is Precision.PARAMETER else b
        a, b = (
            replace(e.with_text(f"{e.at(Level.ATOM)}.to({parameter.text}.dtype)"), precision=Precision.COMPUTE)
            if e.precision is Precision.WIDE else e
            for e in (a, b)
        )
        return a, b, Precision.COMPUTE
    if kinds == {Precision.WIDE, Precision.COMPUTE}:
        wide = a if a.precision is Precision.WIDE else b
        dtype = f"{wide.text}.dtype" if wide.is_simple else "torch.get_default_dtype()"
        a, b = (e if e is wide else e.with_text(f"{e.at(Level.ATOM)}.to({dtype})") for e in (a, b))
        return a, b, Precision.WIDE
    return a, b, max(a.precision, b.precision)


def _equation(a: Expr, b: Expr, kept: tuple[Axis, ...]) -> str:
    """The letters of an einsum: the initial of each axis, as far as they differ."""
    letters: dict[str, str] = {}
    for name in (*a.names, *b.names):
        if name in letters:
            continue
        wanted = [name[0].lower(), name[0].upper(), *name.lower(), *ascii_letters]
        letters[name] = next(w for w in wanted if w in ascii_letters and w not in letters.values())
    left, right, result = ("".join(letters[n] for n in names) for names in (a.names, b.names, (x.name for x in kept)))
    return f"{left},{right}->{result}"


def _whole(writer: Writer, node: Node) -> Expr:
    """Products of whole numbers: matrix kernels exist for real ones only."""
    from . import layout

    a, b = (_summed(writer, node, i) for i in (0, 1))
    target = layout.merged((a.axes, b.axes), a.names)
    names = [x.name for x in target]
    product = f"({layout.aligned(a, names).at(Level.MULTIPLY)} * {layout.aligned(b, names).at(Level.POWER)})"
    kept = tuple(x for x in target if x.name not in node["over"])
    if not node["over"]:
        return Expr(product, Level.ATOM, kept, Precision.WHOLE)
    dims = ", ".join(str(names.index(n)) for n in node["over"])
    return Expr(f"{product}.sum(dim=({dims},))", Level.ATOM, kept, Precision.WHOLE)
