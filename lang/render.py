"""Diagnostics as a person reads them in a terminal, and as a program reads them."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from .diagnostics import Diagnostic, Label
from .source import Source, Span

MAX_WIDTH = 160
"""Columns of a source line that are shown; of a longer one, the part around its first mark."""

_STYLES = {"error": "1;31", "warning": "1;33", "note": "1;36", "title": "1", "gutter": "34", "second": "1;34"}


@dataclass(frozen=True)
class _Mark:
    """Columns `start` to `end` (from 0, exclusive) of a shown line, with the words to stand there."""

    start: int
    end: int
    text: str
    primary: bool


def render(diagnostics: Iterable[Diagnostic], color: bool = False) -> str:
    """The diagnostics one after another, a blank line between two; `color` adds terminal colours."""
    return "\n".join(_Renderer(d, color).text() for d in diagnostics)


def to_json(diagnostic: Diagnostic) -> dict[str, Any]:
    """Lines and columns count from 1; `end` is the place just behind the span."""
    where = (
        _place(diagnostic.primary.span)
        if diagnostic.primary
        else {"file": None, "line": None, "column": None, "end": None}
    )
    return {
        "code": diagnostic.code,
        "severity": diagnostic.severity,
        "message": diagnostic.title,
        **where,
        "label": diagnostic.primary.text if diagnostic.primary else "",
        "labels": [{"message": label.text, **_place(label.span)} for label in diagnostic.labels],
        "notes": list(diagnostic.notes),
        "help": list(diagnostic.help),
        "fixes": [{"replacement": fix.replacement, **_place(fix.span)} for fix in diagnostic.fixes],
    }


def _place(span: Span) -> dict[str, Any]:
    line, column = span.source.location(span.start)
    end_line, end_column = span.source.location(span.end)
    return {"file": span.source.path, "line": line, "column": column, "end": {"line": end_line, "column": end_column}}


class _Renderer:
    def __init__(self, diagnostic: Diagnostic, color: bool) -> None:
        self.diagnostic = diagnostic
        self.color = color
        labels = [*([diagnostic.primary] if diagnostic.primary else []), *diagnostic.labels]
        last = max((_last_line(label.span) for label in labels), default=1)
        self.gutter = len(str(last))

    def text(self) -> str:
        diagnostic = self.diagnostic
        head = f"{diagnostic.severity}[{diagnostic.code}]"
        lines = [self.paint(head, diagnostic.severity) + self.paint(f": {visible(diagnostic.title)}", "title")]
        if diagnostic.primary is not None:
            primary = diagnostic.primary
            lines += self.source_lines(primary.span.source, f"--> {primary.span}")
            for source in dict.fromkeys(label.span.source for label in diagnostic.labels):
                if source != primary.span.source:
                    first = next(label for label in diagnostic.labels if label.span.source == source)
                    lines += self.source_lines(source, f"::: {first.span}")
        for kind, texts in (("note", diagnostic.notes), ("help", diagnostic.help)):
            for text in texts:
                first_line, *more = text.split("\n")
                gutter = f"{' ' * self.gutter} {self.paint('=', 'gutter')}"
                lines.append(f"{gutter} {self.paint(kind, 'title')}: {visible(first_line)}")
                lines += [f"{' ' * (self.gutter + len(kind) + 5)}{visible(m)}" for m in more]
        return "\n".join(lines) + "\n"

    def paint(self, text: str, style: str) -> str:
        return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if self.color and text else text

    def bar(self, number: int | None = None) -> str:
        shown = "" if number is None else str(number)
        return self.paint(f"{shown:>{self.gutter}} |", "gutter")

    def source_lines(self, source: Source, where: str) -> list[str]:
        """The head `--> file:line:column` and every line of `source` that has a label."""
        marks: dict[int, list[_Mark]] = {}
        primary = self.diagnostic.primary
        for label in (primary, *self.diagnostic.labels):
            if label is not None and label.span.source == source:
                for number, mark in _marks(label, label is primary):
                    marks.setdefault(number, []).append(mark)
        lines = [" " * self.gutter + self.paint(visible(where[:3]), "gutter") + visible(where[3:]), self.bar()]
        for number in sorted(marks):
            lines += self.marked_line(number, source.line(number), marks[number])
        return lines

    def marked_line(self, number: int, text: str, marks: list[_Mark]) -> list[str]:
        """One source line, the row of `^` and `-` under it, and the words that do not fit on that row."""
        marks = sorted(marks, key=lambda m: (m.start, m.primary))
        text, marks = _window(text, marks)
        shown = visible(text)
        lines = [f"{self.bar(number)} {shown}".rstrip()]
        columns = [(_width(text[: m.start]), max(_width(text[: m.end]), _width(text[: m.start]) + 1)) for m in marks]
        row: list[tuple[str, str]] = []
        for (start, end), mark in sorted(zip(columns, marks, strict=True), key=lambda c: c[1].primary):
            row += [(" ", "")] * (end - len(row))
            row[start:end] = [("^" if mark.primary else "-", self.style(mark))] * (end - start)
        inline = marks[-1].text if len({c[0] for c in columns}) == len(columns) else ""
        painted = "".join(self.paint(c, s) if s else c for c, s in row)
        lines.append(
            f"{self.bar()} {painted}{' ' + self.paint(visible(inline), self.style(marks[-1])) if inline else ''}"
        )
        hanging = [(c[0], m) for c, m in zip(columns, marks, strict=True)]
        if inline or not marks[-1].text:
            hanging = hanging[:-1]
        hanging = [(c, m) for c, m in hanging if m.text]
        while hanging:
            column, mark = hanging.pop()
            connectors = self.connectors(hanging)
            if hanging or inline or len(marks) > 1:
                lines.append(f"{self.bar()} {self.connectors([*hanging, (column, mark)])}")
            plain = _width(_plain(hanging))
            lines.append(
                f"{self.bar()} {connectors}{' ' * (column - plain)}{self.paint(visible(mark.text), self.style(mark))}"
            )
        return lines

    def connectors(self, hanging: list[tuple[int, _Mark]]) -> str:
        row = ""
        column = 0
        for at, mark in hanging:
            if at >= column:
                row += " " * (at - column) + self.paint("|", self.style(mark))
                column = at + 1
        return row

    def style(self, mark: _Mark) -> str:
        return self.diagnostic.severity if mark.primary else "second"


def _plain(hanging: list[tuple[int, _Mark]]) -> str:
    return " " * (hanging[-1][0] + 1) if hanging else ""


def _marks(label: Label, primary: bool) -> list[tuple[int, _Mark]]:
    """`(line number, mark)` for a label; one over several lines marks its first line and its last."""
    source = label.span.source
    line, column = source.location(label.span.start)
    last = _last_line(label.span)
    if last == line:
        return [
            (line, _Mark(column - 1, max(column, column - 1 + label.span.end - label.span.start), label.text, primary))
        ]
    first_text, last_text = source.line(line), source.line(last)
    indent = len(last_text) - len(last_text.lstrip())
    end = (
        min(len(last_text), source.location(label.span.end)[1] - 1)
        if source.location(label.span.end)[0] == last
        else len(last_text)
    )
    return [
        (line, _Mark(column - 1, max(len(first_text), column), "", primary)),
        (last, _Mark(indent, max(end, indent + 1), label.text, primary)),
    ]


def _last_line(span: Span) -> int:
    """The line of the last character of `span`; a line end belongs to the line it ends."""
    return span.source.location(max(span.start, span.end - 1))[0]


def _window(text: str, marks: list[_Mark]) -> tuple[str, list[_Mark]]:
    """The part of a very long line around its first mark, with the marks moved."""
    if len(text) <= MAX_WIDTH:
        return text, marks
    first = max(0, min(m.start for m in marks) - MAX_WIDTH // 2)
    cut = text[first : first + MAX_WIDTH]
    left = "…" if first else ""
    right = "…" if first + MAX_WIDTH < len(text) else ""
    shift = len(left) - first
    limit = len(left) + len(cut)
    moved = [_Mark(min(m.start + shift, limit), min(m.end + shift, limit), m.text, m.primary) for m in marks]
    return left + cut + right, moved


def visible(text: str) -> str:
    """`text` with nothing a terminal would act on: tabs are four spaces, other controls `\N{REPLACEMENT CHARACTER}`."""
    return "".join("    " if c == "\t" else c if _harmless(c) else "\N{REPLACEMENT CHARACTER}" for c in text)


def _harmless(character: str) -> bool:
    return character.isprintable() or unicodedata.category(character) in ("Zs", "Mn", "Mc")


def _width(text: str) -> int:
    """Terminal columns of a text after `visible`."""
    return sum(
        4 if c == "\t" else 0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )
