"""How the text form of the IR writes names, sizes, axes, types and attribute values."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from fractions import Fraction
from itertools import groupby
from typing import Any

from ...lang import errors
from ...lang.axes import Axis, TensorType
from ...lang.diagnostics import WeftError
from ...lang.sizes import Monomial, Size
from .module import Init, Reference

SYMBOL = re.compile(r"[^\W\d]\w*")
NAME = re.compile(r"[^\W\d]\w*(?:\.\w+)*")
CONSTANTS = {"true": True, "false": False, "none": None, "inf": math.inf, "nan": math.nan}


def name(text: str) -> str:
    """A name, quoted unless it looks like one."""
    return text if NAME.fullmatch(text) else json.dumps(text, ensure_ascii=False)


def _symbol(text: str) -> str:
    return text if SYMBOL.fullmatch(text) else json.dumps(text, ensure_ascii=False)


def size(value: Size) -> str:
    """A polynomial such as `P+T` or `3*D/2`."""
    if not value.terms:
        return "0"
    first, *rest = [_term(monomial, coefficient) for monomial, coefficient in reversed(value.terms)]
    return first + "".join(term if term.startswith("-") else f"+{term}" for term in rest)


def _term(monomial: Monomial, coefficient: Fraction) -> str:
    over = [_symbol(n) + (f"^{p}" if p > 1 else "") for n, p in monomial if p > 0]
    under = [_symbol(n) + (f"^{-p}" if p < -1 else "") for n, p in monomial if p < 0]
    if abs(coefficient.numerator) != 1 or not over:
        over.insert(0, str(abs(coefficient.numerator)))
    if coefficient.denominator != 1:
        under.insert(0, str(coefficient.denominator))
    return ("-" if coefficient < 0 else "") + "*".join(over) + "".join(f"/{u}" for u in under)


def axis(value: Axis) -> str:
    """`T` when the size is the symbol of the same name, else `D:192`."""
    return _symbol(value.name) if value.size == Size.symbol(value.name) else f"{_symbol(value.name)}:{size(value.size)}"


def tensor(type: TensorType) -> str:
    """`[B, T, D:192]`, `int[B, T]`."""
    return ("" if type.dtype == "real" else type.dtype) + f"[{', '.join(axis(a) for a in type.axes)}]"


def init(value: Init) -> str:
    """`normal(std=0.02)`."""
    return f"{_text(value.kind)}({', '.join(f'{name(k)}={attribute(v)}' for k, v in value.arguments)})"


def _text(value: str) -> str:
    """A text as a value: quoted where it would read as something else."""
    return json.dumps(value) if value in CONSTANTS else name(value)


def attribute(value: Any) -> str:
    """A value of an attribute: a number, a name, an axis `<T>`, a type, a reference `@blocks`, a tuple of these."""
    if value is None or isinstance(value, bool):
        return next(word for word, constant in CONSTANTS.items() if constant is value)
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float):
        return float.__repr__(value)
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, Axis):
        return f"<{axis(value)}>"
    if isinstance(value, TensorType):
        return tensor(value)
    if isinstance(value, Size):
        return f"`{size(value)}`"
    if isinstance(value, Init):
        return init(value)
    if isinstance(value, Reference):
        return "@" + "^" * value.up + ".".join(_symbol(part) for part in value.down)
    if isinstance(value, tuple):
        return sequence(value)
    raise WeftError(errors.unprintable(type(value).__name__))


def sequence(values: Sequence[Any]) -> str:
    """`(a, b)`; three or more equal items in a row are written once: `(0 * 126)`."""
    items: list[str] = []
    for word, group in groupby(attribute(v) for v in values):
        count = len(list(group))
        items += [f"{word} * {count}"] if count > 2 else [word] * count
    return f"({items[0]},)" if len(items) == 1 and "*" not in items[0] else f"({', '.join(items)})"
