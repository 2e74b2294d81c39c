"""Static lists choose what each layer is and become tables; both mean the same in every back end."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from test_lower import close, codes, compiled, layers, numbers, parameters, values
from torch_support import assert_agrees, network, source_of
from weft.compiler.check import check
from weft.compiler.emit.weights import random_weights
from weft.compiler.ir.equality import same
from weft.compiler.ir.text import parse_module, print_module
from weft.compiler.passes.fold import Fold
from weft.compiler.stream import step
from weft.lang.program import load_source
from weft.lang.source import Source

from .onnx_support import agree

KINDS = """
    use nn: Linear
    model M(D: dim = 4, kinds: strings = ("plain", "biased", "plain"), scales: reals = (1, 2.5, 1)) {
      blocks = repeat length(kinds) as i {
        up = if kinds[i] == "plain" { Linear(D, D) } else { Linear(D, D, bias = true) }
        forward(x) { x + up(x) * scales[i] }
      }
      forward(x: [B, D]) -> [B, D] { blocks(x) }
    }
    model Long = M with {
      kinds = ("biased", "plain", "biased", "plain")
      scales = (1, 2, 1, 2)
    }
    """


def said(text: str) -> str:
    return " ".join(d.title for d in check(load_source(Source("test.llm", text))).diagnostics)


# ------------------------------------------------------------------ lists


def test_a_list_says_what_each_layer_is_and_equal_layers_are_one() -> None:
    assert layers(compiled(KINDS)).schedule == (0, 1, 0)
    assert layers(compiled(KINDS, "Long")).schedule == (0, 1, 0, 1)
    assert list(parameters(compiled(KINDS))) == [
        "blocks.0.up.weight", "blocks.1.up.weight", "blocks.1.up.offset", "blocks.2.up.weight",
    ]


def test_an_entry_that_a_method_uses_tells_layers_apart_and_the_number_of_a_layer_does_not() -> None:
    text = """
        model M(scales: reals = (1, 2, 1, 2, 3)) {
          blocks = repeat length(scales) as i { forward(x) { PART } }
          forward(x: [B]) -> [B] { blocks(x) }
        }
        """
    assert layers(compiled(text.replace("PART", "x + x * scales[i]"))).schedule == (0, 1, 0, 1, 2)
    assert layers(compiled(text.replace("PART", "x + x * scales[i] * i"))).schedule == (0, 1, 2, 3, 4)
    hidden = "scales = (7, 8, 9, 1, 1)\n x + x * scales[i]"
    assert layers(compiled(text.replace("PART", hidden))).schedule == (0, 1, 2, 3, 4)
    found, _ = values(text.replace("PART", hidden), x=numbers(3))
    assert close(found, numbers(3) * 8 * 9 * 10 * 2 * 2)


def test_a_layer_that_never_looks_need_not_have_an_entry() -> None:
    text = """
        model M(scales: reals = (2, 3)) {
          blocks = repeat 4 as i { forward(x) { if i < 2 { x * scales[i] } else { x } } }
          forward(x: [B]) -> [B] { blocks(x) }
        }
        """
    assert close(values(text, x=numbers(3))[0], numbers(3) * 6)


def test_lists_are_compared_measured_searched_and_handed_on() -> None:
    text = """
        fn chosen(x: [..], places: ints, flags: bools) -> [..] {
          if flags == (true, false) and places == (1, 2) { x * length(places) } else { 0 * x }
        }
        block Inner(D: dim, widths: ints) {
          require contains(widths, D) and not contains(widths, D + 1)
          forward(x: [.., D]) -> [.., D] { x * length(widths) }
        }
        model M(D: dim = 4, F: dim = 6) {
          both  = (D, F)
          inner = Inner(D, both)
          forward(x: [B, D]) -> [B, D] { chosen(inner(x), (1, 2), (true, false)) * length(()) + inner(x) * both[1] }
        }
        """
    assert close(values(text, x=numbers(2, 4))[0], numbers(2, 4) * 2 * 6)


def test_a_text_is_the_list_of_its_letters_and_values_have_a_place() -> None:
    text = """
        model M(kinds: string = "MM*", places: ints = (4, 7)) {
          blocks = repeat length(kinds) as i {
            forward(x) { if kinds[i] == "*" { x * 3 } else { x + place(places, 7) } }
          }
          forward(x: [B]) -> [B] { blocks(x) * place(places, 5) }
        }
        """
    assert layers(compiled(text)).schedule == (0, 0, 1)
    assert close(values(text, x=numbers(2))[0], -3 * (numbers(2) + 2))


def test_a_list_may_hold_components() -> None:
    text = """
        use nn: Linear
        model M(D: dim = 4) {
          kinds = (Linear(D, D), Linear(D, D, bias = true))
          blocks = repeat 3 as i {
            part = kinds[i % 2]
            forward(x) { part(x) }
          }
          forward(x: [B, D]) -> [B, D] { blocks(x) }
        }
        """
    assert layers(compiled(text)).schedule == (0, 1, 0)


@pytest.mark.parametrize(
    ("parameter", "given", "message"),
    [
        ("a: ints", '"x"', "must be a list of whole numbers"), ("a: ints", "(1, 2.5)", "`a[1]` must be a whole number"),
        ("a: strings", '("x", 3)', "`a[1]` must be a text"), ("a: bools", "(true, 1)", "`a[1]` must be true or false"),
        ("a: reals", "(1, true)", "`a[1]` must be a number"), ("a: ints", "3", "or `(a,)` for one entry"),
        ("a = (1, 2)", "3", "must be a list"), ("a: string", '("x",)', "must be a text, this is a list of 1 entry"),
    ],
)
def test_a_value_that_is_no_such_list_is_refused(parameter: str, given: str, message: str) -> None:
    text = f"block P({parameter}) {{ forward(x: [..]) -> [..] {{ x }} }}\n"
    text += f"model M {{ p = P(a = {given})\n forward(x: [B]) -> [B] {{ p(x) }} }}"
    assert codes(text) == ["E0604"]
    assert message in said(text)


@pytest.mark.parametrize(
    ("expression", "code"),
    [
        ("x * k[2]", "E0406"), ("x * k[-1]", "E0406"), ("x * ()[0]", "E0406"), ("x * k[0.0]", "E0205"),
        ("x * k[true]", "E0205"), ("x[0]", "E0205"), ("x * k[x]", "E0309"), ("x * k", "E0205"), ("x * k[B]", "E0311"),
        ("x * length(x)", "E0205"), ("x * length(3)", "E0205"), ("if contains(k, x) { x } else { x }", "E0309"),
        ("x * table(k, B)", "E0311"), ("x * table(k, D)", "E0301"), ('x * table(("a",), N)', "E0205"),
        ("x * table((), N)", "E0405"), ("x * table((1, true), N)", "E0205"), ("x * table(3, N)", "E0205"),
        ("x * k[0, 1]", "E0105"),
    ],
)
def test_mistakes_with_lists_are_found(expression: str, code: str) -> None:
    text = f"model M(k: ints = (5, 6), D: dim = 3) {{ forward(x: [B]) -> [..] {{ {expression} }} }}"
    assert codes(text.replace(" -> [..]", "")) == [code]


def test_a_block_with_lists_is_checked_by_itself() -> None:
    text = """
        use nn: Linear
        block Good(D: dim, widths: ints, factors: reals) {
          dim W = widths[1]
          dim J = D / 2
          up = Linear(D, W)
          forward(x: [.., D]) -> [.., W, J] { up(x) * table(factors, J) }
        }
        block Bad(D: dim, widths: ints) {
          dim W = widths[1]
          up = Linear(D, W)
          forward(x: [.., D]) -> [.., D] { up(x) }
        }
        """
    assert codes(text) == ["E0307"]


def test_long_lists_take_bounded_work() -> None:
    entries = ", ".join(["1"] * 3_000)
    text = f"""
        model M(k: ints = ({entries})) {{
          blocks = repeat 3_000 as i {{ forward(x) {{ x * k[i] * i }} }}
          forward(x: [B]) -> [B] {{ blocks(x) }}
        }}
        """
    assert codes(text) == ["E0404"]


# ------------------------------------------------------------------ tables

TABLES = """
    model M(D: dim = 4, factors: reals = (1, 0.5, 2, 4), places: ints = (2, 0)) {
      forward(x: [B, D]) -> ([B, D], [B, N], [B, D], int[N]) {
        scaled = x * table(factors, D) + 1.0 / (2 * table(factors, D))
        chosen = take(x, table(places, N), D)
        masked = choose(table((true, false, false, true), D), x, 0)
        (scaled, chosen, masked, table(places, N))
      }
    }
    """


def test_a_table_is_a_constant_tensor() -> None:
    x = numbers(3, 4)
    factors = np.array([1, 0.5, 2, 4])
    found = assert_agrees(compiled(TABLES), {"x": x}).values
    assert close(found[0], x * factors + 0.5 / factors)
    assert close(found[1], x[:, [2, 0]])
    assert close(found[2], x * [1, 0, 0, 1])
    assert found[3].tolist() == [2, 0] and found[3].dtype == np.int64


def test_a_table_is_no_weight_and_a_long_one_stands_at_the_top_of_the_file() -> None:
    entries = ", ".join(f"{i}.5" for i in range(64))
    text = f"""
        use nn: Linear
        fn scaled(x: [.., D], by: reals) -> [.., D] {{ x * table(by, D) }}
        model M(D: dim = 64, factors: reals = ({entries})) {{
          up = Linear(D, D)
          forward(x: [B, D]) -> [B, D] {{ scaled(up(scaled(x, factors)), factors) }}
        }}
        """
    module = compiled(text)
    source = source_of(module)
    assert source.count("63.5") == 1 and max(map(len, source.splitlines())) <= 120
    assert list(network(module, random_weights(module)).state_dict()) == ["up.weight"]
    assert_agrees(module)


def test_a_table_compiles_without_a_break() -> None:
    module = compiled(TABLES)
    model = network(module, {})
    x = torch.randn(3, 4)
    found = torch.compile(model, fullgraph=True, backend="eager")(x)
    assert all(torch.equal(a, b) for a, b in zip(found, model(x), strict=True))


def test_a_table_in_onnx(tmp_path: Path) -> None:
    agree(compiled(TABLES), {"x": numbers(3, 4)}, {}, tmp_path)


def test_tables_print_and_parse_and_fold_into_one() -> None:
    module = compiled(TABLES)
    assert same(parse_module(print_module(module)), module)
    folded = Fold().run(module).main.graph
    assert (0.5, 1.0, 0.25, 0.125) in [n["values"] for n in folded.nodes() if n.op == "table"]
    assert not any(n.op == "div" for n in folded.nodes())


def test_tables_and_steps_go_together() -> None:
    text = """
        model M(D: dim = 4) {
          stream T as S
          param rows: [V, D]
          forward(tokens: int[B, T]) -> [B, T, D] { take(rows, tokens, V) * table((1, 2, 3, 4), D) }
        }
        """.replace("(D: dim = 4)", "(D: dim = 4, V: dim = 7)")
    assert not step(compiled(text)).main.states


def test_a_new_axis_of_a_table_does_not_meet_one_of_the_caller() -> None:
    text = """
        fn lifted(x: [..]) -> [..] { sum(x * table((1, 2, 3), N), N) }
        model M { forward(x: [B, N]) -> [B, N] { lifted(x) } }
        """
    assert close(values(text, x=numbers(2, 5))[0], numbers(2, 5) * 6)
