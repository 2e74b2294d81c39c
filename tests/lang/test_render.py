"""Diagnostics look as the design shows them, and are harmless to the terminal they are shown in."""

from __future__ import annotations

import json
import re

from weft.lang.diagnostics import Diagnostic, Fix, Label
from weft.lang.render import MAX_WIDTH, render, to_json
from weft.lang.source import Source, Span

TINY = Source(
    "tiny.llm",
    "\n" * 15 + "  k = Linear(D, (G, K))\n  forward(x) {\n    scores = dot(q(x), k(x), D)\n  }\n",
)


def span(source: Source, text: str, nth: int = 0) -> Span:
    start = -1
    for _ in range(nth + 1):
        start = source.text.index(text, start + 1)
    return Span(source, start, start + len(text))


def example() -> Diagnostic:
    return Diagnostic(
        "E0312",
        "`D` is not an axis of both operands",
        Label(span(TINY, "D", 1), "contracted here"),
        labels=(Label(span(TINY, "(G, K)"), "so `k(x)` is [.., T, G, K]"),),
        help=("did you mean `K`? Both operands have it.",),
    )


def shown(*labels: Label, **rest: object) -> list[str]:
    diagnostic = Diagnostic("E0001", "wrong", labels[0] if labels else None, tuple(labels[1:]), **rest)  # type: ignore[arg-type]
    return render([diagnostic], color=False).splitlines()


def test_a_diagnostic_looks_as_in_the_design() -> None:
    assert (
        render([example()], color=False)
        == """\
error[E0312]: `D` is not an axis of both operands
  --> tiny.llm:18:30
   |
16 |   k = Linear(D, (G, K))
   |                 ------ so `k(x)` is [.., T, G, K]
18 |     scores = dot(q(x), k(x), D)
   |                              ^ contracted here
   = help: did you mean `K`? Both operands have it.
"""
    )


def test_several_diagnostics_are_parted_by_a_blank_line() -> None:
    assert render([example(), example()], color=False) == f"{render([example()])}\n{render([example()])}"
    assert render([]) == ""


def test_labels_on_one_line_hang_below_each_other() -> None:
    source = Source("a.llm", "one two three")
    lines = shown(*(Label(span(source, word), f"is {word}") for word in ("two", "one", "three")))
    assert lines[3:] == [
        "1 | one two three",
        "  | --- ^^^ ----- is three",
        "  | |   |",
        "  | |   is two",
        "  | |",
        "  | is one",
    ]


def test_a_label_over_several_lines_marks_the_first_and_the_last() -> None:
    source = Source("a.llm", "fn a() {\n  1\n}\nrest")
    assert shown(Label(Span(source, 3, 14), "all of it"))[3:] == [
        "1 | fn a() {",
        "  |    ^^^^^",
        "3 | }",
        "  | ^ all of it",
    ]


def test_a_label_at_the_end_of_a_line_or_file_stands_behind_it() -> None:
    source = Source("a.llm", "one\ntwo")
    assert shown(Label(Span(source, 3, 4), "here"))[3:] == ["1 | one", "  |    ^ here"]
    assert shown(Label(Span(source, 7, 8), "here"))[3:] == ["2 | two", "  |    ^ here"]
    assert shown(Label(Span(Source("e.llm", ""), 0, 1), "here"))[3:] == ["1 |", "  | ^ here"]


def test_labels_in_other_files_name_them() -> None:
    one, two = Source("one.llm", "a = 1"), Source("two.llm", "\nb = 2")
    lines = shown(Label(span(one, "a"), "first"), Label(span(two, "b"), "second"))
    assert lines[1:] == [
        " --> one.llm:1:1",
        "  |",
        "1 | a = 1",
        "  | ^ first",
        " ::: two.llm:2:1",
        "  |",
        "2 | b = 2",
        "  | - second",
    ]


def test_notes_come_before_help_and_keep_their_lines() -> None:
    assert shown(notes=("one\ntwo",), help=("three",)) == [
        "error[E0001]: wrong",
        "  = note: one",
        "          two",
        "  = help: three",
    ]


def test_tabs_and_wide_characters_keep_the_caret_in_place() -> None:
    source = Source("a.llm", '\t"漢字" x')
    line, marks = shown(Label(span(source, "x"), "here"))[3:]
    assert line == '1 |     "漢字" x'
    assert marks.index("^") == line.index("x") + 2  # each of the two characters is two columns wide


def test_nothing_in_a_source_acts_on_the_terminal() -> None:
    source = Source("\x1b[2J.llm", "a \x1b[31m b \u202e c \x07")
    text = render([Diagnostic("E0001", "\x1b]0;title\x07", Label(span(source, "b"), "\x1b[0m"))], color=False)
    assert re.search("[\x00-\x09\x0b-\x1f\x7f\u202e]", text) is None


def test_a_very_long_line_is_cut_around_its_mark() -> None:
    source = Source("a.llm", "x" * 5000 + "HERE" + "y" * 5000)
    line, marks = shown(Label(span(source, "HERE"), "here"))[3:]
    assert len(line) <= MAX_WIDTH + 6 and line.count("…") == 2
    assert line[marks.index("^") : marks.rindex("^") + 1] == "HERE"


def test_colour_adds_only_colour() -> None:
    coloured = render([example()], color=True)
    assert "\x1b[" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == render([example()], color=False)


def test_json_has_lines_and_columns_counted_from_one() -> None:
    diagnostic = Diagnostic(
        "E0113",
        "wrong sign",
        Label(span(TINY, "D", 1), "here"),
        notes=("a note",),
        fixes=(Fix(span(TINY, "D", 1), "K"),),
        severity="warning",
    )
    place = {"file": "tiny.llm", "line": 18, "column": 30, "end": {"line": 18, "column": 31}}
    found = json.loads(json.dumps(to_json(diagnostic)))
    assert found == {
        "code": "E0113",
        "severity": "warning",
        "message": "wrong sign",
        **place,
        "label": "here",
        "labels": [],
        "notes": ["a note"],
        "help": [],
        "fixes": [{"replacement": "K", **place}],
    }


def test_json_of_a_diagnostic_without_a_place() -> None:
    found = to_json(Diagnostic("E0901", "no such file"))
    assert (found["file"], found["line"], found["column"], found["end"]) == (None, None, None, None)
