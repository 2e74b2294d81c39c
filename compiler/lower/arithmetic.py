"""Operators between static values, and what is wrong when they have no result."""

from __future__ import annotations

from typing import Any

from ...lang import errors, tree
from ...lang.diagnostics import WeftError
from ...lang.sizes import InexactSize, Size
from . import lists, numbers
from .values import describe


def static_binary(symbolic: bool, e: tree.Binary, left: Any, right: Any) -> Any:
    """`left op right` of static values; `symbolic`: sizes may have no numbers yet. Raises a diagnostic."""
    if e.op in ("==", "!="):
        return lists.alike(left, right) == (e.op == "==")
    try:
        return numbers.binary(e.op, left, right)
    except InexactSize as error:
        if symbolic and any(isinstance(numbers.number(v), Size) for v in (left, right)):
            return Size.symbol(f"({e.span.text})")
        parts = ((e.left, left), (e.right, right))
        values = ", ".join(
            f"{p.span.text} = {numbers.number(v)}" for p, v in parts if not isinstance(p, tree.Number)
        )
        raise WeftError(errors.inexact_division(e.span.text, values, e.span)) from error
    except numbers.NotStatic as error:
        if symbolic and any(isinstance(numbers.number(v), Size) for v in (left, right)):
            return _unknown(e.op)
        for value, at in ((left, e.left), (right, e.right)):
            if isinstance(numbers.number(value), Size):
                raise WeftError(errors.length_unknown(at.span.text, at.span)) from error
            if numbers.number(value) is None:
                raise WeftError(errors.wrong_kind(describe(value), "a number", at.span)) from error
        raise WeftError(errors.wrong_kind(f"{describe(left)} and {describe(right)}", str(error), e.span)) from error
    except OverflowError as error:
        raise WeftError(errors.too_large(f"`{e.span.text}`", str(error), e.span)) from error
    except ArithmeticError as error:
        message = "division by zero" if isinstance(error, ZeroDivisionError) else str(error)
        raise WeftError(errors.number_out_of_range(f"`{e.span.text}`: {message}", e.span)) from error


def _unknown(op: str) -> Any:
    """The stand-in for a number that depends on sizes without numbers."""
    return True if op in ("<", "<=", ">", ">=") else Size.symbol("?") if op == "%" else 0.5
