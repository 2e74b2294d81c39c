"""Nodes of functions, blocks, interfaces, models and rules, and of their members."""

from __future__ import annotations

from dataclasses import dataclass

from .base import ItemTree, Tree
from .expressions import Body, Expression, Parameter, Signature, TensorTypeExpression

# ------------------------------------------------------------------ members of blocks and models


@dataclass(frozen=True)
class WeightDecl(Tree):
    """`param scale: [D] = ones`."""

    names: tuple[str, ...]
    type: TensorTypeExpression
    initial: Expression | None


@dataclass(frozen=True)
class DimDecl(Tree):
    name: str
    value: Expression


@dataclass(frozen=True)
class StreamDecl(Tree):
    """`stream T as S`."""

    axis: str
    history: str


@dataclass(frozen=True)
class Require(Tree):
    condition: Expression


@dataclass(frozen=True)
class Bind(Tree):
    """`attn = Attention(D, H)`: a child instance or a static value."""

    name: str
    value: Expression


@dataclass(frozen=True)
class Method(Tree):
    name: str
    signature: Signature
    body: Body


Member = WeightDecl | DimDecl | StreamDecl | Require | Bind | Method


# ------------------------------------------------------------------ items


@dataclass(frozen=True)
class Use(ItemTree):
    """`use attention: Attention, RoPE` or `use models.mine`; `names` is None for all."""

    path: tuple[str, ...]
    names: tuple[str, ...] | None


@dataclass(frozen=True)
class Fn(ItemTree):
    name: str
    signature: Signature
    body: Body


@dataclass(frozen=True)
class Block(ItemTree):
    name: str
    parameters: tuple[Parameter, ...]
    interface: str | None
    members: tuple[Member, ...]


@dataclass(frozen=True)
class InterfaceMethod(Tree):
    name: str
    signature: Signature


@dataclass(frozen=True)
class Interface(ItemTree):
    name: str
    methods: tuple[InterfaceMethod, ...]


@dataclass(frozen=True)
class Model(ItemTree):
    name: str
    parameters: tuple[Parameter, ...]
    members: tuple[Member, ...]


@dataclass(frozen=True)
class DerivedModel(ItemTree):
    """`model Tiny = Base with { .. }`."""

    name: str
    value: Expression


@dataclass(frozen=True)
class Rule(ItemTree):
    name: str
    parameters: tuple[Parameter, ...]
    before: Expression
    after: Expression
    condition: Expression | None
