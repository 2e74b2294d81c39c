"""The documents hold: every example in them is checked, and nothing of the language is left out of the reference.

Blocks marked `llm` check without a finding, `llm-part` (and those of the README) are excerpts that parse, and
`llm-error CODE` give that error. Blocks marked `python` run in the order of their page, in one namespace, and print
what the block marked `text` after them holds.
"""

from __future__ import annotations

import contextlib
import io
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
from weft.compiler.check import check
from weft.compiler.lower.builtins import BUILTINS
from weft.compiler.lower.parameters import KINDS
from weft.lang import errors
from weft.lang.explain import explain
from weft.lang.format import format_source
from weft.lang.grammar import grammar
from weft.lang.parser import parse
from weft.lang.program import STDLIB, load_source
from weft.lang.render import render
from weft.lang.source import Source
from weft.lang.words import ITEMS, UNITS

ROOT = Path(__file__).resolve().parent.parent
LANGUAGE = (ROOT / "docs" / "language.md").read_text("utf-8")
DOCUMENTS = sorted((*(ROOT / "docs").glob("*.md"), ROOT / "README.md"))
FENCE = re.compile(r"^```(llm\S*)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks() -> list[tuple[str, str, str, str]]:
    """`(where, tag, code, text)` of every block of Weft in the documents."""
    found = []
    for document in DOCUMENTS:
        text = document.read_text("utf-8")
        for match in FENCE.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            tag = "llm-part" if document.name == "README.md" else match[1]
            found.append((f"{document.name}:{line}", tag, match[2] or "", match[3]))
    return found


def diagnose(name: str, text: str) -> list[errors.Diagnostic]:
    return list(check(load_source(Source(name, text))).diagnostics)


@pytest.mark.parametrize(("where", "tag", "code", "text"), blocks(), ids=[b[0] for b in blocks()])
def test_the_example_is_what_it_says(where: str, tag: str, code: str, text: str) -> None:
    if tag == "llm-part":
        shapes = (text, f"block X {{\n{text}\n}}", f"fn x() {{\n{text}\n}}")
        assert any(parse(Source(where, shape))[1] == () for shape in shapes), "not even an excerpt"
        return
    found = diagnose(where, text)
    if tag == "llm-error":
        assert [d.code for d in found] == [code], render(found)
    else:
        assert tag == "llm" and found == [], render(found)


@pytest.mark.parametrize(("where", "text"), [(b[0], b[3]) for b in blocks() if b[1] != "llm-part"])
def test_the_example_has_the_one_style(where: str, text: str) -> None:
    assert format_source(Source(where, text)) == text


def test_the_message_shown_in_the_reference_is_the_message_given() -> None:
    (shown,) = re.findall(r"^```text\n(error.*?)^```$", LANGUAGE, re.MULTILINE | re.DOTALL)
    (text,) = [b[3] for b in blocks() if b[2] == "E0312" and b[0].startswith("language")]
    assert render(diagnose("scores.llm", text)) == shown


PYTHON = re.compile(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```$)?", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", ["passes.md"])
def test_the_python_of_a_page_runs_and_prints_what_stands_below_it(page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / "docs" / page).read_text("utf-8")
    module = ModuleType("page")
    monkeypatch.setitem(sys.modules, "page", module)  # where dataclasses look up their own module
    found = list(PYTHON.finditer(text))
    assert len(found) > 5
    for block in found:
        line = text.count("\n", 0, block.start(1)) + 1
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile("\n" * (line - 1) + block[1], str(ROOT / "docs" / page), "exec"), module.__dict__)
        assert printed.getvalue().strip() == (block[2] or "").strip(), f"{page}:{line}"


@pytest.mark.parametrize("name", sorted(BUILTINS))
def test_the_reference_lists_every_name_of_the_kernel(name: str) -> None:
    assert re.search(rf"`{name}\b", LANGUAGE)


def test_the_reference_names_every_keyword_kind_and_unit() -> None:
    for word in (*grammar().keywords, *ITEMS, *UNITS, *KINDS):
        assert re.search(rf"\b{word}\b", LANGUAGE), word


def test_the_reference_lists_every_item_of_the_standard_library() -> None:
    table = LANGUAGE[LANGUAGE.index("## Files") : LANGUAGE.index("## Limits")]
    for path in sorted(STDLIB.glob("*.llm")):
        program = load_source(Source(path.name, path.read_text("utf-8")))
        (row,) = [line for line in table.splitlines() if line.startswith(f"| `{path.stem}` |")]
        for name in program.main.items:
            assert f"`{name}`" in row or path.stem == "rules", f"{path.stem}: {name}"


@pytest.mark.parametrize("code", sorted(c for c in errors.CODES if c[:3] in ("E02", "E03", "E04", "E06")))
def test_the_examples_on_the_page_of_an_error_are_wrong_and_right(code: str) -> None:
    examples = re.findall("```llm\n(.*?)```", explain(code), re.DOTALL)
    if not examples:
        assert code in ("E0207", "E0208", "E0209", "E0210"), "only files and commands cause these"
        return
    wrong, right = examples
    assert [d.code for d in diagnose("wrong.llm", wrong)] == [code]
    assert diagnose("right.llm", right) == []
