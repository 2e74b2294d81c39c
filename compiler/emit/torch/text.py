"""Pieces of Python source: expressions with their precedence, lines with shapes, blanks to be filled in later."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Any

from ....lang.axes import Axis


class Level(IntEnum):
    """How tightly an expression binds; a lower one needs parentheses inside a higher one."""

    CHOICE = 0
    COMPARE = 1
    OR = 2
    AND = 3
    ADD = 4
    MULTIPLY = 5
    SIGN = 6
    POWER = 7
    ATOM = 8


class Precision(IntEnum):
    """The dtype that an expression has at run time, in the order in which PyTorch promotes.

    WHOLE: int64 or bool. COUNT: int64 where the program means a real number. PARAMETER: the model's dtype.
    COMPUTE: that of activations (the model's, or autocast's). WIDE: torch's default dtype, float32: what sums and
    angles are accumulated in.
    """

    WHOLE = 0
    COUNT = 1
    PARAMETER = 2
    COMPUTE = 3
    WIDE = 4


@dataclass(frozen=True)
class Expr:
    """An expression of emitted source.

    `axes` are those its tensor has, in physical order: an axis of the IR's type that is missing is one it would be
    repeated along. `number` is set for a Python number.
    """

    text: str
    level: Level
    axes: tuple[Axis, ...] = ()
    precision: Precision = Precision.COMPUTE
    number: bool | int | float | None = None

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(a.name for a in self.axes)

    @property
    def is_simple(self) -> bool:
        """A variable, an attribute or a number: costs nothing to write twice."""
        return self.number is not None or re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.]*", self.text) is not None

    def at(self, level: Level) -> str:
        """The text where an operand binds at least as tightly as `level`."""
        return self.text if self.level >= level else f"({self.text})"

    def with_text(self, text: str, level: Level = Level.ATOM) -> Expr:
        return replace(self, text=text, level=level, number=None)


def literal(value: bool | int | float, axes: tuple[Axis, ...] = ()) -> Expr:
    """A Python number."""
    if isinstance(value, float) and not math.isfinite(value):
        return Expr(f'float("{value}")', Level.ATOM, (), Precision.COMPUTE, value)
    text = re.sub("e([-+])0", r"e\1", repr(value))
    level = Level.SIGN if text.startswith("-") else Level.ATOM
    return Expr(text, level, (), Precision.WHOLE if isinstance(value, int) else Precision.COMPUTE, value)


# ------------------------------------------------------------------ blanks

_MARK = re.compile("\x02([0-9]+)\x03")


@dataclass(frozen=True)
class Blank:
    """A number in a line that other instances of the same class may have otherwise: it becomes an argument.

    `value` is an int, a float or a tuple of ints. `axes` name the sizes of a shape, which stands without parentheses:
    `torch.empty(4, 8)`, or `torch.empty(*shape)`.
    """

    value: Any
    name: str
    axes: tuple[str, ...] = ()


class Blanks:
    """All blanks of one emission, by number."""

    def __init__(self) -> None:
        self.all: list[Blank] = []

    def mark(self, value: Any, name: str, axes: tuple[str, ...] = ()) -> str:
        """The text that stands for a new blank."""
        self.all.append(Blank(value, name, axes))
        return f"\x02{len(self.all) - 1}\x03"

    def fill(self, text: str, how: Callable[[int], str] | None = None) -> str:
        """The text with every blank written by `how`, or as its value."""
        return _MARK.sub(lambda m: (how or self.plain)(int(m[1])), text)

    def plain(self, number: int) -> str:
        return show(self.all[number].value, bool(self.all[number].axes))


def show(value: Any, bare: bool = False) -> str:
    """A number or a tuple of numbers as source."""
    if isinstance(value, tuple):
        if bare and value:
            return ", ".join(map(show, value))
        return f"({', '.join(map(show, value))}{',' if len(value) == 1 else ''})"
    return literal(value).text


def marks(text: str) -> list[int]:
    """The numbers of the blanks in a text, in order."""
    return [int(n) for n in _MARK.findall(text)]


def skeleton(text: str) -> str:
    """The text with all blanks alike."""
    return _MARK.sub("\x02\x03", text)


# ------------------------------------------------------------------ lines

Shape = tuple[str, ...]


@dataclass(frozen=True)
class Line:
    """A line of source; `shapes` are written behind it: those of inputs, then (after `->`) those of `results`."""

    text: str
    indent: int = 0
    shapes: tuple[Shape, ...] = ()
    results: tuple[Shape, ...] = field(default=())


def shape_of(expr_axes: Iterable[Axis]) -> Shape:
    """The names of axes as a comment shows them."""
    return tuple(a.name if re.fullmatch("[A-Za-z0-9_]+", a.name) else "?" for a in expr_axes)


def common(shapes: Sequence[Shape]) -> Shape:
    """One shape for several: packs of axes as `In..`, else what they agree on at both ends with `..` between."""
    if all(s == shapes[0] for s in shapes):
        return shapes[0]
    packs = {n[:-1] for s in shapes for n in s if n.endswith("1") and f"{n[:-1]}2" in s}
    shapes = [_packed(s, packs) for s in shapes]
    first = shapes[0]
    if all(s == first for s in shapes):
        return first
    shortest = min(map(len, shapes))
    head = next((i for i in range(shortest) if len({s[i] for s in shapes}) > 1), shortest)
    tail = next((i for i in range(shortest - head) if len({s[-1 - i] for s in shapes}) > 1), shortest - head)
    return (*first[:head], "..", *(first[len(first) - tail :] if tail else ()))


def _packed(shape: Shape, packs: set[str]) -> Shape:
    """A shape with the axes of a pack (`In`, or `In1`, `In2`, ..) as one."""
    found: list[str] = []
    for name in shape:
        base = name.rstrip("0123456789")
        shown = f"{base}.." if base in packs else name
        if not found or found[-1] != shown or base not in packs:
            found.append(shown)
    return tuple(found)


def comment(line: Line) -> str:
    """The shapes of a line as a comment, or ""."""
    before = ", ".join(f"[{', '.join(s)}]" for s in line.shapes if s)
    after = ", ".join(f"[{', '.join(s)}]" for s in line.results)
    if not before and not after:
        return ""
    return f"  # {before} -> {after}" if before and after else f"  # {before}{after}"


WIDEST = 120


def laid_out(line: Line, text: str) -> list[str]:
    """A line with its comment, over several lines if it is too long for one; `text` is the line filled in."""
    pad, shapes = "    " * line.indent, comment(line)
    whole = f"{pad}{text}{shapes}"
    if len(whole) > WIDEST and " = nn.ModuleList(" in text:
        target, layers = text[:-1].split("(", 1)
        rows = layers.replace(" else ", "\nelse ").replace(" for ", "\nfor ").split("\n")
        return [f"{pad}{target}(", *(f"{pad}    {row}" for row in rows), f"{pad})"]
    if len(whole) <= WIDEST:
        return [whole]
    if not text.startswith("def "):
        return _broken_call(text, pad, shapes) if len(pad) + len(text) > WIDEST else [f"{pad}{text}"]
    head, rest = text.split("(", 1)
    arguments, tail = rest.rsplit(") -> ", 1)
    return _rows(head, arguments, f" -> {tail}{shapes}", pad)


def _broken_call(text: str, pad: str, shapes: str) -> list[str]:
    """A statement that is one call, its arguments on lines of their own; any other statement stays as it is."""
    target = re.match(r"(?:[\w, ]+ = )?[\w.]+\(", text)
    if target is None or not text.endswith(")"):
        return [f"{pad}{text}"]
    return _rows(text[: target.end() - 1], text[target.end() : -1], shapes, pad)


def _rows(head: str, arguments: str, tail: str, pad: str) -> list[str]:
    lines, row = [f"{pad}{head}("], f"{pad}    "
    for argument in _arguments(arguments):
        if len(row) + len(argument) + 1 > WIDEST:
            lines.append(row.rstrip())
            row = f"{pad}    "
        row += f"{argument}, "
    return [*lines, row.rstrip(), f"{pad}){tail}"]


def _arguments(text: str) -> list[str]:
    """The parts of a signature or of a call; commas inside of brackets do not part them."""
    found, depth = [""], 0
    for c in text:
        depth += (c in "([{") - (c in ")]}")
        if c == "," and not depth:
            found.append("")
        else:
            found[-1] += c
    return [f.strip() for f in found]
