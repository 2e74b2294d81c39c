"""Masks that are nothing but bounds on the distance to the past: causal, or causal with a window."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..ir.graph import Value
from ..ir.module import Function, Module
from ..stream.facts import Linear, at_most_zero, constant

TOKEN, HISTORY = "token", "history"
_AMBIENT = {
    "positions": Linear(((TOKEN, 1),)),
    "history_positions": Linear(((HISTORY, 1),)),
}
_AHEAD = ((HISTORY, 1), (TOKEN, -1))
_BEHIND = ((HISTORY, -1), (TOKEN, 1))


@dataclass(frozen=True)
class MaskForm:
    """True exactly where a remembered token is valid and at most `window - 1` tokens back (None: any number)."""

    window: int | None = None


def mask_form(module: Module, function: Function, value: Value) -> MaskForm | None:
    """What a mask of a step with rows is, or None when it is anything else."""
    bounds = _bounds(module, function, value, {})
    if bounds is None or any(terms not in (_AHEAD, _BEHIND) for terms, _ in bounds):
        return None
    ahead = [limit for terms, limit in bounds if terms == _AHEAD]
    behind = [limit for terms, limit in bounds if terms == _BEHIND]
    if not ahead or min(ahead) != 0 or any(limit < 0 for limit in behind):
        return None
    return MaskForm(min(behind) + 1 if behind else None)


Bounds = tuple[tuple[tuple[tuple[str, int], ...], int], ...]
# What the inputs of a function stand for: linear forms, or bounds of masks that are passed on.
Known = Mapping[str, Linear | Bounds]


def _bounds(module: Module, function: Function, value: Value, known: Known) -> Bounds | None:
    """The bounds whose conjunction a bool is; None when it is none."""
    node = function.graph[value]
    match node.op:
        case "and":
            both = [_bounds(module, function, v, known) for v in node.operands]
            return None if both[0] is None or both[1] is None else both[0] + both[1]
        case "expand" | "rename":
            return _bounds(module, function, node.operands[0], known)
        case "ambient":
            return () if node["name"] in ("history_valid", "valid") else None
        case "const":
            return () if node["value"] is True else None
        case "le" | "lt" | "ge" | "gt":
            forms = [_linear(module, function, v, known) for v in node.operands]
            if forms[0] is None or forms[1] is None:
                return None
            low, high = (forms[0], forms[1]) if node.op in ("le", "lt") else (forms[1], forms[0])
            difference = low.plus(high, -1).plus(Linear((), 1 if node.op in ("lt", "gt") else 0))
            implied = at_most_zero(difference)
            return None if implied.never else implied.bounds
        case "input":
            found = known.get(node["name"])
            return found if isinstance(found, tuple) else None
        case "call":
            callee = module.functions[node["callee"]]
            inner: dict[str, Linear | Bounds] = {}
            for (name, type), operand in zip(callee.inputs, node.operands, strict=True):
                given = _bounds if type.dtype == "bool" else _linear
                form = given(module, function, operand, known)
                if form is not None:
                    inner[name] = form
            return _bounds(module, callee, callee.graph.outputs[0], inner)
    return None


def _linear(module: Module, function: Function, value: Value, known: Known) -> Linear | None:
    """The linear form of positions that a number is."""
    node = function.graph[value]
    match node.op:
        case "ambient":
            return _AMBIENT.get(node["name"])
        case "const":
            return constant(node["value"]).linear
        case "expand" | "rename" | "cast":
            return _linear(module, function, node.operands[0], known)
        case "input":
            found = known.get(node["name"])
            return found if isinstance(found, Linear) else None
        case "add" | "sub":
            parts = [_linear(module, function, v, known) for v in node.operands]
            if parts[0] is None or parts[1] is None:
                return None
            return parts[0].plus(parts[1], 1 if node.op == "add" else -1)
        case "neg":
            part = _linear(module, function, node.operands[0], known)
            return None if part is None else part.times(-1)
    return None
