"""Reads a compiled model as a drawing: what a person would put on the board, from the calls of its functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ...lang.axes import TensorType
from ..ir.graph import Node, Value
from ..ir.instances import find
from ..ir.module import Function, Instance, Layers, Module, Path, Reference, State, join
from ..quantities import count
from ..schedule import Run, fold
from .operations import SIGNS, SILENT, SOURCES, describe, title
from .picture import Drawing, End, Item, Kind, Link
from .text import shortened

_LONGEST_TITLE = 34


def scene(module: Module, states: Sequence[tuple[Path, State]] = ()) -> Drawing:
    """The drawing of a whole model. `states` are what its decoder remembers, by path of call sites."""
    reader = _Reader(module, states)
    body = _Body(reader, (), ())
    main = module.main
    inputs: list[End | None] = []
    for name, type in main.inputs:
        item = Item(f"input {name}", Kind.INPUT, name, facts=(("input", spelled(type)),))
        inputs.append(body.place(item))
    outputs = body.read(main, inputs)
    for i, (end, type) in enumerate(zip(outputs, main.output_types, strict=True)):
        if end is not None and not main.outputs[i].startswith("penalty."):
            item = Item(f"output {i}", Kind.OUTPUT, main.outputs[i] if len(outputs) > 1 else "logits" if False else "output", facts=(("output", spelled(type)),))
            body.place(item, [(end, type)])
    return body.drawing(0, 0)
