"""What recipes and checkpoints ask about a compiled model, as plain facts."""

from __future__ import annotations

from ..lang.plans import ModelFacts
from .ir.module import Instance, Layers, Module


def model_facts(module: Module, parameters: tuple[str, ...] = ()) -> ModelFacts:
    """The facts of a module; `parameters` are the names that its spec can set. The cost does not grow with the depth."""
    instances: dict[str, str] = {}
    weights: dict[str, tuple[tuple[str, int], ...]] = {}
    axes: dict[str, None] = {}
    _gather(module.root, "", instances, weights)
    for _, type in module.main.inputs:
        axes |= dict.fromkeys(type.names)
    for shape in weights.values():
        axes |= dict.fromkeys(name for name, _ in shape)
    functions = dict.fromkeys(f.definition.rpartition(".")[2] for f in module.functions.values() if f.definition and not f.block)
    penalties = tuple(o.removeprefix("penalty.") for o in module.main.outputs if o.startswith("penalty."))
    return ModelFacts(
        module.name,
        tuple(instances.items()),
        tuple(weights.items()),
        tuple(axes),
        parameters,
        penalties,
        tuple(functions),
        vocabulary(module),
    )


def vocabulary(module: Module) -> int | None:
    """The number of token ids that a model knows: the length of the last axis of its first result."""
    if not module.main.inputs or module.main.inputs[0][1].dtype != "int":
        return None
    last = module.main.output_types[0].axes[-1:]
    return last[0].size.value if last and last[0].size.is_constant else None


def _gather(
    instance: Instance, prefix: str, instances: dict[str, str], weights: dict[str, tuple[tuple[str, int], ...]]
) -> None:
    for parameter in instance.parameters:
        shape = tuple(zip(parameter.type.names, parameter.shape, strict=True))
        weights.setdefault(prefix + parameter.name, shape)
    for name, child in instance.children:
        path = prefix + name
        if isinstance(child, Layers):
            instances.setdefault(path, "")
            for body in dict.fromkeys(child.schedule):
                instances.setdefault(f"{path}.*", child.bodies[body].block)
                _gather(child.bodies[body], f"{path}.*.", instances, weights)
        else:
            instances.setdefault(path, child.block)
            _gather(child, path + ".", instances, weights)
