"""`weft show`: a model at any stage of its way, or as a picture."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path

from ..compiler.ir.module import Module
from ..compiler.ir.text import print_module
from ..compiler.passes.inference import drop_penalties
from ..compiler.passes.pipeline import LEVELS
from ..compiler.stream import rows, step
from .command import Command, UsageError
from .specs import add_spec, choose, read_modules, read_program, write_file
from .terminal import Terminal
from .tree import model_tree

_FORMS: dict[str, Callable[[Module], Module]] = {
    "full": lambda module: module,
    "rows": rows,
    "step": lambda module: step(drop_penalties(module)),
    "step+rows": lambda module: step(drop_penalties(module), rows=True),
}


def _arguments(parser: ArgumentParser) -> None:
    add_spec(parser)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--tree", action="store_true", help="the tree of its parts (the default)")
    what.add_argument("--ir", action="store_true", help="the functions of the compiled model, as text that parses back")
    what.add_argument("--torch", action="store_true", help="the PyTorch source that training runs")
    what.add_argument("--onnx", action="store_true", help="inputs, outputs and operators of the ONNX graph")
    what.add_argument("--svg", metavar="OUT", help="write the picture as one SVG file")
    what.add_argument(
        "--html", metavar="OUT", help="write the picture as a page: hover for details, click for the spec"
    )
    parser.add_argument(
        "--form",
        choices=_FORMS,
        help="for --ir and --torch: whole sequences (full, the default), rows with padding or packed documents (rows), "
        "cached decoding (step), or both (step+rows)",
    )
    parser.add_argument(
        "--level", choices=LEVELS, help="for --ir and --torch: O0 before, O1 after cleaning up (default)"
    )


def _run(arguments: Namespace, terminal: Terminal) -> int:
    if (arguments.form or arguments.level) and not (arguments.ir or arguments.torch):
        raise UsageError("--form and --level go with --ir or --torch")
    if arguments.svg or arguments.html:
        return _draw(arguments, terminal)
    if not (arguments.ir or arguments.torch or arguments.onnx):
        for i, module in enumerate(read_modules(arguments.file, arguments.model)):
            terminal.show(*(("",) if i else ()), model_tree(module))
        return 0
    module = choose(read_program(arguments.file), arguments.model, arguments.level or "O1")
    if arguments.onnx:
        from ..compiler.emit.onnx import build, describe_onnx

        plain = drop_penalties(module)
        built = build(step(plain, rows=True) if plain.stream else rows(plain))
        terminal.write(describe_onnx(built.model) + "\n")
    elif arguments.torch:
        from ..compiler.emit.torch import to_torch

        terminal.write(to_torch(_FORMS[arguments.form or "full"](module)))
    else:
        terminal.write(print_module(_FORMS[arguments.form or "full"](module)))
    return 0


def _draw(arguments: Namespace, terminal: Terminal) -> int:
    from ..compiler.draw.page import to_html
    from ..compiler.draw.svg import to_svg

    program = read_program(arguments.file)
    module = choose(program, arguments.model)
    if arguments.svg:
        write_file(Path(arguments.svg), to_svg(module))
    else:
        write_file(Path(arguments.html), to_html(module, program.main.source))
    terminal.write(f"wrote {arguments.svg or arguments.html}\n")
    return 0


COMMAND = Command(
    "show",
    "look at a model at any stage: its parts, IR, PyTorch, ONNX, or as a picture",
    """\
examples:
  weft show model.llm                       the tree of every model in it
  weft show model.llm Tiny --torch          readable PyTorch that does not import Weft
  weft show model.llm Tiny --ir --form step the derived decoder
  weft show model.llm Tiny --html tiny.html
  weft show runs/first                     the model of a run

prints what is asked for; pictures are written to OUT. The tree has, for every part, its block, the axes that go in and
come out, its learned values, and what the derived decoder remembers there; equal layers are folded into one.
exit codes: 0 fine, 1 the spec is wrong, 2 the command was called wrongly""",
    _arguments,
    _run,
)
