"""The values that the config half of a checkpoint map works with, and how they are written in a spec."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from . import errors, tree
from .diagnostics import WeftError
from .walk import walk


@dataclass(frozen=True)
class Missing:
    """A key that config.json lacks, or sets to null."""

    key: str


LEFT_OUT = Missing("")
"""`none`: the model keeps its own default."""


ARITHMETIC: Mapping[str, Callable[[Any, Any], Any]] = {
    "+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b, "/": lambda a, b: a / b,
    "%": lambda a, b: a % b, "^": lambda a, b: a**b,
    "<": lambda a, b: a < b, "<=": lambda a, b: a <= b, ">": lambda a, b: a > b, ">=": lambda a, b: a >= b,
}  # fmt: skip

FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "sqrt": math.sqrt, "log": math.log, "exp": math.exp, "floor": math.floor, "ceil": math.ceil, "round": round,
    "minimum": min, "maximum": max, "int": int, "real": float, "abs": abs,
    "place": lambda values, value: values.index(value) if value in values else -1,
    "text": "".join, "replaced": lambda values, old, new: [new if v == old else v for v in values],
}  # fmt: skip


def json_number(value: Any) -> Any:
    """JSON has no infinity: it is stored as `{"__float__": "Infinity"}`."""
    return float(value["__float__"]) if isinstance(value, dict) and value.keys() == {"__float__"} else value


def is_static(fn: tree.Fn) -> bool:
    """Whether a fn takes and gives values that are known when a model is compiled: its result has a kind, no axes."""
    return all(isinstance(r, tree.NamedType) for r in fn.signature.results) and bool(fn.signature.results)


def as_tree(value: Any, e: tree.Expression) -> tree.Expression:
    """A value as an expression of the language; `e` is where it comes from."""
    if isinstance(value, Missing):
        raise WeftError(errors.missing_config_key(value.key or e.span.text, e.span))
    if isinstance(value, tree.Expression):
        return value
    if isinstance(value, bool):
        return tree.Boolean(value, span=e.span)
    if isinstance(value, int | float):
        if not math.isfinite(value):
            raise WeftError(errors.wrong_config_value(f"the number {value}", e.span))
        number = tree.Number(abs(value), number_text(abs(value)), span=e.span)
        return tree.Unary("-", number, span=e.span) if value < 0 else number
    if isinstance(value, str):
        return tree.String(value, span=e.span)
    if isinstance(value, list):
        return tree.Tuple(tuple(as_tree(v, e) for v in value), span=e.span)
    raise WeftError(errors.wrong_config_value("an object", e.span))


def number_text(value: int | float) -> str:
    """A number as a person writes it: `128_256`, `1e-5`, `10_000.0`."""
    if isinstance(value, int):
        return f"{value:_}" if value >= 10_000 else str(value)
    shown = repr(value)
    if "e" in shown:
        mantissa, exponent = shown.split("e")
        return f"{mantissa}e{int(exponent)}"
    whole, fraction = shown.split(".")
    return f"{int(whole):_}.{fraction}" if int(whole) >= 10_000 else shown


def names_used(expressions: Sequence[tree.Expression]) -> list[str]:
    """Names in a spec's expressions, in order."""
    return list(dict.fromkeys(n.id for e in expressions for n in walk(e) if isinstance(n, tree.Name)))
