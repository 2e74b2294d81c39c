"""The property test that every rule brings along: both sides, on random sizes and values, through the reference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...lang.axes import Axis, TensorType
from ...lang.sizes import InexactSize, Size
from ..emit.reference import run
from ..ir.module import Instance, Module
from ..ir.primitive import Array
from ..ir.splice import fresh
from ..ir.verify import verify
from .binding import Binding, axis_map
from .instantiate import specialise
from .match import axes_of
from .rewrite import rewrite
from .rule import Number, Rule, is_rest

TRIES = 200  # drawings of sizes and scalars until they come out whole and satisfy the condition
UNIT = 2.0**-52


@dataclass(frozen=True)
class Report:
    """What a property test saw. `worst` is the largest error, relative to the largest value of the left side."""

    rule: str
    cases: int
    worst: float
    failure: str = ""

    @property
    def passed(self) -> bool:
        return not self.failure


@dataclass(frozen=True)
class _Case:
    """Concrete types (or numbers, for compile-time arguments) of the variables, and arrays for the others."""

    types: tuple[TensorType | Number, ...]
    arrays: Mapping[str, Array]
    sizes: str


def check_rule(rule: Rule, seed: int = 0, cases: int = 24) -> Report:
    """Run both sides of a rule in float64 on random sizes, leading axes, scalars and values.

    The rule must also be found in its own left side, and what rewriting makes of it must mean the same. Errors up to
    1e-12, or what rounding of single operations can explain, are allowed. The first failing case is told in words.
    """
    generator = np.random.default_rng(seed)
    worst = 0.0
    for number in range(cases):
        case = _draw(rule, generator, number)
        if case is None:
            return Report(rule.name, number, worst, f"no sizes and numbers satisfy it in {TRIES} tries")
        before = _module(rule, case, False)
        wanted = run(before, {}, case.arrays).values
        spread = _spread(before, case.arrays, wanted, generator)
        for what in ("the right side", "what rewriting makes of it"):
            module = _module(rule, case, True) if what == "the right side" else _rewritten(rule, before)
            if module is None:
                return Report(rule.name, number, worst, f"it is not found in its own left side ({case.sizes})")
            for i, (a, b, allowed) in enumerate(zip(wanted, run(module, {}, case.arrays).values, spread, strict=True)):
                error, scale = _error(a, b)
                worst = max(worst, error / scale if scale else error)
                if error > allowed + 1e-12 * scale:
                    told = f"value {i} of {what} is off by {error:.3g} where values reach {scale:.3g} ({case.sizes})"
                    return Report(rule.name, number + 1, worst, told)
    return Report(rule.name, cases, worst)


def _rewritten(rule: Rule, before: Module) -> Module | None:
    """The left side after rewriting, or None when the rule does not find itself."""
    module, used = rewrite(before, (rule,))
    verify(module, f"rule {rule.name}")
    return module if used.count(rule.name) else None


def _draw(rule: Rule, generator: np.random.Generator, number: int) -> _Case | None:
    template = axes_of(rule.before)
    for _ in range(TRIES):
        binding = Binding()
        taken = set(template)
        for name in dict.fromkeys(a.name for _, type in rule.variables for a in type.axes):
            if is_rest(name):
                members = []
                for _ in range(int(generator.integers(0, 4))):
                    free = fresh("N", taken)
                    taken.add(free)
                    members.append(Axis(free, Size.of(int(generator.integers(1, 4)))))
                binding = binding.with_rest(name, tuple(members))
            elif template[name].size == Size.symbol(name):
                binding = binding.with_axis(name, Axis(name, Size.of(int(generator.integers(1, 7)))))
        whole = rule.condition is not None and bool(generator.integers(2))  # such as `n == 2`
        scalars = {n: _scalar(t.dtype, generator, whole) for n, t in rule.variables if not t.axes}
        axes = axis_map(binding, template)
        known = {n: axis.size for n, axis in binding.axes.items()} | scalars
        if axes is None or (rule.condition is not None and not rule.condition.holds(known)):
            continue
        if not _whole(axes_of(rule.before), axes.sizes) or not _whole(axes_of(rule.after), axes.sizes):
            continue
        static = rule.condition is not None or number % 2 == 0
        types = tuple(scalars[n] if n in scalars and static else axes.type(t) for n, t in rule.variables)
        style = STYLES[number % len(STYLES)]
        arrays = {
            name: np.asarray(scalars[name]) if name in scalars else _array(type, style, generator)
            for (name, _), type in zip(rule.variables, types, strict=True)
            if isinstance(type, TensorType)
        }
        shown = ", ".join(f"{n}: {t}" for (n, _), t in zip(rule.variables, types, strict=True))
        return _Case(types, arrays, shown)
    return None


def _whole(axes: Mapping[str, Axis], sizes: Mapping[str, Size]) -> bool:
    """Whether every size of a side comes out as a whole number of at least 1."""
    try:
        found = [a.size.substitute(sizes) for a in axes.values()]
    except InexactSize:
        return False
    return all(not s.is_constant or (s.fraction.denominator == 1 and s.fraction >= 1) for s in found)


def _scalar(dtype: str, generator: np.random.Generator, whole: bool) -> Number:
    if dtype == "bool":
        return bool(generator.integers(2))
    if dtype == "int":
        return int(generator.integers(-2, 6))
    if whole:
        return float(generator.integers(-2, 6))
    size = float(np.exp(generator.uniform(np.log(1e-6), np.log(2.0))))
    return -size if generator.uniform() < 0.1 else size


# How reals are drawn: ordinary, near zero, large, and small whole numbers with ties and zeros.
STYLES = ("ordinary", "small", "whole", "large")


def _array(type: TensorType, style: str, generator: np.random.Generator) -> Array:
    shape = tuple(a.size.value for a in type.axes)
    if type.dtype == "bool":
        return generator.integers(0, 2, shape).astype(bool)
    if type.dtype == "int":
        return generator.integers(0, 5, shape)
    if style == "whole":
        return generator.integers(-2, 3, shape).astype(np.float64)
    return generator.standard_normal(shape) * {"ordinary": 1.0, "small": 1e-3, "large": 30.0}[style]


def _module(rule: Rule, case: _Case, after: bool) -> Module:
    functions: dict[str, Any] = {}
    entry = specialise(rule.after if after else rule.before, case.types, rule.functions, functions)
    return Module(rule.name, functions, entry, Instance(rule.name))


def _spread(
    module: Module, arrays: Mapping[str, Array], exact: tuple[Array, ...], generator: np.random.Generator
) -> tuple[float, ...]:
    """How far rounding every operation at random moves each output: what two orders of computing may differ by."""
    noisy = [run(module, {}, arrays, noise=(UNIT, generator)).values for _ in range(3)]
    return tuple(8 * max(_error(a, other[i])[0] for other in noisy) for i, a in enumerate(exact))


def _error(a: Array, b: Array) -> tuple[float, float]:
    """The largest difference and the largest value; what is infinite or no number must be so on both sides."""
    if a.shape != b.shape or not np.array_equal(np.isfinite(a), np.isfinite(b)):
        return float("inf"), 1.0
    finite = np.isfinite(a)
    if not finite.any():
        return 0.0, 0.0
    if a.dtype == bool:
        return float(np.any(a != b)), 1.0
    difference = np.abs(a[finite].astype(np.float64) - b[finite].astype(np.float64))
    return float(difference.max()), float(np.abs(a[finite]).max())


