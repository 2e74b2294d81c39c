"""`weft fmt`: the one style of `.llm` files."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from ..lang.diagnostics import WeftError
from ..lang.format import format_source
from ..lang.program import read
from .command import Command
from .specs import write_file
from .terminal import Terminal


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument("files", metavar="FILE", nargs="+", help="`.llm` files, or folders with `.llm` files in them")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a file is not in the style")


def _run(arguments: Namespace, terminal: Terminal) -> int:
    changed = failed = 0
    for path in _expanded(arguments.files):
        try:
            source = read(path)
            text = format_source(source)
        except WeftError as error:
            terminal.complain(*error.diagnostics)
            failed += 1
            continue
        if text == source.text:
            continue
        changed += 1
        if arguments.check:
            terminal.write(f"would change {path}\n")
        else:
            write_file(path, text)
            terminal.write(f"formatted {path}\n")
    return 1 if failed or (changed and arguments.check) else 0


def _expanded(paths: list[str]) -> list[Path]:
    """Every file that is named, and every `.llm` file in folders that are."""
    found: dict[Path, None] = {}
    for path in map(Path, paths):
        found |= dict.fromkeys(sorted(path.rglob("*.llm")) if path.is_dir() else [path])
    return list(found)


COMMAND = Command(
    "fmt",
    "put files into the one style; there are no options",
    """\
examples:
  weft fmt model.llm
  weft fmt --check specs/   for CI: names the files that would change

prints the files that change. Each run checks itself: the formatted text means the same, keeps every comment, and
formatting it again changes nothing; else the file stays as it is.
exit codes: 0 fine, 1 a file does not parse, or (with --check) is not in the style""",
    _arguments,
    _run,
)
