"""Changes of single parts of a model as the lines of a `with`, as a person would write them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from .ir.module import Instance, Layers, Module, Path

Numbers = tuple[int, ...]


def instances(module: Module) -> dict[Path, str]:
    """The block of every instance of a module by its path, each layer by itself."""
    return dict(_instances(module.root, ()))


def _instances(instance: Instance, path: Path) -> Iterator[tuple[Path, str]]:
    for name, child in instance.children:
        if isinstance(child, Layers):
            for number, body in enumerate(child.schedule):
                yield (*path, name, number), child.bodies[body].block
                yield from _instances(child.bodies[body], (*path, name, number))
        else:
            yield (*path, name), child.block
            yield from _instances(child, (*path, name))


def override_lines(wanted: Mapping[Path, str], module: Module) -> list[str]:
    """`blocks.attn.{q, v} = VALUE` for values of instances by path; layers are told apart where they differ.

    Parts of parts come first, so that what stands around them is changed with them inside.
    """
    present: dict[tuple[str, ...], set[Numbers]] = {}
    for path in instances(module):
        present.setdefault(_names(path), set()).add(_numbers(path))
    changes: dict[tuple[str, ...], dict[Numbers, str]] = {}
    for path, value in wanted.items():
        changes.setdefault(_names(path), {})[_numbers(path)] = value
    lines: dict[tuple[tuple[str, ...], str], list[str]] = {}
    for names in sorted(changes, key=len, reverse=True):
        target, value = _change(names, changes[names], present)
        lines.setdefault((target[:-1], value), []).append(target[-1])
    written = []
    for (head, value), last in lines.items():
        end = last[0] if len(last) == 1 else f"{{{', '.join(last)}}}"
        written.append(f"{'.'.join((*head, end))} = {value}")
    return written


def _names(path: Path) -> tuple[str, ...]:
    return tuple("*" if isinstance(part, int) else part for part in path)


def _numbers(path: Path) -> Numbers:
    return tuple(part for part in path if isinstance(part, int))


def _change(
    names: tuple[str, ...], values: Mapping[Numbers, str], present: Mapping[tuple[str, ...], set[Numbers]]
) -> tuple[tuple[str, ...], str]:
    """The path of one change and its value: the same for all layers, or one that asks for the layer's number."""
    plain = tuple(n for n in names if n != "*")
    if "*" not in names:
        return plain, values[()]
    last = len(names) - 1 - names[::-1].index("*")
    layers = present[names[: last + 1]]
    everywhere = present[names] == layers
    if everywhere and values.keys() == layers and len(set(values.values())) == 1:
        return plain, next(iter(values.values()))
    letters = iter("ijk")
    counted = tuple(f"{{{next(letters)}}}" if n == "*" else n for n in names)
    if not everywhere:  # only some layers have this part: it is changed within the first part that all have
        counted, rest = counted[: last + 2], counted[last + 2 :]
        if rest:
            values = {n: f"original with {{ {'.'.join(rest)} = {v} }}" for n, v in values.items()}
    return counted, _choice(values)


def _choice(values: Mapping[Numbers, str]) -> str:
    groups: dict[str, list[Numbers]] = {}
    for numbers, value in values.items():
        groups.setdefault(value, []).append(numbers)
    chosen = " else ".join(f"if {_condition(found)} {{ {value} }}" for value, found in groups.items())
    return f"{chosen} else {{ original }}"


def _condition(found: Sequence[Numbers]) -> str:
    """`i == 1 or i >= 4 and i <= 9`; for layers inside of layers `i == 0 and j == 1 or ..`."""
    if len(found[0]) > 1:
        return " or ".join(" and ".join(f"{n} == {v}" for n, v in zip("ijk", one, strict=False)) for one in found)
    runs: list[list[int]] = []
    for (number,) in sorted(found):
        if runs and runs[-1][1] == number - 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return " or ".join(f"i == {a}" if a == b else f"i >= {a} and i <= {b}" for a, b in runs)
