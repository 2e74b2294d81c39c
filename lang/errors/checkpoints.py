"""Errors of checkpoints from elsewhere and of the maps that read them (E0730 to E0749)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from ..diagnostics import Diagnostic, Label
from ..source import Span
from .base import code, did_you_mean, finding, one_of


@code("E0730", "unknown parameter in a checkpoint's config")
def unknown_config_parameter(name: str, model: str, known: Sequence[str], span: Span) -> Diagnostic:
    return finding(
        f"`{name}` is neither a parameter nor a part of `{model}`",
        span,
        "unknown",
        help=(*did_you_mean(name, known), f"its parameters are {one_of(known, 'and')}"),
    )


@code("E0731", "config entry given twice")
def config_twice(name: str, span: Span, first: Span) -> Diagnostic:
    return finding(
        f"`{name}` is mapped twice", span, "again here", labels=(Label(first, "first here"),), help=("remove one",)
    )


@code("E0732", "config value that cannot be read")
def wrong_config_value(found: str, span: Span) -> Diagnostic:
    return finding(
        f"a config value cannot be {found}",
        span,
        "no value",
        help=(
            "write a key (`D = hidden_size`), numbers and texts, arithmetic, `if`, `default(a, b)`, `given(key)`,\n"
            "`stored(\"name\")`, or a component with such values: `RoPE(K, theta = rope_theta)`",
        ),
    )


@code("E0733", "tensors that a checkpoint map does not know")
def unknown_tensors(names: Sequence[str], place: str, span: Span) -> Diagnostic:
    shown = ", ".join(f"`{n}`" for n in names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
    return finding(
        f"{len(names)} stored tensor{'s' * (len(names) != 1)} of `{place}` would be lost",
        span,
        "this map does not mention them",
        notes=(f"unknown: {shown}",),
        help=(
            "map them, or say `ignore \"name\"` when they do not matter, `keep \"name\"` when they should travel along",
        ),
    )


@code("E0734", "model weight that the checkpoint lacks")
def unmapped_weights(paths: Sequence[str], model: str, hints: Sequence[str], span: Span) -> Diagnostic:
    shown = [f"`{p}`" for p in paths[:8]]
    rest = f" and {len(paths) - 8} more" if len(paths) > 8 else ""
    count = f"{len(paths)} weights" if len(paths) != 1 else "1 weight"
    return finding(
        f"{count} of `{model}` {'are' if len(paths) != 1 else 'is'} not mapped",
        span,
        "incomplete",
        notes=(f"missing: {', '.join(shown)}{rest}",),
        help=(*hints, "give every weight of the model a line in `weights`"),
    )


@code("E0735", "weight mapped twice")
def weight_twice(what: str, span: Span, first: Span) -> Diagnostic:
    """`what` is a path of the model or the name of a stored tensor."""
    return finding(
        f"`{what}` is mapped twice", span, "again here", labels=(Label(first, "first here"),), help=("remove one",)
    )


@code("E0736", "layout that does not fit its weight")
def wrong_layout(path: str, axes: Sequence[str], reason: str, span: Span) -> Diagnostic:
    return finding(
        f"the layout of `{path}` {reason}",
        span,
        f"the weight is [{', '.join(axes)}]",
        help=("a layout names every axis of the weight once; `(G R K)` packs several into one, slowest first",),
    )


@code("E0737", "placeholder that does not fit")
def wrong_placeholder(title: str, label: str, advice: str, span: Span) -> Diagnostic:
    return finding(title, span, label, help=(advice,))


@code("E0738", "unknown base of a checkpoint map")
def unknown_base(name: str, known: Sequence[str], span: Span) -> Diagnostic:
    return finding(
        f'there is no checkpoint map "{name}" to build upon',
        span,
        "not found in this file and those it uses",
        help=(*did_you_mean(name, known), "`use` the file that declares it"),
    )


@code("E0739", "map that is its own base")
def circular_base(name: str, span: Span) -> Diagnostic:
    return finding(f'the checkpoint map "{name}" is built upon itself', span, "a circle", help=("remove this `like`",))


@code("E0740", "key that config.json lacks")
def missing_config_key(key: str, span: Span) -> Diagnostic:
    return finding(
        f"config.json has no `{key}`",
        span,
        "needed here",
        help=(f"`default({key}, value)` gives it a value where files leave it out",),
    )


@code("E0741", "checkpoint that its map refuses")
def config_refused(condition: str, shown: Mapping[str, object], span: Span) -> Diagnostic:
    """`shown` are the keys of the condition with their values."""
    values = ", ".join(f"`{n}` is {json.dumps(v)}" for n, v in shown.items())
    return finding(
        f"this checkpoint is not covered: {condition}",
        span,
        "this does not hold",
        notes=(f"in config.json {values}",) if values else (),
        help=("another value would be another model, which this map cannot say",),
    )


@code("E0742", "keys of config.json that a map does not know")
def unknown_config_keys(keys: Sequence[str], place: str = "config.json") -> Diagnostic:
    shown = ", ".join(f"`{k}`" for k in keys[:12]) + (f" and {len(keys) - 12} more" if len(keys) > 12 else "")
    return finding(
        f"`{place}` has keys that the checkpoint map does not know",
        notes=(f"unknown: {shown}",),
        help=("nothing is lost silently: read them in the map, or list them under `ignore` if they change nothing",),
    )


@code("E0743", "checkpoint of an unknown architecture")
def unknown_architecture(names: Sequence[str], known: Sequence[str]) -> Diagnostic:
    near = did_you_mean(names[0], known) if names else ()
    return finding(
        f"no checkpoint map for {one_of(list(names)) if names else 'a config.json that names no architecture'}",
        help=(*near, "write a `checkpoint` item in a file of your own and name it: `weft import DIR --map FILE.llm`"),
    )


@code("E0744", "stored tensor that does not fit")
def misfit_tensor(name: str, reason: str, span: Span) -> Diagnostic:
    help = ("check the layout and the config",)
    return finding(f"the stored tensor `{name}` {reason}", span, "mapped here", help=help)


@code("E0745", "no checkpoint here")
def no_checkpoint(folder: str, reason: str) -> Diagnostic:
    return finding(
        f"`{folder}` is no checkpoint that can be read: {reason}",
        help=("a folder with `config.json` and `model.safetensors` (or an index of several) is expected",),
    )


@code("E0746", "model that its checkpoint map cannot write")
def unwritable_config(target: str, reason: str, span: Span) -> Diagnostic:
    return finding(
        f"no config.json says what `{target}` is in this model",
        span,
        "this line cannot be turned around",
        notes=(reason,),
        help=("the export would be another model, so it is not written",),
    )
