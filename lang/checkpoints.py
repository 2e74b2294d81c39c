"""Checkpoint maps: a `checkpoint` item together with the maps it is built upon."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from . import errors, tree
from .config_map import Reading
from .config_plan import ConfigPlan
from .diagnostics import Diagnostic, WeftError
from .program import Program, Unit
from .source import Span
from .values import word_span
from .walk import walk
from .weight_map import Lets, WeightFacts, WeightPlan, plan_weights


@dataclass(frozen=True)
class CheckpointMap:
    """A map for a model. `chain` is the item itself, then what it is `like`; `unit` is the model's file."""

    chain: tuple[tuple[Unit, tree.Checkpoint], ...]
    unit: Unit
    model: str

    @property
    def item(self) -> tree.Checkpoint:
        return self.chain[0][1]

    @property
    def head(self) -> Span:
        """Where the item says what it is for."""
        return Span(self.item.span.source, self.item.span.start, self.item.architectures[0].span.end)

    def config(self, parameters: Sequence[str]) -> ConfigPlan:
        lines = tuple((unit, line) for unit, item in self.chain for line in item.config)
        return ConfigPlan(lines, tuple(parameters))

    def weights(self, facts: Sequence[WeightFacts], reading: Reading | None = None) -> WeightPlan:
        """Where the weights of a model are stored, under the names that a config asks for if it is given.

        Raises WeftError when some are not mapped.
        """
        lets = Lets(frozenset(self.config(()).lets()), None if reading is None else reading.word)
        return plan_weights(self.weight_lines(), facts, self.model, self.head, lets)

    def weight_lines(self) -> list[tuple[int, tree.WeightLine]]:
        """All lines with their rank, the map's own first; stored names of bases as the maps above them rename them."""
        lines: list[tuple[int, tree.WeightLine]] = []
        renames: list[tree.StoredRename] = []
        for rank, (_, item) in enumerate(self.chain):
            lines += [(rank, _renamed(line, renames)) for line in item.weights]
            renames = [*(r for r in item.weights if isinstance(r, tree.StoredRename)), *renames]
        return lines


def _renamed(line: tree.WeightLine, renames: Sequence[tree.StoredRename]) -> tree.WeightLine:
    """A line of a base with its stored names as they are called above; the nearest map's renames come first."""

    def new(name: tree.String) -> tree.String:
        value = name.value
        for rename in renames:
            value = value.replace(rename.old.value, rename.new.value)
        return replace(name, value=value)

    if isinstance(line, tree.WeightEntry):
        return replace(line, stored=new(line.stored))
    return replace(line, names=tuple(map(new, line.names))) if isinstance(line, tree.StoredNames) else line


def maps(program: Program, without: Unit | None = None) -> dict[str, tuple[Unit, tree.Checkpoint]]:
    """All maps of a program by the names of architectures, those of one file left out; the main file's count first."""
    units = [u for u in (program.main, *program.units.values()) if u is not without]
    found: dict[str, tuple[Unit, tree.Checkpoint]] = {}
    for unit in units:
        for item in unit.checkpoints:
            for name in item.architectures:
                found.setdefault(name.value, (unit, item))
    return found


def resolve_map(program: Program, unit: Unit, item: tree.Checkpoint) -> CheckpointMap | None:
    """The map with its bases; None for one that names no model, neither itself nor through its bases.

    A map that is built upon its own name means the one of another file.
    """
    chain = [(unit, item)]
    while (base := chain[-1][1].base) is not None:
        home, above = chain[-1]
        own = any(base.value == name.value for name in above.architectures)
        others = maps(program, home) if own else {}
        known = others if base.value in others else maps(program)
        if base.value not in known:
            raise WeftError(errors.unknown_base(base.value, list(known), base.span))
        if any(known[base.value][1] is earlier for _, earlier in chain):
            raise WeftError(errors.circular_base(base.value, base.span))
        chain.append(known[base.value])
    for where, part in chain:
        if part.model is not None:
            return CheckpointMap(tuple(chain), where, ".".join(part.model))
    return None


def check_map(found: CheckpointMap, parts: Sequence[str], facts: Sequence[WeightFacts]) -> WeightPlan:
    """Check the lines of a map's own against its model, whose parameters and parts are `parts`.

    Raises WeftError with everything that is wrong.
    """
    problems: list[Diagnostic] = []
    spans: dict[tuple[str, ...], Span] = {}
    for line in found.item.config:
        if isinstance(line, tree.ConfigEntry):
            span = word_span(line.span, line.path[0])
            if line.path[0] not in parts:
                problems.append(errors.unknown_config_parameter(line.path[0], found.model, parts, span))
            elif line.path in spans:
                problems.append(errors.config_twice(".".join(line.path), span, spans[line.path]))
            spans.setdefault(line.path, span)
        if not isinstance(line, tree.ConfigIgnore):
            wrong = next((n for n in walk(line) if isinstance(n, _NOT_VALUES)), None)
            if wrong is not None:
                problems.append(errors.wrong_config_value(f"`{wrong.span.text}`", wrong.span))
    try:
        plan = found.weights(facts)
    except WeftError as error:
        problems += error.diagnostics
    if problems:
        raise WeftError(*problems)
    return plan


_NOT_VALUES = (tree.Repeat, tree.Scan, tree.AxisMap, tree.Where, tree.Rest, tree.Quantity)
