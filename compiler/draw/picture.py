"""What is drawn, before it has a place: items with what they contain, and the links between them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from ...lang.axes import TensorType
from ...lang.source import Span


class Kind(Enum):
    """What an item is; the drawing gives each its shape and colour."""

    INPUT = "input"
    OUTPUT = "output"
    MATRIX = "matrix"  # an instance that contracts with its weights
    TABLE = "table"  # an instance that looks rows up
    VECTOR = "vector"  # an instance with weights that multiply or add elementwise
    PLAIN = "plain"  # an instance without weights
    FUNCTION = "function"  # a fn
    OPERATION = "operation"  # a primitive
    OPERATOR = "operator"  # + - * / of two values
    STATE = "state"  # what a decoder remembers
    SCAN = "scan"
    PENALTY = "penalty"
    BOX = "box"  # an instance with its inside drawn
    LAYERS = "layers"  # a repeat: copies one after another
    STACK = "stack"  # copies side by side


@dataclass(frozen=True)
class Item:
    """One thing in a drawing.

    `key` is its path of call sites (unique in the picture). `title` is its name, `note` what it is made from, `count`
    its learned values in words. `facts` are shown on request. `used` is where the spec uses it, `defined` where it
    says what it is. `inner` is its inside, drawn when present. `remembers` says that a decoder has states in it.
    """

    key: str
    kind: Kind
    title: str
    note: str = ""
    count: str = ""
    facts: tuple[tuple[str, str], ...] = ()
    used: Span | None = None
    defined: Span | None = None
    inner: Drawing | None = None
    remembers: bool = False


@dataclass(frozen=True)
class End:
    """One end of a link: an item and which of its results or operands; item "" is the edge of the drawing itself."""

    item: str
    port: int = 0


@dataclass(frozen=True)
class Link:
    """A value that flows from a result to an operand."""

    source: End
    target: End
    type: TensorType


@dataclass(frozen=True)
class Drawing:
    """Items and links of one function. `inputs` and `outputs` are how many values cross its upper and lower edge."""

    items: tuple[Item, ...]
    links: tuple[Link, ...]
    inputs: int
    outputs: int
