"""Every primitive as PyTorch computes what it computes in the reference, however its operands' axes stand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from modules import B, Body, D, F, S, T, axis, boolean, integer, real, single
from torch_support import assert_agrees, source_of
from weft.compiler.ir.elementwise import ELEMENTWISE
from weft.compiler.ir.graph import Value
from weft.compiler.ir.module import Function, Module
from weft.compiler.ir.ops import OPS
from weft.lang.axes import Axis, TensorType

E, H = axis("E", 5), axis("H", 3)
KINDS = {"and": boolean, "or": boolean, "not": boolean}


def of(build: Callable[..., Value | tuple[Value, ...]], **inputs: TensorType) -> Module:
    """A module whose entry is what `build(body, *inputs)` adds to its body."""
    b = Body(**inputs)
    outputs = build(b, *b.given)
    return single(b.done("Demo.forward", *(outputs if isinstance(outputs, tuple) else (outputs,)), block="Demo"))


@pytest.mark.parametrize("op", [p.name for p in ELEMENTWISE])
def test_elementwise_operations_broadcast_by_name(op: str) -> None:
    kind = KINDS.get(op, real)
    first = {"log": "x", "sqrt": "x", "rsqrt": "x", "pow": "x"}
    arity = OPS[op].arity[0]

    def build(b: Body, *given: Value) -> Value:
        values = [b.add(b.mul(given[0], given[0]), 0.5) if op in first else given[0], *given[1:arity]]
        if op == "where":
            values = [b.gt(given[0], 0.0), *given[1:3]]
        return b(op, *values)

    assert_agrees(of(build, x=kind(T, D), y=kind(B, T), z=kind(D, B)))


@pytest.mark.parametrize(
    "op", ["add", "sub", "mul", "floordiv", "mod", "pow", "minimum", "maximum", "neg", "abs", "eq"]
)
def test_whole_numbers_stay_whole(op: str) -> None:
    def build(b: Body, x: Value, y: Value) -> Value:
        return b(op, *([x, b.add(y, 1)] if OPS[op].arity[0] == 2 else [x]))

    assert_agrees(of(build, x=integer(T), y=integer(B)))


def test_whole_numbers_become_real_where_they_meet_real_ones() -> None:
    def build(b: Body, x: Value) -> tuple[Value, ...]:
        here = b.cast(b("position", axis=T), dtype="real")
        index = b.cast(b.neg(b("index", axis=D)), dtype="real")
        angle = b.mul(here, b.pow(10000.0, b.div(index, 8.0)))
        means = b.mean(b.mul(here, 3.0), over=("T",))
        return b.mul(x, b.sin(angle)), means, b.sqrt(here), b.pow(b.add(here, 1.0), -1.0)

    assert_agrees(of(build, x=real(B, T, D)))


@pytest.mark.parametrize(
    ("left", "right", "over"),
    [
        ((B, T, D), (D, F), "D"), ((B, T, D), (F, D), "D"), ((B, T, D), (B, S, D), "D"),
        ((B, T, H, D), (B, S, H, D), "D"), ((B, T, H, D), (H, D, F), "HD"), ((H, B, T), (T, E, B), "T"),
        ((B, T), (D,), ""), ((B, D), (D,), "D"), ((B, T, E), (B, T, E, D), "E"), ((D, B), (T, D), "D"),
        ((B, T, H, D), (D, H), "DH"),
    ],
)
@pytest.mark.parametrize("kind", [real, integer])
def test_dot_contracts_batches_and_keeps(left: tuple, right: tuple, over: str, kind: Callable) -> None:
    assert_agrees(of(lambda b, x, y: b.dot(x, y, over=tuple(over)), x=kind(*left), y=kind(*right)))


@pytest.mark.parametrize("op", ["sum", "mean", "max", "min"])
@pytest.mark.parametrize("over", [("D",), ("B",), ("B", "D"), ("B", "T", "D"), ()])
def test_reductions(op: str, over: tuple[str, ...]) -> None:
    assert_agrees(of(lambda b, x: b(op, x, over=over), x=real(B, T, D)))
    assert_agrees(of(lambda b, x: b(op, b.cast(x, dtype="real"), over=over), x=integer(B, T, D)))


def test_reductions_see_the_axes_that_were_only_repeated() -> None:
    def build(b: Body, x: Value, y: Value) -> tuple[Value, ...]:
        wide = b.expand(x, axes=(T, B, D))
        return (
            b.sum(wide, over=("T",)), b.dot(wide, wide, over=("T", "D")), b.softmax(wide, over="T"),
            b.cumsum(wide, axis="T"), b.sum(b.expand(b.mul(2.0, 1.5), axes=(B, T)), over=("B",)),
        )

    assert_agrees(of(build, x=real(B, D), y=real(T)))


def test_softmax_of_masked_rows() -> None:
    module = of(lambda b, x, m: b.softmax(x, m, over="S"), x=real(B, H, T, S), m=boolean(T, S))
    mask = np.random.default_rng(0).random((5, 5)) < 0.5
    mask[2] = False
    x = np.random.default_rng(1).normal(size=(2, 3, 5, 5))
    result = assert_agrees(module, {"x": x, "m": mask})
    assert (result.values[0][:, :, 2] == 0).all()
    assert_agrees(of(lambda b, x, m: b.softmax(x, m, over="S"), x=real(S, B), m=boolean(T, S)))
    everything = of(lambda b, x, y: b.softmax(x, b.expand(b.eq(1, 1), axes=(T, S)), over="S"), x=real(S, B), y=real(T))
    assert_agrees(everything)


def test_the_largest_of_equal_numbers_is_the_first() -> None:
    tied = np.asarray([[1.0, 3, 3, 0, 3], [2, 2, 2, 2, 2]])
    assert_agrees(of(lambda b, x: (b.top(x, over="E", count=2), b.argmax(x, over=("E",))), x=real(B, E)), {"x": tied})
    assert_agrees(of(lambda b, x: (b.top(x, over="E", count=4), b.argmax(x, over=("E",))), x=real(E, B)), {"x": tied.T})


MASKED = {"max": {"over": ("S",)}, "argmax": {"over": ("S",)}, "top": {"over": "S", "count": 2}}


@pytest.mark.parametrize("op", MASKED)
@pytest.mark.parametrize("kind", [real, integer])
@pytest.mark.parametrize(
    ("x", "mask"), [((B, H, T, S), (T, S)), ((S, B), (T, S)), ((B, S), (S, B)), ((B, S), (T,)), ((T, S), (B, S, T))]
)
def test_what_a_mask_takes_away_counts_as_absent(op: str, kind: Callable, x: tuple, mask: tuple) -> None:
    assert_agrees(of(lambda b, x, m: b(op, x, m, **MASKED[op]), x=kind(*x), m=boolean(*mask)))


def test_of_no_entries_the_largest_is_zero_and_none_is_the_best() -> None:
    def build(b: Body, x: Value, m: Value) -> tuple[Value, ...]:
        return b.max(x, m, over=("S",)), b.argmax(x, m, over=("S",)), b.top(x, m, over="S", count=3)

    mask = np.zeros((5, 5), bool)
    mask[1, 3] = True
    x = np.random.default_rng(1).normal(size=(2, 5)) - 9
    result = assert_agrees(of(build, x=real(B, S), m=boolean(T, S)), {"x": x, "m": mask})
    top, place, best = result.values
    assert (np.delete(top, 1, axis=1) == 0).all() and (top[:, 1] == x[:, 3]).all()
    assert (place[:, 1] == 3).all() and (best.sum(1) == [0, 1, 0, 0, 0]).all()


def test_the_largest_over_several_axes_under_a_mask() -> None:
    assert_agrees(of(lambda b, x, m: b.max(x, m, over=("S", "B")), x=real(B, T, S), m=boolean(T, S)))
    assert_agrees(of(lambda b, x, m: b.max(x, m, over=("T", "S")), x=real(T, S), m=boolean(T, S)))


def test_the_best_of_fewer_than_are_wanted_are_all_of_them() -> None:
    assert_agrees(of(lambda b, x, m: b.top(x, m, over="S", count=7), x=real(B, S), m=boolean(T, S)))


@pytest.mark.parametrize(
    ("table", "ids"),
    [
        ((E, D), (B, T)), ((D, E), (T,)), ((B, E, D), (B, T)), ((H, E), (B, H)), ((E,), (T,)), ((E, H, D), (B,)),
        ((B, E), (B, T)), ((B, H, E, D, F), (B, H, T)), ((B, E, D), (T, B)), ((B, T, E), (B, T)),
    ],
)
def test_take(table: tuple, ids: tuple) -> None:
    assert_agrees(of(lambda b, t, i: b.take(t, i, axis="E"), t=real(*table), i=integer(*ids)))


def test_indices_that_were_computed_are_clamped_to_the_table() -> None:
    assert_agrees(of(lambda b, t, i: b.take(t, b.sub(b.mul(i, 4), 3), axis="E"), t=real(E, D), i=integer(B, T)))


def test_changes_of_shape() -> None:
    two, four = axis("N", 2), axis("M", 4)

    def build(b: Body, x: Value) -> tuple[Value, ...]:
        split = b.split(x, axis="D", into=(two, four))
        other = b.split(x, axis="D", into=(four, two))
        parts = [b.select(split, axis="N", at=i) for i in range(2)]
        merged = b.merge(split, axes=("M", "B"), into=Axis("MB", B.size * four.size))
        return (
            b.concat(parts[1], parts[0], axis="M", to=D), b.select(other, axis="N", at=1), merged,
            b.slice(x, axis="D", start=2, to=axis("F", 3)), b.stack(x, b.neg(x), axis=two),
            b.merge(b.stack(*parts, axis=two), axes=("M", "N"), into=D), b.expand(x, axes=(H, D, T, B)),
            b.rename(x, axis="T", to=axis("S", "T")), b.select(b.expand(x, axes=(H, B, T, D)), axis="H", at=2),
        )

    assert_agrees(of(build, x=real(B, T, D)))


@pytest.mark.parametrize("first", [True, False])
def test_parts_that_are_taken_by_number(first: bool) -> None:
    two, four = axis("N", 2), axis("M", 4)

    def build(b: Body, x: Value) -> Value:
        split = b.split(x, axis="D", into=(two, four) if first else (four, two))
        return b.sub(*(b.select(split, axis="N", at=i) for i in (1, 0)))

    module = of(build, x=real(B, D, T))
    assert ("x.chunk(2, dim=1)" if first else ".unbind(2)") in source_of(module)
    assert_agrees(module)


@pytest.mark.parametrize("by", [1, 3, 7])
def test_shift_is_zero_before_the_first(by: int) -> None:
    for kind in (real, integer, boolean):
        assert_agrees(of(lambda b, x: b.shift(x, axis="T", by=by), x=kind(B, T, D)))
    assert_agrees(of(lambda b, x: b.shift(x, axis="T", by=by), x=real(D, T)))


@pytest.mark.parametrize("by", [1, 3, 7])
def test_a_shift_that_looks_ahead_is_zero_after_the_last(by: int) -> None:
    for kind in (real, integer, boolean):
        assert_agrees(of(lambda b, x: b.shift(x, axis="T", by=-by), x=kind(B, T, D)))
    assert_agrees(of(lambda b, x: b.shift(x, axis="T", by=-by), x=real(D, T)))


@pytest.mark.parametrize("width", [1, 2, 4, 7])
def test_delays_are_shifts_side_by_side(width: int) -> None:
    to = axis("W", width)
    for kind in (real, integer, boolean):
        assert_agrees(of(lambda b, x: b.delays(x, axis="T", to=to), x=kind(B, T, D)))
    assert_agrees(of(lambda b, x: b.delays(x, axis="T", to=to), x=real(D, T)))

    def both(b: Body, x: Value) -> Value:
        shifts = [b.shift(x, axis="T", by=n) if n else x for n in reversed(range(width))]
        return b.sub(b.delays(x, axis="T", to=to), b.stack(*shifts, axis=to))

    assert (assert_agrees(of(both, x=real(B, T, D))).values[0] == 0).all()


def test_delays_after_what_is_remembered() -> None:
    module = of(lambda b, x, s: b.delays(x, s, axis="T", to=axis("W", 3)), x=real(B, T, D), s=real(D, axis("T", 2), B))
    assert_agrees(module)


def test_the_size_of_an_axis_is_a_number() -> None:
    assert_agrees(of(lambda b, x: b.div(x, b("size", axis=T)), x=real(B, T, D)))
    assert_agrees(of(lambda b, x: b.log(b("size", axis=B)), x=real(B, T)))


def test_time() -> None:
    def build(b: Body, x: Value, before: Value) -> tuple[Value, ...]:
        joined = b.append(before, x, axis="T", to=axis("Q"))
        return joined, b.last(x, axis="T", to=axis("Q", 2)), b.last(x, axis="T", to=axis("Q", 9)), b.cumsum(x, axis="T")

    def shift(b: Body, x: Value, before: Value) -> Value:
        return b.shift(x, before, axis="T", by=2)

    assert_agrees(of(shift, x=real(B, T, D), before=real(D, axis("T", 2), B)))
    assert_agrees(of(lambda b, x: build(b, x, x)[1:], x=real(B, T, D)))
    assert_agrees(of(lambda b, x: b.cumsum(b.cast(b.gt(x, 0.0), dtype="int"), axis="T"), x=real(T, B)))


def test_casts() -> None:
    def build(b: Body, x: Value, y: Value, z: Value) -> tuple[Value, ...]:
        return (
            b.cast(x, dtype="int"), b.cast(x, dtype="bool"), b.cast(y, dtype="real"), b.cast(z, dtype="real"),
            b.cast(b.cast(y, dtype="real"), dtype="int"), b.cast(z, dtype="int"), b.cast(y, dtype="bool"),
        )

    assert_agrees(of(build, x=real(T), y=integer(T), z=boolean(T)))


def test_constants_are_computed_when_the_source_is_written() -> None:
    module = of(lambda b, x: b.mul(x, b.div(b.sqrt(2.0), 4.0)), x=real(B))
    assert "sqrt" not in source_of(module)
    assert_agrees(module)

    def build(b: Body, x: Value) -> tuple[Value, ...]:
        return b.mul(2.0, 3.0), b.expand(b.add(1, 2), axes=(B, T)), b.cast(3, dtype="real")

    assert_agrees(of(build, x=real(B, T)))


def test_operands_that_are_aligned_already_are_not_moved() -> None:
    source = source_of(of(lambda b, x, y: b.mul(x, y), x=real(B, T, D), y=real(D)))
    assert "return x * y" in source
    source = source_of(of(lambda b, x, y: b.expand(b.sub(x, y), axes=(T, S)), x=real(S), y=real(T)))
    assert "return x - y[:, None]" in source


def test_every_primitive_has_a_source() -> None:
    from weft.compiler.emit.torch.primitives import SEVERAL, SINGLE
    from weft.compiler.ir.ops import CONTROL, ELEMENTWISE_NAMES

    assert {*SINGLE, *SEVERAL, *ELEMENTWISE_NAMES, "input"} == {*OPS, *CONTROL}


def test_a_function_of_the_file_is_written_once() -> None:
    b = Body(x=real(B, D))
    (x,) = b.given
    twice = b.mul(b.tanh(x), b.add(b.sin(x), b.cos(x)))
    fn: Function = b.done("wave", twice, definition="demo.wave")
    b = Body(x=real(B, D), y=real(B, D))
    total = b.add(b.run(fn, b.given[0], site="a"), b.run(fn, b.given[1], site="b"))
    entry = b.done("Demo.forward", total, block="Demo")
    module = single(entry, fn)
    assert source_of(module).count("def wave") == 1
    assert_agrees(module)
