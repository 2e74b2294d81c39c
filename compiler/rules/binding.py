"""What the variables and axes of a rule stand for in one place of a module."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from ...lang.axes import Axis, TensorType
from ...lang.sizes import Size
from ..ir.graph import Value
from ..ir.splice import AxisMap
from .rule import Number, is_rest


@dataclass(frozen=True)
class Constant:
    """A scalar variable that stands for a number."""

    number: Number


@dataclass(frozen=True)
class Binding:
    """Immutable, so that matching can try one way and then another.

    `nodes`: nodes of the rule's left side -> nodes of the function. `variables`: names -> values or numbers. `axes`:
    names of the rule -> axes of the function; `rests`: names such as `..` -> the axes they stand for.
    """

    nodes: Mapping[int, int] = field(default_factory=dict)
    variables: Mapping[str, Value | Constant] = field(default_factory=dict)
    axes: Mapping[str, Axis] = field(default_factory=dict)
    rests: Mapping[str, tuple[Axis, ...]] = field(default_factory=dict)

    @property
    def score(self) -> int:
        """How much of the rule has been found."""
        return len(self.nodes) + len(self.variables)

    def with_node(self, pattern: int, node: int) -> Binding:
        return replace(self, nodes={**self.nodes, pattern: node})

    def with_variable(self, name: str, bound: Value | Constant) -> Binding:
        return replace(self, variables={**self.variables, name: bound})

    def with_axis(self, name: str, axis: Axis) -> Binding:
        return replace(self, axes={**self.axes, name: axis})

    def with_rest(self, name: str, axes: tuple[Axis, ...]) -> Binding:
        return replace(self, rests={**self.rests, name: axes})

    def taken(self) -> set[str]:
        """Names of the function's axes that stand for some axis of the rule."""
        return {a.name for a in self.axes.values()} | {a.name for axes in self.rests.values() for a in axes}


def match_type(template: TensorType, actual: TensorType, binding: Binding, apart: bool = True) -> Iterator[Binding]:
    """Every way in which a template stands for a type, position by position.

    `apart` demands that different axes of the rule stand for different axes (within one body names decide).
    """
    if template.dtype == actual.dtype:
        yield from _match(template.axes, actual.axes, binding, apart)


def _match(template: tuple[Axis, ...], actual: tuple[Axis, ...], binding: Binding, apart: bool) -> Iterator[Binding]:
    if not template:
        if not actual:
            yield binding
        return
    first, rest = template[0], template[1:]
    if is_rest(first.name):
        known = binding.rests.get(first.name)
        lengths = range(len(actual) - _least(rest), -1, -1) if known is None else (len(known),)
        for length in lengths:
            axes = actual[:length]
            if known is None and apart and not binding.taken().isdisjoint(a.name for a in axes):
                continue
            if known is None or known == axes:
                yield from _match(rest, actual[length:], binding.with_rest(first.name, axes), apart)
        return
    if not actual or is_rest(actual[0].name):
        return
    known_axis = binding.axes.get(first.name)
    if known_axis is None and not (apart and actual[0].name in binding.taken()):
        yield from _match(rest, actual[1:], binding.with_axis(first.name, actual[0]), apart)
    elif known_axis is not None and (known_axis == actual[0] or (not apart and known_axis.size == actual[0].size)):
        yield from _match(rest, actual[1:], binding, apart)


def _least(template: tuple[Axis, ...]) -> int:
    return sum(not is_rest(a.name) for a in template)


def sizes(binding: Binding, template: Mapping[str, Axis]) -> Mapping[str, Size] | None:
    """What the size symbols of a rule stand for, or None when one would stand for two sizes.

    `template` holds the axes of the rule by name. Sizes of axes that are not a plain symbol are checked, not solved.
    """
    found: dict[str, Size] = {}
    for name, axes in binding.rests.items():
        product = Size.of(1)
        for axis in axes:
            product = product * axis.size
        found[name] = product
    derived = []
    for name, axis in binding.axes.items():
        wanted = template[name].size
        if len(wanted.symbols) == 1 and wanted == Size.symbol(wanted.symbols[0]):
            if found.setdefault(wanted.symbols[0], axis.size) != axis.size:
                return None
        else:
            derived.append((wanted, axis.size))
    for wanted, size in derived:
        if all(s in found for s in wanted.symbols) and wanted.substitute(found) != size:
            return None
    return found


def axis_map(binding: Binding, template: Mapping[str, Axis]) -> AxisMap | None:
    """The map from a rule's axes to the function's, or None when its sizes contradict each other."""
    known = sizes(binding, template)
    if known is None:
        return None
    return AxisMap({name: axis.name for name, axis in binding.axes.items()}, dict(binding.rests), known)
