"""How weights lie in a stored tensor: its axes, what is packed into each, and which part belongs to which weight."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

from . import tree


class Misfit(Exception):
    """Why a layout does not fit its weights, to be read after `the layout of X ..`."""


@dataclass(frozen=True)
class Axis:
    """An axis that every packed weight has; `places` say where in each (or in the one that a part is for)."""

    places: tuple[int, ...]
    size: int

    def place(self, j: int) -> int:
        """Where weight j has it."""
        return self.places[j] if len(self.places) > 1 else self.places[0]


@dataclass(frozen=True)
class Pieces:
    """An axis that counts the packed weights: weight j is entry j. One weight: an axis of length 1."""

    size: int


@dataclass(frozen=True)
class Parts:
    """Weight j is the j-th part; the parts lie one behind the other, each with axes of its own."""

    terms: tuple[tuple[Node, ...], ...]

    @property
    def size(self) -> int:
        return sum(sizes(term) for term in self.terms)


Node = Axis | Pieces | Parts
Layout = tuple[tuple[Node, ...], ...]
"""For every axis of the stored tensor, slowest first, what it is made of, slowest first."""


def sizes(nodes: Sequence[Node]) -> int:
    return prod(n.size for n in nodes)


def shape(layout: Layout) -> tuple[int, ...]:
    """The shape of the stored tensor."""
    return tuple(sizes(nodes) for nodes in layout)


@dataclass(frozen=True)
class Axes:
    """The axes of one weight, with every name that a layout may call them by.

    `known[i]` are the names of axis i, from its own block (`Out1`) through the blocks around it (`G`) to the model
    (`H`, where the model has as many key heads as heads).
    """

    known: tuple[tuple[str, ...], ...]
    sizes: tuple[int, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """What the axes are called from outside."""
        return tuple(names[-1] for names in self.known)

    @property
    def local(self) -> tuple[str, ...]:
        """What the axes are called in their block."""
        return tuple(names[0] for names in self.known)

    def find(self, name: str) -> int | None:
        """The place of an axis; a name that several axes have means the one whose block calls it so, if any."""
        places = [i for i, names in enumerate(self.known) if name in names]
        if len(places) == 1:
            return places[0]
        return self.local.index(name) if name in self.local else None

    def pack(self, name: str) -> list[int]:
        """The places of the axes that a pack of the block stands for."""
        return [i for i, n in enumerate(self.local) if n == name or (n.startswith(name) and n[len(name) :].isdigit())]


def resolve(axes: Sequence[tree.LayoutAxis], weights: Sequence[Axes], without: Mapping[str, int]) -> Layout:
    """A written layout with sizes, for the weights that it packs (one, mostly).

    `without` are axes that the stored name counts instead of the layout. Axes in the result are called by their place
    in the weight. Raises Misfit.
    """
    cuts = {_pieces(word): word.partition("/")[0] for axis in axes for word in _words(axis) if "/" in word}
    nodes = tuple(tuple(_nodes(axis, weights, cuts)) for axis in axes)
    for j, weight in enumerate(weights):
        found = [axis for top in nodes for axis in axes_of(top, j)]
        for place, (names, size) in enumerate(zip(weight.known, weight.sizes, strict=True)):
            lengths = [axis.size for axis in found if axis.place(j) == place]
            count, counted = len(lengths), not without.keys().isdisjoint(names)
            if count and prod(lengths) != size:
                raise Misfit(f"has `{names[-1]}` {'twice' if count > 1 else 'in pieces that no number counts'}")
            if not count and size != 1 and not counted:
                raise Misfit(f"lacks `{names[-1]}`")
            if count and counted:
                raise Misfit(f"has `{names[-1]}`, which the stored name counts already")
    return nodes


def axes_of(nodes: Sequence[Node], j: int) -> list[Axis]:
    """The axes of weight j among the nodes, in order."""
    found: list[Axis] = []
    for node in nodes:
        if isinstance(node, Axis):
            found.append(node)
        elif isinstance(node, Parts):
            found += axes_of(node.terms[j], j)
    return found


def _words(axis: tree.LayoutAxis) -> list[str]:
    if isinstance(axis, tree.LayoutGroup):
        return [word for term in axis.terms for part in term for word in _words(part)]
    return [axis.name]


def _nodes(axis: tree.LayoutAxis, weights: Sequence[Axes], cuts: Mapping[int, str]) -> list[Node]:
    """`cuts` are the axes that lie in pieces, by the number of these: the outer half of such an axis is that number."""
    if isinstance(axis, tree.LayoutGroup):
        if len(axis.terms) == 1:
            return [node for part in axis.terms[0] for node in _nodes(part, weights, cuts)]
        if len(axis.terms) != len(weights):
            raise Misfit(f"has {len(axis.terms)} parts for {len(weights)} weights")
        return [
            Parts(tuple(
                tuple(node for part in term for node in _nodes(part, [weight], cuts))
                for term, weight in zip(axis.terms, weights, strict=True)
            ))
        ]
    if axis.name.isdigit():
        count = int(axis.name)
        if count in cuts and count in (1, len(weights)):
            raise Misfit(f"has the number `{count}`, which could count weights or pieces of `{cuts[count]}`")
        if count in cuts:
            outer = [_axes(cuts[count], weight)[0][0] for weight in weights]
            return [Axis(tuple(outer), count)]
        if count not in (1, len(weights)):
            raise Misfit(f"has the number `{count}`, but holds {len(weights)} weight{'s' * (len(weights) != 1)}")
        return [Pieces(count)]
    name, pieces = axis.name.partition("/")[0], _pieces(axis.name)
    found = [[(place, _piece(name, size, pieces)) for place, size in _axes(name, w)] for w in weights]
    if any([size for _, size in f] != [size for _, size in found[0]] for f in found):
        raise Misfit(f"has `{name}`, which the weights do not share: write one part for each, `(a + b)`")
    return [Axis(tuple(p for p, _ in same), same[0][1]) for same in zip(*found, strict=True)]


def _pieces(word: str) -> int:
    """4 of `G/4`, 1 of `G`."""
    number = word.partition("/")[2] or "1"
    if not number.isdigit() or int(number) < 1:
        raise Misfit(f"has `{word}`, which does not say how many pieces")
    return int(number)


def _piece(name: str, size: int, pieces: int) -> int:
    """How long each piece of an axis is."""
    if size % pieces:
        raise Misfit(f"has `{name}/{pieces}`, but `{name}` is {size}")
    return size // pieces


def _axes(name: str, weight: Axes) -> list[tuple[int, int]]:
    """Places and sizes of what a name stands for in a weight."""
    if name.endswith(".."):
        return [(i, weight.sizes[i]) for i in weight.pack(name[:-2])]
    place = weight.find(name)
    if place is None:
        twice = sum(name in names for names in weight.known) > 1
        raise Misfit(f"has `{name}`, which is {'two axes' if twice else 'not an axis'} of it")
    return [(place, weight.sizes[place])]


def one_behind_the_other(layouts: Sequence[Layout]) -> Layout:
    """Weights packed along the first axis of their layouts. Raises Misfit when the others differ."""
    first, *rest = layouts
    if not rest:
        return first
    if not first or any(shape(other[1:]) != shape(first[1:]) for other in rest):
        raise Misfit("cannot be a row of its weights: their other axes differ")
    others = []
    for axes in zip(*(layout[1:] for layout in layouts), strict=True):
        same = []
        for nodes in zip(*axes, strict=True):
            if not all(isinstance(n, Axis) and n.size == nodes[0].size for n in nodes):
                raise Misfit("cannot be a row of its weights: their other axes differ")
            same.append(Axis(tuple(n.places[0] for n in nodes if isinstance(n, Axis)), nodes[0].size))
        others.append(tuple(same))
    return ((Parts(tuple(layout[0] for layout in layouts)),), *others)
