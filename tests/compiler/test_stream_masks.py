"""What is accepted as causal is causal: random masks, judged by whether later tokens change earlier outputs."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from modules import B, Body, D, S, T, boolean, collect, integer, real
from streams import apart, chunks
from weft.compiler.emit.reference import run
from weft.compiler.ir.graph import Value
from weft.compiler.ir.module import Instance, Module
from weft.compiler.stream import rows, step
from weft.lang.diagnostics import WeftError

COMPARISONS = ("lt", "le", "gt", "ge", "eq", "ne")


@st.composite
def numbers(draw: st.DrawFn, depth: int = 2) -> Any:
    """A whole number made of `q`, `k` and constants."""
    if depth == 0 or draw(st.booleans()):
        return draw(st.sampled_from(("q", "k", "q", "k", -1, 0, 1, 2, 3)))
    op = draw(st.sampled_from(("add", "sub", "mul", "neg", "abs", "maximum", "minimum", "mod", "floordiv")))
    count = 1 if op in ("neg", "abs") else 2
    parts = [draw(numbers(depth - 1)) for _ in range(count)]
    if op in ("mod", "floordiv"):
        parts[1] = draw(st.integers(1, 3))
    return (op, *parts)


@st.composite
def masks(draw: st.DrawFn, depth: int = 3) -> Any:
    """A bool made of comparisons; often `k <= q` and something else."""
    if depth == 0 or draw(st.integers(0, 3)) == 0:
        if draw(st.booleans()):
            return "le", "k", "q"
        return draw(st.sampled_from(COMPARISONS)), draw(numbers()), draw(numbers())
    op = draw(st.sampled_from(("and", "and", "or", "not", "where")))
    count = {"not": 1, "where": 3}.get(op, 2)
    return (op, *(draw(masks(depth - 1)) for _ in range(count)))


def build_mask(b: Body, tree: Any, names: dict[str, Value]) -> Value:
    if isinstance(tree, str):
        return names[tree]
    if isinstance(tree, int):
        return b.expand(tree, axes=())
    return b(tree[0], *(build_mask(b, part, names) for part in tree[1:]))


def attention(tree: Any, shape: str) -> Module:
    """A look at the history under a mask: by softmax, by weights that are zero elsewhere, by one of several such, or by
    a sum of values."""
    b = Body(q=integer(T), k=integer(S))
    mask = build_mask(b, tree, dict(zip("qk", b.given, strict=True)))
    seen = b.done("seen", b.expand(mask, axes=(T, S)))
    b = Body(x=real(B, S, D), mask=boolean(T, S))
    x, mask = b.given
    scores = b.mul(b.sum(x, over=("D",)), b.add(b("position", axis=T), 0.3))
    if shape == "softmax":
        inner = b.dot(b.softmax(scores, mask, over="S"), x, over=("S",))
    elif shape == "dot":
        inner = b.dot(b.where(mask, scores, 0.0), x, over=("S",))
    elif shape == "take":
        several = b.mul(b.where(mask, scores, 0.0), b.add(b("index", axis=D), 1))
        inner = b.dot(b.take(several, b.expand(1, axes=()), axis="D"), x, over=("S",))
    else:
        inner = b.sum(b.mul(b.cast(mask, dtype="real"), b.mul(x, scores)), over=("S",))
    core = b.done("core", b.expand(inner, axes=(B, T, D)))
    b = Body(x=real(B, T, D))
    past = b.rename(b.given[0], axis="T", to=S)
    mask = b.run(seen, b("position", axis=T), b("position", axis=S), site="seen")
    entry = b.done("Look.forward", b.run(core, past, mask, site="core"), block="Look")
    return Module("Look", collect(seen, core, entry), entry.name, Instance("Look"), ("T", "S"), "full", "B", "T")


def likely_masks() -> st.SearchStrategy[Any]:
    """Masks of which about half leave the future out."""
    return st.one_of(masks(), masks().map(lambda mask: ("and", ("le", "k", "q"), mask)))


def agrees(module: Module, generator: np.random.Generator) -> None:
    """Later tokens change nothing; steps and packed documents give what the whole sequence alone gives."""
    x = generator.normal(size=(2, 7, 8))
    whole = run(module, {}, {"x": x}).values[0]
    changed = np.concatenate([x[:, :4], generator.normal(size=(2, 3, 8))], axis=1)
    assert apart(run(module, {}, {"x": changed}).values[0][:, :4], whole[:, :4]) < 1e-11
    form, states, parts = step(module), None, []
    for piece in chunks(generator, 7):
        result = run(form, {}, {"x": x[:, piece]}, {"past": np.array(piece.start)}, states)
        states = result.states
        parts.append(result.values[0])
    assert apart(np.concatenate(parts, axis=1), whole) < 1e-11
    ambient = {"positions": np.array([[0, 1, 2, 0, 1, 2, 3]] * 2), "segments": np.array([[1] * 3 + [2] * 4] * 2)}
    packed = run(rows(module), {}, {"x": x}, ambient).values[0]
    alone = [run(module, {}, {"x": x[:, piece]}).values[0] for piece in (slice(0, 3), slice(3, 7))]
    assert apart(packed, np.concatenate(alone, axis=1)) < 1e-11


def test_a_mask_that_is_accepted_is_causal() -> None:
    accepted = refused = 0

    @settings(max_examples=120, deadline=None, derandomize=True)
    @given(likely_masks(), st.sampled_from(("softmax", "dot", "take", "sum")), st.integers(0, 2**32 - 1))
    def holds(tree: Any, shape: str, seed: int) -> None:
        nonlocal accepted, refused
        module = attention(tree, shape)
        try:
            step(module)
        except WeftError as error:
            assert [d.code for d in error.diagnostics] == ["E0502"]
            refused += 1
            return
        agrees(module, np.random.default_rng(seed))
        accepted += 1

    holds()
    assert accepted > 20 and refused > 20, "too few of either to mean something"
