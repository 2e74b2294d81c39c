"""`weft explain`: the page of an error code, and what a name of the standard library takes and gives."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from rich.markdown import Markdown

from ..lang.errors import CODES
from ..lang.explain import explain
from ..lang.outline import outline
from .command import Command
from .terminal import Terminal


def _arguments(parser: ArgumentParser) -> None:
    help = "a code (E0312, e0312 or 312) or a name of the library (default: all codes)"
    parser.add_argument("code", metavar="WHAT", nargs="?", help=help)
    parser.add_argument("--json", action="store_true", help="print `{code, title, page}`; of a name `{name, page}`")


def _run(arguments: Namespace, terminal: Terminal) -> int:
    if arguments.code is None:
        if arguments.json:
            terminal.json([{"code": code, "title": title} for code, title in sorted(CODES.items())])
        else:
            terminal.write("".join(f"{code}  {title}\n" for code, title in sorted(CODES.items())))
        return 0
    named = outline(arguments.code)
    page = named or explain(arguments.code)
    if arguments.json and named:
        terminal.json({"name": arguments.code, "page": page})
    elif arguments.json:
        code = page.removeprefix("# ").split(":", 1)[0]
        terminal.json({"code": code, "title": CODES[code], "page": page})
    elif terminal.out.is_terminal:
        terminal.show(Markdown(page))
    else:
        terminal.write(page)
    return 0


COMMAND = Command(
    "explain",
    "the page of an error code, or of a name of the standard library",
    """\
examples:
  weft explain E0312
  weft explain RoPE         what it is, what it takes, what its methods give
  weft explain              all codes with their titles

prints the page as Markdown: of a code what it means, a wrong and a right example; of a name its documentation and its
signatures. What is unknown names the nearest.
exit codes: 0 the page was printed, 1 there is no such code or name""",
    _arguments,
    _run,
)
