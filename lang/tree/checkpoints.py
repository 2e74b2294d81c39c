"""Nodes of checkpoint maps: the lines of their configs and of their weights."""

from __future__ import annotations

from dataclasses import dataclass

from .base import ItemTree, Tree
from .expressions import Expression, String


@dataclass(frozen=True)
class ConfigEntry(Tree):
    """`D = hidden_size`, or `blocks.attn.mask = window(width = sliding_window)`: what a `with` would set."""

    path: tuple[str, ...]
    value: Expression


@dataclass(frozen=True)
class ConfigLet(Tree):
    """`let rope = default(rope_parameters, rope_scaling)`: a name for the lines of one config."""

    name: str
    value: Expression


@dataclass(frozen=True)
class ConfigRequire(Tree):
    """`require hidden_act == "silu"`: a checkpoint that says otherwise is refused."""

    condition: Expression


@dataclass(frozen=True)
class ConfigIgnore(Tree):
    """`ignore use_cache, rope.type`: keys of config.json that do not change the model."""

    keys: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class LayoutName(Tree):
    """An axis by its name (`K`), a pack (`Out..`), or a number: of packed weights, or 1.

    `(4 3 G/4 K)`: the axis `G` in 4 pieces, which the number 4 counts.
    """

    name: str


@dataclass(frozen=True)
class LayoutGroup(Tree):
    """`(G R K)`: axes packed into one, slowest first; `(H K + G K)`: one part behind the other, one for each weight."""

    terms: tuple[tuple[LayoutAxis, ...], ...]


@dataclass(frozen=True)
class WeightEntry(Tree):
    """`blocks.{i}.attn.q.weight = "model.layers.{i}.self_attn.q_proj.weight": [(G R K), D]`."""

    path: tuple[str, ...]
    stored: String
    layout: tuple[LayoutAxis, ...] | None


@dataclass(frozen=True)
class StoredNames(Tree):
    """`ignore "*.inv_freq"`, `keep "*.pooler.*"`, `optional "transformer."`; `role` is the word."""

    role: str
    names: tuple[String, ...]


@dataclass(frozen=True)
class DefaultLayout(Tree):
    """`layout Linear.weight = [(Out..), (In..)]`: how a parameter of a block is stored unless an entry says."""

    block: str
    parameter: str
    layout: tuple[LayoutAxis, ...]


@dataclass(frozen=True)
class StoredRename(Tree):
    """`rename "encoder." = "model."`: what stored names of the base say here."""

    old: String
    new: String


@dataclass(frozen=True)
class Checkpoint(ItemTree):
    """`checkpoint "MineForCausalLM" for Mine like "BaseForCausalLM" { config { .. } weights { .. } }`.

    Without a model it only serves to be built upon with `like`.
    """

    architectures: tuple[String, ...]
    model: tuple[str, ...] | None
    base: String | None
    config: tuple[ConfigLine, ...]
    weights: tuple[WeightLine, ...]


ConfigLine = ConfigEntry | ConfigLet | ConfigRequire | ConfigIgnore
WeightLine = WeightEntry | StoredNames | DefaultLayout | StoredRename
LayoutAxis = LayoutName | LayoutGroup
