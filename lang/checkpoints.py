"""Checkpoint maps, checked: config keys to parameters, stored tensors to weights, layouts to axes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from . import errors, tree
from .diagnostics import Diagnostic, WeftError
from .nearest import nearest
from .plans import ModelFacts
from .source import Span
from .values import describe, word_span

_PLACEHOLDER = re.compile(r"\{\s*(\w*)\s*\}")


@dataclass(frozen=True)
class WeightMap:
    """A stored tensor and the weights it holds.

    `paths` are weights in the writing of ModelFacts, with `{i}` for a layer number; several when the tensor packs
    them (then `layout` holds their number as one more axis). `spread` are axes that the stored name counts instead of
    the layout (one tensor for each expert). `layout` holds the axes of every stored axis, slowest first.
    """

    paths: tuple[str, ...]
    stored: str
    layout: tuple[tuple[str, ...], ...]
    spread: tuple[str, ...]
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True)
class CheckpointPlan:
    """A checked map. `config` gives parameters by expressions over the keys of config.json."""

    architecture: str
    model: tuple[str, ...]
    config: tuple[tuple[str, tree.Expression], ...]
    ignored: tuple[str, ...]
    weights: tuple[WeightMap, ...]


def check_checkpoint(checkpoint: tree.Checkpoint, model: ModelFacts) -> CheckpointPlan:
    """The plan of a checkpoint map for a model. Raises WeftError with everything that is wrong in it."""
    problems: list[Diagnostic] = []
    config, ignored = _config(checkpoint, model, problems)
    weights = _weights(checkpoint, model, problems)
    if problems:
        raise WeftError(*problems)
    return CheckpointPlan(checkpoint.architecture.value, checkpoint.model, config, ignored, weights)


# ------------------------------------------------------------------ config


def _config(
    checkpoint: tree.Checkpoint, model: ModelFacts, problems: list[Diagnostic]
) -> tuple[tuple[tuple[str, tree.Expression], ...], tuple[str, ...]]:
    values: dict[str, tree.Expression] = {}
    spans: dict[str, Span] = {}
    ignored: dict[str, Span] = {}
    read: dict[str, None] = {}
    for entry in checkpoint.config:
        if entry.name is None:
            assert isinstance(entry.value, tree.Tuple)
            for key in entry.value.items:
                assert isinstance(key, tree.Name)
                if key.id in ignored:
                    problems.append(errors.config_twice(key.id, key.span, ignored[key.id]))
                ignored.setdefault(key.id, key.span)
            continue
        span = word_span(entry.span, entry.name)
        if entry.name not in model.parameters:
            problems.append(errors.unknown_config_parameter(entry.name, model.name, model.parameters, span))
        elif entry.name in spans:
            problems.append(errors.config_twice(entry.name, span, spans[entry.name]))
        else:
            spans[entry.name] = span
            values[entry.name] = entry.value
        wrong = _not_readable(entry.value, read)
        if wrong is not None:
            problems.append(errors.wrong_config_value(describe(wrong), wrong.span))
    for key_name, span in ignored.items():
        if key_name in read:
            used = next(e.value.span for e in checkpoint.config if e.name is not None and key_name in _keys(e.value))
            problems.append(errors.config_twice(key_name, span, used))
    return tuple(values.items()), tuple(ignored)


def _not_readable(value: tree.Expression, keys: dict[str, None]) -> tree.Expression | None:
    """The first part of a config value that is neither a key, a literal nor arithmetic; `keys` gathers the keys."""
    waiting = [value]
    while waiting:
        part = waiting.pop()
        match part:
            case tree.Name():
                keys[part.id] = None
            case tree.Number() | tree.String() | tree.Boolean():
                pass
            case tree.Attribute():
                waiting.append(part.value)
            case tree.Unary(op="-"):
                waiting.append(part.operand)
            case tree.Binary(op="+" | "-" | "*" | "/"):
                waiting += [part.right, part.left]
            case _:
                return part
    return None


def _keys(value: tree.Expression) -> dict[str, None]:
    keys: dict[str, None] = {}
    _not_readable(value, keys)
    return keys


# ------------------------------------------------------------------ weights


def _weights(checkpoint: tree.Checkpoint, model: ModelFacts, problems: list[Diagnostic]) -> tuple[WeightMap, ...]:
    known = dict(model.weights)
    maps: list[WeightMap] = []
    mapped: dict[str, Span] = {}
    stored: dict[str, Span] = {}
    whole = True
    for entry in checkpoint.weights:
        if entry.stored.value in stored:
            problems.append(errors.weight_twice(entry.stored.value, entry.stored.span, stored[entry.stored.value]))
        stored.setdefault(entry.stored.value, entry.stored.span)
        found = _weight(entry, known, model, problems)
        if found is None:
            whole = False
            continue
        for path in found.paths:
            key = _PLACEHOLDER.sub("*", path)
            if key in mapped:
                problems.append(errors.weight_twice(path, _path_span(entry), mapped[key]))
            mapped.setdefault(key, _path_span(entry))
        maps.append(found)
    missing = [path for path in known if path not in mapped]
    if missing and whole:
        span = Span(checkpoint.span.source, checkpoint.span.start, checkpoint.architecture.span.end)
        problems.append(errors.unmapped_weights(missing, model.name, span))
    return tuple(maps)


def _weight(
    entry: tree.WeightEntry,
    known: Mapping[str, tuple[tuple[str, int], ...]],
    model: ModelFacts,
    problems: list[Diagnostic],
) -> WeightMap | None:
    paths = _spread_alternatives(entry.path)
    indices = [p[1:-1] for p in entry.path if p.startswith("{") and "," not in p]
    for path in paths:
        key = _PLACEHOLDER.sub("*", path)
        if key not in known:
            problems.append(errors.unknown_weight(path, model.name, _advice(path, key, known), _path_span(entry)))
            return None
    if len(set(indices)) < len(indices):
        problems.append(
            _placeholder("a placeholder stands twice in one path", "used twice", "give each its own name", entry)
        )
        return None
    names = [name for name, _ in known[_PLACEHOLDER.sub("*", paths[0])]]
    counted = _PLACEHOLDER.findall(entry.stored.value)
    if entry.stored.value.count("{") != len(counted) or entry.stored.value.count("}") != len(counted) or "" in counted:
        problems.append(
            _placeholder(
                "the name has a brace that is no placeholder", "not like `{i}`", "write `{i}` for a number", entry
            )
        )
        return None
    for index in indices:
        if index not in counted:
            title = f"`{{{index}}}` does not stand in the stored name"
            advice = f'all layers would read the same tensor: write "..{{{index}}}.."'
            problems.append(_placeholder(title, f"no `{{{index}}}`", advice, entry))
            return None
    spread = tuple(c for c in counted if c not in indices)
    for name in spread:
        if name not in names:
            title = f"`{{{name}}}` counts nothing"
            choices = [*indices, *names]
            advice = (
                f"placeholders are layer numbers of the path and axes of the weight: {errors.one_of(choices, 'and')}"
            )
            problems.append(_placeholder(title, f"no `{name}` in the path", advice, entry))
            return None
    layout = entry.layout
    groups = tuple(a.names for a in layout) if layout is not None else tuple((n,) for n in names if n not in spread)
    for path in paths:
        axes = known[_PLACEHOLDER.sub("*", path)]
        reason = _misfit(groups, axes, spread, len(paths))
        if reason is not None:
            span = entry.stored.span if layout is None or not layout else layout[0].span.to(layout[-1].span)
            problems.append(errors.wrong_layout(path, [n for n, _ in axes], reason, span))
            return None
    return WeightMap(paths, entry.stored.value, groups, spread, entry.span)


def _misfit(
    layout: tuple[tuple[str, ...], ...], axes: tuple[tuple[str, int], ...], spread: tuple[str, ...], packed: int
) -> str | None:
    """Why a layout does not hold a weight: every axis once (one of length 1 may be left out), and the pack's number."""
    names = [n for group in layout for n in group]
    numbers = [n for n in names if n[0].isdigit()]
    wanted = {n: size for n, size in axes if n not in spread}
    if packed > 1 and numbers != [str(packed)]:
        return f"packs {packed} weights, so it needs the number `{packed}` once"
    if packed == 1 and numbers:
        return f"has the number `{numbers[0]}`, but holds one weight"
    for name in names:
        if name not in wanted and not name[0].isdigit():
            return f"has `{name}`, which is not an axis of it"
        if names.count(name) > 1:
            return f"has `{name}` twice"
    lacking = [n for n, size in wanted.items() if n not in names and size != 1]
    return f"lacks {errors.one_of(lacking, 'and')}" if lacking else None


def _spread_alternatives(path: tuple[str, ...]) -> tuple[str, ...]:
    """`attn.{q, k}.weight` as two paths; `{i}` stays."""
    paths = [""]
    for part in path:
        choices = [c.strip() for c in part[1:-1].split(",")] if "," in part else [part]
        paths = [f"{head}.{choice}" if head else choice for head in paths for choice in choices]
    return tuple(paths)


def _advice(path: str, key: str, known: Mapping[str, object]) -> tuple[str, ...]:
    if key.replace(".*", "") in {k.replace(".*", "") for k in known}:
        right = next(k for k in known if k.replace(".*", "") == key.replace(".*", ""))
        return (f"layers are counted with a placeholder: `{right.replace('*', '{i}')}`",)
    near = nearest(key, known)
    return () if near is None else (f"did you mean `{near.replace('*', '{i}')}`?",)


def _path_span(entry: tree.WeightEntry) -> Span:
    text = entry.span.text
    return Span(entry.span.source, entry.span.start, entry.span.start + len(text[: text.index("=")].rstrip()))


def _placeholder(title: str, label: str, advice: str, entry: tree.WeightEntry) -> Diagnostic:
    return errors.wrong_placeholder(title, label, advice, entry.stored.span)
