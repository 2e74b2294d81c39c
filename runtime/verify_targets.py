"""Verification of what is exported for a target: its kernels and caches, and every way to store weights in few bits.

The exact answer for quantized weights is the float64 reference with the weights that the codes stand for: that is what
a kernel claims to compute. What the codes lose against the weights they were made from is another question, and is
measured where there are trained weights and texts (`weft export`).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..compiler import tolerance
from ..compiler.cache_calibration import ambient_of, cache_sizes
from ..compiler.context import longest_context
from ..compiler.emit.onnx import to_onnx
from ..compiler.emit.onnx.interface import PUBLIC, shares_caches
from ..compiler.emit.reference import run
from ..compiler.emit.torch import to_torch
from ..compiler.facts import model_facts
from ..compiler.ir.module import Module
from ..compiler.ir.source import Quantized
from ..compiler.passes.contract import apply
from ..compiler.passes.inference import drop_penalties
from ..compiler.passes.pipeline import passes
from ..compiler.passes.quantize import Choice
from ..compiler.passes.quantize_caches import BITS
from ..compiler.quantization.scheme import Grouped, PerColumn
from ..compiler.rounding import Calibrated
from ..compiler.stream import rows, step
from ..compiler.targets import target
from ..compiler.tolerance import FLOAT32, Scale, Verdict, judge
from ..compiler.weights import Derived, stand_for
from .decided import clearest, decided
from .export_folder import CPU
from .inputs import Reading
from .model import build
from .session import Session

Array = NDArray[Any]
TARGET = "cpu"
# Half the spacing of numbers of 8 bits: what rounding activations to as many may err by.
EIGHT_BITS = 2.0**-8
# The same for float16.
FLOAT16 = 2.0**-11

# Tokens that a ring has no room for, in one step and one by one; and the longest text that is read for that.
BEYOND, LONGEST = 12, 256
# Texts of such a length among which the most decided one is taken, where a model makes hard choices; the same for
# texts whose keys and values become codes, and at most so many of these: each is a choice, and one of many is close.
FEW, SOME, CODES = 4, 24, 24_576
# How far from another code all of them have to be, in spreads of float32, and the tokens of a text without choice.
CLEAR, SHORTEST = 6.0, 2
# Runs that estimate what rounding errs, and where these leave it open.
RUNS, MANY = 3, 16

Result = tuple[str, Verdict, str]


def quantizations(module: Module) -> Mapping[str, Choice]:
    """Every way to store all weights, by name, with the smallest groups."""
    paths = tuple(path for path, _ in model_facts(module).weights)
    return {
        "int4": Choice(paths, Grouped(4, 16), 32),
        "int4 with zeros": Choice(paths, Grouped(4, 16, False), 32),
        "int8": Choice(paths, Grouped(8, 16), 32),
        "int8 dynamic": Choice(paths, PerColumn()),
    }


def target_checks(module: Module, weights: Mapping[str, Array], seed: int) -> Iterator[Result]:
    """(what was compared, the verdict, a note) for a module in full form under one set of float32 weights."""
    plain = drop_penalties(module)
    optimised = apply(plain, passes())
    decoder = step(optimised, rows=True) if optimised.stream else rows(optimised)
    with tempfile.TemporaryDirectory() as folder:
        case = _Case(plain, optimised, decoder, weights, seed, Path(folder))
        yield from case.float32(Path(folder) / TARGET)
        yield case.float16(Path(folder) / "cuda")
        for name, choice in quantizations(plain).items():
            found = case.quantized(name, choice, Path(folder) / name.replace(" ", "_"))
            if found is not None:
                yield found
        for asked in BITS:
            found = case.remembered(asked, Path(folder) / f"{asked}_caches")
            if found is not None:
                yield found


class _Case:
    """One module with weights and inputs, and what the reference makes of them."""

    def __init__(
        self, module: Module, plain: Module, decoder: Module, weights: Mapping[str, Array], seed: int, folder: Path
    ) -> None:
        self.module, self.decoder, self.weights = module, decoder, weights
        self.model = build(to_torch(plain), module.name, folder / "plain.py").eval()
        self.reading = Reading.of(module)
        draw = np.random.default_rng((seed, 4))
        reach = longest_context(module)
        sizes = (min(12, reach or 12), 15 if reach is None else min(12, reach))
        drawn = self.reading.drawn(2, *sizes, draw)
        self.sizes = sizes
        self.given = decided(module, weights, self.reading, sizes, FLOAT32) or drawn
        self.tokens = self.given[self.reading.tokens]
        self.exact = run(module, weights, self.given).values[0]

    def _session(self, prepared: Module, folder: Path) -> Session:
        return Session(to_onnx(prepared, self.weights, folder))

    def _logits(self, session: Session, given: Mapping[str, Array] | None = None) -> Array:
        given = given or self.given
        arrays: list[Any] = [given[self.reading.tokens], None]
        for name in self.reading.sources:
            arrays += [given[name], None]
        beside = self.reading.beside(given)
        return session.logits(*arrays, inputs={PUBLIC.get(name, name): array for name, array in beside.items()})

    def float32(self, folder: Path) -> Iterator[Result]:
        """The target's kernels: whole rows, pieces of one row, rows of different lengths."""
        prepared = target(self.decoder, TARGET)
        session = self._session(prepared, folder)
        scale = self._scale(self.weights, self.exact, self.given)
        kernels = sum(n for found in session.manifest["kernels"].values() for o, n in found.items() if o != "body")
        note = f"{session.manifest['cache']} caches, {kernels} kernels" if self.module.stream else f"{kernels} kernels"
        yield f"target {TARGET}", _judged(self._logits(session), self.exact, scale), note
        if not self.module.stream or self.reading.sources:
            return
        half = max(1, self.tokens.shape[1] // 2)
        seen = np.ones((1, self.tokens.shape[1]), np.int64)
        first, states = session.step(self.tokens[:1, :half], session.start(1), seen[:, :half], scores=half)
        rest = []
        for at in range(half, self.tokens.shape[1]):
            logits, states = session.step(self.tokens[:1, at : at + 1], states, seen[:, : at + 1])
            rest.append(logits)
        found = np.concatenate([first, *rest], axis=1)
        yield f"target {TARGET}, cached", _judged(found, self.exact[:1], scale), f"{half} + {len(rest)} x 1"
        rings = [state["shape"][state["axis"]] for state in session.manifest["states"] if state["kind"] == "ring"]
        reach = min(n for n in (session.context, longest_context(self.module), LONGEST) if n)
        if rings and max(rings) + 2 * BEYOND < reach:
            yield self._beyond(session, max(rings) + 2 * BEYOND)

    def _beyond(self, session: Session, length: int) -> Result:
        """A text that rings have to forget much of: half of what is too much for them at once, then token by token."""
        drawn = self.reading.drawn(1, length, length, np.random.default_rng(5))
        given = decided(self.module, self.weights, self.reading, (length, length), FLOAT32, candidates=FEW) or drawn
        given = {name: array[:1] for name, array in given.items()}
        tokens = given[self.reading.tokens]
        exact = run(self.module, self.weights, given).values[0]
        random, own = tolerance.scales(self.module, self.weights, given)[0], self._plain(self.weights, given)
        first, states = session.step(tokens[:, : length - BEYOND], session.start(1))
        parts = [first]
        for at in range(length - BEYOND, length):
            logits, states = session.step(tokens[:, at : at + 1], states)
            parts.append(logits)
        scale = random.or_more(own)
        note = f"rings, {length - BEYOND} + {BEYOND} x 1"
        return f"target {TARGET}, beyond its windows", _judged(np.concatenate(parts, 1), exact, scale), note

    def float16(self, folder: Path) -> Result:
        """What a GPU is given, on the CPU: the same graph, in which products round to 16 bits and sums do not."""
        prepared = target(self.decoder, "cuda")
        session = Session(to_onnx(prepared, self.weights, folder), providers=[CPU])
        scale = tolerance.scales(self.module, self.weights, self.given, unit=FLOAT16)[0]
        note = f"{session.manifest['cache']} caches" if self.module.stream else ""
        return "target cuda (float16), CPU provider", _judged(self._logits(session), self.exact, scale), note

    def quantized(self, name: str, choice: Choice, folder: Path) -> Result | None:
        """Weights in few bits against the weights that the codes stand for; None where none fits the scheme.

        Where operators round activations as well, the scale is what such a rounding must err.
        """
        prepared = target(self.decoder, TARGET, quantize=(choice,))
        codes = [p for p, q in prepared.parameters() if isinstance(q.source, Quantized) and q.source.part == "codes"]
        if not codes:
            return None
        values = stand_for(prepared, Derived(prepared, self.weights), self.weights)
        given, unit = self.given, FLOAT32
        if choice.activations < 32:
            unit = EIGHT_BITS
            given = decided(self.module, values, self.reading, self.sizes, unit) or given
        exact = run(self.module, values, given).values[0]
        logits = self._logits(self._session(prepared, folder), given)
        verdict = _settled(lambda runs: _judged(logits, exact, self._scale(values, exact, given, unit, runs)))
        note = f"{len(codes)} matrices" + (", activations in 8 bits, too" if unit == EIGHT_BITS else "")
        return f"{name}, {TARGET}", verdict, note

    def remembered(self, asked: str, folder: Path) -> Result | None:
        """Caches of codes, against what the codes stand for; None for a model that has no caches to hold them.

        The scales are those of the drawn text. The rows are such that float32 cannot turn the rounding of a code.
        """
        plain = target(self.decoder, TARGET)
        if self.reading.sources or not shares_caches(plain):
            return None
        prepared = target(self.decoder, TARGET, cache=asked)
        found = Calibrated(caches=cache_sizes(plain, Derived(plain, self.weights), self.given))
        values = Derived(prepared, self.weights, found)
        held = {path: values[path] for path, _ in prepared.parameters()}
        per_token = sum(largest.size for largest in found.caches.values())
        given, rows = self._clear(prepared, held, max(SHORTEST, min(self.tokens.shape[1], CODES // per_token)))
        exact = run(prepared, held, given, rows).values[0]
        own = self._plain(self.weights, given)
        session = Session(to_onnx(prepared, self.weights, folder, rounding=found))
        logits = self._logits(session, given)

        def judged(runs: int) -> Verdict:
            random = tolerance.scales(prepared, held, given, rows, runs=runs)[0]
            return _judged(logits, exact, random.or_more(own))

        kinds = sorted({state["kind"] for state in session.manifest["states"] if state["bits"]})
        note = f"{' and '.join(kinds)}, codes of {asked.removeprefix('int')} bits"
        return f"{asked} caches, {TARGET}", _settled(judged), note

    def _clear(
        self, prepared: Module, held: Mapping[str, Array], length: int
    ) -> tuple[dict[str, Array], dict[str, Array]]:
        """Texts of `length` tokens or fewer, none of whose codes float32 can turn, and the ambient values of rows."""
        found = clearest(prepared, held, self.reading, (length, length), FLOAT32, ambient_of(1, length), SOME)
        assert found is not None  # codes are rounded
        given, apart = found
        if apart < CLEAR and length > SHORTEST:
            return self._clear(prepared, held, max(SHORTEST, length // 2))
        return given, ambient_of(len(given[self.reading.tokens]), length)

    def _plain(self, weights: Mapping[str, Array], given: Mapping[str, Array]) -> Scale:
        """What plain PyTorch errs in float32, with numbers in its caches."""
        exact = run(self.module, weights, given).values[0]
        return tolerance.errors(self._torch(weights, given), exact)

    def _scale(
        self, weights: Mapping[str, Array], exact: Array, given: Mapping[str, Array], unit: float = FLOAT32,
        runs: int = RUNS,
    ) -> Scale:
        """What a precision must err at least: the larger of the random estimate and what plain PyTorch errs."""
        found = tolerance.scales(self.module, weights, given, unit=unit, runs=runs)[0]
        return found.or_more(tolerance.errors(self._torch(weights, given), exact))

    def _torch(self, weights: Mapping[str, Array], given: Mapping[str, Array]) -> Array:
        """Logits of plain PyTorch in float32."""
        self.model.load_state_dict(
            {name: torch.from_numpy(np.asarray(weights[name], np.float32)) for name in self.model.state_dict()}
        )
        inputs = [torch.from_numpy(np.ascontiguousarray(array)) for array in self.reading.ordered(given)]
        beside = {name: torch.from_numpy(array) for name, array in self.reading.beside(given).items()}
        with torch.no_grad():
            output = self.model(*inputs, **beside)
        return np.asarray((output[0] if isinstance(output, tuple) else output).numpy(), np.float64)


def _settled(judged: Callable[[int], Verdict]) -> Verdict:
    """What a few runs of the estimate say, or many where that is close."""
    verdict = judged(RUNS)
    return judged(MANY) if verdict.close else verdict


def _judged(candidate: Array, exact: Array, scale: Scale) -> Verdict:
    return judge(np.asarray(candidate, np.float64), exact, scale.rms, scale.max)
