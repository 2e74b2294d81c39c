"""`take` as Gather, or as GatherND when the table and the indices share axes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ....lang.axes import TensorType
from .layout import Groups, Tensor, Writer


def take(w: Writer, table: Tensor, ids: Tensor, axis: str, result: TensorType) -> Tensor:
    """Entries of a table by number, clamped to the axis; axes that both have are batch axes."""
    if axis not in table.axes:
        return replace(table, type=result)
    size = table.type.axis(axis).size
    if size.is_constant:
        bound = w.emit("Clip", ids.operand, np.array(0, np.int64), np.array(size.value - 1, np.int64))
    else:
        last = w.emit("Sub", w.sizes.scalar(size), np.array(1, np.int64))
        bound = w.emit("Max", w.emit("Min", ids.operand, last), np.array(0, np.int64))
    ids = replace(ids, wire=bound)
    shared = tuple(n for n in ids.type.names if n in ids.axes and n in table.axes)
    if not shared:
        table = w.apart(table, axis)
        at = table.groups.index((axis,))
        groups = (*table.groups[:at], *ids.groups, *table.groups[at + 1 :])
        return Tensor(result, groups, w.emit("Gather", table.operand, ids.operand, axis=at))
    batches: Groups = tuple((n,) for n in shared)
    rest = tuple((n,) for g in table.groups for n in g if n not in shared and n != axis)
    chosen = tuple((n,) for g in ids.groups for n in g if n not in shared)
    table = w.arrange(table, (*batches, (axis,), *rest))
    ids = w.arrange(ids, (*batches, *chosen, ()))
    wire = w.emit("GatherND", table.operand, ids.operand, batch_dims=len(shared))
    return Tensor(result, (*batches, *chosen, *rest), wire)
