"""What is known of a value for every input: linear forms of positions, and where a value can be other than zero."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from math import gcd

from ..ir.graph import NOWHERE, Origin

# Axis names with integer coefficients, in sorted order: `q - k` is (("S", -1), ("T", 1)).
Terms = tuple[tuple[str, int], ...]
# A pair of axes (T, S): the token along T may look at the one along S (same document, not padding).
Pair = tuple[str, str]


@dataclass(frozen=True)
class Linear:
    """A whole number: a sum of positions along axes, plus a constant."""

    terms: Terms = ()
    constant: int = 0

    def plus(self, other: Linear, factor: int = 1) -> Linear:
        total = dict(self.terms)
        for axis, coefficient in other.terms:
            total[axis] = total.get(axis, 0) + factor * coefficient
        return Linear(
            tuple(sorted((a, c) for a, c in total.items() if c)), self.constant + factor * other.constant
        )

    def times(self, factor: int) -> Linear:
        return Linear().plus(self, factor)


@dataclass(frozen=True)
class Implied:
    """What holds in certain places: every `terms <= bound`, every pair allowed. `never`: there are no such places."""

    bounds: tuple[tuple[Terms, int], ...] = ()
    allowed: tuple[Pair, ...] = ()
    never: bool = False

    def bound(self, terms: Terms) -> int | None:
        """The least known upper bound of a sum of positions."""
        return next((b for t, b in self.bounds if t == terms), None)

    def both(self, other: Implied) -> Implied:
        bounds = dict(self.bounds)
        for terms, limit in other.bounds:
            bounds[terms] = min(limit, bounds.get(terms, limit))
        allowed = dict.fromkeys((*self.allowed, *other.allowed))
        return Implied(tuple(sorted(bounds.items())), tuple(sorted(allowed)), self.never or other.never)

    def either(self, other: Implied) -> Implied:
        if self.never or other.never:
            return other if self.never else self
        bounds = {t: max(b, limit) for t, b in self.bounds if (limit := other.bound(t)) is not None}
        return Implied(tuple(sorted(bounds.items())), tuple(p for p in self.allowed if p in other.allowed))

    def renamed(self, names: Mapping[str, str]) -> Implied:
        """The condition under other names of axes; what speaks of an axis without a name is forgotten."""
        bounds = (
            (tuple(sorted((names[a], c) for a, c in terms)), limit)
            for terms, limit in self.bounds
            if all(a in names for a, _ in terms)
        )
        allowed = ((names[t], names[s]) for t, s in self.allowed if t in names and s in names)
        return Implied(tuple(sorted(bounds)), tuple(sorted(allowed)), self.never)


ANYWHERE = Implied()
NOWHERE_AT_ALL = Implied(never=True)


def at_most_zero(form: Linear) -> Implied:
    """The condition `form <= 0`."""
    if not form.terms:
        return ANYWHERE if form.constant <= 0 else NOWHERE_AT_ALL
    divisor = gcd(*(c for _, c in form.terms))
    terms = tuple((a, c // divisor) for a, c in form.terms)
    return Implied(((terms, -form.constant // divisor),))


@dataclass(frozen=True)
class Fact:
    """What is known of one value.

    `linear`: the number it is. `absolute`: the number whose absolute value it is. `true`, `false`: what holds where a
    bool is true or false. `nonzero`: what holds where a number is not zero. `positive`: a constant above zero.
    `origin` is where the value was made, for messages.
    """

    linear: Linear | None = None
    absolute: Linear | None = None
    true: Implied = ANYWHERE
    false: Implied = ANYWHERE
    nonzero: Implied = ANYWHERE
    positive: bool = False
    origin: Origin = field(default=NOWHERE, compare=False)

    def renamed(self, names: Mapping[str, str]) -> Fact:
        """The fact under other names of axes; what speaks of an axis without a name is forgotten."""

        def form(known: Linear | None) -> Linear | None:
            if known is None or not all(a in names for a, _ in known.terms):
                return None
            return Linear(tuple(sorted((names[a], c) for a, c in known.terms)), known.constant)

        return replace(
            self,
            linear=form(self.linear),
            absolute=form(self.absolute),
            true=self.true.renamed(names),
            false=self.false.renamed(names),
            nonzero=self.nonzero.renamed(names),
        )


NOTHING = Fact()


def constant(value: bool | int | float) -> Fact:
    if isinstance(value, bool):
        true, false = (ANYWHERE, NOWHERE_AT_ALL) if value else (NOWHERE_AT_ALL, ANYWHERE)
        return Fact(true=true, false=false, nonzero=true)
    whole = Linear((), int(value)) if abs(value) < 2**53 and value == int(value) else None
    return Fact(linear=whole, nonzero=ANYWHERE if value else NOWHERE_AT_ALL, positive=value > 0)


def position(axis: str) -> Fact:
    return Fact(linear=Linear(((axis, 1),)))


# ------------------------------------------------------------------ elementwise operations


def _sum(sign: int) -> Callable[[Fact, Fact], Fact]:
    def fact(a: Fact, b: Fact) -> Fact:
        known = a.linear is not None and b.linear is not None
        return Fact(
            linear=a.linear.plus(b.linear, sign) if a.linear and b.linear and known else None,
            nonzero=a.nonzero.either(b.nonzero),
        )

    return fact


def _product(a: Fact, b: Fact) -> Fact:
    form = None
    for x, y in ((a.linear, b.linear), (b.linear, a.linear)):
        if x is not None and y is not None and not y.terms:
            form = x.times(y.constant)
    return Fact(linear=form, nonzero=a.nonzero.both(b.nonzero))


def _compare(left: Fact, right: Fact, strict: bool) -> Fact:
    """`left <= right`, or `left < right`."""
    gap = 1 if strict else 0
    if left.linear is not None and right.linear is not None:
        difference = left.linear.plus(right.linear, -1)
        true = at_most_zero(difference.plus(Linear((), gap)))
        false = at_most_zero(difference.times(-1).plus(Linear((), 1 - gap)))
        return Fact(true=true, false=false)
    if left.absolute is not None and right.linear is not None:
        bound = right.linear.plus(Linear((), gap), -1)
        below = at_most_zero(left.absolute.plus(bound, -1))
        return Fact(true=below.both(at_most_zero(left.absolute.times(-1).plus(bound, -1))))
    return NOTHING


def _equal(a: Fact, b: Fact) -> Fact:
    if a.linear is None or b.linear is None:
        return NOTHING
    difference = a.linear.plus(b.linear, -1)
    return Fact(true=at_most_zero(difference).both(at_most_zero(difference.times(-1))))


def _not(a: Fact) -> Fact:
    return Fact(true=a.false, false=a.true)


def _choose(c: Fact, a: Fact, b: Fact) -> Fact:
    def merge(x: Implied, y: Implied) -> Implied:
        return c.true.both(x).either(c.false.both(y))

    return Fact(true=merge(a.true, b.true), false=merge(a.false, b.false), nonzero=merge(a.nonzero, b.nonzero))


def _first(a: Fact, *others: Fact) -> Fact:
    return Fact(nonzero=a.nonzero)


def _union(a: Fact, b: Fact) -> Fact:
    return Fact(nonzero=a.nonzero.either(b.nonzero))


# Operations that keep zero at zero; those that are not here can make anything of a value.
ELEMENTWISE_FACTS: Mapping[str, Callable[..., Fact]] = {
    "add": _sum(1),
    "sub": _sum(-1),
    "mul": _product,
    "div": _first,
    "floordiv": _first,
    "pow": lambda a, b: _first(a) if b.positive else NOTHING,
    "minimum": _union,
    "maximum": _union,
    "neg": lambda a: replace(_first(a), linear=a.linear.times(-1) if a.linear else None),
    "abs": lambda a: replace(_first(a), absolute=a.linear),
    "sqrt": _first,
    "sin": _first,
    "tanh": _first,
    "erf": _first,
    "floor": _first,
    "ceil": _first,
    "round": _first,
    "lt": lambda a, b: _compare(a, b, True),
    "le": lambda a, b: _compare(a, b, False),
    "gt": lambda a, b: _compare(b, a, True),
    "ge": lambda a, b: _compare(b, a, False),
    "eq": _equal,
    "ne": lambda a, b: _not(_equal(a, b)),
    "and": lambda a, b: Fact(true=a.true.both(b.true), false=a.false.either(b.false)),
    "or": lambda a, b: Fact(true=a.true.either(b.true), false=a.false.both(b.false)),
    "not": _not,
    "where": _choose,
}

# Operations whose result holds values of their first operand, elsewhere: its facts stay true (of axes that stay).
MOVES = frozenset(("expand", "cast", "rename", "split", "merge", "select", "slice", "dropout"))


def result_fact(op: str, facts: tuple[Fact, ...], over: tuple[str, ...]) -> Fact:
    """The fact of a primitive's result from those of its operands; `over` are the axes it looks along.

    The caller forgets what speaks of axes that the result lacks. Equal to NOTHING where nothing is known.
    """
    fact = _result_fact(op, facts, over)
    # A bool is true exactly where the number made from it is not zero.
    if fact.true != ANYWHERE and fact.nonzero == ANYWHERE:
        fact = replace(fact, nonzero=fact.true)
    return fact


def _result_fact(op: str, facts: tuple[Fact, ...], over: tuple[str, ...]) -> Fact:
    if op in ELEMENTWISE_FACTS:
        return ELEMENTWISE_FACTS[op](*facts)
    if op in MOVES:
        return facts[0]
    if op == "dot":
        return Fact(nonzero=facts[0].nonzero.both(facts[1].nonzero))
    if op in ("sum", "mean"):
        return Fact(nonzero=facts[0].nonzero)
    if op == "softmax" and len(facts) == 2:
        return Fact(nonzero=facts[1].true)
    if op == "top" and len(facts) == 2:
        return Fact(true=facts[1].true)
    if op in ("concat", "stack"):
        nonzero = facts[0].nonzero
        for other in facts[1:]:
            nonzero = nonzero.either(other.nonzero)
        return Fact(nonzero=nonzero)
    return NOTHING
