"""What recipes and checkpoints may know about a compiled model: its parts, axes and penalties, by name."""

from __future__ import annotations

from collections.abc import Mapping

from ..lang.layouts import Axes
from ..lang.plans import ModelFacts
from ..lang.weight_map import WeightFacts
from .ir.module import Instance, Layers, Module
from .lower.values import Component


def model_facts(module: Module, component: Component | None = None) -> ModelFacts:
    """The facts of a module; `component` (the model before it was compiled) adds the parameters that a spec can set.

    Axes have the names of the outermost block that gives them. The cost does not grow with the depth.
    """
    instances: list[tuple[str, str]] = []
    weights: list[tuple[str, tuple[tuple[str, int], ...]]] = []
    _walk(module.root, "", (), instances, weights)
    axes = {name for _, of in weights for name, _ in of} | {n for _, type in module.main.inputs for n in type.names}
    last = module.main.output_types[0].axes[-1:] if module.main.output_types else ()
    vocabulary = next((a.size.value for a in last if a.size.is_constant), None)
    return ModelFacts(
        name=module.name,
        instances=tuple(dict.fromkeys(instances)),
        weights=tuple(dict.fromkeys(weights)),
        axes=tuple(sorted(axes)),
        parameters=tuple(p.name for p in component.declaration.parameters) if component else (),
        penalties=tuple(n.removeprefix("penalty.") for n in module.main.outputs if n.startswith("penalty.")),
        functions=tuple(dict.fromkeys(f.name.split(".")[0] for f in module.functions.values() if not f.block)),
        vocabulary=vocabulary,
    )


def _walk(
    instance: Instance, prefix: str, around: tuple[Mapping[str, str], ...], instances: list[tuple[str, str]],
    weights: list[tuple[str, tuple[tuple[str, int], ...]]],
) -> None:
    here = (*around, dict(instance.axes))
    for parameter in instance.parameters:
        axes = tuple((_outermost(a.name, here), a.size.value) for a in parameter.type.axes)
        weights.append((prefix + parameter.name, axes))
    for name, child in instance.children:
        if isinstance(child, Layers):
            instances.append((prefix + name, ""))
        for body in child.bodies if isinstance(child, Layers) else (child,):
            path = f"{prefix}{name}.*" if isinstance(child, Layers) else prefix + name
            instances.append((path, body.block))
            _walk(body, f"{path}.", here, instances, weights)


def _all_names(name: str, around: tuple[Mapping[str, str], ...]) -> tuple[str, ...]:
    """The names of an axis from its block outwards: `Out1`, `G`, `H`."""
    found = [name]
    for names in reversed(around):
        if found[-1] not in names:
            break
        found.append(names[found[-1]])
    return tuple(dict.fromkeys(found))


def _outermost(name: str, around: tuple[Mapping[str, str], ...]) -> str:
    """The name an axis has in the outermost block that passes it down: `Out1` of a Linear is `G` of its Attention."""
    return _all_names(name, around)[-1]


def weight_facts(module: Module) -> tuple[WeightFacts, ...]:
    """Every weight of a module, layer by layer, with the names its axes have for a checkpoint map."""
    found: list[WeightFacts] = []
    _weights(module.root, "", (), found)
    return tuple(found)


def _weights(
    instance: Instance, prefix: str, around: tuple[Mapping[str, str], ...], found: list[WeightFacts]
) -> None:
    here = (*around, dict(instance.axes))
    for parameter in instance.parameters:
        axes = parameter.type.axes
        shape = Axes(tuple(_all_names(a.name, here) for a in axes), tuple(a.size.value for a in axes))
        found.append(WeightFacts(prefix + parameter.name, shape, instance.block, parameter.name))
    for name, child in instance.children:
        if isinstance(child, Layers):
            for i, body in enumerate(child.schedule):
                _weights(child.bodies[body], f"{prefix}{name}.{i}.", here, found)
        else:
            _weights(child, f"{prefix}{name}.", here, found)
