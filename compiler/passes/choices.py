"""Choices: which weights are stored in which way, and what a kernel may round besides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..ir.module import Path
from ..quantization.scheme import Grid, Half, Scheme

METHODS = ("rtn", "gptq", "awq")
"""Rounding to nearest; GPTQ, which makes up for what it rounded before; scales of the inputs as AWQ finds them."""


@dataclass(frozen=True)
class Choice:
    """Weights at these paths (layer numbers as `*`, everything below them) are stored in a scheme.

    `activations`: 8 lets a kernel round what they are multiplied with to 8 bits in groups, which is several times
    faster; 32 does not. `method` is one of METHODS. `smooth`: how much of the range of the inputs moves into the
    weights (SmoothQuant's alpha). `outliers`: how many columns of the input are multiplied in float32. All but `rtn`
    need calibration.
    """

    paths: tuple[str, ...]
    scheme: Scheme
    activations: int = 8
    method: str = "rtn"
    smooth: float | None = None
    outliers: int = 0

    @property
    def balance(self) -> Grid | float | None:
        """How the scales of the inputs are found: for a scheme as AWQ does, or by SmoothQuant's alpha."""
        if self.method == "awq" and not isinstance(self.scheme, Half):
            return self.scheme
        return self.smooth

    @property
    def rounding(self) -> str:
        """How the codes are chosen, `rtn` or `gptq`."""
        return "gptq" if self.method == "gptq" else "rtn"


def chosen(choices: Sequence[Choice], path: Path) -> Choice | str:
    """What the weight at a path is stored in, by the last choice that names it; "" for none."""
    plain = ".".join("*" if isinstance(part, int) else part for part in path)
    exact = ".".join(map(str, path))
    for choice in reversed(choices):
        if any(p == c or p.startswith(c + ".") for c in choice.paths for p in (plain, exact)):
            return choice
    return ""
