"""Sequences that come in besides the stream (`source: int[B, N]` of an encoder-decoder), and the ambient values."""

from __future__ import annotations

from collections.abc import Mapping

from ...lang.sizes import Size
from .module import Module

AMBIENTS = {
    "full": (),
    "step": ("past",),
    "full+rows": ("positions", "segments"),
    "step+rows": ("positions", "valid", "history_positions", "history_valid"),
}


def sources(module: Module) -> Mapping[str, str]:
    """The size symbol of every sequence that is not the stream -> the first input that has it beside the batch."""
    found: dict[str, str] = {}
    if not module.batch:
        return found
    known = {module.batch, module.sequence, *(module.stream or ())}
    for name, type in (pair for entry in module.entries for pair in module.functions[entry].inputs):
        symbols = [str(a.size) for a in type.axes if not a.size.is_constant]
        if module.batch in symbols:
            for symbol in symbols:
                if symbol not in known and symbol.isidentifier():
                    found.setdefault(symbol, name)
    return found


def ambients(module: Module) -> tuple[str, ...]:
    """The ambient values that the entry of a module takes in its form, in order."""
    own = AMBIENTS[module.form] if module.sequence else ()
    if "rows" not in module.form:
        return own
    return (*own, *source_ambients(module))


def source_ambients(module: Module) -> tuple[str, ...]:
    """Of the forms of rows: the ambient values of all sequences that are not the stream."""
    return tuple(f"{name}_{what}" for name in dict.fromkeys(sources(module).values()) for what in SOURCE)


SOURCE = ("positions", "segments")


def one_per_row(module: Module) -> bool:
    """Whether a model says one thing about a whole row, such as a vector for a text; a row is one document then."""
    if module.stream is not None or not module.sequence:
        return False
    token = Size.symbol(module.sequence)
    return not any(axis.size == token for axis in module.main.output_types[0].axes)
