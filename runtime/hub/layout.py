"""Weights cut out of stored tensors and put back, as a layout says."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ...lang.layouts import Layout, Node, Parts, Pieces, shape, sizes
from ...lang.weight_map import Member, StoredTensor


def cut(stored: Tensor, layout: Layout, index: int) -> tuple[Tensor, list[int]]:
    """Weight `index` of a stored tensor, as a view where that is possible, and the places of its axes in the weight."""
    nodes: list[Node] = [node for axis in layout for node in axis]
    view = stored.reshape([n.size for n in nodes])
    places: list[int] = []
    while len(places) < len(nodes):
        at, node = len(places), nodes[len(places)]
        if isinstance(node, Pieces):
            view = view.select(at, index if node.size > 1 else 0)
            del nodes[at]
        elif isinstance(node, Parts):
            term = node.terms[index]
            begin = sum(sizes(t) for t in node.terms[:index])
            view = view.narrow(at, begin, sizes(term))
            view = view.unflatten(at, [n.size for n in term]) if term else view.squeeze(at)
            nodes[at : at + 1] = term
        else:
            places.append(node.place(index))
    return view, places


def read_member(stored: Tensor, tensor: StoredTensor, member: Member, into: Tensor) -> None:
    """Copy what a stored tensor holds of a weight into that weight, [axes of the weight]."""
    view, places = cut(stored, tensor.layout, member.index)
    fixed = dict(member.at)
    order = sorted(range(len(places)), key=lambda i: places[i])
    view = view.permute(order)
    for place in sorted(fixed, reverse=True):
        into = into.select(place, fixed[place])
    into.copy_(view.reshape(into.shape))


def write_stored(tensor: StoredTensor, weights: Sequence[Tensor]) -> Tensor:
    """The stored tensor that holds these weights, one for each member, in order."""
    pieces = [_piece(m, w) for m, w in zip(tensor.members, weights, strict=True)]
    found = shape(tensor.layout)
    if len(pieces) == 1 and not any(isinstance(n, Parts) for axis in tensor.layout for n in axis):
        view, places = cut(torch.empty(found, device="meta"), tensor.layout, 0)
        return _ordered(pieces[0], view.shape, places).reshape(found).contiguous()
    total = torch.Size(found).numel()
    result = torch.empty(total, dtype=pieces[0].dtype)
    numbers = torch.arange(total).reshape(found)
    for piece, member in zip(pieces, tensor.members, strict=True):
        at, places = cut(numbers, tensor.layout, member.index)
        result[at.reshape(-1)] = _ordered(piece, at.shape, places).reshape(-1)
    return result.reshape(found)


def _piece(member: Member, weight: Tensor) -> Tensor:
    """The entries `at` of a weight, its axes kept with length 1."""
    for place, entry in member.at:
        weight = weight.narrow(place, entry, 1)
    return weight


def _ordered(piece: Tensor, sizes: Sequence[int], places: Sequence[int]) -> Tensor:
    """The axes in the order of the layout, where axis i is (a piece of) axis `places[i]`; those it leaves out are 1."""
    order = sorted(range(len(places)), key=lambda i: places[i])
    return piece.reshape([sizes[i] for i in order]).permute([order.index(i) for i in range(len(order))])


def members_of(tensors: Sequence[StoredTensor]) -> dict[str, list[tuple[StoredTensor, Member]]]:
    """For every weight the stored tensors that hold it, or parts of it."""
    found: dict[str, list[tuple[StoredTensor, Member]]] = {}
    for tensor in tensors:
        for member in tensor.members:
            found.setdefault(member.path, []).append((tensor, member))
    return found


