"""Parameters that no function reads, and instances that no function runs on: the module without them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from ..ir.instances import uses
from ..ir.module import Instance, Layers, Module, Path
from .new_parameters import described


@dataclass
class _Touched:
    """An instance as it is used: names of the parameters that are read, and its children that are used at all."""

    parameters: set[str] = field(default_factory=set)
    children: dict[str | int, _Touched] = field(default_factory=dict)

    def at(self, path: Path) -> _Touched:
        here = self
        for part in path:
            here = here.children.setdefault(part, _Touched())
        return here


def drop_parameters(module: Module) -> Module:
    """The module whose instance tree holds only what the functions read and run on."""
    touched = _Touched()
    for use in uses(module).found:
        here = touched.at(described(module, use.path))
        nodes = module.functions[use.function].graph.nodes()
        here.parameters |= {n["name"] for n in nodes if n.op == "param"}
    return replace(module, root=_reduced(module.root, touched))


def _reduced(instance: Instance, touched: _Touched) -> Instance:
    children: list[tuple[str, Instance | Layers]] = []
    for name, child in instance.children:
        used = touched.children.get(name)
        if used is None:
            continue
        if isinstance(child, Layers):
            bodies = (_reduced(body, used.children.get(i, _Touched())) for i, body in enumerate(child.bodies))
            children.append((name, replace(child, bodies=tuple(bodies))))
        else:
            children.append((name, _reduced(child, used)))
    parameters = tuple(p for p in instance.parameters if p.name in touched.parameters)
    return replace(instance, parameters=parameters, children=tuple(children))
