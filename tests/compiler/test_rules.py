"""Rules: found where they should be, nowhere else, with a reason when they are not, and tested by themselves."""

from __future__ import annotations

from dataclasses import replace

import modules
import networkx as nx
import numpy as np
import pytest
import support
import weft
from hypothesis import given, settings
from hypothesis import strategies as st
from modules import Body, at, axis, real, single
from networkx.algorithms.isomorphism import MultiDiGraphMatcher
from weft.compiler.ir.graph import Graph, Origin
from weft.compiler.ir.module import Function, Init, Instance, Module, Parameter
from weft.compiler.ir.text import print_function
from weft.compiler.ir.verify import verify
from weft.compiler.passes.contract import apply as run_passes
from weft.compiler.passes.editing import is_composite, opened
from weft.compiler.passes.flatten import Flatten
from weft.compiler.passes.fold import Fold
from weft.compiler.passes.inline import Inline, Unwrap
from weft.compiler.rules.binding import Binding
from weft.compiler.rules.explain import fused, require_fused, why_not
from weft.compiler.rules.library import library_rules, program_rules
from weft.compiler.rules.match import Matcher
from weft.compiler.rules.property import check_rule
from weft.compiler.rules.rewrite import Rewrite, rewrite
from weft.compiler.rules.rule import Rule
from weft.compiler.rules.trace import Callee, apply, rule, template_type
from weft.lang.diagnostics import WeftError
from weft.lang.program import STDLIB, Program, load_source
from weft.lang.source import Source

D, B, T = axis("D", 4), axis("B", 3), axis("T", 5)


LIBRARY = {one.name: one for one in library_rules()}
ADD_NORM, GATE = LIBRARY["add_norm"], LIBRARY["gate"]


def written(text: str) -> Rule:
    """The first rule of a `.llm` text."""
    program: Program = load_source(Source("rules.llm", text))
    assert not program.diagnostics
    return program_rules(program)[0]


@rule(x="[.., D]", y="[.., D]")
def factor() -> object:
    """x y + x = x (y + 1)"""
    return (lambda x, y: x * y + x), (lambda x, y: x * (y + 1.0))


def drawn(function: Function, *others: Function) -> Module:
    module = single(function, *others)
    verify(module)
    return module


def ops(module: Module) -> list[str]:
    return [n.op for n in module.main.graph.nodes() if n.op not in ("input", "const")]


# ------------------------------------------------------------------ finding


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("outer", [False, True])
def test_what_commutes_is_found_in_any_order(swapped: bool, outer: bool) -> None:
    b = Body(x=real(B, D), y=real(B, D))
    x, y = b.given
    product = b.mul(y, x) if swapped else b.mul(x, y)
    module = drawn(b.done("f", b.add(x, product) if outer else b.add(product, x)))
    changed, report = rewrite(module, (factor,))
    assert report.count("factor") == 1 and ops(changed) == ["add", "mul"]
    support.assert_same_meaning(module, changed)


def test_what_does_not_commute_is_found_in_its_order_only() -> None:
    @rule(x="[..]", y="[..]")
    def difference() -> object:
        return (lambda x, y: apply("exp", x - y)), (lambda x, y: apply("exp", x) / apply("exp", y))

    b = Body(x=real(D), y=real(D))
    module = drawn(b.done("f", b.exp(b.sub(b.given[1], b.given[0]))))
    changed, _ = rewrite(module, (difference,))
    support.assert_same_meaning(module, changed)
    quotient = next(n for n in changed.main.graph.nodes() if n.op == "div")
    assert [changed.main.graph[changed.main.graph[v].operands[0]]["name"] for v in quotient.operands] == ["y", "x"]


def test_an_inner_value_that_is_used_outside_prevents_the_rule() -> None:
    b = Body(x=real(B, D), y=real(B, D))
    product = b.mul(*b.given)
    module = drawn(b.done("f", b.add(product, b.given[0]), b.exp(product)))
    assert rewrite(module, (factor,))[1].firings == ()
    (reason,) = why_not(module, factor)
    assert "`mul` is also used outside of the rule (this is `exp`)" in reason


def test_an_inner_value_that_is_an_output_or_a_state_prevents_the_rule() -> None:
    b = Body(x=real(B, D), y=real(B, D))
    product = b.mul(*b.given)
    total = b.add(product, b.given[0])
    assert rewrite(drawn(b.done("f", total, product)), (factor,))[1].firings == ()
    state = modules.State("s", "carry", real(B, D), product)
    module = replace(single(b.done("f", total, states=(state,))), form="step")
    assert rewrite(module, (factor,))[1].firings == ()
    assert "it is an output" in why_not(module, factor)[0]


def test_one_variable_is_one_value() -> None:
    b = Body(x=real(D), y=real(D), z=real(D))
    x, y, z = b.given
    module = drawn(b.done("f", b.add(b.mul(x, y), z)))
    assert rewrite(module, (factor,))[1].firings == ()
    assert any("stands for two different values" in line for line in why_not(module, factor))


def test_a_constant_of_the_rule_is_that_number() -> None:
    @rule(x="[..]")
    def half() -> object:
        return (lambda x: 0.5 * x), (lambda x: x / 2.0)

    for number, count in ((0.5, 1), (0.25, 0)):
        b = Body(x=real(D))
        assert rewrite(drawn(b.done("f", b.mul(b.given[0], number))), (half,))[1].count("half") == count


def test_axes_stand_for_the_same_axes_everywhere() -> None:
    @rule(x="[.., D]", scale="[D]")
    def scaled_mean() -> object:
        return (lambda x, scale: apply("mean", x, over=("D",)) * apply("mean", scale, over=("D",))), (
            lambda x, scale: apply("mean", x * apply("mean", scale, over=("D",)), over=("D",))
        )

    def module(over: str, scale: modules.Axis) -> Module:
        b = Body(x=real(B, T, D), scale=real(scale))
        x, s = b.given
        return drawn(b.done("f", b.mul(b.mean(x, over=(over,)), b.mean(s, over=(scale.name,)))))

    assert check_rule(scaled_mean).passed
    assert rewrite(module("D", D), (scaled_mean,))[1].count("scaled_mean") == 1
    assert rewrite(module("T", T), (scaled_mean,))[1].firings == ()  # D has to be the last axis of x
    assert rewrite(module("D", B), (scaled_mean,))[1].firings == ()
    assert "`scale` is [D:D] in the rule" in why_not(module("D", B), scaled_mean)[0].replace("[D]", "[D:D]")


@pytest.mark.parametrize("axes", [(), (B,), (B, T), (T, B, axis("Q", 2))])
def test_two_dots_stand_for_any_leading_axes(axes: tuple[modules.Axis, ...]) -> None:
    b = Body(x=real(*axes, D), y=real(*axes, D))
    x, y = b.given
    module = drawn(b.done("f", b.add(b.mul(x, y), x)))
    changed, report = rewrite(module, (factor,))
    assert report.count("factor") == 1
    support.assert_same_meaning(module, changed)


def test_what_is_put_in_takes_the_order_of_the_axes_it_replaces() -> None:
    @rule(x="[A]", y="[C]")
    def power() -> object:
        return (lambda x, y: apply("exp", x) * apply("exp", y)), (lambda x, y: apply("exp", y + x))

    b = Body(x=real(B), y=real(D))
    module = drawn(b.done("f", b.mul(b.exp(b.given[0]), b.exp(b.given[1]))))
    changed, report = rewrite(module, (power,))
    assert report.count("power") == 1 and changed.main.output_types == module.main.output_types
    support.assert_same_meaning(module, changed)


@pytest.mark.parametrize("swapped", [False, True])
def test_what_commutes_is_found_though_its_axes_come_in_another_order(swapped: bool) -> None:
    @rule(x="[.., D]", scale="[D]")
    def scaled() -> object:
        return (lambda x, scale: x * scale + x), (lambda x, scale: x * (scale + 1.0))

    b = Body(x=real(B, T, D), scale=real(D))
    x, scale = b.given
    product = b.mul(scale, x) if swapped else b.mul(x, scale)
    module = drawn(b.done("f", b.add(product, x)))
    changed, report = rewrite(module, (scaled,))
    assert report.count("scaled") == 1
    support.assert_same_meaning(module, changed)


def test_nothing_the_rule_reads_may_depend_on_what_it_replaces() -> None:
    @rule(x="[..]", y="[..]")
    def pair() -> object:
        return (lambda x, y: (apply("exp", x), apply("exp", y))), (
            lambda x, y: (1.0 / apply("exp", -x), apply("exp", y))
        )

    b = Body(x=real(D))
    module = drawn(b.done("f", b.exp(b.exp(*b.given))))
    assert rewrite(module, (pair,))[1].firings == ()
    assert any("depends on what the rule replaces" in line for line in why_not(module, pair))


# ------------------------------------------------------------------ composites


@pytest.mark.parametrize("name", LIBRARY)
def test_every_rule_of_the_standard_library_holds(name: str) -> None:
    report = check_rule(LIBRARY[name], seed=1)
    assert report.passed, report.failure


@pytest.mark.parametrize("name", LIBRARY)
def test_every_rule_of_the_standard_library_says_what_it_does(name: str) -> None:
    one = LIBRARY[name]
    assert one.source is not None and one.source.source.path.endswith("rules.llm")
    assert " = " in one.equation


OWN = """
use nn: Embedding, Linear
block OwnNorm(D: dim) {
  param weight: [D] = ones
  forward(x: [.., D]) -> [.., D] { NORM }
}
block OwnMLP(D: dim, F: dim) {
  up = Linear(D, F, bias = true)
  out = Linear(F, D, bias = true)
  forward(x: [.., D]) -> [.., D] { x |> up |> own |> out }
}
fn own(x: [..]) -> [..] { ACT }
model Own(V: dim = 11, D: dim = 4, F: dim = 6) {
  embed = Embedding(V, D)
  norm = OwnNorm(D)
  mlp = OwnMLP(D, F)
  forward(tokens: int[B, T]) -> [B, T, V] {
    x = embed(tokens)
    h = x + mlp(x)
    embed.logits(h + norm(h))
  }
}
"""
RMS = "x / sqrt(mean(x * x, D) + 1e-5) * weight"
CENTRED = "weight * ((x - mean(x, D)) * rsqrt(mean((x - mean(x, D)) ^ 2, D) + 1e-5))"


@pytest.mark.parametrize(("norm", "activation", "wanted"), [
    (RMS, "x * sigmoid(x)", {"plain_rms_both", "scaled_rms_norm", "add_bias_norm", "plain_silu"}),
    (RMS, "x * sigmoid(1.7 * x)", {"plain_rms_both", "scaled_rms_norm", "add_bias_norm", "steep"}),
    (CENTRED, "0.5 * x * (1 + erf(x / sqrt(2)))",
     {"plain_rms", "plain_layer_norm", "scaled_layer_norm", "add_bias_centred_norm", "plain_gelu", "gelu_of_bias"}),
    ("x * rsqrt(mean(x ^ 2, D) + 1e-5)", "0.5 * x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x ^ 3)))",
     {"plain_rms", "add_bias_norm", "plain_gelu_tanh", "gelu_tanh_of_bias"}),
])  # fmt: skip
def test_what_a_user_writes_out_is_recognised_and_joined(norm: str, activation: str, wanted: set[str]) -> None:
    text = OWN.replace("NORM", norm).replace("ACT", activation)
    module = weft.compile(load_source(Source("own.llm", text)), "Own")
    inner = tuple(n for n, f in module.functions.items() if n != module.entry and not is_composite(f))
    flat = run_passes(module, (Inline(inner), Fold()))
    changed, report = rewrite(flat, library_rules())
    verify(changed)
    assert {f.rule for f in report.firings} == wanted
    support.assert_same_meaning(module, changed)


def test_a_gate_is_fused_wherever_a_model_has_one() -> None:
    module = weft.compile(weft.load(STDLIB.parent / "examples" / "quickstart.llm"), "Quick")
    changed, report = rewrite(module, (GATE,))
    (firing,) = report.firings
    assert firing.function == "GatedMLP.forward" and firing.makes == ("weft.rules.silu_mul",)
    verify(changed)
    made = next(f for f in changed.functions.values() if f.definition == "weft.rules.silu_mul")
    assert made.output_types == changed.functions["silu"].output_types


def test_add_and_norm_are_fused_across_a_wrapper_and_several_results_replaced() -> None:
    module = modules.decoder()
    assert "run the pass `unwrap` first" in why_not(module, ADD_NORM)[0]
    module = run_passes(module, (Unwrap(),))
    changed = run_passes(module, (Rewrite((ADD_NORM, GATE)),))
    block = changed.functions["blocks.forward"]
    call = next(n for n in block.graph.nodes() if n.op == "call" and n["callee"] == "add_rms_norm")
    assert len(call.types) == 2
    assert changed.functions["add_rms_norm"].statics == (("eps", 1e-6),)
    support.assert_same_meaning(module, changed)


def test_every_new_node_knows_what_it_replaced() -> None:
    module = weft.compile(weft.load(STDLIB.parent / "examples" / "quickstart.llm"), "Quick")
    changed, _ = rewrite(module, (GATE,))
    node = next(n for n in changed.functions["GatedMLP.forward"].graph.nodes() if n.origin.maker == "gate")
    replaced = [p.span for p in node.origin.parents if p.span is not None]
    assert [s.text for s in replaced] == ["act(gate(x))", "act(gate(x)) * up(x)"]
    assert all(s.source.path.endswith("nn.llm") for s in replaced)
    assert node.origin.first_span() is not None


def test_rules_leave_composites_and_what_they_put_in_alone() -> None:
    module, _ = rewrite(modules.decoder(), (GATE,))
    again, report = rewrite(module, (GATE,))
    assert report.firings == ()
    assert print_function(again.functions["silu_mul"]) == print_function(module.functions["silu_mul"])


def test_a_number_in_the_place_of_a_tensor_stands_for_all_its_entries() -> None:
    text = """
use nn: LayerNorm
model Bare(D: dim = 4) {
  norm = LayerNorm(D, bias = false)
  forward(x: [B, D], r: [B, D]) -> [B, D] { norm(x + r) }
}
"""
    module = run_passes(weft.compile(load_source(Source("bare.llm", text)), "Bare"), (Flatten(),))
    changed, report = rewrite(module, (LIBRARY["add_centred_norm"],))
    verify(changed)
    assert report.count("add_centred_norm") == 1
    assert changed.functions["add_layer_norm"].statics == (("offset", 0.0), ("eps", 1e-5))
    support.assert_same_meaning(module, changed)


def test_a_compile_time_argument_and_a_computed_one_are_both_found() -> None:
    x, scale = real(B, D), real(D)
    inner = Body(x=x, scale=scale, eps=real())
    v, s, e = inner.given
    body = inner.mul(inner.mul(v, inner.rsqrt(inner.add(inner.mean(inner.pow(v, 2), over=("D",)), e))), s)
    norm = inner.done("rms_norm", body, definition="weft.nn.rms_norm")
    b = Body(x=x, r=x, scale=scale, eps=real())
    given_x, r, given_scale, eps = b.given
    h = b.add(given_x, r)
    module = drawn(b.done("f", h, b.run(norm, h, given_scale, b.exp(eps), site="n")), norm)
    changed, report = rewrite(module, (ADD_NORM,))
    assert report.count("add_norm") == 1
    assert [name for name, _ in changed.functions["add_rms_norm"].inputs] == ["x", "r", "scale", "eps"]
    support.assert_same_meaning(module, changed)


# ------------------------------------------------------------------ writing rules

SQUARE = """
rule square(x: [..], n: real) {
  from x ^ n
  into x * x
  where n == 2
}
"""


def test_a_rule_in_the_language_may_have_a_condition() -> None:
    square = written(SQUARE)
    assert check_rule(square).passed
    for number, count in ((2.0, 1), (3.0, 0)):
        b = Body(x=real(D))
        module = drawn(b.done("f", b.pow(b.given[0], number)))
        assert rewrite(module, (square,))[1].count("square") == count
        if not count:
            assert "the condition `n == 2` does not hold: n = 3.0" in why_not(module, square)[0]
    b = Body(x=real(D), n=real())
    assert "computed at run time" in why_not(drawn(b.done("f", b.pow(*b.given))), square)[0]


def test_a_condition_may_speak_of_sizes() -> None:
    even = written("rule even(x: [.., D]) {\n  from sum(x, D) / 1.0\n  into sum(x, D)\n  where D % 2 == 0\n}\n")
    for size, count in ((4, 1), (5, 0)):
        b = Body(x=real(B, axis("D", size)))
        assert rewrite(drawn(b.done("f", b.div(b.sum(*b.given, over=("D",)), 1.0))), (even,))[1].count("even") == count
    assert check_rule(even).passed


def test_a_rule_in_python_calls_composites_by_their_templates() -> None:
    silu = Callee(GATE.functions["silu"], GATE.functions)

    @rule(x="[.., F]")
    def odd() -> object:
        """silu(-x) = silu(x) - x"""
        return (lambda x: silu(-x)), (lambda x: silu(x) - x)

    assert odd.equation == "silu(-x) = silu(x) - x"
    assert check_rule(odd).passed


BAD = {
    "sides of different types": lambda: rule(x="[.., D]")(
        lambda: ((lambda x: apply("sum", x, over=("D",))), (lambda x: apply("exp", x)))
    ),
    "sides with different numbers of values": lambda: rule(x="[..]")(
        lambda: ((lambda x: apply("exp", x)), (lambda x: (x, x)))
    ),
    "a left side without operation": lambda: rule(x="[..]")(lambda: ((lambda x: x), (lambda x: apply("exp", x)))),
    "a variable that is not found": lambda: rule(x="[..]", y="[..]")(
        lambda: ((lambda x, y: apply("exp", x)), (lambda x, y: apply("exp", x) + 0.0 * y))
    ),
    "a type that is none": lambda: rule(x="[a b]")(lambda: ((lambda x: x), (lambda x: x))),
    "an unknown operation": lambda: rule(x="[..]")(lambda: ((lambda x: apply("swish", x)), (lambda x: x))),
    "operands that do not fit": lambda: rule(x="[..]")(
        lambda: ((lambda x: apply("sum", x, over=("Q",))), (lambda x: x))
    ),
    "dropout": lambda: rule(x="[..]")(lambda: ((lambda x: apply("dropout", x, name="d", rate=0.1)), (lambda x: x))),
}


@pytest.mark.parametrize("case", BAD)
def test_a_rule_that_makes_no_sense_is_refused(case: str) -> None:
    with pytest.raises(WeftError) as caught:
        BAD[case]()
    assert [d.code for d in caught.value.diagnostics] == ["E0806"]


def test_types_of_variables_are_written_as_in_the_language() -> None:
    assert str(template_type("int[.., T]", "r")) == "int[.., T]"
    assert template_type("real", "r") == template_type("[]", "r")


# ------------------------------------------------------------------ the property test of a rule

WRONG = {
    "a sign": lambda x, y: x * (y - 1.0),
    "a swapped operand": lambda x, y: y * (x + 1.0),
    "a small number": lambda x, y: x * (y + 1.0) + 1e-9,
    "half of it": lambda x, y: x * y,
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_rule_is_caught(case: str) -> None:
    wrong = rule(x="[.., D]", y="[.., D]")(lambda: ((lambda x, y: x * y + x), WRONG[case]))
    report = check_rule(wrong)
    assert not report.passed and "is off by" in report.failure


def test_a_rule_that_forgets_its_epsilon_is_caught() -> None:
    norm = Callee(ADD_NORM.functions["rms_norm"], ADD_NORM.functions)

    @rule(x="[.., D]", scale="[D]", eps="real")
    def forgetful() -> object:
        return (lambda x, scale, eps: norm(x, scale, eps)), (
            lambda x, scale, eps: norm(x, scale, 0.0) + 0.0 * eps
        )

    assert not check_rule(forgetful).passed


def test_a_rule_that_sums_along_the_wrong_axis_is_caught() -> None:
    @rule(x="[A, C]")
    def transposed() -> object:
        return (lambda x: apply("softmax", x, over="A")), (lambda x: apply("softmax", x, over="C"))

    assert not check_rule(transposed).passed


def test_rounding_is_not_mistaken_for_a_fault() -> None:
    @rule(x="[..]", y="[..]")
    def cancel() -> object:
        """(x + 1000 y) - 1000 y = x"""
        return (lambda x, y: (x + 1000.0 * y) - 1000.0 * y), (lambda x, y: x + 0.0 * y)

    report = check_rule(cancel, cases=12)
    assert report.passed and report.worst > 0


def test_a_condition_that_nothing_satisfies_is_told() -> None:
    never = written("rule never(x: [..], n: real) {\n  from x ^ n\n  into x * x\n  where n > 2 and n < 1\n}\n")
    assert "no sizes and numbers satisfy it" in check_rule(never).failure


def test_a_property_test_draws_the_same_cases_for_the_same_seed() -> None:
    assert check_rule(GATE, seed=3, cases=4) == check_rule(GATE, seed=3, cases=4)


# ------------------------------------------------------------------ expectations and explanations


def test_an_expected_fusion_that_happens_is_silent() -> None:
    module, report = rewrite(modules.decoder(), (GATE,))
    for name in ("gate", "silu_mul", "weft.rules.silu_mul"):
        assert fused(report, name)
        require_fused(report, name, module, (GATE,))
    assert not fused(report, "add_norm")


def test_an_expected_fusion_that_does_not_happen_says_why() -> None:
    module, report = rewrite(modules.decoder(), (ADD_NORM, GATE))
    with pytest.raises(WeftError) as caught:
        require_fused(report, "add_rms_norm", module, (ADD_NORM, GATE))
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == "E0808" and "unwrap" in diagnostic.notes[0]
    with pytest.raises(WeftError) as caught:
        require_fused(report, "gat", module, (ADD_NORM, GATE))
    assert "did you mean `gate`?" in caught.value.diagnostics[0].help


def test_a_rule_that_is_found_has_nothing_to_explain() -> None:
    assert why_not(modules.decoder(), GATE) == []


def test_the_operation_that_differs_is_named() -> None:
    b = Body(x=real(D), y=real(D))
    x, y = b.given
    (reason,) = why_not(drawn(b.done("f", b.add(b.div(x, y), x))), factor)[:1]
    assert "`f` %2 div: this is `div`, the rule has `mul` there" in reason


def test_nothing_alike_is_told() -> None:
    b = Body(x=real(D))
    assert "there is no `add` in it" in why_not(drawn(b.done("f", b.exp(*b.given))), factor)[0]
    assert "no call of `weft.nn.rms_norm`" in why_not(drawn(b.done("f", b.exp(*b.given))), ADD_NORM)[0]


def test_rules_that_undo_each_other_are_stopped() -> None:
    one = rule(x="[..]", y="[..]")(lambda: ((lambda x, y: x - y), (lambda x, y: x + -y)))
    other = rule(x="[..]", y="[..]")(lambda: ((lambda x, y: x + -y), (lambda x, y: x - y)))
    b = Body(x=real(D), y=real(D))
    with pytest.raises(WeftError, match="E0807"):
        rewrite(drawn(b.done("f", b.sub(*b.given))), (one, other))


# ------------------------------------------------------------------ against an independent matcher


def oracle(graph: Graph, pattern: Graph) -> set[frozenset[int]]:
    """The node sets that networkx's VF2 finds: operations by name, operands in any order for what commutes."""
    def labelled(source: Graph, wild: bool) -> nx.MultiDiGraph:
        copy = nx.MultiDiGraph()
        for node in source.nodes():
            copy.add_node(node.id, op="*" if wild and node.op == "input" else node.op)
            for position, operand in enumerate(node.operands):
                copy.add_edge(operand.node, node.id, position=0 if node.op in ("add", "mul") else position)
        return copy

    def nodes(a: dict[str, str], b: dict[str, str]) -> bool:
        return b["op"] in ("*", a["op"])

    def edges(a: dict[int, dict[str, int]], b: dict[int, dict[str, int]]) -> bool:
        have, want = (sorted(d["position"] for d in x.values()) for x in (a, b))
        return all(have.count(p) >= want.count(p) for p in want)

    matcher = MultiDiGraphMatcher(labelled(graph, False), labelled(pattern, True), nodes, edges)
    inner = [n.id for n in pattern.nodes() if n.op != "input"]
    return {
        frozenset(big for big, small in found.items() if small in inner)
        for found in matcher.subgraph_monomorphisms_iter()
    }


@st.composite
def tangles(draw: st.DrawFn) -> Function:
    """A function of sums, products, exponentials and quotients of three inputs."""
    b = Body(x=real(D), y=real(D), z=real(D))
    pool = list(b.given)
    for op in draw(st.lists(st.sampled_from(("add", "mul", "exp", "div")), min_size=2, max_size=9)):
        count = 1 if op == "exp" else 2
        pool.append(b(op, *(draw(st.sampled_from(pool)) for _ in range(count))))
    return b.done("f", *draw(st.lists(st.sampled_from(pool), min_size=1, max_size=2, unique=True)))


PATTERNS = (
    rule(x="[D]", y="[D]", z="[D]")(lambda: ((lambda x, y, z: x * y + z), (lambda x, y, z: z + y * x))),
    rule(x="[D]", y="[D]")(lambda: ((lambda x, y: apply("exp", x) / y), (lambda x, y: 1.0 / (y / apply("exp", x))))),
    rule(x="[D]", y="[D]", z="[D]")(
        lambda: ((lambda x, y, z: (x + y) * apply("exp", z)), (lambda x, y, z: (y + x) * z))
    ),
)


@given(tangles(), st.sampled_from(PATTERNS))
@settings(max_examples=150, deadline=None)
def test_matching_agrees_with_an_independent_matcher(function: Function, pattern: Rule) -> None:
    graph = opened(function)
    matcher = Matcher(pattern, graph, {})
    root = matcher.pattern[matcher.root]
    found = set()
    for node in graph.nodes():
        for binding in matcher._value(matcher.root, node.values[0], Binding()) if node.op == root.op else ():
            # VF2 maps different variables to different nodes, and never a variable to a node of the pattern's inside.
            bound = [v.node for v in binding.variables.values()]
            if len(set(bound)) == len(bound) and not set(bound) & set(binding.nodes.values()):
                found.add(frozenset(binding.nodes.values()))
    assert found == oracle(graph, pattern.before.graph)


@given(tangles(), st.integers(0, 100))
@settings(max_examples=60, deadline=None)
def test_rewriting_keeps_the_meaning_of_any_function(function: Function, seed: int) -> None:
    square = rule(x="[..]")(lambda: ((lambda x: x * x), (lambda x: apply("pow", x, 2.0))))
    double = rule(x="[..]")(lambda: ((lambda x: x + x), (lambda x: apply("sub", x, -x))))
    ratio = rule(x="[..]", y="[..]")(
        lambda: ((lambda x, y: apply("exp", x) / apply("exp", y)), (lambda x, y: apply("exp", x - y)))
    )
    module = drawn(function)
    changed, _ = rewrite(module, (square, double, ratio))
    verify(changed)
    with np.errstate(all="ignore"):
        before, after = support.outputs(module, seed=seed).values, support.outputs(changed, seed=seed).values
    for a, b in zip(before, after, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-6, atol=1e-9, equal_nan=True)


# ------------------------------------------------------------------ instances


def test_a_rule_works_inside_a_method_with_parameters() -> None:
    b = Body(x=real(B, D))
    scale = b.param("scale", real(D))
    value = b.add(b.mul(b.given[0], scale), b.given[0])
    method = b.done("Scale.forward", value, block="Scale")
    b = Body(x=real(B, D))
    entry = b.done("Demo.forward", b.run(method, *b.given, on=at("scale"), site="scale"), block="Demo")
    scale_instance = Instance("Scale", (Parameter("scale", real(D), Init("ones")),))
    module = drawn_with(entry, method, Instance("Demo", (), (("scale", scale_instance),)))
    widened, report = rewrite(module, (factor,))
    assert report.firings == () and widened is not module  # `scale` has fewer axes than x: it is another rule

    @rule(x="[.., D]", s="[D]")
    def scaled() -> object:
        return (lambda x, s: x * s + x), (lambda x, s: x * (s + 1.0))

    changed, report = rewrite(module, (scaled,))
    assert report.count("scaled") == 1
    support.assert_same_meaning(module, changed)


def drawn_with(entry: Function, other: Function, root: Instance) -> Module:
    module = single(entry, other, root=root)
    verify(module)
    return module


def test_an_origin_without_a_span_is_no_trouble() -> None:
    assert Origin(None, "rule", ()).first_span() is None
