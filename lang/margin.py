"""What stands beside the tree and must survive formatting: comments, blank lines and brackets."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from .documents import (
    EMPTY,
    HARD,
    NOTHING_OR_BREAK,
    SPACE_OR_BREAK,
    BrokenOnly,
    Document,
    group,
    nest,
    note,
    sequence,
    text,
    with_rows_aligned,
)
from .scanner import Comment, Scan
from .source import Source, Span


class Spanned(Protocol):
    @property
    def span(self) -> Span: ...


T = TypeVar("T", bound=Spanned)


class Margin:
    """Gives out each comment once, in the order of the text."""

    def __init__(self, source: Source, scanned: Scan) -> None:
        self.source = source
        self.comments = scanned.comments
        self.given = 0
        self.tokens = [t for t in scanned.tokens if t.type != "NEWLINE"]
        self.starts = [t.start_pos or 0 for t in self.tokens]

    # -------------------------------------------------------------- the text

    def brace_before(self, offset: int) -> int:
        """Where the last `{` before `offset` stands."""
        i = bisect_left(self.starts, offset) - 1
        while self.tokens[i].type != "LBRACE":
            i -= 1
        return self.starts[i]

    def token_after(self, offset: int, kind: str) -> int:
        """Where the first token of this kind at or behind `offset` stands."""
        i = bisect_left(self.starts, offset)
        while self.tokens[i].type != kind:
            i += 1
        return self.starts[i]

    def token_before(self, offset: int) -> int:
        """Where the last token before `offset` stands."""
        return self.starts[bisect_left(self.starts, offset) - 1]

    def in_parentheses(self, span: Span) -> bool:
        """True when ( ) stand directly around an operand."""
        before = bisect_left(self.starts, span.start) - 1
        after = bisect_left(self.starts, span.end)
        return (
            before >= 0
            and after < len(self.tokens)
            and self.tokens[before].type == "LPAR"
            and self.tokens[after].type == "RPAR"
        )

    def _line(self, offset: int) -> int:
        return bisect_right(self.source.line_starts, offset)

    def blank_between(self, start: int | None, end: int) -> bool:
        """True when an empty line stands between two offsets with nothing but space between them.

        A `start` of None asks for an empty line.
        """
        return start is None or self._line(end) - self._line(max(0, start - 1)) > 1

    # -------------------------------------------------------------- comments

    def before(self, offset: int) -> list[Comment]:
        """The comments before `offset` that were not given out yet."""
        first = self.given
        while self.given < len(self.comments) and self.comments[self.given].span.start < offset:
            self.given += 1
        return list(self.comments[first : self.given])

    def behind(self, offset: int, limit: int | None = None) -> Document:
        """The comment that stands on the line of `offset`, behind it."""
        if self.given < len(self.comments):
            comment = self.comments[self.given]
            start = comment.span.start
            here = not comment.alone and offset <= start and (limit is None or start < limit)
            if here and self._line(start) == self._line(max(0, offset - 1)):
                self.given += 1
                return note(comment.text)
        return EMPTY

    # -------------------------------------------------------------- layouts

    def lines(
        self, nodes: Sequence[T], show: Callable[[T], Document], start: int, end: int, *, apart: bool = False
    ) -> Document:
        """One node on a line, from `start` to `end`: comments stay, of several blank lines one stays.

        With `apart`, a blank line stands around every node that needs several lines, and between
        nodes of different kinds.
        """
        found: list[tuple[bool, Document, Document]] = []
        last: int | None = start
        previous: tuple[type, bool] | None = None
        parted: set[int] = set()
        for node in nodes:
            ahead = self.before(node.span.start)
            shown = show(node)
            if apart and previous is not None and (shown.broken or previous != (type(node), False)):
                parted.add(len(found))
            previous = (type(node), shown.broken)
            # A comment in a place that has no line of its own moves up, above what it stands in; the
            # blank line behind keeps it out of the item's `##` text.
            stray = self.before(node.span.end)
            for comment in stray:
                found.append((self.blank_between(last, node.span.start), text(comment.text), EMPTY))
                last = node.span.start
            if stray and apart:
                last = None
            for comment in ahead:
                found.append((self.blank_between(last, comment.span.start), text(comment.text), EMPTY))
                last = comment.span.end
            found.append((self.blank_between(last, node.span.start), shown, self.behind(node.span.end, end)))
            last = self._end_of(node.span.end)
        for comment in self.before(end):
            found.append((self.blank_between(last, comment.span.start), text(comment.text), EMPTY))
            last = comment.span.end
        contents = with_rows_aligned([(blank, content) for blank, content, _ in found])
        out: list[Document] = []
        for i, ((blank, _, comment_behind), content) in enumerate(zip(found, contents, strict=True)):
            out += [HARD, HARD] if i and (blank or i in parted) else [HARD] if i else []
            out += [content, comment_behind]
        return sequence(*out)

    def _end_of(self, end: int) -> int:
        """The end of a node, or of the comment that was given out behind it."""
        if self.given and self.comments[self.given - 1].span.start >= end:
            return self.comments[self.given - 1].span.end
        return end

    def braces(
        self,
        nodes: Sequence[T],
        show: Callable[[T], Document],
        end: int,
        *,
        start: int | None = None,
        one_line: bool = True,
    ) -> Document:
        """`{ .. }` whose `}` ends at `end`: on one line when it holds one node and was written so."""
        first = nodes[0].span.start if nodes else end - 1
        brace = self.brace_before(first) if start is None else start
        opening = self.behind(brace + 1, first)
        spread = "\n" in self.source.text[brace:first] or len(nodes) > 1 or not one_line
        inner = self.lines(nodes, show, brace + 1, end - 1)
        if not nodes and not inner.broken and opening is EMPTY and inner == sequence():
            return text("{ }")
        if spread or opening is not EMPTY or (inner.broken and len(nodes) != 1):
            return sequence("{", opening, nest(HARD, inner), HARD, "}")
        return group("{", nest(SPACE_OR_BREAK, inner), SPACE_OR_BREAK, "}")

    def listed(
        self,
        nodes: Sequence[T],
        show: Callable[[T], Document],
        end: int,
        opener: str,
        closer: str,
        one_comma: bool = False,
    ) -> Document:
        """`(a, b)` whose `)` stands at `end`, on one line or one node on a line with a comma behind each."""
        if not nodes and not (self.given < len(self.comments) and self.comments[self.given].span.start < end):
            return text(opener + closer)
        parts: list[Document] = []
        for i, node in enumerate(nodes):
            for comment in self.before(node.span.start):
                parts += [text(comment.text), HARD]
            shown = show(node)
            for comment in self.before(node.span.end):
                parts += [text(comment.text), HARD]
            last = i == len(nodes) - 1
            comma = BrokenOnly(text=",") if last and not one_comma else text(",")
            limit = end if last else nodes[i + 1].span.start
            parts += [sequence(shown, comma, self.behind(node.span.end, limit))]
            if not last:
                parts.append(SPACE_OR_BREAK)
        for comment in self.before(end):
            parts += [HARD, text(comment.text)] if parts else [text(comment.text), HARD]
        return group(opener, nest(NOTHING_OR_BREAK, *parts), NOTHING_OR_BREAK, closer)
