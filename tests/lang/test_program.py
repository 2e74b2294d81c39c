"""Files find each other through `use`: beside the file that asks, or in the standard library."""

from __future__ import annotations

from pathlib import Path

import pytest
from weft.lang.diagnostics import WeftError
from weft.lang.program import Program, load


def loaded(folder: Path, **files: str) -> Program:
    """The program of `main.llm`; `a__b` is the file `a/b.llm`."""
    for name, text in files.items():
        path = folder / f"{name.replace('__', '/')}.llm"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return load(folder / "main.llm")


def codes(program: Program) -> list[str]:
    return [d.code for d in program.diagnostics]


def home(program: Program, name: str) -> str:
    found = program.main.find(name)
    assert found is not None
    return found[0].prefix


FN = "fn {}(x: [..]) -> [..] {{ x }}\n"


def test_a_file_beside_the_main_one_is_found(tmp_path: Path) -> None:
    program = loaded(
        tmp_path,
        main="use layers: mine\nuse parts.deep: other\n",
        layers=FN.format("mine"),
        parts__deep=FN.format("other"),
    )
    assert codes(program) == []
    assert (home(program, "mine"), home(program, "other")) == ("layers", "parts.deep")


def test_a_file_without_names_after_it_brings_all_it_declares_and_nothing_it_uses(tmp_path: Path) -> None:
    program = loaded(tmp_path, main="use layers\n", layers="use nn: relu\n" + FN.format("one") + FN.format("two"))
    assert program.main.names() == ["one", "two"]


def test_the_standard_library_has_names_of_its_own(tmp_path: Path) -> None:
    program = loaded(tmp_path, main="use nn: relu\nuse models.llama: Llama3\n")
    assert (home(program, "relu"), home(program, "Llama3")) == ("weft.nn", "weft.models.llama")


def test_no_file_of_a_user_passes_for_one_of_the_standard_library(tmp_path: Path) -> None:
    program = loaded(tmp_path, main="use weft.nn: rms_norm\n", weft__nn=FN.format("rms_norm"))
    assert codes(program) == [] and home(program, "rms_norm") == "here.weft.nn"


def test_files_in_different_folders_may_have_one_name(tmp_path: Path) -> None:
    program = loaded(
        tmp_path, main="use sub.a: from_a\nuse b: here\n", sub__a="use b: there\n" + FN.format("from_a"),
        sub__b=FN.format("there"), b=FN.format("here"),
    )
    assert codes(program) == []
    assert set(program.units) >= {"main", "sub.a", "sub.b", "b"}


def test_files_may_use_each_other(tmp_path: Path) -> None:
    program = loaded(
        tmp_path, main="use a: one\n", a="use b: two\n" + FN.format("one"), b="use a: one\n" + FN.format("two")
    )
    assert codes(program) == []


@pytest.mark.parametrize(
    ("main", "code"),
    [
        ("use layers: mine\nuse more: mine\n", "E0202"),
        ("use layers: mine\n" + FN.format("mine"), "E0202"),
        ("use layer: mine\n", "E0203"),
        ("use layers: mina\n", "E0204"),
    ],
)
def test_a_use_that_cannot_be_is_refused(tmp_path: Path, main: str, code: str) -> None:
    program = loaded(tmp_path, main=main, layers=FN.format("mine"), more=FN.format("mine"))
    assert codes(program) == [code]


def test_the_same_item_may_be_brought_in_twice(tmp_path: Path) -> None:
    assert codes(loaded(tmp_path, main="use nn: relu\nuse nn\n")) == []


def test_a_file_beside_the_main_one_never_hides_the_standard_library(tmp_path: Path) -> None:
    assert codes(loaded(tmp_path, main="use nn: relu\n", nn=FN.format("relu"))) == ["E0208"]


def test_a_mistake_in_a_used_file_is_reported_once_and_there(tmp_path: Path) -> None:
    program = loaded(tmp_path, main="use layers: mine\n", layers="fn mine(x: [..] -> [..] { x }\n")
    (found,) = program.diagnostics
    assert found.primary is not None and found.primary.span.source.path.endswith("layers.llm")


def test_a_file_that_cannot_be_read_is_a_diagnostic(tmp_path: Path) -> None:
    with pytest.raises(WeftError) as caught:
        load(tmp_path / "none.llm")
    assert [d.code for d in caught.value.diagnostics] == ["E0209"]
    (tmp_path / "latin.llm").write_bytes("# caf\xe9".encode("latin-1"))
    with pytest.raises(WeftError) as caught:
        load(tmp_path / "latin.llm")
    assert [d.code for d in caught.value.diagnostics] == ["E0210"]
