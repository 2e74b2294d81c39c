"""Components as defaults of slots are made for each use, and what a `with` sets sees the names around its place."""

from __future__ import annotations

import pytest
from test_lower import codes, compiled, layers
from weft.compiler.ir.module import Module
from weft.compiler.ir.text import parse_module, print_module

TEXT = """
    use nn: Activation, Linear
    use position: Position, RoPE
    fn leaky(x: [..], slope: real = 0.1) -> [..] { maximum(x, 0) + slope * minimum(x, 0) }
    fn gain(x: [..], by: real, act: Activation = leaky(slope = by)) -> [..] { act(x) }
    block Turned(
      D: dim,
      H: dim,
      K: dim = D / H,
      theta: real = 1e4,
      pos: Position = RoPE(K, theta = theta),
      act: Activation = gain(by = 7.0),
    ) {
      into = Linear(D, (H, K))
      back = Linear((H, K), D)
      forward(x: [.., T, D]) -> [.., T, D] { x |> into |> pos |> act |> back }
    }
    model Base(D: dim = 16, H: dim = 2, base: real = 5e5, layers: int = 2) {
      stream T as S
      blocks = repeat layers as i {
        attn = Turned(D, H, theta = 1e3)
        forward(x) { x + attn(x) }
      }
      forward(x: [B, T, D]) -> [B, T, D] { blocks(x) }
    }
    """


def numbers(module: Module) -> list[float]:
    """The bases of all rotations and what else is a number above 100."""
    nodes = [n for f in module.functions.values() for n in f.graph.nodes() if n.op == "const"]
    return [n["value"] for n in nodes if n["value"] > 100]


def test_a_default_component_takes_the_parameters_beside_it() -> None:
    module = compiled(TEXT + "model M = Base")
    assert numbers(module) == [1e3]
    assert numbers(compiled(TEXT + "model M = Base with { blocks.attn.theta = 1e6 }")) == [1e6]
    turned = next(t for f in module.functions.values() if f.name.startswith("rope") for _, t in f.inputs)
    assert turned.axes[-1].size.value == 8


def test_a_fn_may_be_a_default_with_numbers_and_is_printed_by_its_name() -> None:
    text = print_module(compiled(TEXT + "model M = Base"))
    assert "static act = test.leaky" in text and print_module(parse_module(text)) == text


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("RoPE(K, theta = 5e5)", [5e5]), ("RoPE(K, theta = base)", [5e5]), ("RoPE(D / H, theta = 2 * base)", [1e6]),
        ("RoPE(K, theta = base + i)", [5e5, 5e5 + 1]), ("RoPE(K, theta = theta * layers)", [2e3]),
    ],
)
def test_a_value_sees_its_place_and_what_is_around_it_up_to_the_model(value: str, found: list[float]) -> None:
    assert numbers(compiled(TEXT + f"model M = Base with {{ blocks.attn.pos = {value} }}")) == found


def test_what_a_value_sees_is_bound_late() -> None:
    text = TEXT + "model Far = Base with { blocks.attn.pos = RoPE(K, theta = base) }\n"
    assert numbers(compiled(text + "model M = Far with { base = 7e5 }")) == [7e5]


def test_the_nearest_name_counts_and_a_misspelt_one_is_found() -> None:
    near = TEXT + "model M = Base with { blocks.attn.pos = RoPE(K, theta = theta) }"
    assert numbers(compiled(near)) == [1e3]
    assert codes(TEXT + "model M = Base with { blocks.attn.pos = RoPE(K, theta = bass) }") == ["E0201"]


def test_an_instance_of_the_model_may_fill_a_slot_of_every_layer() -> None:
    text = TEXT.replace("stream T as S", "stream T as S\n turn = Turned(D, H)")
    module = compiled(text + "model M = Base with { blocks.attn = turn }")
    assert {path.split(".")[0] for path, _ in module.parameters()} == {"turn"}
    assert layers(module).schedule == (0, 0)
