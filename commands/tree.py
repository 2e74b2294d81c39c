"""The tree of instances of a model, as `weft show` prints it: blocks, axes, learned values, layers folded, states."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rich.text import Text
from rich.tree import Tree

from ..compiler.ir.instances import uses
from ..compiler.ir.module import Instance, Layers, Module, Path, Reference, State, count_parameters
from ..compiler.quantities import axes, count
from ..compiler.schedule import Run, fold
from ..compiler.stream import step


@dataclass(frozen=True)
class _About:
    """What is known of instances by their path: how they are called, what their decoder remembers, axis sizes."""

    flows: dict[Path, str]
    states: dict[Path, list[State]]
    sizes: dict[str, set[str]]


def model_tree(module: Module) -> Tree:
    """The whole model. Raises WeftError when it has a stream but no decoder (it sees the future)."""
    about = _about(module)
    head = Text.assemble((module.name, "bold"), f"  {count(module.parameter_count())} parameters")
    sizes = ", ".join(f"{n} = {int(s.copy().pop()):,}" for n, s in sorted(about.sizes.items()) if len(s) == 1)
    tree = Tree(Text.assemble(head, ("\n" + sizes, "dim")), guide_style="dim")
    _children(tree, module.root, (), about)
    return tree


def _about(module: Module) -> _About:
    flows: dict[Path, str] = {}
    sizes: dict[str, set[str]] = {}
    for use in uses(module).found:
        graph = module.functions[use.function].graph
        for node in graph.nodes():
            for type in node.types if node.op == "call" else ():
                for axis in type.axes:
                    if axis.size.is_constant:
                        sizes.setdefault(axis.name, set()).add(str(axis.size))
            if node.op in ("call", "repeat") and node["instance"] not in (None, Reference()):
                operands = ", ".join(axes(graph.type(v)) for v in node.operands)
                flows.setdefault(node["instance"].resolve(use.path), f"{operands} → {axes(node.types[0])}")
    states: dict[Path, list[State]] = {}
    decoder = replace(step(module), encoder="") if module.stream else None  # what is remembered, wherever it is from
    for use in uses(decoder).found if decoder else ():
        states.setdefault(use.path, []).extend(decoder.functions[use.function].states if decoder else ())
    return _About(flows, states, sizes)


def _children(tree: Tree, instance: Instance, path: Path, about: _About) -> None:
    for parameter in instance.parameters if instance.children else ():
        tree.add(Text.assemble((parameter.name, "bold"), "  param  ", (axes(parameter.type), "dim")))
    for name, child in instance.children:
        here = (*path, name)
        if isinstance(child, Layers):
            note = f"× {len(child.schedule)} layers"
            branch = tree.add(_line(name, note, here, child, about))
            _runs(branch, child, fold(child.schedule), here, about)
        else:
            copies = "".join(f" × {a.size} ({a.name})" for a in child.stack if a not in instance.stack)
            branch = tree.add(_line(name, child.block + copies, here, child, about))
            _children(branch, child, here, about)


def _runs(tree: Tree, layers: Layers, runs: Sequence[Run], path: Path, about: _About) -> None:
    """A single run shows its layer right here; several get a branch each, patterns within."""
    for run in runs:
        branch = tree
        if len(runs) > 1:
            total = sum(count_parameters(layers.bodies[b]) for b in layers.schedule[run.first : run.first + run.layers])
            many = f" × {run.count}" if run.count > 1 else ""
            branch = tree.add(Text.assemble((run.name + many, "bold"), f"  {count(total)}"))
        if run.body is None:
            _runs(branch, layers, run.pattern, path, about)
        else:
            _children(branch, layers.bodies[run.body], (*path, run.first), about)


def _line(name: str, note: str, path: Path, child: Instance | Layers, about: _About) -> Text:
    total = count_parameters(child)
    parts: list[tuple[str, str]] = [(name, "bold"), (f"  {note}", "cyan")]
    if path in about.flows:
        parts.append((f"  {about.flows[path]}", "dim"))
    if total:
        parts.append((f"  {count(total)}", ""))
    remembered = [_remembered(state) for state in about.states.get(path, ())]
    if remembered:
        parts.append((f"  remembers {', '.join(remembered)}", "red"))
    return Text.assemble(*parts)


def _remembered(state: State) -> str:
    return f"{state.name} ({state.kind})" if state.width is None else f"{state.name} ({state.kind} {state.width:,})"
