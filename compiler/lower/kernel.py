"""How a kernel function takes its arguments, and the table that kernel functions register themselves in."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ...lang import errors, tree
from ...lang.diagnostics import Label, WeftError
from ...lang.nearest import nearest
from ...lang.sizes import Size
from ...lang.source import Span
from .numbers import number
from .values import Builtin, Tensor, describe

if TYPE_CHECKING:
    from .expressions import Evaluator


class Arguments:
    """The arguments of one call of a kernel function, taken by position or by name."""

    def __init__(self, evaluator: Evaluator, name: str, given: tuple[Given, ...], span: Span) -> None:
        self.evaluator, self.name, self.span = evaluator, name, span
        self.positional = [g for g in given if g.name is None]
        self.named = {g.name: g for g in given if g.name is not None}
        self.at = span  # where the last axes stood

    def next(self, what: str) -> Given:
        if not self.positional:
            raise WeftError(errors.wrong_call(f"`{self.name}` needs {what}", self.span, (f"write {USAGE[self.name]}",)))
        return self.positional.pop(0)

    def optional(self, name: str) -> Given | None:
        return self.named.pop(name, None) or (self.positional.pop(0) if self.positional else None)

    def tensor(self, what: str = "a tensor") -> Tensor:
        return self.evaluator.as_tensor(self.next(what))

    def axes(self, what: str = "an axis") -> tuple[str, ...]:
        given = self.next(what)
        self.at = given.span
        if isinstance(given.tree, tree.Where):
            help = "make what does not count zero in an operand: `choose(mask, x, 0)`"
            raise WeftError(errors.wrong_call(f"`{self.name}` takes no mask", given.span, (help,), "a mask"))
        return self.evaluator.axis_names(given)

    def one_axis(self) -> str:
        names = self.axes()
        if len(names) != 1:
            raise WeftError(
                errors.wrong_call(f"`{self.name}` works along one axis", self.at, (f"write {USAGE[self.name]}",))
            )
        return names[0]

    def remaining_axes(self) -> tuple[str, ...]:
        names = self.axes()
        while self.positional:
            names += self.axes()
        return tuple(dict.fromkeys(names))

    def axis_map(self) -> tree.AxisMap:
        given = self.next("axes, as in `T -> S`")
        if not isinstance(given.tree, tree.AxisMap):
            raise WeftError(errors.wrong_call(f"`{self.name}` needs axes, as in `T -> S`", given.span))
        return given.tree

    def whole(self, name: str) -> int:
        given = self.named.pop(name, None) or self.next(f"a number `{name}`")
        found = self.evaluator.value_of(given)
        value = number(found)
        if isinstance(value, Size) and self.evaluator.elaborator.symbolic:
            return 1  # a block checked by itself: models have a number here
        if isinstance(value, bool) or not isinstance(value, int):
            raise WeftError(errors.parameter_mismatch(name, "a whole number", describe(found), given.span))
        return value

    def done(self) -> None:
        extra = self.positional[0] if self.positional else next(iter(self.named.values()), None)
        if extra is not None:
            raise WeftError(
                errors.wrong_call(
                    f"`{self.name}` does not take this", extra.span, (f"write {USAGE[self.name]}",), "not taken"
                )
            )


class Given:
    """One argument: a tree that is not evaluated yet, or a value that came through a pipe."""

    def __init__(self, name: str | None, tree: tree.Expression | None, value: Any, span: Span) -> None:
        self.name, self.tree, self.value, self.span = name, tree, value, span


Run = Callable[["Evaluator", Arguments, Span], Any]
USAGE: dict[str, str] = {}
TABLE: dict[str, Any] = {}


def kernel(usage: str) -> Callable[[Run], Run]:
    """Register a kernel function under the name its usage line starts with."""
    name = usage.split("(")[0]

    def register(run: Run) -> Run:
        def checked(evaluator: Evaluator, given: tuple[Given, ...], span: Span) -> Any:
            arguments = Arguments(evaluator, name, given, span)
            result = run(evaluator, arguments, span)
            arguments.done()
            return result

        USAGE[name] = f"`{usage}`"
        TABLE[name] = Builtin(name, checked)
        return run

    return register


def need_axis(tensor: Tensor, names: tuple[str, ...], given_span: Span) -> None:
    for name in names:
        if not tensor.type.has(name):
            near = nearest(name, tensor.type.names)
            raise WeftError(
                errors.not_an_axis(
                    f"`{name}` is not an axis of {tensor.type}", given_span,
                    (Label(tensor.span, f"this is {tensor.type}"),), f"did you mean `{near}`?" if near else "",
                )
            )


