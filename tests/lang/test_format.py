"""The formatter has one style, loses nothing, and is content with what it wrote."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from weft.lang import format as formatter
from weft.lang.diagnostics import WeftError
from weft.lang.format import format_source
from weft.lang.parser import parse
from weft.lang.scanner import scan
from weft.lang.source import Source

SAMPLES = sorted((Path(__file__).parent / "samples").glob("*.llm"))
STDLIB = sorted((Path(__file__).parents[2] / "stdlib").rglob("*.llm"))


def formatted(text: str) -> str:
    return format_source(Source("test.llm", text))


def same(text: str) -> None:
    """The text is in the style already."""
    assert formatted(text) == text


@pytest.mark.parametrize("path", [*SAMPLES, *STDLIB], ids=lambda p: p.name)
def test_formatting_twice_changes_nothing_more(path: Path) -> None:
    once = formatted(path.read_text("utf-8"))
    assert formatted(once) == once
    assert max(len(line.split("#")[0].rstrip()) for line in once.splitlines()) <= 120


def test_space_is_put_where_it_belongs() -> None:
    assert formatted("fn  f( x:int[ T ],y=3 )->[T]{x+y*-2|>g(a=1,T->S)}") == (
        "fn f(x: int[T], y = 3) -> [T] { x + y * -2 |> g(a = 1, T -> S) }\n"
    )


def test_lists_and_their_entries() -> None:
    same('model M(a: strings = ("x", "y"), b: ints = (8,), c: reals = ()) { p = a[i + 1].f(b)[0] }\n')
    assert formatted("fn f( x ){(a+b) [ i ]*( - c)[0]^2}") == "fn f(x) { (a + b)[i] * (-c)[0] ^ 2 }\n"


def test_equal_signs_of_neighbouring_names_stand_below_each_other() -> None:
    same(
        """\
block B(D: dim) {
  norm = RMSNorm(D)
  attn = Attention(D)

  up   = Linear(D)
  down = repeat 3 {
    q = Linear(D)
    scale = 3
  }
  x_norm = RMSNorm(D)
}
"""
    )


def test_comments_behind_neighbouring_lines_stand_below_each_other() -> None:
    assert formatted("fn f(x) {  # one\n  ab = 1 # two\n  c2d = 2      # three\n\n  a # four\n}# five\n") == (
        "fn f(x) {  # one\n  ab  = 1  # two\n  c2d = 2  # three\n\n  a  # four\n}    # five\n"
    )


def test_a_long_parameter_list_has_one_parameter_on_a_line() -> None:
    parameters = [f"parameter_{i}: dim = {i}" for i in range(8)]
    long = f"block B({', '.join(parameters)}) {{ }}\n"
    broken = "block B(\n" + "".join(f"  {p},\n" for p in parameters) + ") { }\n"
    assert formatted(long) == broken
    same(broken)


def test_a_long_pipe_has_one_step_on_a_line() -> None:
    steps = [f"step_{i}(width = {i})" for i in range(10)]
    assert formatted(f"fn f(x) {{ x |> {' |> '.join(steps)} }}") == (
        "fn f(x) {\n  x\n" + "".join(f"    |> {s}\n" for s in steps) + "}\n"
    )


def test_a_long_difference_breaks_behind_its_minus() -> None:
    names = [f"quite_a_long_name_{i}" for i in range(8)]
    text = formatted(f"fn f() {{ {' - '.join(names)} }}")
    assert " -\n" in text and "\n    - " not in text
    same(text)


def test_brackets_that_change_nothing_go_and_those_that_help_stay() -> None:
    assert formatted("fn f() { ((a)) + (b * c) + (f(x)) ^ (-(d)) }") == "fn f() { a + (b * c) + f(x) ^ (-d) }\n"
    assert formatted("fn f() { (a + b) * c - (d - e) - (if a { 1 } else { 2 })(x) }") == (
        "fn f() { (a + b) * c - (d - e) - (if a { 1 } else { 2 })(x) }\n"
    )


def test_one_blank_line_stays_and_items_of_several_lines_stand_apart() -> None:
    assert formatted(
        "\n\nuse a\n\n\n\nuse b\nfn f() {\n\n\n  a = 1\n\n\n  a\n\n}\nfn g() { 1 }\nfn h() { 1 }\n\n\n"
    ) == ("use a\n\nuse b\n\nfn f() {\n  a = 1\n\n  a\n}\n\nfn g() { 1 }\nfn h() { 1 }\n")


def test_comments_stay_with_what_they_speak_of() -> None:
    same(
        """\
# about the file

## about the item
## in two lines
block B(
  D: dim,  # the width
  # the heads
  H: dim,
  # no more
) {
  # first
  q = Linear(D)  # behind

  # last
}

fn f(x) {
  x
    |> g  # a step
    # another
    |> h(
      1,  # one
      2,
    )
}
# the end
"""
    )


def test_a_comment_in_an_odd_place_moves_up_but_is_not_lost() -> None:
    assert formatted("## doc\nuse a: b,  # odd\n  c,\n  # odder\n  d\n") == "# odd\n# odder\n\n## doc\nuse a: b, c, d\n"
    assert formatted("fn f() {\n  ((a  # odd\n  ))\n}\n") == "fn f() {\n  a  # odd\n}\n"


def test_a_choice_is_on_one_line_or_all_of_it_on_several() -> None:
    same("fn f(a) { if a { 1 } else if b { 2 } else { 3 } }\n")
    assert formatted("fn f(a) {\n  if a { 1 } else {\n 2 }\n}\n") == (
        "fn f(a) {\n  if a {\n    1\n  } else {\n    2\n  }\n}\n"
    )


def test_strings_and_numbers_are_written_as_they_were() -> None:
    same('fn f() { g("a\\n\\"\\\\\\t é", 128_256, 1e-5, 3.50) }\n')


def test_a_text_that_does_not_parse_is_not_formatted() -> None:
    with pytest.raises(WeftError) as caught:
        formatted("fn f( { }")
    assert [d.code for d in caught.value.diagnostics] == ["E0106"]


def test_empty_texts_stay_empty() -> None:
    assert formatted("") == formatted("\n\n \n") == ""
    assert formatted("\n# a\n\n\n# b") == "# a\n\n# b\n"


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (lambda text: text.replace("+", "-"), "change the meaning"),
        (lambda text: text.replace("# one", "# two"), "lose a comment"),
        (lambda text: text.replace("}", ""), "does not parse"),
        (lambda text: "", "lose an item"),
        (lambda text: text.replace("## doc", "#  doc"), "change the meaning"),
    ],
)
def test_a_formatter_that_does_harm_is_caught(harm: object, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "## doc\nfn f(a) { a + 1 }  # one\n"
    lay_out = formatter.lay_out
    monkeypatch.setattr(formatter, "lay_out", lambda document: harm(lay_out(document)))  # type: ignore[operator]
    with pytest.raises(WeftError) as caught:
        formatted(text)
    (found,) = caught.value.diagnostics
    assert found.code == "E0191" and reason in found.title


def test_a_formatter_that_is_not_content_with_its_own_text_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    spaces = (" " * (i % 3) for i in range(99))
    lay_out = formatter.lay_out
    monkeypatch.setattr(formatter, "lay_out", lambda document: next(spaces) + lay_out(document))
    with pytest.raises(WeftError, match="another text"):
        formatted("use a\n")


def test_the_deepest_texts_that_are_taken_can_be_formatted() -> None:
    nested = "x"
    for _ in range(20):
        nested = f"f(1 + -{nested}, if a {{ y }} else {{ z }})"
    sums = "1" + " + 1" * 110
    for text in (
        "(" * 98 + "1" + ")" * 98,
        "f(" * 50 + "1" + ")" * 50,
        sums,
        "a" + ".b" * 110,
        "-" * 110 + "1",
        nested,
    ):
        assert formatted(f"fn f() {{ {text} }}")


def test_comments_and_line_ends_in_any_place_are_kept() -> None:
    texts = [p.read_text("utf-8") for p in [*SAMPLES, *STDLIB]]
    draw = random.Random(4)
    changed = 0
    for number in range(40):
        text = draw.choice(texts)
        for _ in range(draw.randint(1, 4)):
            token = draw.choice(scan(Source("", text)).tokens)
            place = draw.choice([token.start_pos or 0, token.end_pos or 0])
            inserted = draw.choice(["\n", f" # c{number}\n", f"\n## d{number}\n", "\n\n\n", "\n# e\n# f\n\n", "  "])
            candidate = text[:place] + inserted + text[place:]
            if not parse(Source("", candidate))[1]:
                text = candidate
                changed += 1
        formatted(text)
    assert changed > 25
