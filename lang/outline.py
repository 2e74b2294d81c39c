"""What a name of the standard library is, without how it is made: its documentation and what it takes and gives."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from . import tree
from .margin import Margin
from .program import STDLIB, load
from .scanner import scan

_DECLARED = re.compile(r"^(?:fn|block|interface|model|rule|recipe) (\w+)", re.MULTILINE)


def library() -> dict[str, tuple[Path, ...]]:
    """Every name that files of the standard library declare, and the files."""
    found: dict[str, tuple[Path, ...]] = {}
    for path in sorted(STDLIB.rglob("*.llm")):
        for name in _DECLARED.findall(path.read_text("utf-8")):
            found[name] = (*found.get(name, ()), path)
    return found


def outline(name: str) -> str | None:
    """A Markdown page about a name of the standard library (`RoPE`), or None when nothing is called so."""
    files = library().get(name, ())
    return "\n".join(_page(name, path) for path in files) if files else None


def _page(name: str, path: Path) -> str:
    module = ".".join(path.relative_to(STDLIB).with_suffix("").parts)
    item = load(path).main.items[name]
    kind = item.span.text.split(maxsplit=1)[0]
    doc = f"{item.doc}\n\n" if item.doc else ""
    code = "\n".join((f"use {module}: {name}", "", *_lines(item)))
    return f"# {name}: {kind} of `{module}`\n\n{doc}```llm\n{code}\n```\n"


def _lines(item: tree.Item) -> Iterator[str]:
    text = item.span.source.text
    if isinstance(item, tree.Fn):
        yield text[item.span.start : item.body.span.start].rstrip()
    elif isinstance(item, tree.Block | tree.Model) and item.members:
        brace = Margin(item.span.source, scan(item.span.source)).brace_before(item.members[0].span.start)
        yield text[item.span.start : brace].rstrip()
        for member in item.members:
            if isinstance(member, tree.Method):
                yield f"  {text[member.span.start : member.body.span.start].rstrip()}"
    else:
        yield item.span.text
