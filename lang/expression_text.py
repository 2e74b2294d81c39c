"""Expressions as text, for specs that a program writes: values, calls, arithmetic and lists."""

from __future__ import annotations

from . import tree
from .expression_printer import POSTFIX, quoted, tightness


def expression_text(node: tree.Expression) -> str:
    """An expression, on one line where there is a way to.

    Repeats, scans and choices that name values have no such text: they raise TypeError.
    """
    match node:
        case tree.Name():
            return node.id
        case tree.Number():
            return node.text
        case tree.String():
            return quoted(node.value)
        case tree.Boolean():
            return "true" if node.value else "false"
        case tree.Tuple():
            return f"({', '.join(map(expression_text, node.items))}{',' * (len(node.items) == 1)})"
        case tree.Attribute():
            return f"{_within(node.value, node)}.{node.name}"
        case tree.Index():
            return f"{_within(node.value, node)}[{expression_text(node.position)}]"
        case tree.Call():
            arguments = (
                expression_text(a.value) if a.name is None else f"{a.name} = {expression_text(a.value)}"
                for a in node.arguments
            )
            return f"{_within(node.function, node)}({', '.join(arguments)})"
        case tree.Unary():
            return f"{node.op}{' ' * (node.op == 'not')}{_within(node.operand, node)}"
        case tree.Binary():
            return f"{_within(node.left, node)} {node.op} {_within(node.right, node, right=True)}"
        case tree.Stack():
            of = expression_text(node.of)
            return f"stack {expression_text(node.axis)} of {of if tightness(node.of) >= POSTFIX else f'({of})'}"
        case tree.If(then=then, otherwise=otherwise) if not then.statements and not otherwise.statements:
            assert then.result is not None and otherwise.result is not None
            sides = f"{{ {expression_text(then.result)} }} else {{ {expression_text(otherwise.result)} }}"
            return f"if {expression_text(node.condition)} {sides}"
        case tree.With():
            changes = [f"{'.'.join(o.path)} = {expression_text(o.value)}" for o in node.overrides]
            inside = f" {changes[0]} " if len(changes) == 1 else "\n" + "\n".join(changes) + "\n"
            return f"{_within(node.base, node)} with {{{inside}}}"
    raise TypeError(f"{type(node).__name__} has no text on one line")


def _within(node: tree.Expression, around: tree.Expression, right: bool = False) -> str:
    text = expression_text(node)
    inner, outer = tightness(node), tightness(around)
    return f"({text})" if inner < outer or (inner == outer and isinstance(around, tree.Binary) and right) else text
