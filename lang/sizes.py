"""Sizes: canonical polynomials over named sizes, so that equal sizes compare equal.

A size is a sum of monomials `coefficient * T^a * B^b ...` with rational coefficients and integer exponents
(negative ones come from division by a named size). `H / G * G` is `H`; `D / 2` stays exact. When every name has
a number the value must be a whole number: `D / H` needs exact division.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

Monomial = tuple[tuple[str, int], ...]


class InexactSize(ValueError):
    """A division of sizes that does not come out whole (or by a sum of names)."""


@dataclass(frozen=True)
class Size:
    """A polynomial: monomials in sorted order, each with a non-zero coefficient."""

    terms: tuple[tuple[Monomial, Fraction], ...]

    @staticmethod
    def of(value: int | Fraction) -> Size:
        return Size((((), Fraction(value)),)) if value else Size(())

    @staticmethod
    def symbol(name: str) -> Size:
        return Size(((((name, 1),), Fraction(1)),))

    @staticmethod
    def collect(terms: Mapping[Monomial, Fraction]) -> Size:
        return Size(tuple(sorted((m, c) for m, c in terms.items() if c)))

    def __add__(self, other: Size) -> Size:
        terms = dict(self.terms)
        for monomial, coefficient in other.terms:
            terms[monomial] = terms.get(monomial, Fraction(0)) + coefficient
        return Size.collect(terms)

    def __neg__(self) -> Size:
        return Size(tuple((m, -c) for m, c in self.terms))

    def __sub__(self, other: Size) -> Size:
        return self + -other

    def __mul__(self, other: Size) -> Size:
        terms: dict[Monomial, Fraction] = {}
        for left, a in self.terms:
            for right, b in other.terms:
                exponents = dict(left)
                for name, power in right:
                    exponents[name] = exponents.get(name, 0) + power
                monomial = tuple(sorted((n, p) for n, p in exponents.items() if p))
                terms[monomial] = terms.get(monomial, Fraction(0)) + a * b
        return Size.collect(terms)

    def __truediv__(self, other: Size) -> Size:
        """Exact division by a number or a single monomial; InexactSize for anything else."""
        if self == other and self.terms:
            return Size.of(1)
        if len(other.terms) != 1:
            raise InexactSize(f"{self} / {other}")
        monomial, coefficient = other.terms[0]
        inverse = Size(((tuple((n, -p) for n, p in monomial), 1 / coefficient),))
        result = self * inverse
        if result.is_constant and result.fraction.denominator != 1:
            raise InexactSize(f"{self} / {other}")
        return result

    def __pow__(self, power: int) -> Size:
        result = Size.of(1)
        for _ in range(power):
            result = result * self
        return result

    @property
    def is_constant(self) -> bool:
        return not self.terms or (len(self.terms) == 1 and self.terms[0][0] == ())

    @property
    def fraction(self) -> Fraction:
        """The value of a constant size."""
        if not self.is_constant:
            raise ValueError(f"{self} is not a constant")
        return self.terms[0][1] if self.terms else Fraction(0)

    @property
    def value(self) -> int:
        """The value of a constant size as an int."""
        fraction = self.fraction
        if fraction.denominator != 1:
            raise InexactSize(str(self))
        return int(fraction)

    @property
    def symbols(self) -> tuple[str, ...]:
        """The names in this size, in sorted order."""
        return tuple(sorted({name for monomial, _ in self.terms for name, _ in monomial}))

    def substitute(self, values: Mapping[str, Size]) -> Size:
        """Replace named sizes; names that are not in `values` stay."""
        result = Size(())
        for monomial, coefficient in self.terms:
            term = Size.of(coefficient)
            for name, power in monomial:
                factor = values.get(name, Size.symbol(name))
                term = term * factor**power if power > 0 else term / factor ** (-power)
            result = result + term
        return result

    def evaluate(self, values: Mapping[str, int]) -> int:
        """The number this size is when every name has the given value."""
        return self.substitute({n: Size.of(v) for n, v in values.items()}).value

    def __str__(self) -> str:
        return " + ".join(_term(m, c) for m, c in reversed(self.terms)).replace("+ -", "- ") or "0"


def _term(monomial: Monomial, coefficient: Fraction) -> str:
    over = [n if p == 1 else f"{n}^{p}" for n, p in monomial if p > 0]
    under = [n if p == -1 else f"{n}^{-p}" for n, p in monomial if p < 0]
    if coefficient.numerator != 1 or not over:
        over.insert(0, str(coefficient.numerator)) if coefficient.numerator != -1 or not over else over.insert(0, "-1")
    if coefficient.denominator != 1:
        under.insert(0, str(coefficient.denominator))
    return "*".join(over) + "".join(f"/{u}" for u in under)
