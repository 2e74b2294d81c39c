"""Writes the picture of a model as one HTML page with the spec beside it: no network, no other file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from html import escape
from importlib import resources
from string import Template
from typing import Any

from ...lang.source import Source, Span
from ..ir.module import Module
from ..quantities import count
from .layout import Placed, layout
from .listing import listing, shown_path
from .picture import Item
from .scene import scene, states_of
from .svg import axis_sizes, document


def to_html(module: Module, spec: Source | None = None) -> str:
    """The model as a self-contained page: hovering shows details, a click shows the lines of the spec.

    `spec` is the file to show first; the others are those that the parts of the model come from.
    The same module always gives the same text. Raises WeftError when the model has a stream but no decoder.
    """
    placed = layout(scene(module, states_of(module)))
    subtitle = f"{count(module.parameter_count())} parameters"
    picture = document(placed, module.name, subtitle, axis_sizes(placed))
    items = list(_items(placed))
    sources = _sources(spec, module, items)
    number = {source.path: i for i, source in enumerate(sources)}
    data = {item.key: _described(item, number) for item in items}
    tabs = (f'<button data-file="{i}">{escape(shown_path(s))}</button>' for i, s in enumerate(sources))
    files = (f'<pre class="file" data-file="{i}">{listing(s)}</pre>' for i, s in enumerate(sources))
    return Template(_asset("page.html")).substitute(
        title=escape(module.name),
        style=_asset("page.css"),
        picture=picture,
        tabs="".join(tabs),
        files="".join(files),
        data=_json(data),
        script=_asset("page.js"),
    )


@cache
def _asset(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text("utf-8")


def _items(placed: Placed) -> Iterator[Item]:
    for box in placed.boxes:
        yield box.item
        if box.inner:
            yield from _items(box.inner)


def _sources(spec: Source | None, module: Module, items: list[Item]) -> list[Source]:
    """The spec, the file that declares the model, then every file that an item points to."""
    spans = [module.main.origin.first_span(), *(span for item in items for span in (item.used, item.defined))]
    sources = [*([spec] if spec else []), *(span.source for span in spans if span)]
    return list({source.path: source for source in sources}.values())


def _described(item: Item, number: Mapping[str, int]) -> dict[str, Any]:
    return {
        "title": item.title,
        "note": item.note,
        "facts": item.facts,
        "used": _place(item.used, number),
        "defined": _place(item.defined, number),
    }


def _place(span: Span | None, number: Mapping[str, int]) -> dict[str, Any] | None:
    """Where a span stands: its file, and lines and columns from 0."""
    if span is None:
        return None
    (line, column), (last, end) = span.source.location(span.start), span.source.location(span.end)
    return {"file": number[span.source.path], "line": line - 1, "column": column - 1, "last": last - 1, "end": end - 1}


def _json(data: object) -> str:
    """JSON that cannot end the script it stands in."""
    return json.dumps(data, ensure_ascii=True, separators=(",", ":")).replace("<", "\\u003c")
