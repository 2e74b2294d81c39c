"""Modules of `transformers` as parts of a model: which matrix is which, and how adapters of it are stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ...compiler.changes import instances
from ...compiler.ir.module import Module, join
from ...lang.layouts import Axis, Node, Parts
from ...lang.weight_map import StoredTensor
from .matrix import Matrix, matrix


@dataclass(frozen=True)
class StoredMatrix:
    """A module with a matrix: the tensor that holds it, and the instances whose weights are in it, with their forms.

    `inputs` and `outputs` are the nodes of its layout that are what comes in and what goes out.
    """

    name: str
    tensor: StoredTensor
    sites: tuple[str, ...]
    forms: tuple[Matrix, ...]
    inputs: tuple[Node, ...]
    outputs: tuple[Node, ...]

    @property
    def transposed(self) -> bool:
        """Whether what comes in is the first axis."""
        return self.tensor.layout[0] == self.inputs

    def _stored(self, suffix: str, *layout: tuple[Node, ...]) -> StoredTensor:
        return replace(self.tensor, name=f"{self.name}.{suffix}", layout=layout)

    def down(self, rank: int) -> StoredTensor:
        """A of LoRA, [rank, in], of which our `a` [copies, in, rank] is the transpose."""
        place = self.forms[0].copies + self.forms[0].inputs
        return self._stored("lora_A.weight", (Axis((place,), rank),), self.inputs)

    def up(self, rank: int) -> StoredTensor:
        """B of LoRA, [out, rank], of which our `b` [copies, rank, out] is the transpose."""
        form = self.forms[0]
        return self._stored("lora_B.weight", moved(self.outputs, 1 - form.inputs), (Axis((form.copies,), rank),))

    def outgoing(self) -> StoredTensor:
        """One number for each output, [out], of which ours has the axes [copies, out]."""
        return self._stored("outputs", moved(self.outputs, -self.forms[0].inputs))

    def incoming(self) -> StoredTensor:
        """One number for each input, [in], of which ours has the axes [copies, in]."""
        return self._stored("inputs", self.inputs)


def moved(nodes: Sequence[Node], by: int) -> tuple[Node, ...]:
    """The same axes, at places of another tensor."""
    result: list[Node] = []
    for node in nodes:
        if isinstance(node, Axis):
            result.append(Axis(tuple(p + by for p in node.places), node.size))
        elif isinstance(node, Parts):
            result.append(Parts(tuple(moved(term, by) for term in node.terms)))
        else:
            result.append(node)
    return tuple(result)


def stored_matrices(tensors: Sequence[StoredTensor], module: Module) -> dict[str, StoredMatrix]:
    """All modules with a matrix, by name; the tensors are those of a checkpoint map for the model."""
    parameters = dict(module.parameters())
    blocks = {join(p): b for p, b in instances(module).items()}
    found: dict[str, StoredMatrix] = {}
    for tensor in tensors:
        name, _, last = tensor.name.rpartition(".")
        sites = tuple(m.path.rpartition(".")[0] for m in tensor.members)
        if last != "weight" or any(blocks.get(s) not in ("Linear", "Embedding") for s in sites):
            continue
        if any(m.path.endswith(".offset") for m in tensor.members):
            continue
        forms = tuple(matrix(parameters[m.path]) for m in tensor.members)
        alike = len({(f.copies, f.inputs) for f in forms}) == 1
        sides = _sides(tensor, forms[0]) if alike else None
        if sides is not None:
            found[name] = StoredMatrix(name, tensor, sites, forms, *sides)
    return found


def _sides(tensor: StoredTensor, form: Matrix) -> tuple[tuple[Node, ...], tuple[Node, ...]] | None:
    """The axis of a stored matrix that comes in, and the one that goes out; None when it is no such matrix."""
    if len(tensor.layout) != 2:
        return None
    first, second = (_coming_in(nodes, form) for nodes in tensor.layout)
    if first == second:
        return None
    inputs, outputs = (tensor.layout[0], tensor.layout[1]) if first else (tensor.layout[1], tensor.layout[0])
    return inputs, outputs


def _coming_in(nodes: Sequence[Node], form: Matrix) -> bool:
    """Whether an axis is made of nothing but what comes in."""
    places = range(form.copies, form.copies + form.inputs)
    return all(isinstance(n, Axis) and all(p in places for p in n.places) for n in nodes)
