"""Passes: each does what its docstring shows, keeps what the module means, and is held to the contract."""

from __future__ import annotations

import importlib
import re
import textwrap
from dataclasses import dataclass, replace
from pathlib import Path

import modules
import numpy as np
import pytest
import support
import weft
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st
from library import REPRESENTATIVE
from programs import programs
from weft.compiler.emit.reference import run
from weft.compiler.emit.weights import random_weights
from weft.compiler.ir.equality import same
from weft.compiler.ir.module import Module
from weft.compiler.ir.text import parse_module, print_module
from weft.compiler.lower.model import compile_model
from weft.compiler.passes.contract import Pass, apply, size, traced
from weft.compiler.passes.cse import Merge
from weft.compiler.passes.dce import Eliminate
from weft.compiler.passes.defer import Defer
from weft.compiler.passes.editing import holding
from weft.compiler.passes.flatten import Flatten
from weft.compiler.passes.fold import Fold
from weft.compiler.passes.inference import drop_penalties
from weft.compiler.passes.inline import Inline, Unwrap
from weft.compiler.passes.join import Join
from weft.compiler.passes.keep_last import KeepLast
from weft.compiler.passes.pipeline import LEVELS, passes
from weft.compiler.shrink import shrink
from weft.compiler.stream import step
from weft.lang import tree
from weft.lang.diagnostics import WeftError
from weft.lang.program import STDLIB, load_source
from weft.lang.source import Source

EXAMPLES = {
    "fold": Fold(), "cse": Merge(), "dce": Eliminate(), "inline": Inline(("Scale.forward",)), "flatten": Flatten(),
    "join": Join(), "keep_last": KeepLast(), "defer": Defer(),
}


@dataclass(frozen=True)
class InlineAll:
    """Inlines whatever may be inlined."""

    name: str = "inline_all"

    def run(self, module: Module) -> Module:
        private = holding(module, "state", "dropout")
        return Inline(tuple(n for n in module.functions if n not in private and n != module.entry)).run(module)


ALL: tuple[Pass, ...] = (Fold(), Merge(), Eliminate(), Unwrap(), InlineAll())


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_pass_does_what_its_docstring_shows(name: str) -> None:
    text = importlib.import_module(f"weft.compiler.passes.{name}").__doc__ or ""
    before, after = (textwrap.dedent(b).strip() + "\n" for b in re.findall(r"\n\n((?: {4}.*\n|\n)+)", text))
    module = parse_module(before)
    assert print_module(module) == before
    assert print_module(apply(module, (EXAMPLES[name],))) == after


# ------------------------------------------------------------------ the contract


@pytest.mark.parametrize("one", ALL, ids=lambda p: p.name)
@pytest.mark.parametrize("name", modules.EVERY)
def test_a_pass_is_pure_and_deterministic(one: Pass, name: str) -> None:
    module = modules.EVERY[name]()
    before = print_module(module)
    assert isinstance(one, Pass)
    assert print_module(apply(module, (one,))) == print_module(apply(modules.EVERY[name](), (one,)))
    assert print_module(module) == before


def test_a_trace_tells_what_every_pass_did() -> None:
    module, steps = traced(modules.decoder(), passes("O1"))
    assert [s.name for s in steps] == ["fold", "cse", "dce"]
    assert steps[0].before == size(modules.decoder()) and steps[-1].after == size(module)
    assert all(s.seconds >= 0 for s in steps)


def test_a_pass_that_breaks_the_module_is_named() -> None:
    @dataclass(frozen=True)
    class Careless:
        name: str = "careless"

        def run(self, module: Module) -> Module:
            return replace(module, entry="nothing")

    with pytest.raises(WeftError) as caught:
        apply(modules.decoder(), (Fold(), Careless(), Merge()))
    assert "after the pass `careless`" in caught.value.diagnostics[0].title


def test_a_level_picks_a_part_of_the_pipeline_and_an_unknown_one_is_refused() -> None:
    assert [[p.name for p in passes(level)] for level in LEVELS] == [["dce"], ["fold", "cse", "dce"]]
    with pytest.raises(WeftError, match="E0805"):
        passes("O9")


# ------------------------------------------------------------------ fold

IDENTITIES = {
    "add(%x, %zero)": "%x", "add(%zero, %x)": "%x", "sub(%x, %zero)": "%x", "mul(%x, %one)": "%x",
    "mul(%one, %x)": "%x", "div(%x, %one)": "%x", "pow(%x, %one)": "%x", "where(%true, %x, %y)": "%x",
    "where(%false, %x, %y)": "%y", "where(%m, %x, %x)": "%x", "cast(%x, dtype=real)": "%x",
    "expand(%x, axes=(<D:4>,))": "%x", "sum(%x, over=())": "%x", "mean(%x, over=())": "%x",
    "rename(%x, axis=D, to=<D:4>)": "%x", "dropout(%x, name=d, rate=0.0)": "%x", "add(%x, %zeros)": "%x",
}
KEPT = (
    "add(%i, %zero)", "sub(%zero, %x)", "div(%one, %x)", "div(%i, %ione)", "mul(%x, %zero)", "pow(%one, %x)",
    "add(%s, %zeros)", "dropout(%x, name=d, rate=0.1)", "maximum(%x, %zero)", "rename(%x, axis=D, to=<E:4>)",
)
CONSTANTS = (
    "  %10 = const(value=0.0): []\n  %11 = const(value=1.0): []\n  %12 = const(value=1): int[]\n"
    "  %13 = const(value=true): bool[]\n  %14 = const(value=false): bool[]\n  %15 = expand(%10, axes=(<D:4>,)): [D:4]\n"
)
VALUES = {"%zeros": "%15", "%zero": "%10", "%ione": "%12", "%one": "%11", "%true": "%13", "%false": "%14"}


def computed(expression: str) -> Module:
    """A module whose function computes one expression of its inputs and of some constants."""
    for name, number in VALUES.items():
        expression = expression.replace(name, number)
    head = "module Demo (form=full, entry=f)\ninstance Demo\n"
    kind = "int[D:4]" if "%ione" in expression else "[E:4]" if "<E:4>" in expression else "[D:4]"
    return parse_module(
        f"{head}function f(x: [D:4], y: [D:4], i: int[D:4], m: bool[D:4], s: []) -> (value: {kind}) {{\n"
        f"{CONSTANTS}  %20 = {expression}: {kind}\n  return %20\n}}\n"
    )


@pytest.mark.parametrize("expression", IDENTITIES)
def test_what_changes_nothing_gives_way(expression: str) -> None:
    module = apply(computed(expression), (Fold(),))
    assert f"return {IDENTITIES[expression]}\n" in print_module(module)


@pytest.mark.parametrize("expression", KEPT)
def test_what_changes_the_type_or_the_value_stays(expression: str) -> None:
    module = computed(expression)
    op = expression.partition("(")[0]
    assert f" {op}(" in print_module(apply(module, (Fold(),)))


def test_a_bias_of_zero_vanishes_from_the_scores() -> None:
    b = modules.Body(scores=modules.real(modules.T, modules.S))
    module = apply(modules.single(b.done("f", b.add(*b.given, 0.0))), (Fold(),))
    assert module.main.graph.outputs == (module.main.input(0),)


def test_a_mask_that_is_true_masks_nothing() -> None:
    b = modules.Body(scores=modules.real(modules.T, modules.S))
    mask = b.expand(modules.constant(b.graph, True), axes=(modules.T, modules.S))
    module = apply(modules.single(b.done("f", b.softmax(*b.given, mask, over="S"))), (Fold(),))
    assert [n.op for n in module.main.graph.nodes()] == ["input", "softmax"]


def test_a_constant_that_is_not_finite_is_not_written_down() -> None:
    b = modules.Body()
    module = modules.single(b.done("f", b.log(0.0)))
    assert same(apply(module, (Fold(),)), module)


# ------------------------------------------------------------------ cse and dce


def noisy(rate: float) -> Module:
    b = modules.Body(x=modules.real(modules.D))
    drop = b.done("drop", b.dropout(*b.given, name="d", rate=rate))
    b = modules.Body(x=modules.real(modules.D))
    total = b.sub(b.run(drop, *b.given, site="a"), b.run(drop, *b.given, site="b"))
    return modules.single(b.done("f", total), drop)


def test_calls_are_merged_unless_they_draw_noise() -> None:
    assert len(apply(noisy(0.5), (Merge(),)).main.graph) == 4
    assert len(apply(noisy(0.0), (Fold(), Merge())).main.graph) == 3


def test_equal_functions_become_one_and_the_first_name_stays() -> None:
    module = apply(modules.decoder(), (Merge(),))
    merged = [f.name for f in module.functions.values() if f.block == "Linear"]
    assert merged == ["Linear.forward", "Linear.forward.2", "Linear.forward.3", "Linear.forward.4", "Linear.forward.5",
                      "Linear.forward.6"]  # their axes differ
    twin = replace(module.functions["silu"], name="silu.2")
    doubled = replace(module, functions={**module.functions, "silu.2": twin})
    assert set(apply(doubled, (Merge(),)).functions) == set(module.functions)


def test_unused_functions_parameters_and_instances_vanish() -> None:
    module = modules.decoder()
    unused = "spare: Linear {\n        param weight: [D:8] = zeros()\n      }\n"
    unused += "      attn_norm: RMSNorm {\n        param offset: [D:8] = zeros()"
    text = print_module(module).replace("attn_norm: RMSNorm {", unused)
    text += "\nfunction left.over(x: []) -> (value: []) {\n  return %x\n}\n"
    assert same(apply(parse_module(text), (Eliminate(),)), apply(module, (Eliminate(),)))


def test_sums_that_nobody_uses_vanish_from_a_repeat() -> None:
    module = modules.differing_layers()
    graph = module.main.graph.copy()
    graph.outputs = graph.outputs[:1]
    main = replace(module.main, graph=graph, outputs=("value",))
    reduced = apply(replace(module, functions={**module.functions, main.name: main}), (Eliminate(),))
    assert same(reduced, drop_penalties(module))
    assert all(f.outputs == ("value",) for f in reduced.functions.values())
    assert "mean" not in [n.op for f in reduced.functions.values() for n in f.graph.nodes()]


def test_a_state_is_kept_though_no_output_needs_it() -> None:
    b = modules.Body(x=modules.real(modules.D))
    after = b.add(b("state", name="total", type=modules.real(modules.D)), *b.given)
    state = modules.State("total", "carry", modules.real(modules.D), after)
    module = replace(modules.single(b.done("f", b.exp(*b.given), states=(state,))), form="step")
    for one in (Fold(), Merge(), Eliminate()):
        assert apply(module, (one,)).main.states[0].name == "total"
        assert [n.op for n in apply(module, (one,)).main.graph.nodes()].count("add") == 1


def test_composites_keep_their_calls_and_their_signatures() -> None:
    module = apply(modules.decoder(), (*passes(), Unwrap(), *passes()))
    for name, function in modules.decoder().functions.items():
        if function.definition:
            assert module.functions[name].inputs == function.inputs
            assert module.functions[name].outputs == function.outputs


# ------------------------------------------------------------------ inline


def outer_product() -> Module:
    """A callee whose two axes are one axis of the caller, called twice with names that cross."""
    a, c = modules.axis("A", 4), modules.axis("C", 4)
    b = modules.Body(p=modules.real(modules.axis("T", 4)), q=modules.real(modules.axis("S", 4)))
    outer = b.done("outer", b.mul(b.softmax(b.given[0], over="T"), b.given[1]))
    b = modules.Body(x=modules.real(a), y=modules.real(modules.axis("T", 4)), z=modules.real(modules.axis("S", 4)))
    x, y, z = b.given
    crossed = modules.real(modules.axis("S", 4), modules.axis("T", 4))
    (one,) = modules.call(b.graph, "outer", (x, x), (modules.real(a, c),), "one")
    (two,) = modules.call(b.graph, "outer", (z, y), (crossed,), "two")
    (three,) = modules.call(b.graph, "outer", (y, z), (crossed,), "three")
    return modules.single(b.done("f", one, two, three), outer)


def test_inlining_keeps_axes_apart_and_gives_them_the_callers_names() -> None:
    module = outer_product()
    flat = apply(module, (Inline(("outer",)),))
    assert set(flat.functions) == {"f"} and flat.main.output_types == module.main.output_types
    support.assert_same_meaning(module, flat)


def test_inlining_a_method_reads_its_parameters_from_its_instance() -> None:
    module = modules.decoder()
    flat = apply(module, (InlineAll(),))
    assert "repeat" in [n.op for n in flat.main.graph.nodes()]
    assert {n for n in flat.functions if flat.functions[n].method == "forward" and flat.functions[n].block} == {
        "Quick.forward", "blocks.forward",
    }
    support.assert_same_meaning(module, flat)


@pytest.mark.parametrize("name, reason", [("nothing", "no such function"), ("drop", "belong to the place of the call")])
def test_what_cannot_be_inlined_is_refused(name: str, reason: str) -> None:
    with pytest.raises(WeftError, match=f"E0804.*{reason}"):
        Inline((name,)).run(noisy(0.5))


# ------------------------------------------------------------------ meaning


@pytest.mark.parametrize("name", [n for n in modules.EVERY if n != "step"])
def test_every_pass_keeps_the_meaning_of_modules_built_by_hand(name: str) -> None:
    module = modules.EVERY[name]()
    for one in ALL:
        support.assert_same_meaning(module, apply(module, (one,)))


@pytest.mark.parametrize("path", REPRESENTATIVE, ids=lambda p: p.stem)
def test_all_passes_keep_the_meaning_of_every_model(path: Path) -> None:
    program = weft.load(path)
    own = [name for name in program.models if isinstance(program.main.items[name], tree.Model)]
    for name in own or program.models[:1]:  # those that only differ in their sizes are the same when they are shrunk
        module = shrink(program, name).module
        support.assert_same_meaning(module, apply(module, ALL))


def test_passes_keep_the_meaning_of_a_step_program() -> None:
    module = shrink(weft.load(STDLIB.parent / "examples" / "new_attention.llm"), "Latent").module
    weights = random_weights(module)
    tokens = np.random.default_rng(0).integers(0, 3, (2, 6))
    whole = run(module, weights, {"tokens": tokens}).values[0]
    program = apply(step(module), (*passes(), Unwrap(), *passes()))
    states, pieces = None, []
    for past, end in ((0, 3), (3, 4), (4, 6)):
        found = run(program, weights, {"tokens": tokens[:, past:end]}, {"past": np.asarray(past)}, states)
        states = found.states
        pieces.append(found.values[0])
    np.testing.assert_allclose(np.concatenate(pieces, axis=1), whole, rtol=1e-9, atol=1e-12)


@given(programs(), st.lists(st.sampled_from(ALL), min_size=1, max_size=5), st.integers(0, 1000))
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
def test_passes_in_any_order_keep_the_meaning_of_any_program(text: str, order: list[Pass], seed: int) -> None:
    try:
        module = compile_model(load_source(Source("drawn.llm", text)), "Drawn")
    except WeftError:
        reject()  # whether what is drawn compiles is the concern of other tests
    changed = apply(module, order)
    support.assert_same_meaning(module, changed, seed)
    assert same(parse_module(print_module(changed)), changed)


def test_the_cost_of_the_pipeline_does_not_depend_on_the_depth() -> None:
    shallow, deep = (traced(modules.decoder(layers), ALL)[1] for layers in (2, 50_000))
    assert [(s.before, s.after) for s in shallow] == [(s.before, s.after) for s in deep]

