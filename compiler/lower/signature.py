"""Matching the axes of arguments with those of a signature: across a call positions decide, inside names do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ...lang import tree
from ...lang.axes import Axis, TensorType
from ...lang.walk import walk


class Mismatch(ValueError):
    """Argument `position` does not fit its declared type; `wanted` and `given` if only the sizes of two axes do not."""

    def __init__(
        self, position: int, message: str, help: str = "", wanted: Axis | None = None, given: Axis | None = None
    ) -> None:
        self.position, self.message, self.help, self.wanted, self.given = position, message, help, wanted, given
        super().__init__(message)


@dataclass
class Binding:
    """What the axes of a signature stand for in one call.

    `axes`: names of the signature -> local axes. `rests`: the axes that the first, second `..` stand for, under local
    names. `actual`: local name -> name in the caller.
    """

    axes: dict[str, Axis] = field(default_factory=dict)
    rests: list[tuple[Axis, ...]] = field(default_factory=list)
    actual: dict[str, str] = field(default_factory=dict)


def axis_names(type: tree.TensorTypeExpression) -> list[str]:
    """The names written in a type, `..` and packs apart."""
    return [a.id for a in type.axes if isinstance(a, tree.Name)]


def introduced_names(body: tree.Body) -> frozenset[str]:
    """The names a body may give to new axes: the right sides of `T -> S`, and the axes of tables."""
    targets: list[tree.Tree] = [n.target for n in walk(body) if isinstance(n, tree.AxisMap)]
    for node in walk(body):
        if isinstance(node, tree.Call) and isinstance(node.function, tree.Name) and node.function.id == "table":
            targets += [a.value for a in node.arguments if isinstance(a.value, tree.Name)]
    return frozenset(n.id for n in walk(*targets) if isinstance(n, tree.Name))


def bind(
    declared: tuple[tree.TensorTypeExpression | None, ...],
    names: tuple[str, ...],
    actual: tuple[TensorType, ...],
    fixed: Mapping[str, Axis],
    packs: Mapping[str, tuple[Axis, ...]],
    stacked: tuple[str, ...],
    introduced: frozenset[str] = frozenset(),
) -> tuple[Binding, tuple[TensorType, ...]]:
    """Match argument types with a signature; returns the binding and the types in local names.

    `fixed` are axes the block knows already, `packs` its `dims`; `stacked` are axes of a `stack` around the block,
    which keep their name everywhere; `introduced` are names that the body gives to new axes. Raises Mismatch.
    """
    binding = Binding(dict(fixed))
    reserved = set(fixed) | {a.name for axes in packs.values() for a in axes} | introduced
    for type in declared:
        if type is not None:
            reserved |= set(axis_names(type))
    taken: dict[str, str] = {}
    local = []
    for position, (type, given) in enumerate(zip(declared, actual, strict=True)):
        if type is None:
            binding.actual.update({a.name: a.name for a in given.axes})
            local.append(given)
            continue
        dtype = _dtype(type, given, names[position], position)
        axes = _match(type, given, names[position], position, binding, packs, reserved, stacked, taken)
        local.append(TensorType(axes, dtype))
    return binding, tuple(local)


def _dtype(type: tree.TensorTypeExpression, given: TensorType, name: str, position: int) -> str:
    if given.dtype != type.dtype and not (type.dtype == "real" and given.dtype == "int"):
        help = "" if type.dtype == "bool" else f"`{type.dtype}(..)` converts it"
        raise Mismatch(position, f"`{name}` must be {type.dtype}, this is {given.dtype}", help)
    return type.dtype


Piece = tuple[str, Axis | None]  # the name in the signature and, inside a pack, the axis it must be


def _match(
    type: tree.TensorTypeExpression, given: TensorType, name: str, position: int, binding: Binding,
    packs: Mapping[str, tuple[Axis, ...]], reserved: set[str], stacked: tuple[str, ...], taken: dict[str, str],
) -> tuple[Axis, ...]:
    groups: list[list[Piece]] = [[]]
    for entry in type.axes:
        if isinstance(entry, tree.Rest):
            groups.append([])
        elif isinstance(entry, tree.Pack):
            if entry.name not in packs:
                raise Mismatch(position, f"`{entry.name}..` in the type of `{name}` is no `dims` parameter")
            groups[-1] += [(a.name, a) for a in packs[entry.name]]
        elif isinstance(entry, tree.Name) and entry.id in packs:
            groups[-1] += [(a.name, a) for a in packs[entry.id]]
        elif isinstance(entry, tree.Name):
            groups[-1].append((entry.id, None))
        else:
            raise Mismatch(position, f"the type of `{name}` may only hold names of axes and `..`")

    left = list(given.axes)
    shown = f"`{name}` is declared {type.span.text}, this is {given}"
    needed = sum(map(len, groups))
    if len(left) < needed:
        if position == 0 or len(groups) > 2:
            raise Mismatch(position, f"{shown}: it has too few axes")
        return _broadcast(groups, left, name, position, binding)
    if len(groups) == 1:
        if len(left) != needed:
            extra = [a for a in left if a.name in stacked]
            if len(left) - len(extra) != needed:
                raise Mismatch(position, f"{shown}: it has too many axes")
            rest = tuple(extra)
            left = [a for a in left if a.name not in stacked]
            return (*rest, *(_one(p, a, name, position, binding) for p, a in zip(groups[0], left, strict=True)))
        return tuple(_one(p, a, name, position, binding) for p, a in zip(groups[0], left, strict=True))

    first, last = groups[0], groups[-1]
    head = [_one(p, a, name, position, binding) for p, a in zip(first, left, strict=False)]
    left = left[len(first) :]
    tail_given = left[len(left) - len(last) :]
    left = left[: len(left) - len(last)]
    tail = [_one(p, a, name, position, binding) for p, a in zip(last, tail_given, strict=True)]
    result: list[Axis] = list(head)
    for number, group in enumerate(groups[1:-1]):
        at = _find(group, left, shown, name, position, binding)
        result += _rest(number, tuple(left[:at]), binding, reserved, stacked, taken)
        result += [_one(p, a, name, position, binding) for p, a in zip(group, left[at:], strict=False)]
        left = left[at + len(group) :]
    result += _rest(len(groups) - 2, tuple(left), binding, reserved, stacked, taken)
    return (*result, *tail)


def _broadcast(
    groups: list[list[Piece]], left: list[Axis], name: str, position: int, binding: Binding
) -> tuple[Axis, ...]:
    """An argument with fewer axes than declared: aligned at the right, repeated along the others."""
    pieces = [p for g in groups for p in g]
    pieces = pieces[len(pieces) - len(left) :]
    return tuple(_one(p, a, name, position, binding) for p, a in zip(pieces, left, strict=True))


def _one(piece: Piece, given: Axis, name: str, position: int, binding: Binding) -> Axis:
    """One axis of an argument takes the signature's name; a name that is known must have that size."""
    formal, fixed = piece
    known = fixed or binding.axes.get(formal)
    if known is not None and known.size != given.size:
        message = f"axis `{formal}` of `{name}` is {known.size}, the argument's `{given.name}` is {given.size}"
        raise Mismatch(position, message, wanted=Axis(formal, known.size), given=given)
    if fixed is None:
        binding.axes.setdefault(formal, Axis(formal, given.size))
    binding.actual.setdefault(formal, given.name)
    return Axis(formal, given.size)


def _find(
    group: list[Piece], left: list[Axis], shown: str, name: str, position: int, binding: Binding
) -> int:
    """Where, between two `..`, the axes of `group` stand: found by name, or by the size a name already has."""
    if not group:
        return 0
    formal = group[0][0]
    at = [i for i, a in enumerate(left) if a.name == formal]
    if not at and formal in binding.axes:
        at = [i for i, a in enumerate(left) if a.size == binding.axes[formal].size]
    if len(at) != 1 or at[0] + len(group) > len(left):
        raise Mismatch(
            position, f"{shown}: there is no axis `{formal}` in it",
            f"between two `..` an axis is found by its name: call the argument's axis `{formal}`, or hand it through\n"
            f"a fn or method declared with one `..`, where places decide: `turned(x: [.., {formal}, K])`",
        )
    return at[0]


def _rest(
    number: int, given: tuple[Axis, ...], binding: Binding, reserved: set[str], stacked: tuple[str, ...],
    taken: dict[str, str],
) -> tuple[Axis, ...]:
    """The axes that a `..` stands for keep their names, unless the block uses those itself."""
    local = []
    for axis in given:
        name = taken.get(axis.name, axis.name)
        while name in reserved and name not in stacked:
            name += "_"
        taken[axis.name] = name
        binding.actual.setdefault(name, axis.name)
        local.append(replace(axis, name=name))
    while len(binding.rests) <= number:
        binding.rests.append(())
    if len(local) > len(binding.rests[number]):
        binding.rests[number] = tuple(local)
    return tuple(local)
