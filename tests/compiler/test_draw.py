"""Pictures: every part of a model is there, nothing lies on top of anything else, and the page needs nobody's help."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
import weft
from hypothesis import HealthCheck, given, settings
from library import REPRESENTATIVE
from programs import programs
from weft.compiler.draw.layers import arrange, crossings
from weft.compiler.draw.layout import Box, Placed, layout
from weft.compiler.draw.page import to_html
from weft.compiler.draw.picture import Drawing, End, Item, Kind, Link
from weft.compiler.draw.scene import scene, states_of
from weft.compiler.draw.svg import document, to_svg
from weft.compiler.ir.instances import find, uses
from weft.compiler.ir.module import Instance, Module
from weft.compiler.lower.model import compile_model
from weft.lang.axes import TensorType
from weft.lang.program import STDLIB, load_source
from weft.lang.source import Source

SVG = "{http://www.w3.org/2000/svg}"

MIXED = """
use nn: Embedding, GatedMLP, Linear, RMSNorm
use attention: Attention, causal, window
use moe: MoE

model Mixed(V: dim = 32, D: dim = 16, F: dim = 24, H: dim = 4, layers: int = 14) {
  stream T as S
  embed  = Embedding(V, D)
  blocks = repeat layers as i {
    norm = RMSNorm(D)
    attn = Attention(D, H, mask = if i % 3 == 2 { causal } else { window(width = 5) })
    mlp  = if i == 0 { GatedMLP(D, F) } else { MoE(D, F, E = 4, top = 2) }
    forward(x) {
      h = x + attn(norm(x))
      h + mlp(h)
    }
  }
  forward(tokens: int[B, T]) -> [B, T, V] { tokens |> embed |> blocks |> embed.logits }
}
"""


def compiled(text: str, name: str) -> Module:
    return weft.compile(load_source(Source("spec.llm", text)), name)


def shipped() -> list[Module]:
    programs = [weft.load(path) for path in REPRESENTATIVE]
    return [weft.compile(program, name) for program in programs for name in program.models]


def text_of(svg: str) -> set[str]:
    return {"".join(text.itertext()) for text in ElementTree.fromstring(svg).iter(f"{SVG}tspan")}


def drawings(placed: Placed) -> Iterator[Placed]:
    yield placed
    for box in placed.boxes:
        if box.inner:
            yield from drawings(box.inner)


@pytest.mark.parametrize("module", shipped(), ids=lambda m: m.name)
def test_every_block_of_a_model_is_on_its_picture(module: Module) -> None:
    words = " ".join(text_of(to_svg(module)))
    for use in uses(module).found:
        instance = find(module, use.path)
        if isinstance(instance, Instance) and use.path and instance.parameters:
            assert instance.block in words
            assert str(use.path[-1]) in words


@pytest.mark.parametrize("module", shipped(), ids=lambda m: m.name)
def test_no_box_lies_on_another_and_no_line_crosses_a_box(module: Module) -> None:
    for placed in drawings(layout(scene(module, states_of(module)))):
        assert overlaps(placed) == []


def overlaps(placed: Placed) -> list[str]:
    found = []
    for i, a in enumerate(placed.boxes):
        assert a.x >= -0.5 and a.x + a.width <= placed.width + 0.5, "inside its drawing"
        assert a.y >= -0.5 and a.y + a.height <= placed.height + 0.5, "inside its drawing"
        for b in placed.boxes[i + 1 :]:
            if a.x < b.x + b.width and b.x < a.x + a.width and a.y < b.y + b.height and b.y < a.y + a.height:
                found.append(f"{a.item.key} on {b.item.key}")
    for line in placed.lines:
        ends = (line.link.source.item, line.link.target.item)
        for (ax, ay), (bx, by) in zip(line.points, line.points[1:], strict=False):
            for box in placed.boxes:
                if touches((ax, ay, bx, by), box) and box.item.key not in ends:
                    found.append(f"{ends} through {box.item.key}")
    return found


def touches(piece: tuple[float, float, float, float], box: Box) -> bool:
    ax, ay, bx, by = piece
    across = max(ax, bx) > box.x + 1 and min(ax, bx) < box.x + box.width - 1
    return across and max(ay, by) > box.y + 1 and min(ay, by) < box.y + box.height - 1


def test_the_same_model_always_gives_the_same_picture() -> None:
    assert to_svg(compiled(MIXED, "Mixed")) == to_svg(compiled(MIXED, "Mixed"))
    assert to_html(compiled(MIXED, "Mixed")) == to_html(compiled(MIXED, "Mixed"))


def test_layers_are_folded_and_those_that_differ_are_grouped_by_schedule() -> None:
    words = text_of(to_svg(compiled(MIXED, "Mixed")))
    assert {"× 14 layers", "layer 0", "layer 1", "layers 2–13", "× 4"} <= words
    assert any("as above" in word for word in words)


def test_depth_does_not_make_the_picture_larger() -> None:
    def picture(layers: int) -> str:
        text = f"use models.llama: Llama3\n\nmodel Deep = Llama3 with {{\n  layers = {layers}\n}}\n"
        return to_svg(compiled(text, "Deep"))

    assert abs(len(picture(2000)) - len(picture(2))) < 200


def test_what_a_decoder_remembers_is_a_state_on_the_picture() -> None:
    svg = to_svg(weft.compile(weft.load(STDLIB.parent / "examples" / "new_attention.llm"), "Latent"))
    (state,) = re.findall(r'class="item state"[^>]*data-key="([^"]*)"', svg)
    assert state == "blocks.0.attn.latent"
    assert "grows with every token" in svg


def test_a_shared_table_is_counted_once() -> None:
    svg = to_svg(weft.compile(weft.load(STDLIB.parent / "examples" / "quickstart.llm"), "Quick"))
    assert "shared weights" in svg
    assert svg.count("786.4 k") == 1


def test_residuals_are_sums_with_a_line_past_the_block() -> None:
    drawing = scene(compiled(MIXED, "Mixed"), ())
    blocks = next(item.inner for item in drawing.items if item.kind is Kind.LAYERS)
    first = next(item.inner for item in blocks.items if item.title == "layer 0")
    sums = [item.key for item in first.items if item.kind is Kind.OPERATOR]
    assert len(sums) == 2
    into = [link.source.item for link in first.links if link.target.item == sums[0]]
    assert "" in into and any(key.endswith("attn") for key in into)


def test_text_is_escaped() -> None:
    evil = '</title><script>alert("x")</script>&amp;\x00'
    item = Item(evil, Kind.FUNCTION, evil, evil, evil, ((evil, evil),))
    svg = document(layout(Drawing((item,), (), 0, 0)), evil, evil, evil)
    root = ElementTree.fromstring(svg)
    assert not list(root.iter(f"{SVG}script"))
    assert evil.replace("\x00", "") in text_of(svg)


class References(HTMLParser):
    """Everything on a page that could make a browser ask for something."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.data = ""
        self._in: dict[str, str | None] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._in = dict(attrs)
        names = ("src", "href", "xlink:href", "action", "data", "poster", "srcset", "background")
        self.found += [f"{tag} {name}" for name, _ in attrs if name in names]
        if tag in ("link", "iframe", "img", "object", "embed", "base"):
            self.found.append(tag)

    def handle_data(self, data: str) -> None:
        if self._in.get("id") == "data":
            self.data += data
            self._in = {}


def test_the_page_refers_to_nothing_outside_of_it() -> None:
    page = to_html(compiled(MIXED, "Mixed"))
    seen = References()
    seen.feed(page)
    assert seen.found == []
    assert set(re.findall(r"https?://[^\s\"'<]+", page)) == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"@import|url\(|fetch\(|XMLHttpRequest|import\(", page)


def test_every_item_of_the_page_knows_its_lines_in_the_spec() -> None:
    program = weft.load(STDLIB.parent / "examples" / "quickstart.llm")
    page = to_html(weft.compile(program, "Quick"), program.main.source)
    seen = References()
    seen.feed(page)
    data = json.loads(seen.data)
    keys = re.findall(r'class="item [^"]*" data-key="([^"]*)"', page)
    assert len(keys) == len(set(keys)) and set(keys) == set(data)
    files = re.findall(r'<pre class="file"[^>]*>(.*?)</pre>', page, re.DOTALL)
    for key, item in data.items():
        assert item["used"] or item["defined"] or key.startswith(("input", "output"))
        for place in (item["used"], item["defined"]):
            if place:
                assert 0 <= place["line"] <= place["last"] < files[place["file"]].count("<div>")
    tabs = re.findall(r'<button data-file="\d+">([^<]*)</button>', page)
    assert tabs[0] == str(program.main.source.path) and "stdlib/attention.llm" in tabs


def test_source_that_looks_like_markup_stays_text() -> None:
    text = MIXED + '\n# </pre><script>alert(1)</script> & "</script>"\n'
    page = to_html(compiled(text, "Mixed"), load_source(Source("spec.llm", text)).main.source)
    assert page.count("<script") == 2 and page.count("</script>") == 2
    assert "&lt;/pre&gt;&lt;script&gt;" in page


def test_lines_that_can_run_without_crossing_do() -> None:
    """Two links in the wrong order at first: 0 -> 3, 1 -> 2 with 2 left of 3."""
    wires = [(0, 0, 3, 0), (1, 0, 2, 0), (2, 0, 4, 0), (3, 0, 5, 0)]
    layers = arrange(6, [0, 1], [], frozenset(), wires)
    assert crossings(layers.rows, layers.segments) == 0


def test_a_link_that_skips_rows_keeps_clear_of_what_is_between() -> None:
    names = ("a", "b", "c", "d")
    items = tuple(Item(name, Kind.PLAIN, name) for name in names)
    flow = (("a", "b"), ("b", "c"), ("c", "d"))
    links = [Link(End(s), End(t), TensorType(())) for s, t in flow]
    links.append(Link(End("a"), End("d", 1), TensorType(())))
    assert overlaps(layout(Drawing(items, tuple(links), 0, 0))) == []


def test_values_that_are_constants_have_no_lines() -> None:
    text = """
use nn: Embedding, Linear

block Pair(D: dim) {
  up = Linear(D, D)
  forward(x: [.., D], y: []) -> ([.., D], []) { (up(x) + y, 2.0 * y) }
}

model Two(V: dim = 16, D: dim = 8) {
  stream T as S
  embed = Embedding(V, D)
  first = Pair(D)
  blocks = repeat 3 of Pair(D)
  forward(tokens: int[B, T]) -> [B, T, V] {
    x, y = first(embed(tokens), 0.5)
    z, w = blocks(x, y)
    (z + w) |> embed.logits
  }
}
"""
    drawing = scene(compiled(text, "Two"), ())
    assert all(link.type.axes or link.source.item != "first" for link in drawing.links)
    for placed in drawings(layout(drawing)):
        assert overlaps(placed) == []


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(programs())
def test_programs_that_nobody_wrote_can_be_drawn(text: str) -> None:
    program = load_source(Source("drawn.llm", text))
    for name in program.models:
        module = compile_model(program, name)
        ElementTree.fromstring(to_svg(module))
        for placed in drawings(layout(scene(module, states_of(module)))):
            assert overlaps(placed) == []
