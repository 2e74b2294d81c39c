"""Verification: one model through every back end and every derived form, against the float64 reference.

Each check has its own exact answer and judges one candidate by the rule of `compiler/tolerance.py`. Two sets of weights
are used, because some mistakes hide behind large activations (a wrong epsilon) and others behind small ones.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ..compiler import tolerance
from ..compiler.context import longest_context
from ..compiler.emit.onnx import to_onnx
from ..compiler.emit.onnx.interface import PUBLIC
from ..compiler.emit.reference import initial_states, run
from ..compiler.emit.torch import to_torch
from ..compiler.emit.weights import random_weights
from ..compiler.ir.module import Module
from ..compiler.ir.sources import one_per_row
from ..compiler.passes.contract import apply
from ..compiler.passes.inference import drop_penalties
from ..compiler.passes.pipeline import passes
from ..compiler.stream import encoding, rows, step
from ..compiler.tolerance import BFLOAT16, FLOAT32, Scale, Verdict, judge
from .decided import ROWS, decided
from .inputs import Reading, packed, padded, part
from .model import build
from .session import Session
from .verify_targets import target_checks

Array = NDArray[Any]
TOKENS, GREEDY = 12, 8
LONGER = 3
WEIGHTS = (("normal", 1.0), ("small", 0.01))


@dataclass(frozen=True)
class Check:
    """One row of the table: what was compared, under which weights, and the verdict (worst ratios)."""

    name: str
    weights: str
    verdict: Verdict
    note: str = ""

    @property
    def passed(self) -> bool:
        return self.verdict.accepted


def verify(
    module: Module,
    *,
    compiled: bool = False,
    bfloat16: bool = True,
    weight_sets: int = len(WEIGHTS),
    seed: int = 0,
    weights: Mapping[str, Mapping[str, Array]] | None = None,
    targets: Module | None = None,
) -> Iterator[Check]:
    """All checks of a module in full form, one after another.

    `compiled` adds `torch.compile` (slow to start); without `bfloat16`, or with one of the two sets of weights, there
    is less to wait for. `weights` (sets by name) stand in the place of random ones. `targets` is the same model at
    widths that a target's kernels take: with it its exports and quantized weights are checked, too. The reference runs
    the module as it was lowered, the back ends run it after all passes. It should be small (see `compiler/shrink.py`):
    the reference runs in float64 NumPy.
    """
    plain = drop_penalties(module)
    optimised = apply(plain, passes())
    with tempfile.TemporaryDirectory() as folder:
        back_ends = _BackEnds(optimised, Path(folder), compiled, bfloat16)
        drawn = {label: random_weights(plain, seed, scale) for label, scale in WEIGHTS[:weight_sets] if not weights}
        for label, values in (weights or drawn).items():
            yield from _Verification(plain, back_ends, label, values, seed).checks()
    if targets is not None:
        for name, verdict, note in target_checks(targets, random_weights(targets, seed), seed):
            yield Check(name, WEIGHTS[0][0], verdict, note)


class _BackEnds:
    """The emitted programs of a module; weights are put in later."""

    def __init__(self, module: Module, folder: Path, compiled: bool, bfloat16: bool) -> None:
        self.module, self.folder, self.compiled, self.bfloat16 = module, folder, compiled, bfloat16
        self.full = build(to_torch(module), module.name, folder / "full.py").eval()
        self.row_module = rows(module)
        self.rows = build(to_torch(self.row_module), module.name, folder / "rows.py").eval()
        self.step_module = step(module) if module.stream else None
        self.step = (
            build(to_torch(self.step_module), module.name, folder / "step.py").eval() if self.step_module else None
        )
        self.onnx_module = step(module, rows=True) if module.stream else self.row_module

    def state(self, weights: Mapping[str, Array]) -> dict[str, torch.Tensor]:
        """The weights that are left after all passes, which drop what nothing reads."""
        return {name: torch.from_numpy(np.asarray(weights[name], np.float32)) for name, _ in self.module.parameters()}

    def load(self, weights: Mapping[str, Array]) -> Session:
        """Put weights into all of them; the ONNX export is written anew and loaded."""
        for model in (self.full, self.rows, self.step):
            if model is not None:
                model.float().load_state_dict(self.state(weights))
        return Session(to_onnx(self.onnx_module, weights, self.folder / "onnx"))


class _Verification:
    """The checks of one module under one set of weights."""

    def __init__(
        self, module: Module, back_ends: _BackEnds, label: str, weights: Mapping[str, Array], seed: int
    ) -> None:
        self.module, self.back_ends, self.label, self.weights = module, back_ends, label, weights
        draw = np.random.default_rng((seed, 1))
        self.length = min(TOKENS, longest_context(module) or TOKENS)
        # A source is longer than the text, so that no two lengths agree by accident.
        self.sizes = (self.length, self.length + (LONGER if longest_context(module) is None else 0))
        self.reading = Reading.of(module)
        self.given = self.reading.drawn(ROWS, *self.sizes, draw)
        self.input = self.reading.tokens
        self.tokens, self.source = self.given[self.input], self.reading.read_first(self.given)
        self.chunks = _chunks(self.length, draw)
        self.exact = self._reference(self.given)
        self.scale32 = tolerance.scales(module, weights, self.given, unit=FLOAT32)[0]
        self.exact64 = Scale(self.scale32.rms * 2.0**-29, self.scale32.max * 2.0**-29)
        self.session = back_ends.load(weights)

    def _reference(self, given: Mapping[str, Array]) -> Array:
        return run(self.module, self.weights, given).values[0]

    def _torch(self, model: nn.Module, given: Mapping[str, Array], *ambient: Array) -> Array:
        return _torch(model, *self.reading.ordered(given), *ambient, **self.reading.beside(given))

    def _onnx(self, given: Mapping[str, Array], segments: Mapping[str, Array] | None = None) -> Array:
        """ONNX Runtime's logits; `segments` are the masks of the text and of the sources."""
        arrays: list[Any] = []
        for name in (self.input, *self.reading.sources):
            arrays += [given[name], None if segments is None else segments[name]]
        return self.session.logits(*arrays, inputs=public(self.reading.beside(given)))

    def _check(
        self, name: str, candidate: Array, exact: Array | None = None, scale: Scale | None = None, note: str = ""
    ) -> Check:
        scale = scale or self.scale32
        verdict = judge(np.asarray(candidate, np.float64), self.exact if exact is None else exact, scale.rms, scale.max)
        return Check(name, self.label, verdict, note)

    def checks(self) -> Iterator[Check]:
        baseline = self._torch(self.back_ends.full, self.given)
        yield self._check("PyTorch float32", baseline)
        # The estimate is a random one: what plain PyTorch errs (within its own limit above) is as good a measure.
        plain = tolerance.errors(np.asarray(baseline, np.float64), self.exact)
        self.scale32 = self.scale32.or_more(plain)
        if self.back_ends.bfloat16:
            yield self._bfloat16()
        if self.back_ends.compiled:
            yield self._check("torch.compile", self._torch(_compiled(self.back_ends.full), self.given))
        yield self._check("ONNX Runtime", self._onnx(self.given))
        if self.reading.optional:
            yield from self._left_out()
        if self.module.stream:
            yield from self._cached()
        yield from self._padded()
        if not one_per_row(self.module):
            yield self._packed()
        if self.module.stream:
            yield self._greedy()

    def _bfloat16(self) -> Check:
        given = decided(self.module, self.weights, self.reading, self.sizes, BFLOAT16) or self.given
        scale = tolerance.scales(self.module, self.weights, given, unit=BFLOAT16)[0]
        found = self._torch(self.back_ends.full.bfloat16(), given)
        self.back_ends.full.float().load_state_dict(self.back_ends.state(self.weights))
        return self._check("PyTorch bfloat16", found, self._reference(given), scale)

    def _left_out(self) -> Iterator[Check]:
        """The inputs that may be left out, left out."""
        given = {name: array for name, array in self.given.items() if name not in self.reading.optional}
        exact = self._reference(given)
        scale = tolerance.scales(self.module, self.weights, given, unit=FLOAT32)[0]
        yield self._check("inputs left out, PyTorch", self._torch(self.back_ends.full, given), exact, scale)
        yield self._check("inputs left out, ONNX Runtime", self._onnx(given), exact, scale)

    def _cached(self) -> Iterator[Check]:
        note = "+".join(map(str, self.chunks))
        assert self.back_ends.step_module is not None and self.back_ends.step is not None
        states, past, outputs = self._first_states(self.back_ends.step_module), 0, []
        for count in self.chunks:
            names = (self.input, *self.reading.optional)
            piece = {name: self.given[name][:, past : past + count] for name in names}
            result = run(self.back_ends.step_module, self.weights, piece, {"past": np.asarray(past)}, states)
            states, past = result.states, past + count
            outputs.append(result.values[0])
        yield self._check("cached, reference float64", np.concatenate(outputs, 1), scale=self.exact64, note=note)
        beside = self.reading.beside(self.given)
        found = torch_cached(self.back_ends.step, self.tokens, self.chunks, *self.source, **beside)
        yield self._check("cached, PyTorch", found, note=note)
        found = onnx_cached(self.session, self.tokens, self.chunks, *self.source, **public(beside))
        yield self._check("cached, ONNX Runtime", found, note=note)

    def _first_states(self, module: Module) -> Mapping[str, Array] | None:
        """The reference's states before the first token: what the encoder computes, if there is one."""
        encoder = encoding(module)
        if encoder is None:
            return None
        constants = run(encoder, self.weights, {name: self.given[name] for name in self.reading.sources}).states
        return initial_states(module, self.weights, {module.batch: ROWS, module.sequence: 0}) | constants

    def _padded(self) -> Iterator[Check]:
        short = {name: max(1, array.shape[1] // 2) for name, array in self.given.items()}
        alone = self._reference(part(self.given, 1, {name: slice(0, count) for name, count in short.items()}))
        for side in ("left", "right"):
            given, places = padded(self.given, 1, short, side)
            names, place = (self.input, *self.reading.sources), places[self.input]
            logits = self._torch(self.back_ends.rows, given.values, *given.ambient(names))
            yield self._row_check(f"padded {side}, PyTorch", logits, alone, place)
            logits = self._onnx(given.values, given.segments)
            yield self._row_check(f"padded {side}, ONNX Runtime", logits, alone, place)

    def _row_check(self, name: str, logits: Array, alone: Array, place: slice) -> Check:
        """The full row and the padded row together, against each alone."""
        short = logits[1] if one_per_row(self.module) else logits[1, place]
        candidate = np.concatenate([logits[0], short])
        return self._check(name, candidate, np.concatenate([self.exact[0], alone[0]]))

    def _packed(self) -> Check:
        first = {name: max(1, array.shape[1] // 3) for name, array in self.given.items()}
        given = packed(self.given, first)
        parts = [{n: slice(0, c) for n, c in first.items()}, {n: slice(c, None) for n, c in first.items()}]
        exact = np.concatenate([self._reference(part(self.given, 0, places)) for places in parts], 1)
        ambient = given.ambient((self.input, *self.reading.sources))
        return self._check("packed documents, PyTorch", self._torch(self.back_ends.rows, given.values, *ambient), exact)

    def _greedy(self) -> Check:
        """Tokens chosen by PyTorch from whole texts, by PyTorch cached and by ONNX Runtime cached, from one prompt."""
        prompt = self.tokens[:1, : max(1, self.length // 3)]
        count = min(GREEDY, self.length - prompt.shape[1])
        full, text, source = [], prompt, tuple(array[:1] for array in self.source)
        for _ in range(count):
            given = {**dict(zip(self.reading.sources, source, strict=True)), self.input: text}
            full.append(int(self._torch(self.back_ends.full, given)[0, -1].argmax()))
            text = np.concatenate([text, [[full[-1]]]], 1)
        assert self.back_ends.step is not None
        cached = greedy_torch(self.back_ends.step, prompt, count, *source)
        onnx = greedy_onnx(self.session, prompt, count, *source)
        same = full == cached == onnx
        ratio = 0.0 if same else float("inf")
        note = " ".join(map(str, full)) if same else f"{full} / {cached} / {onnx}"
        return Check("greedy: full = cached = ONNX", self.label, Verdict(ratio, ratio, same, False), note)


def _chunks(length: int, draw: np.random.Generator) -> tuple[int, ...]:
    """A random cut of a text: a first piece of any length, then pieces of which some are single tokens."""
    chunks: list[int] = []
    while sum(chunks) < length:
        chunks.append(int(min(draw.choice((1, 1, 2, 3, 5)), length - sum(chunks))))
    return tuple(chunks)


def _compiled(model: nn.Module) -> nn.Module:
    compiled = torch.compile(model, fullgraph=True)
    assert isinstance(compiled, nn.Module)
    return compiled


def _torch(model: nn.Module, *arrays: Array, **beside: Array) -> Array:
    with torch.no_grad():
        output = model(*map(_tensor, arrays), **{name: _tensor(array) for name, array in beside.items()})
    return np.asarray((output[0] if isinstance(output, tuple) else output).float().numpy())


def _tensor(array: Array) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array))


def public(beside: Mapping[str, Array]) -> dict[str, Array]:
    """Inputs by the names that an export gives them."""
    return {PUBLIC.get(name, name): array for name, array in beside.items()}


def torch_states(model: Any, batch: int, *source: Array) -> dict[str, torch.Tensor]:
    """The states before the first token of a step-form PyTorch model, which reads a source if it has an encoder."""
    states: dict[str, torch.Tensor] = model.initial_states(batch)
    if source:
        with torch.no_grad():
            states |= model.encode(*(torch.from_numpy(np.ascontiguousarray(array)) for array in source))
    return states


def torch_cached(model: Any, tokens: Array, chunks: tuple[int, ...], *source: Array, **beside: Array) -> Array:
    """Logits of a step-form PyTorch model fed in pieces, after a source if it has an encoder.

    `beside` are inputs that may be left out.
    """
    states, past, outputs = torch_states(model, tokens.shape[0], *source), 0, []
    with torch.no_grad():
        for count in chunks:
            here = slice(past, past + count)
            others = {name: _tensor(array[:, here]) for name, array in beside.items()}
            logits, states = model(_tensor(tokens[:, here]), torch.tensor(past), states, **others)
            outputs.append(logits.numpy())
            past += count
    return np.concatenate(outputs, 1)


def onnx_cached(session: Session, tokens: Array, chunks: tuple[int, ...], *source: Array, **beside: Array) -> Array:
    """Logits of an exported model fed in pieces, after a source if it has an encoder; `beside` as an export says."""
    states, past, outputs = session.start(tokens.shape[0], *source), 0, []
    for count in chunks:
        mask = np.ones((tokens.shape[0], past + count), np.int64)
        positions = np.tile(np.arange(past, past + count), (tokens.shape[0], 1))
        here = slice(past, past + count)
        others = {name: array[:, here] for name, array in beside.items()}
        logits, states = session.step(tokens[:, here], states, mask, positions, inputs=others)
        outputs.append(logits)
        past += count
    return np.concatenate(outputs, 1)


def greedy_torch(model: Any, prompt: Array, count: int, *source: Array) -> list[int]:
    """Greedy tokens after a prompt [1, N] (and a source), by a step-form PyTorch model."""
    states, past, piece, found = torch_states(model, 1, *source), 0, torch.from_numpy(np.ascontiguousarray(prompt)), []
    with torch.no_grad():
        for _ in range(count):
            logits, states = model(piece, torch.tensor(past), states)
            past += piece.shape[1]
            found.append(int(logits[0, -1].argmax()))
            piece = torch.tensor([[found[-1]]])
    return found


def greedy_onnx(session: Session, prompt: Array, count: int, *source: Array) -> list[int]:
    """Greedy tokens after a prompt [1, N] (and a source), by an exported model."""
    states, past, piece, found = session.start(1, *source), 0, prompt, []
    for _ in range(count):
        size = piece.shape[1]
        mask, positions = np.ones((1, past + size), np.int64), np.arange(past, past + size)[None]
        logits, states = session.step(piece, states, mask, positions)
        past += size
        found.append(int(logits[0, -1].argmax()))
        piece = np.array([[found[-1]]])
    return found
