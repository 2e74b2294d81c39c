"""Errors of commands: their files, devices, packages and processes (E0190, E0191, E090x, E0957, E0961)."""

from __future__ import annotations

from collections.abc import Sequence

from ..diagnostics import Diagnostic
from ..source import Span
from .base import CODES, code, finding, one_of, shorten


@code("E0190", "no such error code")
def unknown_code(asked: str, near: Sequence[str], name: str | None = None) -> Diagnostic:
    """`near` are codes, `name` is one of the standard library."""
    advice = [f"near it: {', '.join(f'{c} ({CODES[c]})' for c in near)}"] if near else []
    advice += [f"did you mean `{name}` of the standard library?"] if name else []
    return finding(f"there is no error code `{shorten(asked)}`, and no such name in the library", help=advice)


@code("E0191", "the formatter disagrees with itself")
def formatter_failed(span: Span, reason: str) -> Diagnostic:
    return finding(
        f"internal error: {reason}",
        span,
        "formatting stopped here; the file was not changed",
        help=("this is a fault of the formatter, not of your file: please report it with this item",),
    )


@code("E0901", "file that cannot be written")
def unwritable(path: str, reason: str) -> Diagnostic:
    return finding(f"cannot write `{path}`: {reason}", help=("check that its folder exists and may be written to",))


@code("E0902", "file that exists already")
def would_overwrite(path: str) -> Diagnostic:
    return finding(f"`{path}` exists already", help=("choose another name, or move the file away",))


@code("E0903", "nothing of this kind in the file")
def nothing_there(kind: str, path: str) -> Diagnostic:
    """`kind` is "model" or "recipe"."""
    return finding(
        f"`{path}` has no {kind}",
        notes=(f"a {kind} that is brought in with `use` belongs to its own file",),
        help=({
            "model": "derive one here, as in `model Mine = Base with { layers = 4 }`",
            "recipe": "`weft new tiny` writes a starter with a recipe",
        }.get(kind, f"add a {kind}"),),
    )


@code("E0904", "more than one of this kind in the file")
def which_one(kind: str, path: str, names: Sequence[str]) -> Diagnostic:
    """`kind` is "model", "recipe" or "stage"."""
    return finding(f"`{path}` has more than one {kind}: which one?", help=(f"name {one_of(names)}",))


@code("E0905", "name that cannot be a file's")
def bad_spec_name(name: str, reason: str) -> Diagnostic:
    return finding(
        f"`{shorten(name)}` cannot be the name of a model: {reason}",
        help=("names are made of letters, digits and `_`: `weft new tiny`",),
    )


@code("E0906", "device that is not there")
def no_device(name: str) -> Diagnostic:
    return finding(f"there is no device `{name}` to compute on", help=("leave `--device` out",))


@code("E0907", "too little memory")
def too_little_memory(model: str, needed: str, there: str) -> Diagnostic:
    """`needed` and `there` are sizes in words."""
    return finding(
        f"training `{model}` needs at least {needed}; this device has {there}",
        notes=("counted: float32 weights, gradients and both moments of the optimizer",),
        help=("make the model smaller; `weft plan` says what it needs",),
    )


@code("E0908", "refused by the system")
def system_refused(path: str, reason: str) -> Diagnostic:
    where = f"`{path}`" if path else "a file"
    return finding(
        f"the system refused to work with {where}: {reason}",
        help=("check the path, its permissions and the space left",),
    )


@code("E0957", "package that is missing")
def missing_package(name: str, extra: str, purpose: str) -> Diagnostic:
    return finding(
        f"the package `{name}`, which {purpose}, is not installed", help=(f"pip install 'weft[{extra}]'",)
    )


@code("E0961", "bench that did not end")
def bench_failed(status: int, said: str) -> Diagnostic:
    """`status` is how the process ended (below 0: the signal that ended it), `said` its last words."""
    lines = [shorten(line, 200) for line in said.strip().splitlines()[-3:]]
    killed = ("the system may have had too little memory for it",) if status == -9 else ()
    how = f"was ended by signal {-status}" if status < 0 else f"ended with {status}"
    return finding(
        f"the process that runs the model {how}",
        notes=(*killed, *lines),
        help=("fewer tokens need less memory: `--prompt-tokens 64`; `weft generate` shows whether the export runs",),
    )
