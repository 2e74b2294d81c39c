"""Consistency of a module: what every pass must leave true, checked after every pass."""

from __future__ import annotations

from collections.abc import Iterator

from ...lang import errors
from ...lang.axes import DTYPES, AxisError, TensorType
from ...lang.diagnostics import WeftError
from .graph import Node
from .instances import find, uses
from .kept import KEPT
from .module import Function, Instance, Layers, Module, join
from .needs import callees
from .ops import CONTROL, OPS
from .order import circle, numbers
from .sources import AMBIENTS, ambients
from .verify_control import ATTRIBUTES, control_problems

STATE_KINDS = ("grow", "ring", "delay", "carry", "constant")
FORMS = tuple(AMBIENTS)


def verify(module: Module, after: str = "") -> None:
    """Raise WeftError (E0801) that lists what is inconsistent; `after` names the pass that just ran."""
    found = problems(module)
    if found:
        raise WeftError(errors.inconsistent_module(module.name, found, after))


def problems(module: Module) -> list[str]:
    """What is inconsistent in a module, in words; later checks rest on earlier ones and wait until those pass."""
    found = list(_outline(module))
    for name, function in module.functions.items():
        if name != function.name:
            found.append(f"`{name}` holds a function that calls itself `{function.name}`")
        found += [f"`{name}`: {problem}" for problem in function_problems(module, function)]
    if not found and (ring := circle(module)):
        found.append("functions call each other in a circle: " + " -> ".join(f"`{n}`" for n in ring))
    return found or list(_instance_problems(module))


def function_problems(module: Module, function: Function) -> list[str]:
    """What is wrong inside one function, its calls included."""
    found = function.graph.problems()
    if found:
        return found
    number = numbers(function)
    for node in function.graph.nodes():
        found += [f"%{number[node.id]} {node.op}: {problem}" for problem in _node_problems(module, function, node)]
    return found + list(_signature_problems(function)) + list(_state_problems(module, function))


# ------------------------------------------------------------------ the module as a whole


def _outline(module: Module) -> Iterator[str]:
    if module.entry not in module.functions:
        yield f"the entry `{module.entry}` is not a function of the module"
    inputs = {n: t for e in module.entries if e in module.functions for n, t in module.functions[e].inputs}
    for name, value in module.defaults:
        kind = {bool: "bool", int: "int", float: "real"}[type(value)]
        if name not in inputs:
            yield f"`{name}` has a default and is no input"
        elif inputs[name].dtype != kind:
            yield f"the default of `{name}` is {kind}, it is {inputs[name]}"
    if module.encoder and module.encoder not in module.functions:
        yield f"the encoder `{module.encoder}` is not a function of the module"
    if module.form not in FORMS:
        yield f"`{module.form}` is not a form; the forms are {', '.join(FORMS)}"
    yield from _tree_problems(module.root, "the root")


def _tree_problems(instance: Instance, where: str) -> Iterator[str]:
    names = [p.name for p in instance.parameters] + [n for n, _ in instance.children]
    for name in dict.fromkeys(n for n in names if names.count(n) > 1):
        yield f"{where} has two members called `{name}`"
    for parameter in instance.parameters:
        yield from (f"parameter `{parameter.name}` of {where}: {p}" for p in _type_problems(parameter.type))
        if not all(a.size.is_constant for a in parameter.type.axes):
            yield f"parameter `{parameter.name}` of {where} has the type {parameter.type}: its sizes must be numbers"
    for name, child in instance.children:
        if not isinstance(child, Layers):
            yield from _tree_problems(child, f"`{name}`")
            continue
        if any(not 0 <= body < len(child.bodies) for body in child.schedule):
            yield f"the schedule of `{name}` names a layer description that does not exist"
        for body in child.bodies:
            yield from _tree_problems(body, f"`{name}`")


def _instance_problems(module: Module) -> Iterator[str]:
    """References, and the parameters that functions read on the instances they run on."""
    found = uses(module)
    yield from found.problems
    for use in found.found:
        function, instance = module.functions[use.function], find(module, use.path)
        for node in function.graph.nodes():
            if node.op != "param" or not isinstance(instance, Instance):
                continue
            where = f"`{use.function}` on `{join(use.path) or 'the root'}`"
            known = {p.name: p.type for p in instance.parameters}
            if node["name"] not in known:
                yield f"{where} reads the parameter `{node['name']}`, which is not there"
            elif not _agree(known[node["name"]], node.types[0]):
                yield f"{where} reads `{node['name']}` as {node.types[0]}, it is {known[node['name']]}"


def _agree(stored: TensorType, read: TensorType) -> bool:
    """A parameter may be read under other names of its axes."""
    return stored.dtype == read.dtype and [a.size for a in stored.axes] == [a.size for a in read.axes]


# ------------------------------------------------------------------ one function


def _signature_problems(function: Function) -> Iterator[str]:
    graph = function.graph
    nodes = [n for n in graph.nodes() if n.op == "input"]
    names = [name for name, _ in function.inputs]
    for name in dict.fromkeys(n for n in names if names.count(n) > 1):
        yield f"two inputs are called `{name}`"
    for name, type in function.inputs:
        there = [n for n in nodes if n["name"] == name]
        if len(there) != 1:
            yield f"the input `{name}` has {len(there)} nodes"
        elif there[0].types[0] != type:
            yield f"the input `{name}` is {type} in the signature and {there[0].types[0]} in the body"
    yield from (f"`{n['name']}` is not an input" for n in nodes if n["name"] not in names)
    if len(function.outputs) != len(graph.outputs):
        yield f"{len(function.outputs)} names for {len(graph.outputs)} outputs"
    if len(set(function.outputs)) != len(function.outputs):
        yield "two outputs have the same name"
    order = [name.startswith("penalty.") for name in function.outputs]
    if order != sorted(order):
        yield "penalties come after all other outputs"
    sites = [n["site"] for n in graph.nodes() if n.op in ("call", "repeat")]
    yield from (f"two calls share the site `{s}`" for s in dict.fromkeys(sites) if sites.count(s) > 1)


def _state_problems(module: Module, function: Function) -> Iterator[str]:
    known = {s.name: s for s in function.states}
    known_ambients = ambients(module) if module.form in FORMS else ()
    if module.form.startswith("step"):
        known_ambients = ("past", *known_ambients)
    if module.form == "step+rows":
        known_ambients = (*known_ambients, KEPT)
    if len(known) != len(function.states):
        yield "two states have the same name"
    for node in function.graph.nodes():
        if node.op == "state":
            state = known.get(node["name"])
            if state is None:
                yield f"`{node['name']}` is not a state of the function"
            elif state.type != node.types[0]:
                yield f"the state `{state.name}` is {state.type}, it is read as {node.types[0]}"
        if node.op == "ambient" and node["name"] not in known_ambients:
            yield f"there is no ambient value `{node['name']}` in the form `{module.form}`"
    for state in function.states:
        what = f"the state `{state.name}`"
        if state.kind not in STATE_KINDS:
            yield f"{what} is of kind `{state.kind}`; the kinds are {', '.join(STATE_KINDS)}"
        update = state.update
        if update.node not in function.graph or update.index >= len(function.graph[update].types):
            yield f"{what} has an update that does not exist"
            continue
        after = function.graph.type(update)
        if state.axis is not None and not state.type.has(state.axis):
            yield f"{what} has no axis `{state.axis}`"
        elif not _continues(state.type, after, state.axis if state.kind in ("grow", "ring") else None):
            yield f"{what} is {state.type} before the step and {after} after it"
        if isinstance(state.initial, str):
            filler = module.functions.get(state.initial)
            if filler is None or filler.inputs:
                yield f"{what} starts from `{state.initial}`, which is not a function without inputs"


def _continues(before: TensorType, after: TensorType, growing: str | None) -> bool:
    """Whether a state's update can be read back as the state: alike by position, but for the axis that grows."""
    if before.dtype != after.dtype or len(before.axes) != len(after.axes):
        return False
    return all(a.name == growing or a.size == b.size for a, b in zip(before.axes, after.axes, strict=True))


# ------------------------------------------------------------------ one node


def _node_problems(module: Module, function: Function, node: Node) -> list[str]:
    if node.op not in OPS and node.op not in CONTROL:
        return ["there is no such operation"]
    found = [p for type in node.types for p in _type_problems(type)]
    wanted = ATTRIBUTES[node.op] if node.op in CONTROL else OPS[node.op].attributes
    given = tuple(name for name, _ in node.attributes)
    found += [f"it needs the attribute `{name}`" for name in wanted if name not in given]
    found += [f"it has no attribute `{name}`" for name in given if name not in wanted]
    if found:
        return found
    if node.op in CONTROL:
        missing = [f"there is no function `{name}`" for name in callees(node) if name not in module.functions]
        return missing or control_problems(module, function, node)
    return _primitive_problems(function, node)


def _primitive_problems(function: Function, node: Node) -> list[str]:
    primitive = OPS[node.op]
    least, most = primitive.arity
    if len(node.operands) < least or (most is not None and len(node.operands) > most):
        return [f"it takes {least if least == most else f'{least} or more'} operands, it has {len(node.operands)}"]
    if len(node.types) != 1:
        return [f"it has one result, not {len(node.types)}"]
    try:
        inferred = primitive.infer(tuple(function.graph.type(v) for v in node.operands), dict(node.attributes))
    except AxisError as error:
        return [error.message]
    except (AttributeError, TypeError, ValueError, StopIteration) as error:
        return [f"its attributes do not fit: {type(error).__name__} {error}"]
    return [] if inferred == node.types[0] else [f"its type is {node.types[0]}, its operands make {inferred}"]


def _type_problems(type: TensorType) -> list[str]:
    found = [] if type.dtype in DTYPES else [f"`{type.dtype}` is not real, int or bool"]
    if len(set(type.names)) != len(type.names):
        found.append(f"{type} has an axis twice")
    return found
