"""On which instances the functions of a module run: one representative for layers that are alike."""

from __future__ import annotations

from dataclasses import dataclass, field

from .graph import Node
from .module import Instance, Layers, Module, Path, Reference, join


@dataclass(frozen=True)
class Use:
    """A function together with the path of an instance it runs on."""

    function: str
    path: Path


@dataclass
class Uses:
    """All uses reachable from the entry, in order of discovery, and references that lead nowhere."""

    found: dict[Use, None] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def uses(module: Module) -> Uses:
    """Follow calls and repeats from the entry and the encoder. The cost does not depend on the depth of the model.

    Layers that run the same body on the same description are represented by the first of them.
    """
    result = Uses()
    waiting = [Use(name, ()) for name in module.entries]
    while waiting:
        use = waiting.pop()
        if use in result.found:
            continue
        result.found[use] = None
        for node in module.functions[use.function].graph.nodes():
            waiting += [u for u in _runs(module, use, node, result.problems) if u.function in module.functions]
    return result


def find(module: Module, path: Path) -> Instance | Layers | None:
    """What stands at a path in the instance tree, or None."""
    here: Instance | Layers | None = module.root
    for part in path:
        if isinstance(here, Layers):
            number = int(part) if str(part).isdigit() else -1
            here = here.bodies[here.schedule[number]] if 0 <= number < len(here.schedule) else None
        elif here is not None:
            here = next((c for name, c in here.children if name == part), None)
    return here


def _runs(module: Module, use: Use, node: Node, problems: list[str]) -> list[Use]:
    if node.op == "scan":
        return [Use(node["body"], use.path)]
    if node.op not in ("call", "repeat"):
        return []
    reference: Reference | None = node["instance"]
    if reference is None:
        return [Use(node["callee"], use.path)]
    where = f"`{use.function}` on `{join(use.path) or 'the root'}`: {reference}"
    if reference.up > len(use.path):
        problems.append(f"{where} goes up beyond the root")
        return []
    path = reference.resolve(use.path)
    target = find(module, path)
    if target is None:
        problems.append(f"{where} leads to `{join(path)}`, where there is no instance")
        return []
    if node.op == "call":
        if isinstance(target, Layers):
            problems.append(f"{where} names all layers of a repeat, but `{node['callee']}` runs on one")
            return []
        return [Use(node["callee"], path)]
    if not isinstance(target, Layers) or len(target.schedule) != len(node["schedule"]):
        problems.append(f"{where} should name the {len(node['schedule'])} layers of a repeat")
        return []
    first: dict[tuple[int, int], int] = {}
    for i, pair in enumerate(zip(node["schedule"], target.schedule, strict=True)):
        first.setdefault(pair, i)
    return [Use(node["bodies"][body], (*path, i)) for (body, _), i in first.items()]
