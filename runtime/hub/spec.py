"""The spec that an import writes: the model of a map with what config.json sets, as a person would write it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...lang import tree
from ...lang.config_values import names_used
from ...lang.expression_text import expression_text
from ...lang.format import format_source
from ...lang.program import NamedItem, Unit
from ...lang.source import Source


def spec_text(
    name: str, model: tuple[Unit, str], changes: Sequence[tuple[str, tree.Expression]], homes: Mapping[str, Unit],
    title: str,
) -> str:
    """The text of a file with one model, `name`. Values that are the model's own defaults are left out.

    `changes` are paths and values, `homes` the files in which the names of items in the values are known.
    """
    unit, base = model
    uses = {base: _home(unit, base)}
    defaults = _defaults(unit.find(base))
    kept = [(path, value) for path, value in changes if value != defaults.get(path)]
    for used in names_used([value for _, value in kept]):
        if used in homes:
            uses.setdefault(used, _home(homes[used], used))
    modules: dict[str, list[str]] = {}
    for used, home in uses.items():
        modules.setdefault(home, []).append(used)
    head = "".join(f"use {home}: {', '.join(sorted(names))}\n" for home, names in sorted(modules.items()))
    lines = "\n".join(f"  {path} = {expression_text(value)}" for path, value in kept)
    change = " with {\n" + lines + "\n}" if kept else ""
    text = f"## {title}\n{head}\nmodel {name} = {base}{change}\n"
    return format_source(Source("spec.llm", text))


def _home(unit: Unit, name: str) -> str:
    """What `use` calls the file that declares a name."""
    found = unit.find(name)
    assert found is not None
    return found[0].prefix.removeprefix("weft.")


def _defaults(found: tuple[Unit, NamedItem] | None) -> dict[str, tree.Expression | None]:
    """What a model sets by itself: the defaults of its parameters, then the changes of each `with` on the way to it."""
    if found is None:
        return {}
    unit, item = found
    if isinstance(item, tree.Model):
        return {p.name: p.default for p in item.parameters}
    if not isinstance(item, tree.DerivedModel):
        return {}
    value = item.value
    changes = value.overrides if isinstance(value, tree.With) else ()
    base = value.base if isinstance(value, tree.With) else value
    defaults = _defaults(unit.find(base.id)) if isinstance(base, tree.Name) else {}
    for change in changes:
        path = ".".join(change.path)
        defaults = {name: default for name, default in defaults.items() if not name.startswith(f"{path}.")}
        defaults[path] = change.value
    return defaults
