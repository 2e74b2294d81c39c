"""A pass and a rule of one's own, held against the reference.

    python examples/passes.py

The pass gathers the constant factors of a product, however many there are and wherever they stand; a rule has a fixed
shape and could not. The rule says in two programs that one function may stand for another. docs/passes.md builds both
step by step.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import weft
from weft.compiler.emit.weights import random_weights
from weft.compiler.ir.graph import Graph, Node, Origin, Value
from weft.compiler.ir.module import Function
from weft.compiler.ir.ops import build, constant
from weft.compiler.ir.text import print_function
from weft.compiler.passes.dce import Eliminate
from weft.compiler.passes.editing import closed, every_function, opened
from weft.compiler.passes.flatten import Flatten
from weft.compiler.passes.fold import constant_value
from weft.compiler.rules.library import program_rules
from weft.compiler.rules.property import check_rule
from weft.compiler.rules.rewrite import rewrite
from weft.lang.program import load_source
from weft.lang.source import Source

SPEC = """
use nn: softplus

block Gate(D: dim) {
  param scale: [D] = ones
  forward(x: [.., D], y: [.., D]) -> [.., D] { log(1 + exp(x)) * (scale * y / 4) * 2 }
}

model Small(D: dim = 3) {
  gate = Gate(D)
  forward(x: [B, D], y: [B, D]) -> [B, D] { gate(x, -y) }
}

## log(1 + e^x) = max(x, 0) + log(1 + e^-|x|), which is exact for large x, too
rule stable(x: [..]) {
  from log(1 + exp(x))
  into softplus(x)
}
"""


@dataclass(frozen=True)
class GatherFactors:
    """Make one factor of all constants of a product: -(x * 4) / 2 * y = x * y * -2."""

    name: str = "gather_factors"

    def run(self, module: weft.Module) -> weft.Module:
        return every_function(module, gathered)


def gathered(function: Function) -> Function:
    graph = opened(function)
    for node in list(graph.nodes()):
        product = factors(graph, node.values[0]) if node.op in PARTS else None
        if product is None or product.count < 2 or not math.isfinite(product.number):
            continue
        origin = Origin(None, "gather_factors", (node.origin,), node.origin.name)
        result = product.values[0]
        for other in product.values[1:]:
            result = build(graph, "mul", result, other, origin=origin)
        result = build(graph, "mul", result, constant(graph, product.number, origin), origin=origin)
        if graph.type(result) == node.types[0]:
            graph.replace(node.values[0], result)
    return closed(function, graph)


PARTS = ("mul", "div", "neg")


@dataclass(frozen=True)
class Product:
    """What is multiplied: values, and a number made of `count` constants."""

    values: tuple[Value, ...]
    number: float
    count: int


def factors(graph: Graph, value: Value) -> Product:
    """A value as a product. Below the top, what something else uses too stays one factor: it is needed anyway."""
    node = graph[value]
    values: tuple[Value, ...] = ()
    number, count = 1.0, 0
    for part in operands(graph, node):
        if isinstance(part, float):
            number, count = number * part, count + 1
            continue
        alone = len(graph.users(part)) == 1 and part not in graph.outputs
        inner = factors(graph, part) if alone else Product((part,), 1.0, 0)
        values, number, count = values + inner.values, number * inner.number, count + inner.count
    return Product(values, number, count) if values else Product((value,), 1.0, 0)


def operands(graph: Graph, node: Node) -> Iterator[Value | float]:
    """The factors that a real node multiplies; none for a node that does something else."""
    if node.op not in PARTS or node.types[0].dtype != "real":
        return
    numbers = [constant_value(graph, v) for v in node.operands]
    if node.op == "neg":
        yield from (node.operands[0], -1.0)
    elif node.op == "mul":
        yield from (v if n is None else float(n) for v, n in zip(node.operands, numbers, strict=True))
    elif numbers[1]:
        yield from (node.operands[0], 1 / numbers[1])


def largest_difference(before: weft.Module, after: weft.Module, seed: int = 0) -> float:
    """How far two modules are apart on random weights and inputs, in float64."""
    generator = np.random.default_rng(seed)
    inputs = {name: generator.normal(size=(5, 3)) for name, _ in before.main.inputs}
    weights = random_weights(before, seed)
    one, other = (weft.run(module, weights, inputs).values[0] for module in (before, after))
    return float(np.abs(one - other).max() / np.abs(one).max())


def main() -> int:
    program = load_source(Source("small.llm", SPEC))
    module = weft.apply(weft.compile(program, "Small"), [Flatten(), Eliminate()])
    print("a model, its methods inlined:\n\n" + print_function(module.main))
    changed = weft.apply(module, [GatherFactors()])
    apart = largest_difference(module, changed)
    print(f"after the pass, {apart:.1e} apart in float64:\n\n" + print_function(changed.main))
    (own,) = program_rules(program)
    report = check_rule(own)
    print(f"the rule `{own.name}`, {own.equation}: {report.cases} random cases, {report.worst:.1e} apart at most")
    changed, used = rewrite(changed, [own])
    apart_too = largest_difference(module, changed)
    print(f"used {used.count(own.name)} time, {apart_too:.1e} apart in float64:\n\n" + print_function(changed.main))
    return 0 if report.passed and max(apart, apart_too) < 1e-12 else 1


if __name__ == "__main__":
    sys.exit(main())
