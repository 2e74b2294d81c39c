"""What was measured, as Markdown: medians over rounds with their range, ratios within the same round, and the aims."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from .reading import cache, held, read
from .shapes import SHAPES, Shape
from .variants import VARIANTS, Place, Variant

OTHERS = 0.15  # processors that others may have kept busy while a round counts
LEAST = 3  # rounds that are undisturbed before the others are left out
AIM = {"decode": 1.05, "share": 0.75, "prefill": 6.0, "memory": 1.2}


@dataclass(frozen=True)
class Row:
    """One variant of one shape: tokens/s by round, and what follows from the files."""

    variant: Variant
    prefill: Mapping[int, float]
    decode: Mapping[int, float]
    load: float
    memory: Mapping[str, float]
    disk: int
    read: float
    held: float
    first: tuple[int, ...]
    version: str
    disturbed: int

    @property
    def over(self) -> float:
        """Peak memory, without what the libraries took before loading, as a multiple of weights and caches."""
        return (self.memory["peak"] - self.memory["base"]) * 2**20 / self.held


def rows(place: Place, shape: Shape, found: Sequence[Mapping[str, Any]]) -> list[Row]:
    """The rows of a shape, in the order of the variants."""
    by_variant: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for result in found:
        if result["shape"] == shape.name and result["variant"] in VARIANTS:
            by_variant[result["variant"]].append(result)
    return [_row(place, shape, VARIANTS[name], by_variant[name]) for name in VARIANTS if name in by_variant]


def _row(place: Place, shape: Shape, variant: Variant, results: Sequence[Mapping[str, Any]]) -> Row:
    prefill, decode, disturbed = {}, {}, 0
    calm = [r for r in results if median(x["others"] for x in r["rounds"]) <= OTHERS]
    kept = calm if len(calm) >= LEAST else results
    for result in kept:
        prefill[result["round"]] = result["prompt"] / median(x["prefill"] for x in result["rounds"])
        decode[result["round"]] = result["tokens"] / median(x["decode"] for x in result["rounds"])
        disturbed += result not in calm
    tokens = results[0]["prompt"] + results[0]["tokens"] / 2
    return Row(
        variant=variant,
        prefill=prefill,
        decode=decode,
        load=median(r["load"] for r in results),
        memory={k: max(r["memory"][k] for r in results) for k in results[0]["memory"]},
        disk=place.size(shape, variant),
        read=read(place, shape, variant) + cache(shape, variant, tokens),
        held=held(place, shape, variant, results[0]["prompt"] + results[0]["tokens"]),
        first=tuple(results[0]["first"]),
        version=results[0]["version"],
        disturbed=disturbed,
    )


def markdown(place: Place, found: Sequence[Mapping[str, Any]]) -> tuple[str, bool]:
    """The report, and whether all rows of full precision wrote the same tokens."""
    parts, agree = [], True
    for shape in SHAPES.values():
        table = rows(place, shape, found)
        if table:
            results = [r for r in found if r["shape"] == shape.name]
            text, same = _section(shape, table, results)
            parts.append(text)
            agree = agree and same
    return "\n".join(parts), agree


def _section(shape: Shape, table: Sequence[Row], results: Sequence[Mapping[str, Any]]) -> tuple[str, bool]:
    bandwidth = max(b for r in results for b in r["bandwidth"])
    middle = median(b for r in results for b in r["bandwidth"])
    asked = results[0]
    lines = [
        f"## {shape.name}",
        "",
        f"A prompt of {asked['prompt']} tokens, then {asked['tokens']}; {asked['threads']} threads; "
        f"{len({r['round'] for r in results})} rounds in turns, each row in a process of its own. "
        f"Memory is read with {bandwidth / 1e9:.1f} GB/s (best; median {middle / 1e9:.1f}).",
        "",
        "| system | bits | prefill, tokens/s | decode, tokens/s | weft ÷ it: prefill | weft ÷ it: decode "
        "| % of the bound | peak, MiB | ÷ weights + cache | on disk, MiB | load, s |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for row in table:
        base = reference(table, row)
        own = base is row
        ratios = ["", ""] if base is None or own else [ratio(base.prefill, row.prefill), ratio(base.decode, row.decode)]
        share = 100 * median(row.decode.values()) * row.read / bandwidth
        name = f"**{row.variant.name}**" if row.variant.main else row.variant.name
        lines.append(
            f"| {name}{' ¹' if row.disturbed else ''} | {row.variant.bits} | {spread(row.prefill)} | "
            f"{spread(row.decode)} | {ratios[0]} | {ratios[1]} | {share:.0f} | {row.memory['peak']:,.0f} | "
            f"{row.over:.2f} | {row.disk / 2**20:,.0f} | {row.load:.1f} |"
        )
    if any(row.disturbed for row in table):
        lines += ["", f"¹ fewer than {LEAST} rounds in which others used at most {OTHERS} processors: all are counted."]
    exact = {row.variant.name: row.first for row in table if row.variant.exact}
    same = len(set(exact.values())) <= 1
    lines += ["", f"First tokens of the rows in fp32: {'all the same' if same else 'THEY DIFFER'}"]
    lines += [f"- {name}: {list(tokens)}" for name, tokens in exact.items()]
    versions = "; ".join(sorted({row.version for row in table}))
    lines += ["", *verdicts(table, bandwidth), "", f"Versions: {versions}.", ""]
    return "\n".join(lines), same


def reference(table: Sequence[Row], row: Row) -> Row | None:
    """The row of Weft that another is compared with; one in a format that Weft has no row of: that of int4."""
    ours = {r.variant.bits: r for r in table if r.variant.main}
    return ours.get(row.variant.bits) or ours.get("int4")


def pairs(ours: Mapping[int, float], theirs: Mapping[int, float]) -> list[float]:
    """Ratios within the same round, where the machine was the same for both; across rounds where none is shared."""
    shared = sorted(ours.keys() & theirs.keys())
    if shared:
        return [ours[number] / theirs[number] for number in shared]
    return [median(ours.values()) / median(theirs.values())]


def ratio(ours: Mapping[int, float], theirs: Mapping[int, float]) -> str:
    found = pairs(ours, theirs)
    return f"{median(found):.2f} ({min(found):.2f}–{max(found):.2f})"


def spread(speeds: Mapping[int, float]) -> str:
    values = speeds.values()
    return f"{_number(median(values))} ({_number(min(values))}–{_number(max(values))})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def verdicts(table: Sequence[Row], bandwidth: float) -> Iterator[str]:
    """The aims, each with its number."""
    ours = {r.variant.bits: r for r in table if r.variant.main}
    for bits, row in ours.items():
        peers = [r for r in table if r.variant.bits == bits and r.variant.system in ("genai", "llama.cpp")]
        peers = [r for r in peers if not r.variant.files_of]
        if peers:
            best = max(peers, key=lambda r: median(r.decode.values()))
            times = median(pairs(row.decode, best.decode))
            yield _verdict(f"decode, {bits}: {times:.2f} × {best.variant.name}", times, AIM["decode"])
        share = median(row.decode.values()) * row.read / bandwidth
        yield _verdict(f"decode, {bits}: {share:.2f} of the bound of memory", share, AIM["share"])
        yield _verdict(f"memory, {bits}: {row.over:.2f} × weights and caches", -row.over, -AIM["memory"])
    if "int4" in ours:
        for name, least in (("genai-int4-32", AIM["prefill"]), ("transformers-bf16", 1.0)):
            peer = next((r for r in table if r.variant.name == name), None)
            if peer is not None:
                times = median(pairs(ours["int4"].prefill, peer.prefill))
                yield _verdict(f"prefill, int4: {times:.2f} × {name}", times, least)


def _verdict(what: str, value: float, least: float) -> str:
    bound = f"at most {-least:g}" if least < 0 else f"at least {least:g}"
    return f"- {'met' if value >= least else 'NOT MET'}: {what} (aim: {bound})"


def machine() -> str:
    """The processor and memory, in a line."""
    with open("/proc/cpuinfo") as file:
        name = next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), "processor")
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    return f"{name}, {os.cpu_count()} processors, {memory:.0f} GiB"
