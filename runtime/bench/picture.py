"""A bench as a picture: speed beside the ceiling that memory sets, and where the time goes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .bench import Bench, Spread
from .profile import Part, Profile

DARK, LIGHT, RED, GREY = "#1f4e8c", "#9db8d9", "#c8502d", "#666666"
PALETTE = ("#1f4e8c", "#4f86c0", "#9db8d9", "#c8502d", "#e0a080", "#7a9a5a", "#b9cba3")
OTHERS, BETWEEN = "#bbbbbb", "#e4e4e4"
SHOWN = 6


def draw_bench(found: Bench, path: Path) -> None:
    """Draws a bench as PNG: decoding against its ceiling, and the parts of a prompt's and of a token's time."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # matplotlib takes a second to load
    from matplotlib.figure import Figure

    profiles = [("prompt", found.profile_prefill, found.prefill)]
    if found.profile_decode is not None and found.decode is not None:
        profiles.append(("token", found.profile_decode, found.decode))
    heights = [1.15] * (found.decode is not None) + [0.75 + 0.75 * len(profiles)]
    figure = Figure(figsize=(9, 1.1 + 1.35 * sum(heights)), dpi=120, layout="constrained")
    figure.get_layout_engine().set(h_pad=0.12)
    axes = figure.subplots(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    if found.decode is not None:
        _speed(axes[0], found, found.decode)
    _times(axes[-1], found, profiles)
    threads = "1 thread" if found.threads == 1 else f"{found.threads} threads"
    figure.suptitle(f"{found.model}, {found.target}, {threads}", x=0.01, ha="left", fontsize=12)
    FigureCanvasAgg(figure).print_png(str(path))


def _speed(axes: Any, found: Bench, decode: Spread) -> None:
    """A bar up to the ceiling, the median within it, a mark for every round."""
    edge = max(found.ceiling, decode.most)
    axes.barh([0], [found.ceiling], height=0.5, color=BETWEEN)
    axes.barh([0], [decode.median], height=0.5, color=LIGHT)
    axes.plot(decode.values, [0] * len(decode.values), "|", color=DARK, markersize=18, markeredgewidth=1.6)
    axes.axvline(found.ceiling, color=RED, linewidth=1.4, linestyle="--")
    axes.annotate(
        f"{decode.median:.3g} tokens/s\n{100 * decode.median / found.ceiling:.0f} % of the ceiling",
        (0, 0), xytext=(8, 0), textcoords="offset points", va="center", fontsize=9, color=DARK,
    )  # fmt: skip
    late = found.ceiling > 0.75 * edge
    axes.annotate(
        f"{found.bandwidth.best / 1e9:.3g} GB/s ÷ {found.bytes_per_token / 1e6:,.4g} MB\n= {found.ceiling:.3g} tokens/s",
        (found.ceiling, 0), xytext=(-8 if late else 8, 0), textcoords="offset points", va="center",
        ha="right" if late else "left", fontsize=9, color=RED,
    )  # fmt: skip
    axes.set_xlim(0, 1.03 * edge)
    axes.set_ylim(-0.45, 0.45)
    axes.set_yticks([])
    axes.set_xlabel("tokens/s")
    axes.set_title("decoding, and the ceiling that reading memory sets; a mark per round", loc="left", fontsize=10)
    axes.spines[["top", "right", "left"]].set_visible(False)


def _times(axes: Any, found: Bench, profiles: Sequence[tuple[str, Profile, Spread]]) -> None:
    """One bar per profile, as shares of its time; the same kind of operator has the same colour in all."""
    colours: dict[str, str] = {}
    names = []
    for row, (what, profile, speed) in enumerate(profiles):
        whole = max(profile.seconds, sum(p.seconds for p in profile.parts)) or 1.0
        pieces = [(label(p), p.seconds) for p in profile.parts[:SHOWN]]
        pieces.append(("other operators", sum(p.seconds for p in profile.parts[SHOWN:])))
        pieces.append(("between kernels", profile.between))
        left = 0.0
        for name, seconds in pieces:
            share = 100 * seconds / whole
            colour = colours.setdefault(name, _colour(name, len(colours)))
            axes.barh([row], [share], left=left, height=0.56, color=colour, edgecolor="white", linewidth=0.8,
                      label=name if name not in names else None)  # fmt: skip
            if share >= 6:
                dark = colour in PALETTE[:2] or colour == RED
                axes.text(left + share / 2, row, f"{share:.0f} %", ha="center", va="center", fontsize=8,
                          color="white" if dark else "#222222")  # fmt: skip
            names.append(name)
            left += share
    axes.set_yticks(range(len(profiles)), [
        f"prompt of {found.prompt:,}\n{1000 * p.seconds:,.3g} ms" if what == "prompt"
        else f"one token\n{1000 * p.seconds:,.3g} ms" for what, p, _ in profiles
    ])  # fmt: skip
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.set_xlabel("% of the time, as profiled")
    axes.set_title("where the time goes, by operator and format of its weights", loc="left", fontsize=10)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(handles, labels, frameon=False, fontsize=8, ncols=3, loc="upper center", bbox_to_anchor=(0.45, -0.32))


def label(part: Part) -> str:
    """An operator, and how its weights are stored."""
    return f"{part.operator} ({part.format})" if part.format else part.operator


def _colour(name: str, number: int) -> str:
    if name == "other operators":
        return OTHERS
    return BETWEEN if name == "between kernels" else PALETTE[number % len(PALETTE)]
