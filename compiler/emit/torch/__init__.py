"""PyTorch source from a module: readable classes that need nothing of this compiler."""

from .source import to_torch

__all__ = ["to_torch"]
