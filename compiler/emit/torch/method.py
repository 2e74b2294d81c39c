"""A function of the module as source: a method of a class, or a function of the emitted file."""

from __future__ import annotations

from dataclasses import dataclass, field

from ....lang.axes import TensorType
from ...ir.module import Function, Reference
from ...ir.sources import SOURCE
from .text import Expr, Line, Precision, Shape

# What is known of an argument when a function is written: a number, the precision of a tensor, or the structure of a
# mask that needs no tensor (`causal`).
Given = Expr | Precision | str

AMBIENT_ORDER = ("past", "positions", "segments", "valid", "history_positions", "history_valid")


def ambient_rank(name: str) -> tuple[int, str]:
    """Where an ambient value stands among parameters: those of other sequences come last."""
    return (AMBIENT_ORDER.index(name), "") if name in AMBIENT_ORDER else (len(AMBIENT_ORDER), name)


def is_ambient(name: str) -> bool:
    """Whether emitted source has a parameter for an ambient value of this name."""
    return name in AMBIENT_ORDER or name.endswith(tuple(f"_{what}" for what in SOURCE))


@dataclass(eq=False)
class Method:
    """What was written for one function and one kind of arguments.

    `kept` are the inputs that became parameters (the others are numbers or not needed). `optional` are parameters that
    may be None, with the lines that make them then; they come last. `outside` holds instances that
    are handed in, `ambients` values that every function may know; both by the name of their parameter. `stateful`
    methods take `states` and, below the root, `path`. `calls` and `layers` are the calls on instances. `noise` names
    the buffers of keys. `twins` are methods that read the same, for other shapes.
    `results` are what it returns, in the IR's order.
    """

    function: Function
    name: str = ""
    kept: tuple[int, ...] = ()
    parameters: tuple[tuple[str, Shape], ...] = ()
    optional: dict[str, list[Line]] = field(default_factory=dict)
    lines: list[Line] = field(default_factory=list)
    results: tuple[Expr, ...] = ()
    outside: dict[Reference, str] = field(default_factory=dict)
    ambients: dict[str, str] = field(default_factory=dict)
    stateful: bool = False
    calls: list[tuple[Reference, Method]] = field(default_factory=list)
    layers: list[tuple[Reference, tuple[Method, ...]]] = field(default_factory=list)
    noise: list[str] = field(default_factory=list)
    twins: list[Method] = field(default_factory=list)

    @property
    def is_free(self) -> bool:
        """Whether this is a function of the file, not a method."""
        return not self.function.block

    @property
    def types(self) -> tuple[TensorType, ...]:
        return self.function.output_types

    def ordered_ambients(self) -> tuple[str, ...]:
        return tuple(sorted(self.ambients, key=ambient_rank))
