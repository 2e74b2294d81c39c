"""Nodes of expressions, of the bodies that hold them, and of types."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .base import Tree

if TYPE_CHECKING:
    from .items import Member


# ------------------------------------------------------------------ expressions


@dataclass(frozen=True)
class Name(Tree):
    id: str


@dataclass(frozen=True)
class Number(Tree):
    """An integer or a real literal; `text` is how it was written (`128_256`, `1e-5`)."""

    value: int | float
    text: str = field(compare=False)


@dataclass(frozen=True)
class Quantity(Tree):
    """A number with a unit: tokens, steps, epochs, examples, sequences or hours."""

    number: Number
    unit: str


@dataclass(frozen=True)
class String(Tree):
    value: str


@dataclass(frozen=True)
class Boolean(Tree):
    value: bool


@dataclass(frozen=True)
class Unary(Tree):
    """`-x` or `not x`."""

    op: str
    operand: Expression


@dataclass(frozen=True)
class Binary(Tree):
    """`+ - * / % ^ < <= == != > >= and or`, and `|>` for a pipe."""

    op: str
    left: Expression
    right: Expression


@dataclass(frozen=True)
class Argument(Tree):
    """One argument of a call: positional when `name` is None."""

    name: str | None
    value: Expression


@dataclass(frozen=True)
class Call(Tree):
    function: Expression
    arguments: tuple[Argument, ...]


@dataclass(frozen=True)
class AxisMap(Tree):
    """`T -> S`, `K -> (2, J)`, `(G, K) -> D`: only inside the arguments of a call."""

    source: Expression
    target: Expression


@dataclass(frozen=True)
class Where(Tree):
    """`S where mask`: an axis restricted by a mask; only inside the arguments of a call."""

    value: Expression
    mask: Expression


@dataclass(frozen=True)
class Rest(Tree):
    """`..`: any leading axes in a type; all axes not named otherwise as an argument (`mean(x, ..)`)."""


@dataclass(frozen=True)
class Weighted(Tree):
    """`text("a.txt") = 0.7`: a value and its share; only as an argument of a call such as `mix`."""

    value: Expression
    weight: Expression


@dataclass(frozen=True)
class Attribute(Tree):
    value: Expression
    name: str


@dataclass(frozen=True)
class Index(Tree):
    """`kinds[i]`: an entry of a static list."""

    value: Expression
    position: Expression


@dataclass(frozen=True)
class Tuple(Tree):
    items: tuple[Expression, ...]


@dataclass(frozen=True)
class If(Tree):
    """A static choice. `otherwise` is None only in `else`-less checks, which the parser refuses."""

    condition: Expression
    then: Body
    otherwise: Body


@dataclass(frozen=True)
class Repeat(Tree):
    """`repeat n as i { members }` or `repeat n of Block(..)`: layers one after another."""

    count: Expression
    index: str | None
    members: tuple[Member, ...] | None
    of: Expression | None


@dataclass(frozen=True)
class Stack(Tree):
    """`stack E of Block(..)`: copies side by side along axis E."""

    axis: Expression
    of: Expression


@dataclass(frozen=True)
class ScanState(Tree):
    name: str
    type: TypeExpression
    initial: Expression


@dataclass(frozen=True)
class Scan(Tree):
    """`scan T from s: [..] = 0, u: [..] = 0 { next s = .. ; yield .. }`."""

    axis: Name
    states: tuple[ScanState, ...]
    body: Body


@dataclass(frozen=True)
class Override(Tree):
    """`blocks.attn.mask = window(width = 4096)` inside a `with`; parts may be `{i}` (a layer's number) and `{q, v}`."""

    path: tuple[str, ...]
    value: Expression


@dataclass(frozen=True)
class With(Tree):
    base: Expression
    overrides: tuple[Override, ...]


Expression = (
    Name | Number | Quantity | String | Boolean | Unary | Binary | Call | AxisMap | Where | Rest | Weighted
    | Attribute | Index | Tuple | If | Repeat | Stack | Scan | With
)


# ------------------------------------------------------------------ bodies


@dataclass(frozen=True)
class Let(Tree):
    names: tuple[str, ...]
    value: Expression


@dataclass(frozen=True)
class Next(Tree):
    """`next s = ..` in a scan: the state after this step."""

    name: str
    value: Expression


@dataclass(frozen=True)
class Yield(Tree):
    """`yield y` (or a tuple) in a scan: the output of this step."""

    value: Expression


@dataclass(frozen=True)
class Penalty(Tree):
    """`penalty balance = ..`: a named side loss."""

    name: str
    value: Expression


Statement = Let | Next | Yield | Penalty


@dataclass(frozen=True)
class Body(Tree):
    """Statements and the value of the last expression (None only in a scan's body)."""

    statements: tuple[Statement, ...]
    result: Expression | None


# ------------------------------------------------------------------ types


@dataclass(frozen=True)
class Pack(Tree):
    """`In..`: the axes of a `dims` parameter."""

    name: str


@dataclass(frozen=True)
class TensorTypeExpression(Tree):
    """`int[B, T]`, `[.., T, D]`; dtype is `real` when not written."""

    dtype: str
    axes: tuple[Rest | Pack | Expression, ...]


@dataclass(frozen=True)
class NamedType(Tree):
    """`dim`, `dims`, `int`, `real`, `bool`, `string`, `Init`, `Activation`, or an interface."""

    name: str


TypeExpression = TensorTypeExpression | NamedType


@dataclass(frozen=True)
class Parameter(Tree):
    """A parameter of a block, model, fn, rule or method."""

    name: str
    type: TypeExpression | None
    default: Expression | None


@dataclass(frozen=True)
class Signature(Tree):
    parameters: tuple[Parameter, ...]
    results: tuple[TypeExpression, ...]
