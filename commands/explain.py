"""`weft explain`: the page of an error code."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from rich.markdown import Markdown

from ..lang.errors import CODES
from ..lang.explain import explain
from .command import Command
from .terminal import Terminal


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument("code", metavar="CODE", nargs="?", help="an error code: E0312, e0312 or 312 (default: all)")
    parser.add_argument("--json", action="store_true", help="print `{code, title, page}`")


def _run(arguments: Namespace, terminal: Terminal) -> int:
    if arguments.code is None:
        if arguments.json:
            terminal.json([{"code": code, "title": title} for code, title in sorted(CODES.items())])
        else:
            terminal.write("".join(f"{code}  {title}\n" for code, title in sorted(CODES.items())))
        return 0
    page = explain(arguments.code)
    if arguments.json:
        code = page.removeprefix("# ").split(":", 1)[0]
        terminal.json({"code": code, "title": CODES[code], "page": page})
    elif terminal.out.is_terminal:
        terminal.show(Markdown(page))
    else:
        terminal.write(page)
    return 0


COMMAND = Command(
    "explain",
    "the page of an error code: what it means, a wrong and a right example",
    """\
examples:
  weft explain E0312
  weft explain              all codes with their titles

prints the page as Markdown; an unknown code names the nearest ones.
exit codes: 0 the page was printed, 1 there is no such code""",
    _arguments,
    _run,
)
