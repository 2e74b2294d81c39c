"""What is written in a `with`: paths through the model, and what is set at their ends."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise, product

from ...lang import errors, tree
from ...lang.diagnostics import WeftError
from ...lang.program import Unit
from ...lang.source import Span
from .values import Deferred, Overrides

_PART = re.compile(r"\{[^}]*\}|\w+")


def written(override: tree.Override, unit: Unit) -> Iterator[Overrides]:
    """`blocks.{i}.attn.{q, v} = value` as overrides, one for each path: the value sees `i`, the layer's number."""
    places = list(_PART.finditer(override.span.text))[: len(override.path)]
    spans = [Span(override.span.source, *(override.span.start + at for at in place.span())) for place in places]
    for choice in product(*(_alternatives(part) for part in override.path)):
        for end in (0, -1):
            if choice[end].startswith("{"):
                raise WeftError(errors.no_layers_there(choice[end], "the path", spans[end]))
        named = [at for at, name in enumerate(choice) if not name.startswith("{")]
        counted = [at for at, name in enumerate(choice) if name.startswith("{")]
        layers = tuple((sum(n > at for n in named), choice[at][1:-1].strip()) for at in counted)
        here = Overrides(Deferred(override.value, unit, layers), spans[-1])
        for at, below in reversed(list(pairwise(named))):
            here = Overrides(span=spans[at], parts={choice[below]: here})
        yield Overrides(parts={choice[0]: here})


def _alternatives(part: str) -> list[str]:
    """`{q, v}` as two names; `{i}` and a plain name as they are."""
    return [name.strip() for name in part[1:-1].split(",")] if "," in part else [part]
