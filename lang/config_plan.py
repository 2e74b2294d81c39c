"""The lines of the config half of a checkpoint map and of its bases, and which of them count."""

from __future__ import annotations

from dataclasses import dataclass

from . import tree
from .program import Unit
from .source import Span
from .walk import walk


@dataclass(frozen=True)
class ConfigPlan:
    """The lines of a map and its bases, those of the map first, each with the file whose names it sees."""

    lines: tuple[tuple[Unit, tree.ConfigLine], ...]
    parameters: tuple[str, ...]  # of the model: names that stay names

    def lets(self) -> dict[str, tuple[Unit, tree.Expression]]:
        found: dict[str, tuple[Unit, tree.Expression]] = {}
        for unit, line in self.lines:
            if isinstance(line, tree.ConfigLet):
                found.setdefault(line.name, (unit, line.value))
        return found

    def entries(self) -> list[tuple[Unit, tree.ConfigEntry]]:
        """What is set. Of two lines for one path, or for a path and a part of it, the first (the map's own) counts."""
        found: dict[tuple[str, ...], tuple[Unit, tree.ConfigEntry]] = {}
        for unit, line in self.lines:
            if isinstance(line, tree.ConfigEntry):
                found.setdefault(line.path, (unit, line))
        return list(found.values())

    def requirements(self) -> list[tuple[Unit, tree.ConfigRequire]]:
        """Conditions on the files. One of a base about a key that an earlier line reads or ignores is left out."""
        seen: set[str] = set()
        found = []
        for unit, group in self._by_map():
            spoken: set[str] = set()
            for line in group:
                keys = top_keys(line)
                if isinstance(line, tree.ConfigRequire) and not keys & seen:
                    found.append((unit, line))
                spoken |= keys
            seen |= spoken
        return found

    def _by_map(self) -> list[tuple[Unit, list[tree.ConfigLine]]]:
        groups: list[tuple[Unit, Span | None, list[tree.ConfigLine]]] = []
        for unit, line in self.lines:
            if not groups or groups[-1][0] is not unit or line.span.start < groups[-1][2][-1].span.start:
                groups.append((unit, None, []))
            groups[-1][2].append(line)
        return [(unit, lines) for unit, _, lines in groups]

    def ignored(self) -> set[tuple[str, ...]]:
        return {key for _, line in self.lines if isinstance(line, tree.ConfigIgnore) for key in line.keys}


def top_keys(line: tree.ConfigLine) -> set[str]:
    """Names that a line mentions: keys of config.json among them."""
    if isinstance(line, tree.ConfigIgnore):
        return {key[0] for key in line.keys}
    return {n.id for n in walk(line) if isinstance(n, tree.Name)} | {
        n.name for n in walk(line) if isinstance(n, tree.Attribute) and isinstance(n.value, tree.Name)
        and n.value.id == "config"
    }
