"""The weights half of a checkpoint map: which stored tensors hold the weights of a model, and how."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import product

from . import errors, tree
from .diagnostics import Diagnostic, WeftError
from .layouts import Axes, Layout, Misfit, one_behind_the_other, resolve
from .nearest import nearest
from .source import Source, Span

_GROUP = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True)
class WeightFacts:
    """A weight of a model: where it is, its axes, and the parameter of the block that declares it."""

    path: str
    axes: Axes
    block: str
    parameter: str


@dataclass(frozen=True)
class Member:
    """A weight that a stored tensor holds: the `index`-th in its layout; of it, only the entries `at` (axis, place)."""

    path: str
    index: int
    at: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class StoredTensor:
    """A tensor of the files and the weights in it. `span` is the line of the map."""

    name: str
    layout: Layout
    members: tuple[Member, ...]
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True)
class WeightPlan:
    """Where every weight of a model is stored. Patterns may hold `*`, which stands for any text."""

    tensors: tuple[StoredTensor, ...]
    ignored: tuple[str, ...]
    kept: tuple[str, ...]
    optional: tuple[str, ...]

    def named(self, name: str, patterns: Sequence[str]) -> bool:
        return any(fnmatchcase(name, p) for p in patterns)


@dataclass(frozen=True)
class _Line:
    """One entry without alternatives: the weights packed into a stored tensor. Of rank 0 are the lines of the map
    itself, of rank 1 those of its base."""

    paths: tuple[str, ...]
    stored: str
    layout: tuple[tree.LayoutAxis, ...] | None
    rank: int
    span: Span
    stored_span: Span


@dataclass(frozen=True)
class Lets:
    """Names that stand for texts and whole numbers of a config, which may depend on the layer: `value(name, layers)`.

    Without a config these are not known, and the names stay in the names of tensors.
    """

    names: frozenset[str] = frozenset()
    value: Callable[[str, Mapping[str, int]], str] | None = None

    def fill(self, text: str, layers: Mapping[str, str]) -> str:
        def said(match: re.Match[str]) -> str:
            if match[1] not in self.names or match[1] in layers:
                return match[0]
            if self.value is None:
                return f"<{'.'.join((match[1], *layers.values()))}>"
            return self.value(match[1], {n: int(at) for n, at in layers.items()})

        return _GROUP.sub(said, text)


def plan_weights(
    lines: Sequence[tuple[int, tree.WeightLine]], weights: Sequence[WeightFacts], model: str, head: Span, lets: Lets
) -> WeightPlan:
    """The plan for a model. `lines` are those of the map and its bases, with their rank; `head` names the map.

    What a base maps that the model lacks is left out; of two lines for one weight that of the map itself counts.
    Raises WeftError with everything that is wrong.
    """
    problems: list[Diagnostic] = []
    patterns: dict[str, list[str]] = {"ignore": [], "keep": [], "optional": []}
    layouts: dict[tuple[str, str], tuple[tree.LayoutAxis, ...]] = {}
    entries: list[_Line] = []
    for rank, line in lines:
        match line:
            case tree.WeightEntry():
                try:
                    entries += _alternatives(line, rank, lets)
                except WeftError as error:
                    problems += error.diagnostics
            case tree.StoredNames():
                patterns[line.role] += [n.value for n in line.names]
            case tree.DefaultLayout():
                layouts.setdefault((line.block, line.parameter), line.layout)
    tensors = _tensors(entries, weights, layouts, lets, problems)
    mapped = {m.path for t in tensors for m in t.members}
    missing = [w.path for w in weights if w.path not in mapped]
    if missing and not problems:
        hints = _unused(entries, mapped, missing)
        problems.append(errors.unmapped_weights(_starred(missing), model, hints, head))
    if problems:
        raise WeftError(*problems)
    return WeightPlan(tensors, *(tuple(patterns[r]) for r in ("ignore", "keep", "optional")))


def _starred(paths: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(re.sub(r"\.\d+(?=\.)", ".{i}", p) for p in paths))


def _unused(entries: Sequence[_Line], mapped: set[str], missing: Sequence[str]) -> tuple[str, ...]:
    """A line of the map that matches nothing and looks like one of the missing weights."""
    idle = [p for e in entries if not e.rank for p in e.paths if not any(_pattern(p).fullmatch(m) for m in mapped)]
    near = nearest(_starred(missing)[0], idle)
    return () if near is None else (f"`{near}` matches no weight: is it meant?",)


# ------------------------------------------------------------------ entries


def _alternatives(entry: tree.WeightEntry, rank: int, lets: Lets) -> list[_Line]:
    """`attn.{q, k}.weight = "{q, k}_proj.weight"` as two lines; alternatives without a partner are packed together."""
    groups = [
        [c.strip() for c in part[1:-1].split(",")] for part in entry.path if part.startswith("{") and "," in part
    ]
    stored = entry.stored.value
    if stored.count("{") != len(_GROUP.findall(stored)) or stored.count("}") != stored.count("{"):
        raise _wrong("the name has a brace that is no placeholder", "not like `{i}`", "write `{i}` for a number", entry)
    theirs = [[c.strip() for c in g.split(",")] for g in _GROUP.findall(stored) if "," in g]
    partner: dict[int, int] = {}  # a group of the path -> the group of the stored name that goes with it
    for there in reversed(range(len(theirs))):
        fitting = [i for i, g in enumerate(groups) if len(g) == len(theirs[there]) and i not in partner]
        if not fitting:
            choices = ", ".join(theirs[there])
            raise _wrong(
                f"`{{{choices}}}` has no partner in the path", "stands alone",
                "a group of the stored name goes with a group of the path that has as many words", entry,
            )
        partner[fitting[-1]] = there
    lines = []
    paired = sorted(partner)
    for choice in product(*(range(len(groups[i])) for i in paired)):
        fixed = dict(zip(paired, choice, strict=True))
        words = iter([theirs[t][fixed[next(g for g in paired if partner[g] == t)]] for t in range(len(theirs))])
        name = _GROUP.sub(lambda m: next(words) if "," in m[1] else m[0], stored)  # noqa: B023
        open_ = [i for i in range(len(groups)) if i not in fixed]
        paths = []
        for packed in product(*(range(len(groups[i])) for i in open_)):
            chosen = {**fixed, **dict(zip(open_, packed, strict=True))}
            number = iter(range(len(groups)))
            parts = [
                groups[i][chosen[i]] if p.startswith("{") and "," in p and (i := next(number)) >= 0 else p
                for p in entry.path
            ]
            paths.append(".".join(parts))
        indices = _GROUP.findall(paths[0])
        if len(set(indices)) < len(indices):
            raise _wrong("a placeholder stands twice in one path", "used twice", "give each its own name", entry)
        lacking = next((i for i in indices if i not in _GROUP.findall(name)), None)
        if lacking is not None and lets.names.isdisjoint(_GROUP.findall(name)):
            title = f"`{{{lacking}}}` does not stand in the stored name"
            advice = f'all layers would read the same tensor: write "..{{{lacking}}}.."'
            raise _wrong(title, f"no `{{{lacking}}}`", advice, entry)
        lines.append(_Line(tuple(paths), name, entry.layout, rank, entry.span, entry.stored.span))
    return lines


def _wrong(title: str, label: str, advice: str, entry: tree.WeightEntry) -> WeftError:
    return WeftError(errors.wrong_placeholder(title, label, advice, entry.stored.span))


def _pattern(path: str) -> re.Pattern[str]:
    return re.compile("".join(f"(?P<{g}>\\d+)" if i % 2 else re.escape(g) for i, g in enumerate(_GROUP.split(path))))


# ------------------------------------------------------------------ tensors


def _tensors(
    entries: Sequence[_Line], weights: Sequence[WeightFacts],
    layouts: Mapping[tuple[str, str], tuple[tree.LayoutAxis, ...]], lets: Lets, problems: list[Diagnostic],
) -> tuple[StoredTensor, ...]:
    taken: dict[str, _Line] = {}
    found: list[StoredTensor] = []
    by_path = {w.path: w for w in weights}
    for line in sorted(entries, key=lambda e: e.rank):
        patterns = [_pattern(p) for p in line.paths]
        for weight in weights:
            match = patterns[0].fullmatch(weight.path)
            if match is None:
                continue
            before = taken.get(weight.path)
            if before is not None:
                if before.rank == line.rank and before is not line:
                    problems.append(errors.weight_twice(weight.path, line.span, before.span))
                    return ()
                continue
            numbers = match.groupdict()
            paths = [_filled(p, numbers) for p in line.paths]
            packed = [by_path[p] for p in paths if p in by_path]
            if len(packed) != len(paths):
                continue  # a variant of the model without one of them; what is left shows as unmapped
            for path in paths:
                taken[path] = line
            try:
                found += _stored(line, packed, numbers, layouts, lets)
            except Misfit as error:
                span = line.stored_span if not line.layout else line.layout[0].span.to(line.layout[-1].span)
                problems.append(errors.wrong_layout(weight.path, weight.axes.names, str(error), span))
                return ()
            except WeftError as error:
                problems += error.diagnostics
                return ()
    names: dict[str, StoredTensor] = {}
    for tensor in found:
        if tensor.name in names:
            problems.append(errors.weight_twice(tensor.name, tensor.span, names[tensor.name].span))
            return ()
        names[tensor.name] = tensor
    return tuple(found)


def _filled(text: str, numbers: Mapping[str, str]) -> str:
    return _GROUP.sub(lambda m: numbers.get(m[1], m[0]), text)


def _stored(
    line: _Line, packed: Sequence[WeightFacts], numbers: Mapping[str, str],
    layouts: Mapping[tuple[str, str], tuple[tree.LayoutAxis, ...]], lets: Lets,
) -> list[StoredTensor]:
    name = _filled(lets.fill(line.stored, numbers), numbers)
    counted: dict[str, tuple[int, int]] = {}  # placeholder -> the axis it counts: its place and its size
    for placeholder in _GROUP.findall(name):
        place = packed[0].axes.find(placeholder)
        if place is None:
            choices = [*numbers, *packed[0].axes.names]
            title = f"`{{{placeholder}}}` counts nothing"
            known = errors.one_of(choices, "and")
            advice = f"placeholders are layer numbers of the path and axes of the weight: {known}"
            raise WeftError(
                errors.wrong_placeholder(title, f"no `{placeholder}` in the path", advice, line.stored_span)
            )
        counted[placeholder] = (place, packed[0].axes.sizes[place])
    without = {n: size for n, (_, size) in counted.items()}
    if line.layout is not None:
        layout = resolve(line.layout, [w.axes for w in packed], without)
    else:
        layout = one_behind_the_other([_default(w, layouts, without) for w in packed])
    found = []
    for places in product(*(range(size) for _, size in counted.values())):
        at = tuple((place, e) for (place, _), e in zip(counted.values(), places, strict=True))
        here = _filled(name, {n: str(e) for n, e in zip(counted, places, strict=True)})
        found.append(StoredTensor(here, layout, tuple(Member(w.path, j, at) for j, w in enumerate(packed)), line.span))
    return found


def _default(
    weight: WeightFacts, layouts: Mapping[tuple[str, str], tuple[tree.LayoutAxis, ...]], without: Mapping[str, int]
) -> Layout:
    """The layout of the weight's block, the axes of a `stack` before it; else the axes of the weight, one by one."""
    written = layouts.get((weight.block, weight.parameter))
    axes = weight.axes
    names = [tree.LayoutName(n[0], span=_NOWHERE) for n in axes.known if without.keys().isdisjoint(n)]
    if written is None:
        return resolve(names, [axes], without)
    covered = {i for part in written for i in _places(part, axes)}
    stacked = [n for n in names if axes.local.index(n.name) not in covered]
    return resolve([*stacked, *written], [axes], without)


def _places(part: tree.LayoutAxis, axes: Axes) -> list[int]:
    if isinstance(part, tree.LayoutGroup):
        return [i for term in part.terms for p in term for i in _places(p, axes)]
    if part.name.endswith(".."):
        return axes.pack(part.name[:-2])
    place = axes.find(part.name.partition("/")[0])
    return [] if place is None else [place]


_NOWHERE = Span(Source("", ""), 0, 0)
