"""Verification: a consistent module passes, and every way to break one is told in words."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import modules
import pytest
import weft
from library import REPRESENTATIVE
from weft.compiler.ir.graph import Value
from weft.compiler.ir.instances import uses
from weft.compiler.ir.text import parse_module, print_module
from weft.compiler.ir.verify import problems, verify
from weft.compiler.stream import rows, step
from weft.lang.diagnostics import WeftError


@pytest.mark.parametrize("name", modules.EVERY)
def test_a_module_built_by_hand_is_consistent(name: str) -> None:
    assert problems(modules.EVERY[name]()) == []


@pytest.mark.parametrize("path", REPRESENTATIVE, ids=lambda p: p.stem)
def test_every_model_is_consistent_in_every_form(path: Path) -> None:
    program = weft.load(path)
    for name in program.models:
        module = weft.compile(program, name)
        forms = [module, rows(module)]
        if module.stream:
            forms += [step(module), step(module, rows=True)]
        for form in forms:
            verify(form)


# A piece of the printed decoder, what takes its place, and words of the problem that must be found.
BROKEN = {
    "a result of another size": ("%3 = pow(%x, %2): [B, T, D:8]", "%3 = pow(%x, %2): [B, T, D:9]", "its operands make"),
    "an unknown operation": ("%1 = sigmoid(%x)", "%1 = swish(%x)", "there is no such operation"),
    "too few operands": ("%3 = pow(%x, %2)", "%3 = pow(%x)", "it takes 2 operands, it has 1"),
    "a missing attribute": ("%4 = mean(%3, over=(D,))", "%4 = mean(%3)", "it needs the attribute `over`"),
    "an unknown attribute": ("%7 = rsqrt(%6)", "%7 = rsqrt(%6, fast=true)", "it has no attribute `fast`"),
    "an axis that is not there": ("%4 = mean(%3, over=(D,))", "%4 = mean(%3, over=(Q,))", "`Q` is not an axis"),
    "an attribute of another kind": ("axis=T, to=<S>", "axis=T, to=S", "its attributes do not fit"),
    "an axis twice": ("sigmoid(%x): [B, T, F:12]", "sigmoid(%x): [B, T, T, F:12]", "has an axis twice"),
    "a callee that is not there": ("callee=silu", "callee=gelu", "there is no function `gelu`"),
    "a call with too few operands": ("call(%x, %1, callee=rms_norm", "call(%x, callee=rms_norm", "1 operands for 2"),
    "a call with other sizes": (
        "instance=@k, site=k): [B, T, G:2, K:4]", "instance=@k, site=k): [B, T, G:4, K:2]", "result 0 is",
    ),
    "an instance that is not there": ("instance=@mlp_norm", "instance=@mlp_nrm", "`blocks.0.mlp_nrm`, where there"),
    "a way up beyond the root": ("instance=@norm,", "instance=@^norm,", "goes up beyond the root"),
    "all layers for one": ("instance=@norm,", "instance=@blocks,", "names all layers of a repeat"),
    "a parameter that is not there": ("param(name=table): [V:11", "param(name=tabel): [V:11", "which is not there"),
    "a parameter of another size": (
        "norm: RMSNorm {\n    param scale: [D:8]", "norm: RMSNorm {\n    param scale: [D:9]", "reads `scale`",
    ),
    "a parameter without numbers": ("param table: [V:11, D:8]", "param table: [V, D:8]", "its sizes must be numbers"),
    "two calls at one site": ("instance=@up, site=up", "instance=@up, site=gate", "two calls share the site `gate`"),
    "layers of another number": ("blocks: layers (0 * 3)", "blocks: layers (0 * 4)", "should name the 3 layers"),
    "a layer without description": ("blocks: layers (0 * 3)", "blocks: layers (1 * 3)", "does not exist"),
    "a body without number": ("schedule=(0 * 3)", "schedule=(1 * 3)", "a body that does not exist"),
    "more carried than there is": ("carried=1", "carried=2", "2 carried values, but 1 operands"),
    "another number of sums": ("sums=0", "sums=1", "1 outputs for 1 carried values and 1 sums"),
    "an entry that is not there": ("entry=Quick.forward", "entry=Slow.forward", "the entry `Slow.forward` is not"),
    "an unknown form": ("form=full", "form=half", "`half` is not a form"),
    "a callee of another type": ("callee=silu, instance=none", "callee=GatedMLP.forward, instance=none", "result 0"),
    "an ambient value of another form": (
        "%5 = position(axis=<T>): int[T]", "%5 = ambient(name=positions): int[T]", "no ambient value `positions`",
    ),
    "a state that nobody keeps": ("%1 = sigmoid(%x)", "%1 = state(name=s)", "`s` is not a state of the function"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_an_inconsistency_is_found(case: str) -> None:
    right, wrong, words = BROKEN[case]
    text = print_module(modules.decoder())
    assert right in text
    found = problems(parse_module(text.replace(right, wrong)))
    assert any(words in problem for problem in found), found


STEP = {
    "an unknown kind": ("= delay(", "= ring_of(", "is of kind `ring_of`"),
    "an update of another size": (
        "<T:1>): [B, T:1, D:8]\n  state", "<T:2>): [B, T:2, D:8]\n  state", "before the step and",
    ),
    "an axis that is not there": ("axis=T, width", "axis=Q, width", "has no axis `Q`"),
    "a start that is no function": ("initial=0.0", "initial=nothing", "starts from `nothing`"),
    "a state read as something else": ("state(name=before): [B, T:1, D:8]", "state(name=before): [B]", "it is read as"),
}


@pytest.mark.parametrize("case", STEP)
def test_an_inconsistent_state_is_found(case: str) -> None:
    right, wrong, words = STEP[case]
    text = print_module(modules.shifting_step())
    assert right in text
    found = problems(parse_module(text.replace(right, wrong)))
    assert any(words in problem for problem in found), found


SCAN = {
    "a state that changes its type": ("scan(s: [B, D:8]", "scan(s: [B, D:9]", "state 0"),
    "a yielded value of another size": ("([B, T, D:8], [B, D:8])", "([B, T, D:8], [B, D:9])", "final state 0"),
    "fewer operands than said": ("scanned=1, states=1", "scanned=4, states=1", "4 scanned values, but 3 operands"),
    "a scanned value without the axis": ("axis=<T>, body", "axis=<Q>, body", "it lacks the axis Q"),
}


@pytest.mark.parametrize("case", SCAN)
def test_an_inconsistent_scan_is_found(case: str) -> None:
    right, wrong, words = SCAN[case]
    text = print_module(modules.recurrence())
    assert right in text
    found = problems(parse_module(text.replace(right, wrong)))
    assert any(words in problem for problem in found), found


def test_functions_that_call_each_other_are_recursion() -> None:
    def calling(name: str, callee: str) -> weft.compiler.ir.module.Function:
        b = modules.Body(x=modules.real(modules.D))
        stub = modules.Body(x=modules.real(modules.D)).done(callee)
        stub.graph.outputs = (Value(0),)
        return b.done(name, b.run(replace(stub, outputs=("value",)), *b.given, site="it"))

    module = modules.single(calling("f", "g"), calling("g", "f"))
    assert problems(module) == ["functions call each other in a circle: `f` -> `g` -> `f`"]


def test_edges_that_disagree_with_operands_are_found() -> None:
    module = modules.recurrence()
    graph = module.main.graph
    user = next(n for n in graph.nodes() if n.op == "expand")
    graph.nx.remove_edge(user.operands[0].node, user.id, key=0)
    assert any("edges disagree" in problem for problem in problems(module))


def test_a_signature_that_disagrees_with_its_body_is_found() -> None:
    module = modules.differing_layers()
    main = module.main
    for wrong, words in (
        (replace(main, inputs=main.inputs[:1]), "`y` is not an input"),
        (replace(main, inputs=(*main.inputs, ("z", main.inputs[0][1]))), "the input `z` has 0 nodes"),
        (replace(main, outputs=("value",)), "1 names for 2 outputs"),
        (replace(main, outputs=("penalty.size", "value")), "penalties come after"),
        (replace(main, outputs=("value", "value")), "two outputs have the same name"),
        (replace(main, name="Other"), "calls itself `Other`"),
    ):
        found = problems(replace(module, functions={**module.functions, main.name: wrong}))
        assert any(words in problem for problem in found), (words, found)


def test_all_problems_come_in_one_error_that_names_the_pass() -> None:
    text = print_module(modules.decoder()).replace("callee=silu", "callee=gelu").replace("rsqrt(", "rsquare(")
    with pytest.raises(WeftError) as caught:
        verify(parse_module(text), after="fuse")
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == "E0801"
    assert "after the pass `fuse`" in diagnostic.title
    assert len(diagnostic.notes) == 2


def test_the_cost_does_not_depend_on_the_depth() -> None:
    shallow, deep = modules.decoder(2), modules.decoder(100_000)
    assert len(uses(shallow).found) == len(uses(deep).found)
    verify(deep)
