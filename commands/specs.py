"""Reading what commands are given: specs, their models, and files to write."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path

from ..compiler.compile import compile
from ..compiler.ir.module import Module
from ..lang import errors
from ..lang.diagnostics import WeftError
from ..lang.program import Program, load


def add_spec(parser: ArgumentParser, model: bool = True) -> None:
    """The arguments `FILE [MODEL]`."""
    parser.add_argument("file", metavar="FILE", help="a `.llm` file, or the folder of a run: its spec")
    if model:
        parser.add_argument("model", metavar="MODEL", nargs="?", help="one of its models (default: all of them)")


def spec_path(path: str) -> str:
    """The file that is meant: of the folder of a run, its spec."""
    return str(Path(path) / "spec.llm") if is_run(path) else path


def is_run(path: str) -> bool:
    """Whether this is the folder of a run."""
    return (Path(path) / "run.json").is_file()


def read_program(path: str) -> Program:
    """A parsed file, or that of a run, and all it uses. Raises WeftError when something does not parse or resolve."""
    program = load(spec_path(path))
    if any(d.severity == "error" for d in program.diagnostics):
        raise WeftError(*program.diagnostics)
    return program


def read_modules(path: str, model: str | None) -> tuple[Module, ...]:
    """The model of that name, or all models of the file when there is no name. Raises WeftError."""
    program = read_program(path)
    names = program.models if model is None else (model,)
    if not names:
        raise WeftError(errors.nothing_there("model", path))
    return tuple(compile(program, name) for name in names)


def choose(program: Program, model: str | None, level: str = "O1") -> Module:
    """One model: the one that is named, or the only one of the file. Raises WeftError."""
    names = program.models if model is None else (model,)
    if not names:
        raise WeftError(errors.nothing_there("model", program.main.source.path))
    if len(names) > 1:
        raise WeftError(errors.which_one("model", program.main.source.path, names))
    return compile(program, names[0], level=level)


def write_file(path: Path, text: str) -> None:
    """Write a text. Raises WeftError when the place cannot be written to."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise WeftError(errors.unwritable(str(path), error.strerror or "it cannot be written")) from error
