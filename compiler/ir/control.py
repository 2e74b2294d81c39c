"""The three operations with a body elsewhere: `call`, `repeat` and `scan`, and what their attributes mean.

call    attributes: callee (function name), instance (Reference or None for a fn), site (its name in the caller;
        unique per caller, it keys the states of the callee). Operands: the callee's inputs, matched by position:
        operand i has the axes of input i in the same order, under the caller's names. Results likewise.
repeat  attributes: bodies (function names), schedule (which body runs at layer i), instance (Reference to the
        Layers), site, carried (how many leading operands are carried from layer to layer), sums (how many extra
        results of the body are summed over the layers). Operands: carried values, then values that every layer sees.
        Inputs of each body: the same, by position. Outputs of each body: carried values, then sums.
        Results: the carried values after the last layer, then the sums.
scan    attributes: body, axis (the scanned Axis, under the caller's name), states, scanned (numbers of operands).
        Operands: initial states, values with the scanned axis, values that every step sees.
        Inputs of the body: states, slices without the axis (axes otherwise in the same order), the rest.
        Outputs of the body: next states, then yields. Results: the yields over all
        steps (`scan_result` says where the axis stands),
        then the final states.
"""

from __future__ import annotations

from ...lang.axes import Axis, TensorType
from .graph import NOWHERE, Graph, Origin, Value
from .module import Reference


def call(
    graph: Graph, callee: str, operands: tuple[Value, ...], types: tuple[TensorType, ...], site: str,
    instance: Reference | None = None, origin: Origin = NOWHERE,
) -> tuple[Value, ...]:
    """Add a call whose results have the given types (in the caller's names)."""
    return graph.add("call", operands, types, origin, callee=callee, instance=instance, site=site)


def repeat(
    graph: Graph, bodies: tuple[str, ...], schedule: tuple[int, ...], operands: tuple[Value, ...],
    types: tuple[TensorType, ...], site: str, instance: Reference, carried: int, sums: int, origin: Origin = NOWHERE,
) -> tuple[Value, ...]:
    """Add a repeat; `types` are those of the carried values, then of the sums."""
    return graph.add(
        "repeat", operands, types, origin,
        bodies=bodies, schedule=schedule, site=site, instance=instance, carried=carried, sums=sums,
    )


def scan_result(slice: TensorType, axis: Axis, leading: TensorType) -> TensorType:
    """The type of a yielded value over all steps: the axis stands where it stood in the first scanned operand.

    That is: after as many axes as preceded it there, as far as the yielded value has them; else last.
    """
    before = [n for n in leading.names[: leading.index(axis.name)] if slice.has(n)]
    at = len(before) if list(slice.names[: len(before)]) == before else len(slice.axes)
    return slice.with_axes((*slice.axes[:at], axis, *slice.axes[at:]))


def scan(
    graph: Graph, body: str, axis: Axis, states: tuple[Value, ...], scanned: tuple[Value, ...],
    invariant: tuple[Value, ...], outputs: tuple[TensorType, ...], origin: Origin = NOWHERE,
) -> tuple[Value, ...]:
    """Add a scan; `outputs` are the body's output types (next states, then yields). Results: yields, final states."""
    leading = graph.type(scanned[0]) if scanned else TensorType((axis,))
    count = len(states)
    results = tuple(scan_result(t, axis, leading) for t in outputs[count:])
    return graph.add(
        "scan", (*states, *scanned, *invariant), (*results, *outputs[:count]), origin,
        body=body, axis=axis, states=count, scanned=len(scanned),
    )
