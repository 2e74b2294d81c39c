"""A bench as a picture: speed beside the ceiling that memory sets, and where the time goes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .bench import Bench, Spread
from .profile import Part, Profile

DARK, LIGHT, RED, GREY = "#1f4e8c", "#9db8d9", "#c8502d", "#666666"
PALETTE = ("#1f4e8c", "#4f86c0", "#9db8d9", "#c8502d", "#e0a080", "#7a9a5a", "#b9cba3", "#8a6fa8", "#c9bbd8", "#c9a227")
PALE, PALER = "#bbbbbb", "#e4e4e4"
_OTHERS, _BETWEEN = "other operators", "between kernels"
_SHOWN, _LEAST = 6, 0.015  # kinds of operators, and the least part of the time, that are shown by name
_WRITTEN = 6  # percent; a narrower piece has no room for its number


def draw_bench(found: Bench, path: Path) -> None:
    """Draws a bench as PNG: decoding against its ceiling, and the parts of a prompt's and of a token's time."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # matplotlib takes a second to load
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    profiles = [(f"prompt of {found.prompt:,}", found.profile_prefill)]
    if found.profile_decode is not None:
        profiles.append(("one token", found.profile_decode))
    heights = [1.15] * (found.share is not None) + [0.75 + 0.75 * len(profiles)]
    figure = Figure(figsize=(9, 1.1 + 1.35 * sum(heights)), dpi=120, layout=ConstrainedLayoutEngine(h_pad=0.1))
    axes = figure.subplots(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    if found.decode is not None and found.share is not None:
        _speed(axes[0], found, found.decode, found.share)
    _times(axes[-1], profiles)
    threads = "1 thread" if found.threads == 1 else f"{found.threads} threads"
    figure.suptitle(f"{found.model}, {found.target}, {threads}", x=0.01, ha="left", fontsize=12)
    FigureCanvasAgg(figure).print_png(str(path))


def _speed(axes: Any, found: Bench, decode: Spread, share: float) -> None:
    """A bar up to the ceiling, the median within it, a mark for every round; the words stand above."""
    edge = 1.02 * max(found.ceiling, decode.most)
    axes.barh([0], [found.ceiling], height=0.5, color=PALER)
    axes.barh([0], [decode.median], height=0.5, color=LIGHT)
    axes.plot(decode.values, [0] * len(decode.values), "|", color=DARK, markersize=17, markeredgewidth=1.6)
    axes.plot([found.ceiling] * 2, [-0.36, 0.36], color=RED, linewidth=1.6, linestyle="--")
    reached = f"{_number(decode.median)} tokens/s, {100 * share:.0f} % of the ceiling"
    axes.text(0, 0.42, reached, va="bottom", fontsize=9, color=DARK)
    read = f"{found.bandwidth.best / 1e9:.3g} GB/s ÷ {found.bytes_per_token / 1e6:,.4g} MB"
    axes.text(edge, 0.42, f"ceiling: {read} = {_number(found.ceiling)} tokens/s",
              va="bottom", ha="right", fontsize=9, color=RED)  # fmt: skip
    axes.set_xlim(0, edge)
    axes.set_ylim(-0.4, 0.75)
    axes.set_yticks([])
    axes.set_xlabel("tokens/s")
    axes.set_title("decoding, and the ceiling that reading memory sets; a mark per round", loc="left", fontsize=10)
    axes.spines[["top", "right", "left"]].set_visible(False)


def _times(axes: Any, profiles: Sequence[tuple[str, Profile]]) -> None:
    """One bar per profile, as shares of its time; the same kind of operator has the same colour in all."""
    colours: dict[str, str] = {}
    for row, (_, profile) in enumerate(profiles):
        left = 0.0
        for name, share in pieces(profile):
            known = name in colours
            colour = colours.setdefault(name, _colour(name, sum(c in PALETTE for c in colours.values())))
            axes.barh([row], [share], left=left, height=0.56, color=colour, edgecolor="white", linewidth=0.8,
                      label=None if known else name)  # fmt: skip
            if share >= _WRITTEN:
                words = "white" if colour in (*PALETTE[:2], RED) else "#222222"
                axes.text(left + share / 2, row, f"{share:.0f} %", ha="center", va="center", fontsize=8, color=words)
            left += share
    names = [f"{what}\n{_number(1000 * profile.seconds)} ms" for what, profile in profiles]
    axes.set_yticks(range(len(profiles)), names)
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.set_xlabel("% of the time, as profiled")
    axes.set_title("where the time goes, by operator and format of its weights", loc="left", fontsize=10)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    handles, labels = axes.get_legend_handles_labels()
    order = sorted(range(len(labels)), key=lambda i: labels[i] in (_OTHERS, _BETWEEN))  # what is no operator comes last
    axes.legend([handles[i] for i in order], [labels[i] for i in order], frameon=False, fontsize=8, ncols=3,
                loc="upper center", bbox_to_anchor=(0.45, -0.56 / len(profiles)))  # fmt: skip


def pieces(profile: Profile) -> list[tuple[str, float]]:
    """The parts of a profile by name, in percent of its time: few and long ones, then the rest."""
    whole = max(profile.seconds, sum(p.seconds for p in profile.parts)) or 1.0
    read = sum(p.bytes for p in profile.parts)
    shown = [p for p in profile.parts if p.seconds >= _LEAST * whole][:_SHOWN]
    found = [(label(p, read), 100 * p.seconds / whole) for p in shown]
    others = sum(p.seconds for p in profile.parts if p not in shown)
    return [*found, (_OTHERS, 100 * others / whole), (_BETWEEN, 100 * profile.between / whole)]


def label(part: Part, read: float) -> str:
    """An operator, and how its weights are stored if they are a part of all that is `read` worth naming."""
    return f"{part.operator} ({part.format})" if part.format and part.bytes >= 0.01 * read else part.operator


def _colour(name: str, number: int) -> str:
    if name == _OTHERS:
        return PALE
    return PALER if name == _BETWEEN else PALETTE[number % len(PALETTE)]


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
