"""Calibration: what the inputs of every product with a weight are like, on tokens that go through the model.

Rows of tokens pass the layers one after another, all rows through one layer before the next: what is kept of the inputs
of a layer goes to files when the layer is done, so that memory holds one layer's at a time.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path as FilePath
from typing import Any

import numpy as np

from ..lang import errors
from ..lang.diagnostics import WeftError
from ..lang.sizes import Size
from .emit.reference import Interpreter
from .ir.graph import Node, Value
from .ir.module import Function, Module, Path, join
from .ir.primitive import Array, Frame
from .passes.contract import apply
from .passes.flatten import Flatten
from .passes.inference import drop_penalties
from .passes.pipeline import passes
from .passes.products import Product, products
from .quantization.calibration import Moments, moments
from .quantization.finite import spelled

ENTRIES = 1 << 21
"""Rows go through a layer together as long as their tokens, squared, are no more: attention compares all of them."""


@dataclass(frozen=True)
class Calibration:
    """Moments of the inputs of weights, by the weight's path; they lie in a folder that the caller removes."""

    folder: FilePath
    keys: Mapping[str, str]
    tokens: int

    def moments(self, path: str) -> Moments:
        """Raises WeftError (E0815) for a weight that met no input."""
        if path not in self.keys:
            raise WeftError(errors.no_calibration(spelled(path)))
        stem = self.folder / self.keys[path]
        with np.load(f"{stem}.npz") as stored:
            arrays = {name: stored[name] for name in stored.files}
        numbers = json.loads(FilePath(f"{stem}.json").read_text("utf-8"))
        products = FilePath(f"{stem}.products.npy")
        return Moments(products=np.load(products, mmap_mode="r") if products.is_file() else None, **arrays, **numbers)


def calibrate(
    module: Module, read: Callable[[str], Array], inputs: Mapping[str, Array], folder: FilePath,
    products: Callable[[str], bool] = lambda path: False,
) -> Calibration:
    """Run a module in full form on whole rows and keep the moments of what its weights are multiplied with.

    `read` gives the model's own weights, `inputs` are the entry's, such as `tokens` [B, T]. `products` says for which
    weights E[x xT] is wanted, [K, K] each. Needs the memory of the widest activations of all rows, and of one layer.
    """
    flat = apply(drop_penalties(module), (Flatten(), *passes()))
    collector = _Collector(flat, _Weights(read), {}, {}, {}, None, folder=folder, wanted=products)
    return collector.collect(inputs)


class _Weights(Mapping[str, Array]):
    def __init__(self, read: Callable[[str], Array]) -> None:
        self._read = read

    def __getitem__(self, path: str) -> Array:
        return self._read(path)

    def __iter__(self) -> Any:
        return iter(())

    def __len__(self) -> int:
        return 0


# Which input: of a value of a function, on an instance.
_Key = tuple[Path, str, Value]


@dataclass
class _Collector(Interpreter):
    """The interpreter, which looks at every product with a weight."""

    folder: FilePath = FilePath()
    wanted: Callable[[str], bool] = lambda path: False
    found: dict[_Key, Moments] = field(default_factory=dict)
    keys: dict[str, _Key] = field(default_factory=dict)
    written: dict[_Key, str] = field(default_factory=dict)
    known: dict[str, dict[int, Product]] = field(default_factory=dict)
    inside: bool = False

    def collect(self, inputs: Mapping[str, Array]) -> Calibration:
        entry = self.module.main
        given = {name: np.asarray(inputs[name]) for name, _ in entry.inputs if name in inputs}
        for name, type in entry.inputs:
            for axis, length in zip(type.axes, given[name].shape if name in given else (), strict=False):
                if not axis.size.is_constant:
                    self.sizes[axis.size.symbols[0]] = length
        if self.module.stream is not None:
            self.sizes.setdefault(self.module.stream[1], self.sizes[self.module.stream[0]])
        frame, values = self.frame(self.sizes), dict[Value, Array]()
        for name, type in entry.inputs:
            if name not in given:
                given[name] = np.full(frame.shape(type), dict(self.module.defaults)[name])
        needed = self._needed(entry)
        for node in self.nodes(entry):
            if node.id in needed:
                values.update(zip(node.values, self.results(entry, node, values, given, (), (), frame), strict=True))
            elif node.id in self._products(entry):
                self._see(entry, node, values, ())
        self._write()
        tokens = next((prod(a.shape) for a in given.values() if a.ndim == 2), 0)
        return Calibration(self.folder, {path: self.written[key] for path, key in self.keys.items()}, tokens)

    def _needed(self, entry: Function) -> set[int]:
        """The nodes of the entry that some product or layer depends on; the logits, say, need not be computed."""
        graph, last = entry.graph, list[int]()
        for node in self.nodes(entry):
            if node.id in self._products(entry):
                last.append(self._products(entry)[node.id].x.node)
            elif node.op in ("call", "repeat", "scan"):
                last.append(node.id)
        needed = set[int]()
        while last:
            id = last.pop()
            if id not in needed:
                needed.add(id)
                last += [v.node for v in graph[id].operands]
        return needed

    def _products(self, function: Function) -> dict[int, Product]:
        if function.name not in self.known:
            found = products(self.module, function, shared=True)
            self.known[function.name] = {p.node.id: p for p in found}
        return self.known[function.name]

    def results(
        self, function: Function, node: Node, values: Mapping[Value, Array], given: Mapping[str, Array],
        instance: Path, sites: Path, frame: Frame,
    ) -> tuple[Array, ...]:
        if node.op == "dot" and node.id in self._products(function):
            self._see(function, node, values, instance)
        return super().results(function, node, values, given, instance, sites, frame)

    def _see(self, function: Function, node: Node, values: Mapping[Value, Array], instance: Path) -> None:
        product = self._products(function)[node.id]
        path, key = join(product.weight.path(instance)), (instance, function.name, product.x)
        if self.keys.setdefault(path, key) != key or key in self.written:
            return  # a weight with several uses is judged by the first
        type, over = function.graph.type(product.x), tuple(a.name for a in product.over)
        here = self.found.get(key)
        if here is not None and here.name != path:
            return  # another weight of the same input was here before
        order = [*(i for i, n in enumerate(type.names) if n not in over), *(type.index(n) for n in over)]
        x = np.transpose(values[product.x], order)
        size = prod(x.shape[len(order) - len(over) :])
        if here is None:
            same = (p for p in self._products(function).values() if p.x == product.x)
            here = moments(size, products=any(self.wanted(join(p.weight.path(instance))) for p in same), name=path)
        self.found[key] = here.plus(x.reshape(-1, size))

    def repeat(
        self, function: Function, node: Node, operands: tuple[Array, ...], instance: Path, sites: Path, frame: Frame
    ) -> tuple[Array, ...]:
        """All rows go through one layer before the next, some rows at a time."""
        batch = self.module.batch
        if self.inside or not batch:
            return super().repeat(function, node, operands, instance, sites, frame)
        types = [function.graph.type(v) for v in node.operands]
        places = [next((i for i, a in enumerate(t.axes) if a.size == Size.symbol(batch)), None) for t in types]
        carried, rows = node["carried"], self.sizes[batch]
        longest = max((n for s, n in self.sizes.items() if s != batch), default=1)
        at_once = max(1, ENTRIES // longest**2)
        layers, current = node["instance"].resolve(instance), list(operands)
        self.inside = True
        for i, body in enumerate(node["schedule"]):
            callee, parts = self.module.functions[node["bodies"][body]], list[tuple[Array, ...]]()
            for start in range(0, rows, at_once):
                self.sizes[batch] = min(at_once, rows - start)
                some = tuple(
                    a if p is None else np.take(a, range(start, start + self.sizes[batch]), axis=p)
                    for a, p in zip(current, places, strict=True)
                )
                parts.append(self.invoke(callee, some, (*layers, i), (*sites, node["site"], i))[:carried])
            self.sizes[batch] = rows
            for k in range(carried):
                place = places[k]
                current[k] = parts[-1][k] if place is None else np.concatenate([p[k] for p in parts], axis=place)
            self._write()
        self.inside = False
        return (*current[:carried], *(np.zeros(()) for _ in range(node["sums"])))

    def _write(self) -> None:
        """What is known of a finished layer goes to files."""
        for key, here in self.found.items():
            stem = f"{len(self.written)}"
            self.written[key] = stem
            small = {n: getattr(here, n) for n in ("sums", "squares", "largest", "sample", "keys")}
            np.savez(self.folder / f"{stem}.npz", **small)
            if here.products is not None:
                np.save(self.folder / f"{stem}.products.npy", here.products)
            numbers = {n: getattr(here, n) for n in ("count", "rows", "seed", "name")}
            (self.folder / f"{stem}.json").write_text(json.dumps(numbers), "utf-8")
        self.found.clear()


def scaled(found: Moments, by: Array) -> Moments:
    """The moments of inputs that are multiplied by `by` [K]."""
    products = None if found.products is None else found.products * np.outer(by, by).astype(found.products.dtype)
    return replace(
        found, products=products, sums=found.sums * by, squares=found.squares * by**2,
        largest=(found.largest * by).astype(np.float32), sample=(found.sample * by).astype(np.float32),
    )
