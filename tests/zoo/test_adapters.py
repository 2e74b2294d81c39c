"""Adapters of `peft`, read, merged and written back, against `peft` itself."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
pytest.importorskip("transformers", reason="the judge of adapters")
pytest.importorskip("peft", reason="the judge of adapters")

import torch
from safetensors.torch import load_file
from weft.compiler.emit.reference import run
from weft.compiler.ir.module import Module
from weft.lang.diagnostics import WeftError
from weft.lang.program import load_source
from weft.lang.source import Source
from weft.runtime.adapters.merge import merge
from weft.runtime.adapters.peft_reading import read_adapter
from weft.runtime.adapters.peft_writing import write_adapter
from weft.runtime.hub.layout import members_of, read_member
from weft.runtime.hub.reading import understand

from .adapters import TARGETS, Adapted, kinds, load, logits, make_adapter, make_base

NEAR = 2e-5
"""What float32 errs, as a share of the root mean square of the logits; a wrong formula errs by 1e-2 and more."""

CASES = [("llama", kind) for kind in kinds(*TARGETS["llama"])]
CASES += [("gpt2", kind) for kind in ("lora", "embedding", "offsets", "ia3")]

UNMERGED = {
    *(("llama", kind) for kind in ("offsets", "prefix", "prefix with an encoder", "prompt", "p-tuning")),
    ("gpt2", "embedding"),
}
"""No weight can hold them. Of a tied table `peft` adapts what is looked up, but merges it into the head, too."""


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    return {family: make_base(family, tmp_path_factory.mktemp(family)) for family in TARGETS}


def near(found: Any, wanted: Any) -> float:
    """The largest error as a share of the root mean square of what is wanted."""
    return float(np.abs(found - wanted).max() / np.sqrt((wanted**2).mean()))


def reference(module: Module, weights: Mapping[str, torch.Tensor], tokens: Any) -> Any:
    return run(module, {k: v.double().numpy() for k, v in weights.items()}, {"tokens": tokens}).values[0]


@pytest.mark.parametrize(("family", "kind"), CASES)
def test_an_adapter_is_read_merged_and_written_back(
    family: str, kind: str, bases: Mapping[str, Path], tmp_path: Path
) -> None:
    made: Adapted = make_adapter(family, kind, bases[family], tmp_path / "adapter")
    assert near(made.logits[:, -11:], made.plain) > 0.05, "an adapter without an effect tests nothing"
    stored = load_file(made.base / "model.safetensors")
    imported = understand(json.loads((made.base / "config.json").read_text()), list(stored), "Mine")
    program, tensors = load_source(Source("spec.llm", imported.spec)), imported.plan.tensors
    base: dict[str, torch.Tensor] = {}
    for path, parts in members_of(tensors).items():
        base[path] = torch.empty(imported.shapes[path])
        for tensor, member in parts:
            read_member(stored[imported.stored_name(tensor)], tensor, member, base[path])

    found = read_adapter(made.folder, tensors, program, "Mine")
    adapted, weights = found.adaptation, dict(found.all_weights(base))
    virtual = np.tile(np.array(adapted.virtual_tokens, dtype=np.int64), (2, 1))
    computed = reference(adapted.module, weights, np.concatenate([virtual, made.tokens], axis=1))
    assert near(computed[:, -made.logits.shape[1] :], made.logits) < NEAR

    if (family, kind) in UNMERGED:
        with pytest.raises(WeftError):
            list(merge(adapted, weights))
    else:
        exact = {k: v.double() for k, v in weights.items()}
        merged = reference(adapted.original, dict(merge(adapted, exact)), made.tokens)
        assert near(merged, computed) < 1e-12

    write_adapter(tmp_path / "again", adapted, weights, tensors, str(made.base))
    again = logits(load(made.base, tmp_path / "again"), made.tokens)
    assert near(again, made.logits) < 1e-6
