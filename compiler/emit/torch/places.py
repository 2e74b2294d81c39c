"""Where functions run: the instances of a module, with one place for all layers of a repeat that are alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ...ir.instances import find
from ...ir.module import Instance, Layers, Module, Path
from ...ir.needs import callees


@dataclass
class Places:
    """`functions`: names of those that run at a place. `layers`: path of a repeat -> for each layer, its place."""

    functions: dict[Path, dict[str, None]] = field(default_factory=dict)
    layers: dict[Path, tuple[int, ...]] = field(default_factory=dict)

    def of(self, function: str) -> tuple[Path, ...]:
        """The places where a function runs."""
        return tuple(path for path, names in self.functions.items() if function in names)


def places(module: Module) -> Places:
    """Follow the calls from the entry and the encoder. The cost grows with the layers that differ, not with the depth.

    Layers are alike when they have the same description and run the same functions. Which do is known only after all
    repeats were seen, so the calls are followed again until nothing new is told apart: first as if equal descriptions
    were enough.
    """
    walk = _follow(module, {})
    while (finer := _follow(module, walk.runs)).found.layers != walk.found.layers:
        walk = finer
    return finer.found


@dataclass
class _Walk:
    """`runs`: path of a repeat -> for each layer, the functions that run on it."""

    found: Places = field(default_factory=Places)
    runs: dict[Path, list[dict[str, None]]] = field(default_factory=dict)


def _follow(module: Module, runs: Mapping[Path, list[dict[str, None]]]) -> _Walk:
    walk = _Walk()
    waiting: list[tuple[str, Path]] = [(name, ()) for name in module.entries]
    while waiting:
        name, path = waiting.pop()
        known = walk.found.functions.setdefault(path, {})
        if name in known:
            continue
        known[name] = None
        for node in module.functions[name].graph.nodes():
            if node.op in ("call", "scan"):
                reference = node.get("instance")
                waiting += [(c, reference.resolve(path) if reference else path) for c in callees(node)]
            elif node.op == "repeat":
                where = node["instance"].resolve(path)
                numbers = _layer_places(module, where, runs)
                walk.found.layers[where] = numbers
                seen = walk.runs.setdefault(where, [{} for _ in numbers])
                for i, body in enumerate(node["schedule"]):
                    seen[i][node["bodies"][body]] = None
                    waiting.append((node["bodies"][body], (*where, numbers[i])))
    return walk


def _layer_places(module: Module, path: Path, runs: Mapping[Path, list[dict[str, None]]]) -> tuple[int, ...]:
    layers = find(module, path)
    assert isinstance(layers, Layers)
    first: dict[object, int] = {}
    found = []
    for i, body in enumerate(layers.schedule):
        key = (body, tuple(runs[path][i])) if path in runs else (body,)
        found.append(first.setdefault(key, i))
    return tuple(found)


def instance_at(module: Module, path: Path) -> Instance:
    """The instance at a place."""
    found = find(module, path)
    assert isinstance(found, Instance)
    return found
