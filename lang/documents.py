"""Text that may be laid out on one line or several: the algebra under the formatter.

After Wadler, "A prettier printer" (2003): a group is put on one line when it fits, else all its
lines break.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

WIDTH = 120
INDENT = 2


@dataclass(frozen=True)
class Document:
    """`broken` is True when it cannot stand on one line."""

    broken: bool = False


@dataclass(frozen=True)
class Text(Document):
    text: str = ""


@dataclass(frozen=True)
class Line(Document):
    """A line break in a broken group; on one line it is `flat`."""

    flat: str = " "


@dataclass(frozen=True)
class BrokenOnly(Document):
    """Text that stands only in a broken group: the comma after the last element."""

    text: str = ""


@dataclass(frozen=True)
class Note(Document):
    """A comment behind what its line holds; a line break must follow."""

    text: str = ""


@dataclass(frozen=True)
class Sequence(Document):
    parts: tuple[Document, ...] = ()


@dataclass(frozen=True)
class Nest(Document):
    body: Document = Text()


@dataclass(frozen=True)
class Group(Document):
    body: Document = Text()


@dataclass(frozen=True)
class Row(Document):
    """`target = value`: neighbouring rows have their `=` in one column."""

    target: str = ""
    value: Document = Text()


HARD = Line(broken=True)
SPACE_OR_BREAK = Line()
NOTHING_OR_BREAK = Line(flat="")
EMPTY = Text()


def text(value: str) -> Document:
    return Text(text=value)


def note(comment: str) -> Document:
    return Note(broken=True, text=comment)


def sequence(*parts: Document | str) -> Document:
    documents = tuple(text(p) if isinstance(p, str) else p for p in parts)
    return Sequence(any(d.broken for d in documents), documents)


def row(target: str, value: Document) -> Document:
    return Row(value.broken, target, value)


def with_rows_aligned(contents: list[tuple[bool, Document]]) -> list[Document]:
    """`(stands behind a blank line, content)` of each line -> the contents, the `=` of each run of rows aligned.

    A run ends at a blank line, at a line that is no row, and behind a row over several lines. Single
    letters (sizes and axes), plain names and dotted paths are runs of their own.
    """
    out: list[Document] = []
    start = 0
    while start < len(contents):
        end = start + 1
        while (
            end < len(contents)
            and _kind(contents[start][1]) == _kind(contents[end][1]) != ""
            and not contents[end][0]
            and not contents[end - 1][1].broken
        ):
            end += 1
        run = [content for _, content in contents[start:end]]
        width = max(len(r.target) if isinstance(r, Row) else 0 for r in run)
        out += [sequence(f"{r.target:<{width}} = ", r.value) if isinstance(r, Row) else r for r in run]
        start = end
    return out


def _kind(content: Document) -> str:
    if not isinstance(content, Row):
        return ""
    return "letter" if len(content.target) == 1 else "path" if "." in content.target else "name"


def joined(parts: Iterable[Document], between: Document) -> Document:
    out: list[Document] = []
    for part in parts:
        out += [between, part] if out else [part]
    return sequence(*out)


def nest(*parts: Document | str) -> Document:
    body = sequence(*parts)
    return Nest(body.broken, body)


def group(*parts: Document | str) -> Document:
    body = sequence(*parts)
    return Group(body.broken, body)


def lay_out(document: Document) -> str:
    """The text of a document, at most `WIDTH` columns wide where its breaks allow it."""
    lines: list[tuple[str, str]] = []
    current: list[str] = []
    column = 0
    comment = ""
    waiting: list[tuple[int, bool, Document]] = [(0, True, document)]
    while waiting:
        indent, breaks, part = waiting.pop()
        assert not isinstance(part, Row), "rows are resolved by with_rows_aligned"
        if isinstance(part, Sequence):
            waiting += [(indent, breaks, p) for p in reversed(part.parts)]
        elif isinstance(part, Nest):
            waiting.append((indent + INDENT, breaks, part.body))
        elif isinstance(part, Group):
            flat = not part.broken and _fits(WIDTH - column, part.body, waiting)
            waiting.append((indent, not flat, part.body))
        elif isinstance(part, Note):
            comment = part.text
        elif isinstance(part, Line) and (breaks or part.broken):
            lines.append(("".join(current).rstrip(), comment))
            current, column, comment = [" " * indent], indent, ""
        else:
            written = part.flat if isinstance(part, Line) else part.text if isinstance(part, Text) else ""
            if isinstance(part, BrokenOnly) and breaks:
                written = part.text
            current.append(written)
            column += len(written)
    lines.append(("".join(current).rstrip(), comment))
    return "\n".join(_with_comments(lines))


def _fits(room: int, body: Document, after: list[tuple[int, bool, Document]]) -> bool:
    """True when `body` on one line, and what must stand behind it on that line, needs at most `room` columns."""
    rest = len(after)
    waiting: list[tuple[bool, Document]] = [(False, body)]
    while room >= 0:
        if not waiting:
            if not rest:
                return True
            rest -= 1
            _, breaks, document = after[rest]
            waiting.append((breaks, document))
            continue
        breaks, part = waiting.pop()
        if isinstance(part, Sequence):
            waiting += [(breaks, p) for p in reversed(part.parts)]
        elif isinstance(part, Nest):
            waiting.append((breaks, part.body))
        elif isinstance(part, Group):
            waiting.append((breaks or part.broken, part.body))
        elif isinstance(part, Line):
            if breaks or part.broken:
                return True
            room -= len(part.flat)
        elif isinstance(part, Text):
            room -= len(part.text)
    return False


def _with_comments(lines: list[tuple[str, str]]) -> list[str]:
    """Comments behind the code; those of neighbouring lines begin in one column."""
    out: list[str] = []
    start = 0
    while start < len(lines):
        end = start
        while end < len(lines) and lines[end][1]:
            end += 1
        width = max((len(code) for code, _ in lines[start:end]), default=0)
        out += [f"{code:<{width}}  {comment}" for code, comment in lines[start:end]]
        if end < len(lines):
            out.append(lines[end][0])
        start = end + 1
    return out
