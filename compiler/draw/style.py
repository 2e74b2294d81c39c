"""The colours of a picture and its style sheet."""

from __future__ import annotations

from .layout import SMALL, TITLE
from .picture import Kind

FONT = "'Helvetica Neue', Helvetica, Arial, 'Liberation Sans', sans-serif"

# kind -> (fill, outline, words of the legend)
COLOURS = {
    Kind.MATRIX: ("#e4eefc", "#5b8fd6", "weight matrix"),
    Kind.TABLE: ("#eee7fb", "#9877d4", "lookup table"),
    Kind.VECTOR: ("#fdf2d6", "#d9a93f", "weight vector"),
    Kind.PLAIN: ("#f1f3f5", "#a3adb8", "block without weights"),
    Kind.FUNCTION: ("#e3f4e8", "#5bab78", "function"),
    Kind.STATE: ("#fde6e1", "#d9705c", "remembered while decoding"),
    Kind.SCAN: ("#fde6e1", "#d9705c", "recurrence"),
    Kind.PENALTY: ("#ffffff", "#c2569b", "penalty"),
}
INK, MUTED, LINE = "#1f2933", "#66727f", "#7b8794"

STYLE = f"""
.picture {{ font-family: {FONT}; }}
.picture text {{ fill: {INK}; font-size: {TITLE}px; }}
.picture .name {{ font-weight: 600; }}
.picture .note {{ font-weight: 400; fill: {MUTED}; }}
.picture .small {{ font-size: {SMALL}px; fill: {MUTED}; }}
.picture .model {{ font-size: 17px; font-weight: 600; }}
.picture .line {{ fill: none; stroke: {LINE}; stroke-width: 1.25; stroke-linecap: round; }}
.picture .head, .picture .junction {{ fill: {LINE}; }}
.picture .box > .shape, .picture .layers > .shape, .picture .stack > .shape {{ fill: #ffffff; stroke: #c3ccd6; }}
.picture .shade > .shape {{ fill: #f6f8fa; }}
.picture .sheet {{ fill: #ffffff; stroke: #c3ccd6; stroke-width: 1; }}
.picture .header {{ fill: #e9edf2; }}
.picture .layers > .header, .picture .stack > .header {{ fill: #dde4ec; }}
.picture .input > .shape, .picture .output > .shape {{ fill: {INK}; }}
.picture .input text, .picture .output text {{ fill: #ffffff; }}
.picture .operation > .shape {{ fill: #ffffff; stroke: #98a4b1; }}
.picture .operation text {{ font-size: {TITLE - 1}px; }}
.picture .operator > .shape {{ fill: #ffffff; stroke: {LINE}; stroke-width: 1.25; stroke-linecap: round; }}
.picture .operator path {{ stroke: {INK}; stroke-width: 1.5; fill: none; }}
.picture .memory {{ fill: {COLOURS[Kind.STATE][0]}; stroke: {COLOURS[Kind.STATE][1]}; }}
.picture .penalty > .shape {{ stroke-dasharray: 4 3; }}
.picture .penalty text {{ font-size: {TITLE - 1}px; }}
""" + "".join(
    f".picture .{kind.value} > .shape, .picture .swatch.{kind.value} {{ fill: {fill}; stroke: {line}; }}\n"
    for kind, (fill, line, _) in COLOURS.items()
)
