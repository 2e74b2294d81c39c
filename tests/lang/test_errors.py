"""Every error has a page and a golden file that shows it.

`golden/EXXXX.llm` holds a text that is wrong in that way and `golden/EXXXX.txt` what is said about it; an
error that no text can cause has `golden/EXXXX.py` instead, with a `trigger()` that raises it. After a change
of words, `python -m pytest tests/lang/test_errors.py --regenerate` writes the `.txt` files anew: review them.
"""

from __future__ import annotations

import inspect
import re
import runpy
from pathlib import Path

import pytest
from weft.compiler.check import check
from weft.lang import errors
from weft.lang.diagnostics import Diagnostic, WeftError
from weft.lang.explain import explain
from weft.lang.parser import parse
from weft.lang.program import STDLIB, load_source
from weft.lang.render import render
from weft.lang.source import Source

GOLDEN = Path(__file__).parent / "golden"
PAGES = Path(inspect.getfile(explain)).parent / "pages"


def diagnose(path: Path) -> list[Diagnostic]:
    """What checking a file finds, the file named without its folder."""
    return diagnose_text(path.name, path.read_text("utf-8"), path.parent)


def diagnose_text(name: str, text: str, folder: Path | None = None) -> list[Diagnostic]:
    try:
        return list(check(load_source(Source(name, text), folder)).diagnostics)
    except WeftError as error:
        return list(error.diagnostics)


def triggered(path: Path) -> list[Diagnostic]:
    """The diagnostics of the WeftError that `trigger()` of a Python file raises."""
    with pytest.raises(WeftError) as caught:
        runpy.run_path(str(path))["trigger"]()
    return list(caught.value.diagnostics)


@pytest.mark.parametrize("code", sorted(errors.CODES))
def test_the_code_has_a_golden_file_that_shows_it(code: str, request: pytest.FixtureRequest) -> None:
    text, script, golden = (GOLDEN / f"{code}.{ending}" for ending in ("llm", "py", "txt"))
    assert text.exists() != script.exists(), f"one of {text.name} and {script.name} has to show {code}"
    found = diagnose(text) if text.exists() else triggered(script)
    assert code in {d.code for d in found}, f"found {[d.code for d in found]} instead"
    shown = render(found, color=False).replace(f"{STDLIB.parent}/", "")  # wherever the project lies
    if request.config.getoption("--regenerate"):
        golden.write_text(shown, "utf-8")
    assert shown == golden.read_text("utf-8")


@pytest.mark.parametrize("code", sorted(errors.CODES))
def test_the_code_has_a_page_with_a_wrong_and_a_right_example(code: str) -> None:
    page = explain(code)
    assert page.startswith(f"# {code}: {errors.CODES[code]}\n")
    assert len(re.findall("^```", page, re.MULTILINE)) >= 4, "a wrong and a right example expected"


@pytest.mark.parametrize("code", sorted(c for c in errors.CODES if "E0100" < c < "E0190" and c != "E0111"))
def test_the_examples_on_a_syntax_page_are_wrong_and_right(code: str) -> None:
    wrong, right = re.findall("```llm\n(.*?)```", explain(code), re.DOTALL)
    assert [d.code for d in parse(Source("wrong.llm", wrong))[1]] == [code]
    assert parse(Source("right.llm", right))[1] == ()


def test_no_page_and_no_golden_file_is_left_of_a_code_that_is_gone() -> None:
    assert {p.stem for p in PAGES.iterdir()} <= set(errors.CODES)
    assert {p.stem for p in GOLDEN.iterdir() if re.fullmatch(r"E\d{4}\.\w+", p.name)} <= set(errors.CODES)


def test_a_code_may_be_asked_for_in_small_letters_or_as_a_number() -> None:
    assert explain("e0101") == explain("101") == explain(" E0101 ")


def test_an_unknown_code_names_the_nearest() -> None:
    with pytest.raises(WeftError) as caught:
        explain("E0199")
    (found,) = caught.value.diagnostics
    assert found.code == "E0190"
    assert "E0190" in found.help[0] or "E0191" in found.help[0]


def test_a_code_that_is_a_path_reaches_no_file() -> None:
    with pytest.raises(WeftError):
        explain("../errors")
