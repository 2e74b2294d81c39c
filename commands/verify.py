"""`weft verify`: do all ways to run a model agree?"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from math import isfinite
from typing import TYPE_CHECKING, Any

from rich.text import Text

from ..compiler.shrink import Small, shrink
from ..compiler.tolerance import MAX_LIMIT, RMS_LIMIT
from ..lang import errors
from ..lang.diagnostics import WeftError
from .arguments import whole
from .command import Command
from .specs import add_spec, read_program
from .tables import heading, table
from .terminal import Terminal

if TYPE_CHECKING:
    from ..runtime.verify import Check


def _arguments(parser: ArgumentParser) -> None:
    add_spec(parser)
    parser.add_argument("--compile", action="store_true", help="also through torch.compile (adds about a minute)")
    parser.add_argument(
        "--seed", metavar="N", type=whole(0), default=0, help="draws weights, tokens and chunks (default: 0)"
    )
    parser.add_argument("--json", action="store_true", help="print a list with the checks of every model")


def _run(arguments: Namespace, terminal: Terminal) -> int:
    program = read_program(arguments.file)
    names = program.models if arguments.model is None else (arguments.model,)
    if not names:
        raise WeftError(errors.nothing_there("model", arguments.file))
    results = []
    for name in names:
        small = shrink(program, name)
        checks = list(_watched(name, small, arguments, terminal))
        results.append(_described(name, small, checks))
        if not arguments.json:
            terminal.show(*_shown(name, small, checks))
    if arguments.json:
        terminal.json(results)
    failed = [result["model"] for result in results if not result["passed"]]
    if failed:
        terminal.say(f"not within tolerance: {', '.join(failed)}")
    return 1 if failed else 0


def _watched(name: str, small: Small, arguments: Namespace, terminal: Terminal) -> Iterator[Check]:
    """The checks as they come, with a line about the last one on a terminal."""
    from ..runtime.verify import verify

    status: AbstractContextManager[Any] = nullcontext()
    if terminal.err.is_terminal:
        status = terminal.err.status(f"{name}: building all back ends")
    with status as line:
        for check in verify(small.module, compiled=arguments.compile, seed=arguments.seed):
            if line is not None:
                line.update(f"{name}: {check.name} ({check.weights} weights)")
            yield check


def _shown(name: str, small: Small, checks: list[Check]) -> list[Any]:
    sizes = ", ".join(f"{n} = {v}" for n, v in small.sizes.items())
    labels = list(dict.fromkeys(check.weights for check in checks))
    rows = table("check", *(f"{label} {error} >" for label in labels for error in ("rms", "max")), "", "note")
    for title in dict.fromkeys(check.name for check in checks):
        ways = {check.weights: check for check in checks if check.name == title}
        ratios = (
            [way.verdict.rms_ratio, way.verdict.max_ratio] if (way := ways.get(label)) else [] for label in labels
        )
        word = Text("ok", "green") if all(way.passed for way in ways.values()) else Text("FAILED", "red")
        if word.plain == "ok" and any(way.verdict.close for way in ways.values()):
            word = Text("close", "yellow")
        notes = " | ".join(dict.fromkeys(way.note for way in ways.values() if way.note))
        rows.add_row(title, *(f"{ratio:.2f}" for pair in ratios for ratio in pair), word, notes)
    limits = (
        f"errors as multiples of what rounding makes of the same program; limits: rms {RMS_LIMIT:g}, max {MAX_LIMIT:g}"
    )
    return [heading(name, f"at small sizes: {sizes}"), heading("", limits), "", rows, ""]


def _described(name: str, small: Small, checks: list[Check]) -> dict[str, Any]:
    return {
        "model": name,
        "sizes": small.sizes,
        "passed": all(check.passed for check in checks),
        "checks": [
            {
                "check": check.name,
                "weights": check.weights,
                "passed": check.passed,
                "rms": _finite(check.verdict.rms_ratio),
                "max": _finite(check.verdict.max_ratio),
                "note": check.note,
            }
            for check in checks
        ],
    }


def _finite(ratio: float) -> float | None:
    """JSON has no infinity: null stands for a result that is not finite or does not agree at all."""
    return float(ratio) if isfinite(ratio) else None


COMMAND = Command(
    "verify",
    "run a model through every back end and compare with the float64 reference",
    f"""\
examples:
  weft verify model.llm
  weft verify model.llm Tiny --compile

The model is taken at small sizes with random weights. Each check compares a way to run it (PyTorch in float32 and
bfloat16, ONNX Runtime, cached decoding in random chunks, padding on either side, packed documents, greedy tokens)
with the float64 reference. Errors are multiples of the error that rounding alone makes of the same program: up to
{RMS_LIMIT:g} (root mean square) and {MAX_LIMIT:g} (largest) count as equal.
exit codes: 0 all agree, 1 the spec is wrong or something does not agree, 2 the command was called wrongly""",
    _arguments,
    _run,
)
