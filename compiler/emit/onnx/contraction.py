"""`dot` as MatMul: which axes are batch, rows, contracted and columns, and how both sides are laid out for it."""

from __future__ import annotations

from ....lang.axes import TensorType
from .elementwise import elementwise
from .layout import Group, Groups, Tensor, Writer
from .reduction import reduce


def dot(w: Writer, a: Tensor, b: Tensor, over: tuple[str, ...], result: TensorType) -> Tensor:
    """The sum over `over` of a * b: axes that both have are batch axes, the others are kept."""
    a, b = (w.cast(w.fill(t, over), result.dtype) for t in (a, b))
    if not over:
        return elementwise(w, "mul", (a, b), result)
    if _is_constant(a) and not _is_constant(b):
        a, b = b, a
    batch = tuple(n for g in a.groups for n in g if n in b.axes and n not in over)
    rows, columns = _free(a, batch, over), _free(b, batch, over)
    if not rows and not columns:
        return _multiply_and_sum(w, a, b, over, result)
    if batch and not (rows and columns):
        return _one_vector(w, a, b, batch, over, result)
    if not batch and _stands_last(b, over) and columns:
        return _transposed(w, a, b, columns, over, result)
    return _matmul(w, a, b, batch, over, result)


def _free(t: Tensor, batch: tuple[str, ...], over: tuple[str, ...]) -> Group:
    return tuple(n for g in t.groups for n in g if n not in batch and n not in over)


def _is_constant(t: Tensor) -> bool:
    """Whether every size is a number: a weight, rather than activations."""
    return all(t.type.axis(n).size.is_constant for n in t.axes)


def _stands_last(t: Tensor, over: tuple[str, ...]) -> bool:
    flat = tuple(n for g in t.groups for n in g)
    return _is_constant(t) and set(flat[len(flat) - len(over) :]) == set(over)


def _multiply_and_sum(w: Writer, a: Tensor, b: Tensor, over: tuple[str, ...], result: TensorType) -> Tensor:
    axes = (*result.axes, *(a.type.axis(n) for n in over))
    product = elementwise(w, "mul", (a, b), TensorType(axes, result.dtype))
    return reduce(w, "sum", product, over, result)


def _one_vector(
    w: Writer, a: Tensor, b: Tensor, batch: tuple[str, ...], over: tuple[str, ...], result: TensorType
) -> Tensor:
    """Matrix times vector per batch entry: as MatMul when the matrix lies right for it, else as a product and a sum."""
    matrix = b if _free(b, batch, over) else a
    free = _free(matrix, batch, over)
    flat = tuple(n for g in matrix.groups for n in g)
    if flat[: len(batch)] == batch and flat[len(batch) :] in ((*over, *free), (*free, *over)):
        right = flat[len(batch) :] == (*over, *free)
        left, other = (b, a) if (matrix is a) == right else (a, b)
        return _matmul(w, left, other, batch, over, result)
    return _multiply_and_sum(w, a, b, over, result)


def _transposed(
    w: Writer, a: Tensor, b: Tensor, columns: Group, over: tuple[str, ...], result: TensorType
) -> Tensor:
    """x times the transpose of a table that is looked up elsewhere: Gemm reads it as it lies, so there is one copy."""
    contracted = tuple(n for g in b.groups for n in g if n in over)
    rows = tuple(n for g in a.groups for n in g if n not in over)
    left = w.arrange(a, (rows, contracted))
    right = w.arrange(b, (columns, contracted))
    return Tensor(result, (rows, columns), w.emit("Gemm", left.operand, right.operand, transB=1))


def _matmul(
    w: Writer, a: Tensor, b: Tensor, batch: tuple[str, ...], over: tuple[str, ...], result: TensorType
) -> Tensor:
    contracted = tuple(n for g in b.groups for n in g if n in over)
    batches: Groups = tuple((n,) for n in batch)
    # A weight may have columns before the contracted axes (a stack of experts): they are batch dimensions of it alone.
    flat = tuple(n for g in b.groups for n in g if n not in batch)
    columns = _free(b, batch, over)
    stacked: Group = ()
    if _is_constant(b):
        stacked = tuple(n for n in flat[: flat.index(contracted[0])] if n in columns)
        columns = tuple(n for n in columns if n not in stacked)
    right: Groups = (*batches, *((n,) for n in stacked), contracted)
    if columns or batch or stacked:
        right = (*right, columns)

    rows = [tuple(n for n in g if n not in batch and n not in over) for g in a.groups]
    rows = [g for g in rows if g]
    if not batch and not stacked:
        left: Groups = (*rows, contracted)
        kept: Groups = tuple(rows)
    elif len(rows) > 1 and not _is_constant(b):
        # Both sides change: bring all rows together, fixed lengths first, so that the batch stays as small as it is.
        fixed = [n for g in rows for n in g if a.type.axis(n).size.is_constant]
        merged = (*fixed, *(n for g in rows for n in g if n not in fixed))
        left, kept = (*batches, merged, contracted), (*batches, merged)
    else:
        leading, last = tuple(rows[:-1]), rows[-1] if rows else ()
        left = (*leading, *batches, *(() for _ in stacked), last, contracted)
        kept = (*leading, *batches, *((n,) for n in stacked), last)
    x, y = w.arrange(a, left), w.arrange(b, right)
    groups = (*kept, columns) if len(right) > 1 else kept
    return Tensor(result, groups, w.emit("MatMul", x.operand, y.operand))
