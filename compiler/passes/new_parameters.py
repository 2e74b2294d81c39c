"""Parameters that a pass adds: each instance that a function runs on gets those the function reads on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ..ir.instances import find
from ..ir.module import Instance, Layers, Module, Parameter, Path
from .products import instances_of


def with_parameters(module: Module, added: Mapping[str, tuple[Parameter, ...]]) -> Module:
    """The module whose instances have more parameters: for every function, on all instances that it runs on."""
    runs = instances_of(module)
    wanted: dict[Path, dict[str, Parameter]] = {}
    for function, parameters in added.items():
        for path in runs.get(function, ()):
            here = wanted.setdefault(described(module, path), {})
            here |= {p.name: p for p in parameters}
    return replace(module, root=_extended(module.root, (), wanted))


def free_name(module: Module, function: str, wanted: str, taken: set[str]) -> str:
    """`wanted`, `wanted_2`, ...: the first that is no member of any instance that a function runs on."""
    members = set(taken)
    for path in instances_of(module).get(function, ()):
        instance = find(module, path)
        assert isinstance(instance, Instance)
        members |= {p.name for p in instance.parameters} | {name for name, _ in instance.children}
    number, name = 1, wanted
    while name in members:
        number += 1
        name = f"{wanted}_{number}"
    return name


def described(module: Module, path: Path) -> Path:
    """A path whose layer numbers are replaced by the numbers of their descriptions."""
    here: Instance | Layers = module.root
    parts: list[str | int] = []
    for part in path:
        if isinstance(here, Layers):
            number = here.schedule[int(part)]
            parts.append(number)
            here = here.bodies[number]
        else:
            parts.append(part)
            here = here.child(str(part))
    return tuple(parts)


def _extended(instance: Instance, path: Path, wanted: Mapping[Path, Mapping[str, Parameter]]) -> Instance:
    children: list[tuple[str, Instance | Layers]] = []
    for name, child in instance.children:
        if isinstance(child, Layers):
            bodies = (_extended(body, (*path, name, i), wanted) for i, body in enumerate(child.bodies))
            children.append((name, replace(child, bodies=tuple(bodies))))
        else:
            children.append((name, _extended(child, (*path, name), wanted)))
    new = tuple(wanted.get(path, {}).values())
    return replace(instance, parameters=(*instance.parameters, *new), children=tuple(children))
