"""Numbers known when the model is compiled are computed like tensors, and whole ones stay whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from test_lower import close, codes, compiled, numbers, parameters, values
from torch_support import assert_agrees

from .onnx_support import agree


def static(expression: str) -> object:
    """What a static expression is in a model with D = 6 and rate = 2.5."""
    text = "model M(D: dim = 6, rate: real = 2.5) { value = EXPR\n forward(x: [B]) -> [B] { x * value } }"
    module = compiled(text.replace("EXPR", expression))
    return next(n["value"] for n in module.main.graph.nodes() if n.op == "const")


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("minimum(D, 4)", 4), ("maximum(D, 7.5)", 7.5), ("maximum(2, D)", 6), ("abs(-3)", 3), ("abs(-rate)", 2.5),
        ("floor(rate)", 2), ("floor(-rate)", -3), ("ceil(rate)", 3), ("ceil(-rate)", -2), ("ceil(D)", 6),
        ("round(rate)", 2), ("round(3.5)", 4), ("round(-rate)", -2), ("round(2.51)", 3), ("int(rate)", 2),
        ("int(-rate)", -2), ("real(D)", 6.0), ("D % 4", 2), ("-D % 4", 2), ("rate % 1", 0.5), ("sqrt(D + 3)", 3.0),
        ("log(1)", 0.0), ("exp(0)", 1.0), ("D * rate", 15.0), ("int(D * rate) / 3", 5), ("1.0 / D * 3", 0.5),
        ("round(log(D) * 100)", 179),
    ],
)  # fmt: skip
def test_a_static_number_is_computed(expression: str, value: float) -> None:
    found = static(f"real({expression})")
    assert found == value


@pytest.mark.parametrize("of", ["floor", "ceil", "round", "int"])
def test_a_size_may_be_made_of_a_real_number(of: str) -> None:
    text = f"""
        use nn: Linear
        block Narrow(D: dim, rate: real = 2.5) {{
          dim F = 2 * {of}(rate * D)
          dim G = minimum(F, 2 * D)
          dim J = F / 2
          up = Linear(D, F)
          side = Linear(D, G)
          forward(x: [.., D]) -> ([.., J], [.., G]) {{
            a, b = split(up(x), F -> (2, J))
            (a + b, side(x))
          }}
        }}
        model M(D: dim = 5) {{
          narrow = Narrow(D)
          forward(x: [B, D]) -> [B, D] {{
            wide, side = narrow(x)
            x * sum(wide, J) * sum(side, G)
          }}
        }}
        """
    assert codes(text) == []
    wide = 2 * {"floor": 12, "ceil": 13, "round": 12, "int": 12}[of]
    assert parameters(compiled(text)) == {"narrow.up.weight": (5, wide), "narrow.side.weight": (5, 10)}


@pytest.mark.parametrize(
    ("expression", "code"),
    [("round(1e300)", "E0403"), ("int(1e19)", "E0403"), ("log(0)", "E0304"), ("sqrt(-1)", "E0304"), ("D % 0", "E0304")],
)
def test_what_is_no_number_is_refused(expression: str, code: str) -> None:
    text = "model M(D: dim = 6) { value = EXPR\n forward(x: [B]) -> [B] { x * value } }"
    assert codes(text.replace("EXPR", expression)) == [code]


ROUNDED = """
    model M { forward(x: [B, D], n: int[B]) -> ([B, D], [B, D], [B]) { (ceil(x), round(x), round(n) + ceil(n)) } }
    """
HALVES = np.array([[-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 0.3, -0.3]])


def test_ceil_and_round_of_tensors(tmp_path: Path) -> None:
    inputs = {"x": HALVES, "n": np.array([3])}
    module = compiled(ROUNDED)
    found = assert_agrees(module, inputs).values
    assert close(found[0], np.array([[-2.0, -1, 0, 1, 2, 3, 1, 0]]))
    assert close(found[1], np.array([[-2.0, -2, 0, 0, 2, 2, 0, 0]]))
    assert close(found[2], np.array([6.0]))
    agree(module, inputs, {}, tmp_path)


def test_a_number_and_a_tensor_round_alike() -> None:
    for number in HALVES[0]:
        text = f"model M {{ forward(x: [B]) -> [B] {{ x * (round({number}) - round(x * 0 + {number})) }} }}"
        assert close(values(text, x=numbers(3))[0], np.zeros(3))
