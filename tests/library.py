"""The files that stand for the whole library in tests that take long; `python -m tests.zoo` tries every family."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from weft.lang.program import STDLIB

EXAMPLES = STDLIB.parent / "examples"
EVERY = [*sorted(EXAMPLES.glob("*.llm")), *sorted(STDLIB.rglob("*.llm"))]

_MODELS = (
    "bert", "bloom", "gemma2", "gpt2", "gpt_oss", "llama", "mamba2", "mixtral", "rwkv", "t5",
)  # fmt: skip

REPRESENTATIVE: list[Path] = sorted(
    [*(STDLIB / "models" / f"{name}.llm" for name in _MODELS), *EXAMPLES.glob("*.llm")], key=lambda p: p.stem
)
"""Together they touch every kind of attention, position, norm, MLP, recurrence and state."""


def example(name: str) -> ModuleType:
    """A program of the examples as a module, not run."""
    spec = spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = sys.modules[spec.name] = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
