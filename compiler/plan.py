"""What a model costs before anything is allocated: parameters, arithmetic, memory and states.

Everything is derived from the compiled module: parameters from the tree of instances, arithmetic by walking the
functions, states from the derived decoder. The cost of planning does not depend on the number of layers or their sizes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ..lang.sizes import Size
from .activations import activations
from .experts import active_parameters, expert_shares
from .flops import work
from .ir.instances import find, uses
from .ir.module import Instance, Layers, Module, count_parameters
from .ir.sources import sources
from .quantities import spelled
from .stream import StateEntry, state_plan, step

BYTES = {"f32": 4, "bf16": 2}


@dataclass(frozen=True)
class Part:
    """A child of the model: its block, how many layers it has (1 when it does not repeat), its learned values."""

    name: str
    block: str
    layers: int
    parameters: int


@dataclass(frozen=True)
class Flops:
    """Floating-point operations per token: every contraction exactly, a multiply-add counted as two.

    `linear` does not depend on the length of the sequence. `attention` does: it is for a token that looks back on
    `context` tokens (a whole sequence needs half of it on average, when its kernel skips what the mask hides).
    `routed` is `linear` when only the chosen experts run. `other` counts one for every value that an elementwise
    operation, reduction or softmax produces. A training step does three times the forward pass: each contraction has
    two in the backward pass.
    """

    linear: float
    attention: float
    routed: float
    other: float

    @property
    def forward(self) -> float:
        return self.linear + self.attention

    @property
    def training(self) -> float:
        return 3 * self.forward


@dataclass(frozen=True)
class Training:
    """Bytes that training with AdamW holds. Weights, gradients and both moments are float32 whatever the precision.

    `activations` estimates what the forward pass keeps for the backward pass, in the compute precision; casts, the
    chunks of the loss and the allocator's own needs come on top.
    """

    weights: int
    gradients: int
    moments: int
    activations: int

    @property
    def total(self) -> int:
        return self.weights + self.gradients + self.moments + self.activations


@dataclass(frozen=True)
class Inference:
    """Bytes that inference holds: weights, and states for `batch` sequences of `context` tokens."""

    weights: int
    states: int

    @property
    def total(self) -> int:
        return self.weights + self.states


@dataclass(frozen=True)
class StateRow:
    """Equal states of the decoder, one row for all layers: bytes of all copies together, in float32.

    `path` has `*` for the number of a layer. `per_token` is what every remembered token adds for one sequence, `held`
    what `batch` sequences of `context` tokens hold.
    """

    path: str
    kind: str
    type: str
    copies: int
    per_token: int
    held: int


@dataclass(frozen=True)
class Plan:
    """The costs of one model for `batch` sequences of `context` tokens; bytes by precision (`f32`, `bf16`).

    With an encoder, a token of the text comes with one of the source.
    `active` are the parameters that one token meets, `embedding` those of lookup tables.
    """

    model: str
    context: int
    batch: int
    parts: tuple[Part, ...]
    parameters: int
    active: int
    embedding: int
    flops: Flops
    states: tuple[StateRow, ...]
    training: Mapping[str, Training]
    inference: Mapping[str, Inference]


def plan(module: Module, context: int = 2048, batch: int = 1) -> Plan:
    """What a model (in full form) costs for `batch` sequences of `context` tokens each.

    Raises WeftError when the model has a stream but no decoder (it sees the future).
    """
    decoder = step(module) if module.stream else None
    count = module.parameter_count()
    kept = _number(activations(module), module, context, batch)
    training, inference = {}, {}
    for precision, width in BYTES.items():
        training[precision] = Training(4 * count, 4 * count, 8 * count, kept * width)
        held = sum(_held(e, context) for e in _states_of(decoder, context, width)) if decoder else 0
        inference[precision] = Inference(width * count, held * batch)
    return Plan(
        module.name, context, batch, _parts(module), count, active_parameters(module), _embedding(module),
        _flops(module, decoder, context), _states(decoder, context, batch), training, inference,
    )  # fmt: skip


def as_json(plan: Plan) -> dict[str, Any]:
    """A plan as JSON values; totals that are derived stand beside what they sum."""
    values = asdict(plan)
    values["flops"] |= {"forward": plan.flops.forward, "training": plan.flops.training}
    for precision in BYTES:
        values["training"][precision]["total"] = plan.training[precision].total
        values["inference"][precision]["total"] = plan.inference[precision].total
    return values


def _number(size: Size, module: Module, context: int, batch: int) -> int:
    """A size for `batch` sequences of `context` tokens; every symbol that is not the batch is as long as the context.

    A history with a number in its name (`S4096`) belongs to a window: it is no longer than that.
    """
    history = module.stream[1] if module.stream else ""
    values = {}
    for symbol in size.symbols:
        window = symbol.removeprefix(history)
        values[symbol] = batch if symbol == module.batch else min(context, int(window)) if window.isdigit() else context
    return size.evaluate(values)


def _flops(module: Module, decoder: Module | None, context: int) -> Flops:
    full = work(module)[module.entry]
    routed = work(module, expert_shares(module))[module.entry]
    linear = _per_token(full.contractions, module)
    last = _number(full.contractions, module, context, 1) / context
    if decoder and not decoder.encoder:  # exact for windows: their histories are short there
        one = {decoder.sequence: Size.of(1)}
        last = _number(work(decoder)[decoder.entry].contractions.substitute(one), decoder, context, 1)
    other = _number(full.other, module, context, 1) / context
    return Flops(linear, last - linear, _per_token(routed.contractions, module), other)


def _per_token(size: Size, module: Module) -> float:
    """The part of a size that is linear in the sequence, for one sequence, per token."""
    total = Size.of(0)
    for monomial, coefficient in size.terms:
        if sum(power for name, power in monomial if name != module.batch) == 1:
            total = total + Size(((monomial, coefficient),))
    return float(_number(total, module, 1, 1))


def _parts(module: Module) -> tuple[Part, ...]:
    own = sum(count_parameters(Instance("", (p,))) for p in module.root.parameters)
    parts = [Part(name, *_described(child), count_parameters(child)) for name, child in module.root.children]
    return tuple(p for p in (*parts, Part("(own)", module.root.block, 1, own)) if p.parameters)


def _described(child: Instance | Layers) -> tuple[str, int]:
    if isinstance(child, Layers):
        return " | ".join(dict.fromkeys(body.block for body in child.bodies)), len(child.schedule)
    return child.block, 1


def _embedding(module: Module) -> int:
    """Learned values of the tables that rows are taken from, each table once."""
    tables: dict[str, int] = {}
    for use in uses(module).found:
        graph = module.functions[use.function].graph
        for node in graph.nodes():
            if node.op == "take" and graph[node.operands[0]].op == "param":
                instance = find(module, use.path)
                assert isinstance(instance, Instance)
                name = graph[node.operands[0]]["name"]
                found = next(p for p in instance.parameters if p.name == name)
                tables[".".join((*map(str, use.path), name))] = count_parameters(Instance("", (found,)))
    return sum(tables.values())


def _held(entry: StateEntry, context: int) -> int:
    """Bytes of one state for one sequence."""
    if entry.kind == "ring":
        return min(entry.fixed_bytes, entry.bytes_per_token * context)
    return entry.fixed_bytes + entry.bytes_per_token * context


def _states_of(decoder: Module, context: int, width: int = 4) -> tuple[StateEntry, ...]:
    """The states of a decoder; the source of an encoder is as long as the text."""
    return state_plan(decoder, width, dict.fromkeys(sources(decoder), context))


def _states(decoder: Module | None, context: int, batch: int) -> tuple[StateRow, ...]:
    rows: dict[tuple[str, str, str], StateRow] = {}
    for entry in _states_of(decoder, context) if decoder else ():
        key = (re.sub(r"(?<=\.)\d+(?=\.)", "*", entry.path), entry.kind, spelled(entry.type))
        row = rows.get(key, StateRow(*key, 0, 0, 0))
        held = _held(entry, context) * batch
        rows[key] = StateRow(*key, row.copies + 1, row.per_token + entry.bytes_per_token, row.held + held)
    return tuple(rows.values())
