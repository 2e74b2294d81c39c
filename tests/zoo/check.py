"""One family, held against its oracle: imported, computed by every back end, generated from, written back."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import load_file
from weft.compiler.emit.onnx import to_onnx
from weft.compiler.emit.reference import run
from weft.compiler.emit.torch import to_torch
from weft.compiler.ir.module import Module
from weft.compiler.passes.contract import apply
from weft.compiler.passes.inference import drop_penalties
from weft.compiler.passes.pipeline import passes
from weft.compiler.stream import step
from weft.runtime.hub.reading import STAGE, import_checkpoint
from weft.runtime.hub.writing import export_checkpoint
from weft.runtime.model import build
from weft.runtime.run import Run
from weft.runtime.session import Session
from weft.runtime.verify import greedy_onnx, greedy_torch, verify

Array = NDArray[Any]

EXACT = 1e-9
"""Two float64 programs of the same meaning differ by less than this share of the logits' root mean square."""

ROUNDED: Mapping[str, tuple[float, str]] = {
    "marian": (1e-7, "its table of positions holds sines rounded to float32"),
    "minimax": (1e-7, "its tables of decays are rounded to float32"),
}
"""Families in which `transformers` itself rounds on the way, whatever the precision: how far, and where."""

PADDED_ON_THE_LEFT_DIFFERS = ("llama4", "recurrent_gemma", "rwkv")
"""Families in which `transformers` lets padding before a text change it: in a recurrence, or in where chunks begin."""

TIE = 1e-4
"""Float32 programs may choose differently between tokens whose float64 margin is below this share."""


@dataclass(frozen=True)
class Finding:
    """One claim about a family: what was held against what, how far apart they were, whether that is near enough."""

    claim: str
    passed: bool
    shown: str


def check_family(family: str, oracles: Mapping[str, Path], scratch: Path) -> Iterator[Finding]:
    """All claims about one family. `oracles` are its folders by the name of the weight set; `scratch` is written to."""
    exact = ROUNDED.get(family, (EXACT, ""))[0]
    weights: dict[str, dict[str, Array]] = {}
    module: Module | None = None
    for label, folder in oracles.items():
        target = Run(scratch / label)
        module = drop_penalties(import_checkpoint(folder, target, "Imported").module)
        weights[label] = load_file(target.weights(STAGE))
        sides = ("right",) if family in PADDED_ON_THE_LEFT_DIFFERS else ("right", "left")
        yield from _logits(module, weights[label], folder, label, exact, sides)
        yield _written_back(target, folder, scratch / f"{label}-hf", label)
    assert module is not None
    for check in verify(module, bfloat16=False, weights=weights):
        ratios = f"rms {check.verdict.rms_ratio:.2f}, max {check.verdict.max_ratio:.2f}"
        yield Finding(f"{check.name} ({check.weights})", check.passed, f"{ratios} {check.note}".rstrip())
    if module.stream:
        first = next(iter(oracles))
        yield from _greedy(module, weights[first], oracles[first], scratch)


def _logits(
    module: Module, weights: Mapping[str, Array], folder: Path, label: str, exact: float, sides: tuple[str, ...]
) -> Iterator[Finding]:
    """Our float64 reference against the float64 run of `transformers`, whole rows and padded ones."""
    inputs, outputs = np.load(folder / "inputs.npz"), np.load(folder / "logits.npz")

    def ours(texts: Array, rows: slice) -> Array:
        """Logits of whole texts; an encoder-decoder reads them and is given what it says."""
        names = [name for name, _ in module.main.inputs]
        given = {names[0]: texts}
        if "dec_ids" in inputs:
            given[names[1]] = inputs["dec_ids"][rows]
        return run(module, weights, given).values[0]

    yield _near(f"logits ({label})", ours(inputs["plain_ids"], slice(None)), outputs["plain_f64"], exact)
    for side in sides:
        case = "leftpos" if side == "left" and "leftpos_f64" in outputs else side
        if f"{case}_f64" not in outputs:
            continue
        real = inputs[f"{side}_mask"][1].astype(bool)
        alone = ours(inputs[f"{side}_ids"][1:, real], slice(1, None))
        theirs = outputs[f"{case}_f64"][1]
        wanted = theirs if "dec_ids" in inputs else theirs[real]
        yield _near(f"padded {side}, row alone ({label})", alone[0], wanted, exact)


def _near(claim: str, found: Array, wanted: Array, exact: float) -> Finding:
    if found.shape != wanted.shape:
        return Finding(claim, False, f"{found.shape} instead of {wanted.shape}")
    error = float(np.abs(found - wanted).max() / np.sqrt((wanted**2).mean()))
    return Finding(claim, error < exact, f"{error:.1e}")


def _written_back(target: Run, folder: Path, out: Path, label: str) -> Finding:
    """The exported checkpoint has the tensors of the original, bit for bit."""
    export_checkpoint(target, STAGE, out)
    claim = f"written back ({label})"
    with (
        safe_open(folder / "model.safetensors", "np") as before,
        safe_open(out / "model.safetensors", "np") as after,
    ):
        if set(before.keys()) != set(after.keys()):
            return Finding(claim, False, f"other keys: {sorted(set(before.keys()) ^ set(after.keys()))[:4]}")
        for name in before.keys():  # noqa: SIM118  (no mapping)
            if before.get_tensor(name).tobytes() != after.get_tensor(name).tobytes():
                return Finding(claim, False, f"`{name}` differs")
        count = len(list(after.keys()))
    same = json.loads((folder / "config.json").read_text()) == json.loads((out / "config.json").read_text())
    return Finding(claim, same, f"{count} tensors" if same else "another config.json")


def _greedy(module: Module, weights: Mapping[str, Array], folder: Path, scratch: Path) -> Iterator[Finding]:
    """Tokens through the derived caches against those that `transformers` generates."""
    inputs, outputs = np.load(folder / "inputs.npz"), np.load(folder / "logits.npz")
    prompt, wanted = inputs["plain_ids"][:1], outputs["gen_ids"][0]
    source: tuple[Array, ...] = ()
    if "dec_ids" in inputs:  # an encoder-decoder reads the prompt and begins with its start token
        prompt, source = inputs["dec_ids"][:1, :1], (prompt,)
    optimised = apply(module, passes())
    import torch

    decoder = build(to_torch(step(optimised)), module.name, scratch / "decoder.py").eval()
    state = {n: torch.from_numpy(np.asarray(weights[n], np.float32)) for n, _ in optimised.parameters()}
    decoder.load_state_dict(state)
    yield _same("greedy, PyTorch cached", greedy_torch(decoder, prompt, len(wanted), *source), wanted, outputs)
    session = Session(to_onnx(step(optimised, rows=True), weights, scratch / "onnx"))
    yield _same("greedy, ONNX Runtime cached", greedy_onnx(session, prompt, len(wanted), *source), wanted, outputs)


def _same(claim: str, found: list[int], wanted: Array, outputs: Mapping[str, Array]) -> Finding:
    """Equal up to the first token that was a toss-up."""
    for place, (ours, theirs) in enumerate(zip(found, wanted.tolist(), strict=True)):
        if ours != theirs:
            tie = "gen_margin" in outputs and float(outputs["gen_margin"][place]) < TIE
            return Finding(claim, tie, f"{place} tokens, then a {'tie' if tie else 'difference'}")
    return Finding(claim, True, f"{len(found)} tokens")
