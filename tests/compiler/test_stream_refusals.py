"""Programs that see the future, or that have no form token by token, are refused where they do it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from modules import B, Body, T, axis, real
from streams import compiled, mixing
from weft.compiler.ir.module import Instance, Module
from weft.compiler.stream import rows, step
from weft.lang.diagnostics import Diagnostic, WeftError


def refused(act: Callable[[], object]) -> Diagnostic:
    with pytest.raises(WeftError) as caught:
        act()
    (diagnostic,) = caught.value.diagnostics
    return diagnostic


def mix(*lines: str, members: str = "", before: str = "") -> str:
    body = "\n".join(f"    {line}" for line in lines)
    return f"{before}\nblock Mix(D: dim) {{\n{members}\n  forward(x: [.., T, D]) -> [.., T, D] {{\n{body}\n  }}\n}}"


KEYS = "keys = rename(x, T -> S)"
FUTURE = {
    "a mean over time": ("E0501", "mean(x, T)", mix("x - mean(x, T)")),
    "a softmax over time": ("E0501", "softmax(x, T)", mix("x * softmax(x, T)")),
    "the best of all tokens": ("E0501", "argmax(x, T)", mix("x * argmax(x, T)")),
    "softmax without a mask": (
        "E0502", "softmax(dot(x, keys, D), S)", mix(KEYS, "dot(softmax(dot(x, keys, D), S), keys, S)"),
    ),
    "a mask that looks one ahead": (
        "E0502", "softmax(dot(x, keys, D), S where seen)",
        mix(KEYS, "seen = position(S) <= position(T) + 1", "dot(softmax(dot(x, keys, D), S where seen), keys, S)"),
    ),
    "a mask that sometimes looks ahead": (
        "E0502", "softmax(dot(x, keys, D), S where seen)",
        mix(
            KEYS, "seen = position(S) <= position(T) or position(S) < 4",
            "dot(softmax(dot(x, keys, D), S where seen), keys, S)",
        ),
    ),
    "a mask the wrong way round": (
        "E0502", "softmax(dot(x, keys, D), S where seen)",
        mix(KEYS, "seen = position(T) <= position(S)", "dot(softmax(dot(x, keys, D), S where seen), keys, S)"),
    ),
    "a contraction without a mask": ("E0502", "dot(y, keys, S)", mix(KEYS, "y = dot(x, keys, D)", "dot(y, keys, S)")),
    "weights that are not zero outside the mask": (
        "E0502", "dot(y, keys, S)",
        mix(KEYS, "y = choose(position(S) <= position(T), dot(x, keys, D), 0.5)", "dot(y, keys, S)"),
    ),
    "a sum of all that was": ("E0502", "sum(keys, S)", mix(KEYS, "x * sum(keys, S)")),
    "the largest score": ("E0502", "max(dot(x, keys, D), S)", mix(KEYS, "x * max(dot(x, keys, D), S)")),
    "the number of a slot": ("E0503", "index(T)", mix("x * index(T)")),
    "a shift of the history": ("E0503", "shift(keys, S, by = 1)", mix(KEYS, "x * sum(shift(keys, S, by = 1), S)")),
    "a mean over what was": (
        "E0504", "mean(y, S)",
        mix(KEYS, "y = choose(position(S) <= position(T), dot(x, keys, D), 0)", "x * mean(y, S)"),
    ),
    "the smallest score of all": (
        "E0502", "min(dot(x, keys, D), S where true)", mix(KEYS, "x * min(dot(x, keys, D), S where true)"),
    ),
    "a mean under a mask that looks ahead": (
        "E0502", "mean(keys, S where position(T) <= position(S))",
        mix(KEYS, "x * mean(keys, S where position(T) <= position(S))"),
    ),
    "the best of the future": (
        "E0502", "best(dot(x, keys, D), 2, S where position(S) < 9)",
        mix(KEYS, "x * sum(real(best(dot(x, keys, D), 2, S where position(S) < 9)), S)"),
    ),
    "the next token": ("E0501", "shift(x, T, by = -1)", mix("x + shift(x, T, by = -1)")),
    "the number of tokens": ("E0504", "size(T)", mix("x / size(T)")),
    "a running sum along the stream": ("E0503", "cumsum(x, T)", mix("cumsum(x, T)")),
    "a delay inside a scan": (
        "E0506", "shift(x, T, by = 1)",
        mix("scan D from s: [.., T] = 0 {", "  next s = s + shift(x, T, by = 1)", "  yield s", "}"),
    ),
}


@pytest.mark.parametrize("case", FUTURE)
def test_a_program_that_cannot_stream_is_refused_at_the_place(case: str) -> None:
    code, text, spec = FUTURE[case]
    found = refused(lambda: step(mixing(spec)))
    assert found.code == code
    assert found.primary is not None and found.primary.span.text == text
    assert "stream T as S" in [label.span.text for label in found.labels]
    assert found.help


def test_a_mask_given_to_a_library_block_is_shown_with_the_calls_that_led_there() -> None:
    spec = mix("attn(x)", members="  attn = Attention(D, 2, mask = full)")
    found = refused(lambda: step(mixing(spec)))
    assert found.code == "E0502"
    assert found.primary is not None and found.primary.span.text == "softmax(scores, S where mask)"
    shown = {label.span.text: label.text for label in found.labels}
    assert "does not imply" in shown["mask(position(T), position(S))"]
    assert shown["attn(x)"] == "called here"


def test_a_penalty_may_look_at_all_tokens() -> None:
    step(mixing(mix("penalty size = mean(x ^ 2, .., T, D)", "x")))


@pytest.mark.parametrize("mask", [
    "position(S) < position(T)",
    "not (position(S) > position(T))",
    "position(T) >= position(S) and position(S) != 3",
    "position(T) - position(S) >= 0",
    "2 * position(S) <= 2 * position(T)",
    "position(S) <= position(T) and (position(S) < 2 or position(T) - position(S) < 3)",
    "causal(position(T), position(S)) and window(position(T), position(S), width = 3)",
    "abs(position(T) - position(S)) < 3 and position(S) <= position(T)",
    "position(S) == position(T)",
])
def test_a_mask_that_implies_the_past_is_proved(mask: str) -> None:
    step(mixing(mix(KEYS, f"dot(softmax(dot(x, keys, D), S where {mask}), keys, S)")))


def test_a_model_without_a_stream_has_no_step() -> None:
    text = "use models.bert: Bert\nmodel Demo = Bert with {\n  D = 16\n  H = 4\n  layers = 1\n}\n"
    assert refused(lambda: step(compiled(text))).code == "E0509"


ROWS = {
    "the mean of the rows": ("mean(x, B)", "dot(x - mean(x, B), table, D)"),
    "the mean of the tokens": ("mean(x, T)", "dot(x - mean(x, T), table, D)"),
}


@pytest.mark.parametrize("case", ROWS)
def test_a_program_that_mixes_rows_cannot_be_padded(case: str) -> None:
    text, line = ROWS[case]
    spec = f"""model Demo(V: dim = 13, D: dim = 8) {{
  param table: [V, D] = normal(std = 1.0)
  forward(tokens: int[B, T]) -> [B, T, V] {{
    x = take(table, tokens, V)
    {line}
  }}
}}
"""
    found = refused(lambda: rows(compiled(spec)))
    assert found.code == "E0507"
    assert found.primary is not None and found.primary.span.text == text


def test_rows_need_an_axis_of_rows() -> None:
    spec = """model Demo(V: dim = 13, D: dim = 8) {
  param table: [V, D] = normal(std = 1.0)
  forward(tokens: int[T]) -> [T, D] { take(table, tokens, V) }
}
"""
    assert refused(lambda: rows(compiled(spec))).code == "E0510"


def test_the_history_does_not_become_the_stream_again() -> None:
    b = Body(x=real(B, T))
    back = b.rename(b.rename(b.given[0], axis="T", to=axis("S")), axis="S", to=T)
    entry = b.done("Back.forward", back)
    module = Module("Back", {entry.name: entry}, entry.name, Instance("Back"), ("T", "S"), "full", "B", "T")
    for act in (step, rows):
        assert refused(lambda act=act: act(module)).code == "E0505"
