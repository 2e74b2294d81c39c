"""Reading position in IR text: words, numbers, sizes, types, and errors that point at the place."""

from __future__ import annotations

import json
import re
from fractions import Fraction
from typing import Any, NoReturn

from ...lang import errors
from ...lang.axes import Axis, TensorType
from ...lang.diagnostics import WeftError
from ...lang.sizes import Size
from ...lang.source import Source, Span
from .module import Init, Reference
from .words import CONSTANTS, NAME, SYMBOL

_SPACE = re.compile(r"(?:\s|#[^\n]*)*")
_FLOAT = re.compile(r"-?(?:\d+\.\d*(?:e[+-]?\d+)?|\d+e[+-]?\d+|(?:inf|nan)(?![\w.]))")
_INT = re.compile(r"-?\d+")
_STRING = re.compile(r'"(?:[^"\\\n]|\\.)*"')
_PART = rf"(?:{SYMBOL.pattern}|{_STRING.pattern})"
_REFERENCE = re.compile(rf"@\^*(?:{_PART}(?:\.{_PART})*)?")
_TYPE = re.compile(r"(?:real|int|bool)?\[")
_DEPTH = 64
_DIGITS = 1000


class Scanner:
    """Looks at a text from left to right; blanks and comments are skipped before every token."""

    def __init__(self, text: str, path: str) -> None:
        self.source = Source(path, text)
        self.text, self.at, self.depth = text, 0, 0
        self._skip()

    def _skip(self) -> None:
        found = _SPACE.match(self.text, self.at)
        assert found is not None
        self.at = found.end()

    def fail(self, expected: str, at: int | None = None) -> NoReturn:
        """Raise E0802 with a caret at a position (here, when none is given)."""
        start = self.at if at is None else at
        rest = re.compile(r"[\w.%]+|.|").match(self.text, start)
        word = rest.group() if rest else ""
        raise WeftError(errors.ir_text(Span(self.source, start, start + len(word)), expected))

    def match(self, pattern: re.Pattern[str]) -> str | None:
        """Consume what matches here, or return None."""
        found = pattern.match(self.text, self.at)
        if found is None:
            return None
        self.at = found.end()
        self._skip()
        return found.group()

    def sees(self, mark: str) -> bool:
        return self.text.startswith(mark, self.at)

    def take(self, mark: str) -> bool:
        """Consume a mark if it stands here."""
        if not self.sees(mark):
            return False
        self.at += len(mark)
        self._skip()
        return True

    def expect(self, mark: str) -> None:
        if not self.take(mark):
            self.fail(f"`{mark}`")

    def word(self, *choices: str) -> str | None:
        """Consume one of some words, or return None."""
        found = NAME.match(self.text, self.at)
        if found is None or found.group() not in choices:
            return None
        return self.match(NAME)

    def quoted(self) -> str | None:
        """Consume a quoted text, or return None."""
        at = self.at
        text = self.match(_STRING)
        if text is None:
            return None
        try:
            value: str = json.loads(text)
        except json.JSONDecodeError:
            self.fail("a quoted text with the escapes of JSON", at)
        return value

    def name(self, what: str = "a name") -> str:
        text = self.quoted()
        if text is None:
            text = self.match(NAME)
        if text is None:
            self.fail(what)
        return text

    def symbol(self, what: str) -> str:
        text = self.quoted()
        if text is None:
            text = self.match(SYMBOL)
        if text is None:
            self.fail(what)
        return text

    def integer(self, what: str) -> int:
        at = self.at
        text = self.match(_INT)
        if text is None or len(text) > _DIGITS:
            self.fail(what, at)
        return int(text)

    # ------------------------------------------------------------------ sizes, axes, types

    def size(self) -> Size:
        """`3*D/2+T`: a sum of products."""
        total = self._term(-1 if self.take("-") else 1)
        while (sign := 1 if self.take("+") else -1 if self.take("-") else 0) != 0:
            total = total + self._term(sign)
        return total

    def _term(self, sign: int) -> Size:
        coefficient, powers = Fraction(sign), dict[str, int]()
        upwards = 1
        while True:
            at = self.at
            if self.text[at : at + 1].isdigit():
                number = self.integer("a number")
                if upwards < 0 and number == 0:
                    self.fail("a number other than 0", at)
                coefficient *= Fraction(number) ** upwards
            else:
                symbol = self.symbol("a number or the name of a size")
                power = self.integer("a power") if self.take("^") else 1
                powers[symbol] = powers.get(symbol, 0) + upwards * power
            if self.take("*"):
                upwards = 1
            elif self.take("/"):
                upwards = -1
            else:
                break
        return Size.collect({tuple(sorted((n, p) for n, p in powers.items() if p)): coefficient})

    def axis(self) -> Axis:
        name = self.symbol("the name of an axis")
        return Axis(name, self.size() if self.take(":") else Size.symbol(name))

    def tensor(self) -> TensorType:
        """`[B, T, D:192]`, `int[B, T]`."""
        dtype = self.word("real", "int", "bool") or "real"
        if not self.take("["):
            self.fail("a type such as `[B, T, D:64]`")
        axes = []
        while not self.take("]"):
            axes.append(self.axis())
            if not self.take(",") and not self.sees("]"):
                self.fail("`,` or `]`")
        return TensorType(tuple(axes), dtype)

    # ------------------------------------------------------------------ attribute values

    def value(self) -> Any:
        """A value of an attribute, as `words.attribute` writes it."""
        if (text := self.match(_FLOAT)) is not None:
            return float(text)
        if _INT.match(self.text, self.at):
            return self.integer("a number")
        if self.take("<"):
            axis = self.axis()
            self.expect(">")
            return axis
        if self.take("`"):
            size = self.size()
            self.expect("`")
            return size
        if (text := self.match(_REFERENCE)) is not None:
            return _reference(text)
        if self.sees("("):
            return self.sequence()
        if _TYPE.match(self.text, self.at):
            return self.tensor()
        plain = not self.sees('"')
        name = self.name("a value: a number, a name, `<axis>`, `[type]`, `@instance` or a tuple")
        if self.sees("("):
            return self.init(name)
        return CONSTANTS.get(name, name) if plain else name

    def sequence(self) -> tuple[Any, ...]:
        """`(a, b)`, `(a,)`, `(0 * 126)`."""
        opened = self.at
        self.expect("(")
        self.depth += 1
        if self.depth > _DEPTH:
            self.fail("fewer brackets inside each other", opened)
        items: list[Any] = []
        while not self.take(")"):
            item = self.value()
            several, at = self.take("*"), self.at
            count = self.integer("how often") if several else 1
            if not 0 <= count <= 1_000_000:
                self.fail("a number of at most 1,000,000 after `*`", at)
            items += [item] * count
            if not self.take(",") and not self.sees(")"):
                self.fail("`,` or `)`")
        self.depth -= 1
        return tuple(items)

    def init(self, kind: str) -> Init:
        """The arguments of an initialiser whose name was read."""
        self.expect("(")
        arguments = []
        while not self.take(")"):
            key = self.name()
            self.expect("=")
            arguments.append((key, self.value()))
            if not self.take(",") and not self.sees(")"):
                self.fail("`,` or `)`")
        return Init(kind, tuple(arguments))


def _reference(text: str) -> Reference:
    """`@^^embed.table` as a reference: up two levels, then down."""
    names = text[1:].lstrip("^")
    parts = re.findall(_PART, names)
    return Reference(len(text) - 1 - len(names), tuple(json.loads(p) if p.startswith('"') else p for p in parts))
