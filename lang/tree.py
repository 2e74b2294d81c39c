"""The syntax tree of a `.llm` file: frozen nodes, each with the span it was read from.

Two trees are equal when they mean the same text; spans and comments do not count, which is
what lets the formatter check its own output.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from .source import Source, Span


@dataclass(frozen=True, kw_only=True)
class Tree:
    """A node of the tree. `span` is where it stands; it takes no part in comparisons."""

    span: Span = field(compare=False, repr=False)


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


@dataclass(frozen=True, kw_only=True)
class ItemTree(Tree):
    doc: str = field(default="", compare=False)


@dataclass(frozen=True)
class Use(ItemTree):
    """`use attention: Attention, RoPE` or `use models.llama`; `names` is None for all."""

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
    """`model Tiny = Llama3 with { .. }`."""

    name: str
    value: Expression


@dataclass(frozen=True)
class Rule(ItemTree):
    name: str
    parameters: tuple[Parameter, ...]
    before: Expression
    after: Expression
    condition: Expression | None


# -- checkpoints


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
    """`rename "bert." = "roberta."`: what stored names of the base say here."""

    old: String
    new: String


@dataclass(frozen=True)
class Checkpoint(ItemTree):
    """`checkpoint "MistralForCausalLM" for Mistral like "LlamaForCausalLM" { config { .. } weights { .. } }`.

    Without a model it only serves to be built upon with `like`.
    """

    architectures: tuple[String, ...]
    model: tuple[str, ...] | None
    base: String | None
    config: tuple[ConfigLine, ...]
    weights: tuple[WeightLine, ...]


# -- recipes


@dataclass(frozen=True)
class SelectorPath(Tree):
    """`blocks.attn.{q, v}`, `blocks.mlp.*`, `**.weight`, or `all Linear` (then `kind` is set).

    Each part is a tuple of alternatives; `("*",)` is one level, `("**",)` any depth.
    """

    kind: str | None
    parts: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Selector(Tree):
    paths: tuple[SelectorPath, ...]
    excluded: tuple[SelectorPath, ...]


@dataclass(frozen=True)
class Setting(Tree):
    """`batch = 524_288 tokens`."""

    name: str
    value: Expression


@dataclass(frozen=True)
class Section(Tree):
    """`precision { .. }`."""

    name: str
    settings: tuple[Setting, ...]


@dataclass(frozen=True)
class Directive(Tree):
    """`tokenizer bpe(vocab = 8192)`."""

    name: str
    value: Expression


@dataclass(frozen=True)
class Adapt(Tree):
    method: Expression
    selector: Selector


@dataclass(frozen=True)
class Quantize(Tree):
    method: Expression
    selector: Selector


@dataclass(frozen=True)
class Shard(Tree):
    mesh: Expression
    settings: tuple[Setting, ...]


@dataclass(frozen=True)
class Export(Tree):
    target: str
    settings: tuple[Setting, ...]


@dataclass(frozen=True)
class Expect(Tree):
    """`expect fused attend`."""

    state: str
    name: str


@dataclass(frozen=True)
class Stage(Tree):
    name: str
    source: str | None
    members: tuple[StageMember, ...]


StageMember = Setting | Adapt | Section | Directive | Expect
RecipeMember = Setting | Section | Directive | Stage | Adapt | Quantize | Shard | Export | Expect


@dataclass(frozen=True)
class Recipe(ItemTree):
    name: str
    model: tuple[str, ...] | None
    members: tuple[RecipeMember, ...]


ConfigLine = ConfigEntry | ConfigLet | ConfigRequire | ConfigIgnore
WeightLine = WeightEntry | StoredNames | DefaultLayout | StoredRename
LayoutAxis = LayoutName | LayoutGroup
Item = Use | Fn | Block | Interface | Model | DerivedModel | Rule | Checkpoint | Recipe


@dataclass(frozen=True)
class File:
    """One parsed file. Items that did not parse are missing here and reported beside it."""

    source: Source = field(compare=False, repr=False)
    items: tuple[Item, ...]
