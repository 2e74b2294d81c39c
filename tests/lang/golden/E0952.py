"""Weights that are not there."""

from pathlib import Path

from torch import nn
from weft.runtime.model import load_weights


def trigger() -> None:
    load_weights(nn.Linear(2, 2), Path("weights.safetensors"))
