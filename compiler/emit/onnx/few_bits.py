"""What an export stores in fewer bits: part of the manifest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import prod
from typing import Any

from ...ir.source import Balance, Balanced, Outlying, Quantized, Rest
from ...quantization.scheme import NF4, Grouped, Half, PerColumn, Scheme
from ...weights import Rounded, made_of, starred_path
from .build import Slot


def few_bits(slots: Iterable[Slot], record: Mapping[str, Rounded]) -> list[dict[str, Any]]:
    """For each way to store weights: how many matrices and numbers, the bytes they take, and their errors.

    `bytes` counts codes, scales and all that goes with them, `bits` is what that makes per weight. `error` is the
    relative error of the weights (root mean square), `output_error` that of the products with inputs of calibration;
    null where it was not measured.
    """
    slots = list(slots)
    ways: dict[str, tuple[str, str]] = {}
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for slot in slots:
        source = slot.stored.parameter.source
        if not isinstance(source, Quantized) or source.part not in ("codes", "values"):
            continue
        place = slot.path.rpartition("_")[0]
        key = ways[place] = (source.scheme.name, _method(source))
        here = found.setdefault(key, _row(source.scheme, key))
        here["matrices"] += 1
        here["weights"] += prod(slot.stored.parameter.shape)
        here["on"] |= dict.fromkeys(starred_path(p.split(".")) for p in made_of(slot.path, slot.stored.parameter))
        here["rounded"] += [record[place]] if place in record else []
    for slot in slots:
        source = slot.stored.parameter.source
        place = slot.path.rpartition("_")[0]
        if place in ways and isinstance(source, Quantized | Outlying | Balance):
            found[ways[place]]["bytes"] += slot.length
    return [_finished(row) for row in found.values()]


def _row(scheme: Scheme, key: tuple[str, str]) -> dict[str, Any]:
    bits = scheme.bits if isinstance(scheme, Grouped | PerColumn) else 4 if isinstance(scheme, NF4) else 16
    group = None if isinstance(scheme, Half | PerColumn) else scheme.group
    empty: dict[str, Any] = {"on": {}, "matrices": 0, "weights": 0, "bytes": 0, "rounded": []}
    return {"scheme": key[0], "method": key[1], "code_bits": bits, "group": group, **empty}


def _finished(row: dict[str, Any]) -> dict[str, Any]:
    rounded: list[Rounded] = row.pop("rounded")
    whole = {"bits": 8 * row["bytes"] / row["weights"], "float32_bytes": 4 * row["weights"]}
    return {
        **row, "on": list(row["on"]), **whole,
        "error": _together([(r.weights, r.shape) for r in rounded]),
        "output_error": _together([(r.outputs, r.shape) for r in rounded if r.outputs is not None]),
    }


def _together(errors: list[tuple[float, tuple[int, int]]]) -> float | None:
    """The root mean square of errors of matrices, by their sizes."""
    total = sum(prod(shape) for _, shape in errors)
    return float((sum(e * e * prod(shape) for e, shape in errors) / total) ** 0.5) if total else None


def _method(source: Quantized) -> str:
    if isinstance(source.of, Balanced):
        return "smooth" if isinstance(source.of.by, float) else "awq"
    return "llm_int8" if isinstance(source.of, Rest) else source.method

