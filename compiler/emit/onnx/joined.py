"""`append(memory, new)` that is not written yet: attention can join the two itself and hand back the whole."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from ....lang.axes import Axis, TensorType
from .layout import Groups, Tensor, Writer
from .memory import joined
from .plan import Dimensions, named, numbered
from .scope import Wire


@dataclass
class Whole:
    """The joined value once it exists; views under other axis names share it."""

    found: tuple[Dimensions, Wire] | None = None


@dataclass(frozen=True)
class Joined:
    """Memory and new entries along `axis`, which both call by the same name as the result type does."""

    type: TensorType
    axis: str
    past: Tensor
    new: Tensor
    whole: Whole = field(default_factory=Whole, compare=False)

    @staticmethod
    def of(past: Tensor, new: Tensor, axis: str, result: TensorType, to: str) -> Joined:
        return Joined(result, to, _relabelled(past, {axis: to}), _relabelled(new, {axis: to}))

    def renamed(self, type: TensorType) -> Joined:
        names = dict(zip(self.type.names, type.names, strict=True))
        past, new = (_relabelled(t, names) for t in (self.past, self.new))
        return replace(self, type=type, axis=names[self.axis], past=past, new=new)

    def settle(self, groups: Groups, wire: Wire) -> None:
        """An operator has joined the two: this is the whole."""
        self.whole.found = numbered(groups, self.type), wire

    @property
    def is_open(self) -> bool:
        return self.whole.found is None

    def tensor(self, w: Writer) -> Tensor:
        """The whole, joined now if nothing has done so."""
        if self.whole.found is None:
            made = joined(w, self.past, self.new, self.axis, self.type.axis(self.axis), self.type)
            assert isinstance(made.wire, Wire)
            self.settle(made.groups, made.wire)
        assert self.whole.found is not None
        dimensions, wire = self.whole.found
        return Tensor(self.type, named(dimensions, self.type), wire)


def _relabelled(t: Tensor, names: dict[str, str]) -> Tensor:
    axes = tuple(Axis(names.get(a.name, a.name), a.size) for a in t.type.axes)
    return t.renamed(t.type.with_axes(axes))


def whole(w: Writer, argument: Tensor | Joined) -> Tensor:
    """A value as a tensor, joined if it has to be."""
    return argument.tensor(w) if isinstance(argument, Joined) else argument
