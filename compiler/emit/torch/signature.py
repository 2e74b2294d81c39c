"""The head of a function or method: its parameters, what it returns, and their shapes as a comment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .emission import Emission
from .method import Method
from .text import Line, common, shape_of


def method_lines(emission: Emission, name: str, methods: Sequence[Method]) -> list[Line]:
    """The lines of methods that read the same; shapes that differ between them are generalised."""
    one = methods[0]
    indent = 0 if one.is_free else 1
    arguments = [] if one.is_free else ["self"]
    arguments += [f"{n}: Tensor" for n, _ in one.parameters if n not in one.optional]
    arguments += [f"{n}: nn.Module" for n in one.outside.values()]
    arguments += [f"{one.ambients[a]}: Tensor" for a in one.ordered_ambients()]
    is_entry = one.function.name == emission.module.entry
    if one.stateful and one.function.name != emission.module.encoder:
        arguments += ["states: dict[str, Tensor]", *([] if is_entry else ["path: str"])]
    arguments += [f"{n}: Tensor | None = None" for n in one.optional]
    returns = _returns(emission, one, is_entry)
    head = f"def {name}({', '.join(arguments)}) -> {returns}:"
    shapes = tuple(common([m.parameters[i][1] for m in methods]) for i in range(len(one.parameters)))
    results = tuple(common([shape_of(m.results[i].axes) for m in methods]) for i in range(len(one.results)))
    lines = [Line(head, indent, shapes, results)]
    for i, line in enumerate(one.lines):
        shapes = tuple(common([m.lines[i].shapes[j] for m in methods]) for j in range(len(line.shapes)))
        lines.append(replace(line, shapes=shapes))
    return lines


def _returns(emission: Emission, method: Method, is_entry: bool) -> str:
    values = ["float" if r.number is not None else "Tensor" for r in method.results]
    if method.function.name == emission.module.encoder:
        values = ["dict[str, Tensor]"]
    if is_entry:
        penalties = sum(n.startswith("penalty.") for n in method.function.outputs)
        values = values[: len(values) - penalties]
        values += ["dict[str, Tensor]"] if penalties else []
        values += ["dict[str, Tensor]"] if emission.is_step else []
    return "None" if not values else values[0] if len(values) == 1 else f"tuple[{', '.join(values)}]"
