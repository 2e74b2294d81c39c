"""What arguments of operations mean: tensors, made of numbers where need be, and names of axes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from ...lang import errors, tree
from ...lang.axes import Axis
from ...lang.diagnostics import WeftError
from ...lang.sizes import Size
from ...lang.source import Span
from . import numbers
from .body import Body
from .kernel import Given
from .scope import Scope
from .values import Pack, Tensor, describe

if TYPE_CHECKING:
    from .elaborate import Elaborator


class Operands(ABC):
    """Reads operands in one scope; `body` is the function being built, or None where only static values can be."""

    def __init__(self, elaborator: Elaborator, scope: Scope, body: Body | None = None) -> None:
        self.elaborator, self.scope, self.body = elaborator, scope, body

    @abstractmethod
    def evaluate(self, expression: tree.Expression) -> Any:
        """The value of an expression."""

    def building(self, span: Span) -> Body:
        if self.body is None:
            raise WeftError(errors.wrong_kind("a computation", "a value known when the model is compiled", span))
        return self.body

    def value_of(self, given: Given) -> Any:
        if given.tree is None:
            return given.value
        if isinstance(given.tree, tree.AxisMap | tree.Where | tree.Rest):
            raise WeftError(errors.wrong_call(f"`{given.span.text}` has no value by itself", given.span))
        return self.evaluate(given.tree)

    def as_tensor(self, given: Given) -> Tensor:
        return self.lift(self.value_of(given), given.span)

    def lift(self, value: Any, span: Span) -> Tensor:
        """A value as a tensor: numbers and bools become constants."""
        if isinstance(value, Tensor):
            return value
        static = numbers.number(value)
        if isinstance(static, Size):
            name = value.name if isinstance(value, Axis) else str(static)
            if self.elaborator.symbolic:  # a block checked by itself: its sizes have no numbers yet
                return self.building(span).constant(2, span)
            raise WeftError(errors.length_unknown(name, span))
        if static is None:
            raise WeftError(errors.wrong_kind(describe(value), "a tensor", span))
        return self.building(span).constant(static, span)

    def as_real(self, tensor: Tensor) -> Tensor:
        if tensor.type.dtype != "int":
            return tensor
        body = self.building(tensor.span)
        node = body.graph[tensor.value]
        if node.op == "const":
            return body.constant(float(node["value"]), tensor.span)
        return body.op("cast", (tensor,), tensor.span, dtype="real")

    def same_dtype(self, tensors: tuple[Tensor, ...], span: Span) -> tuple[Tensor, ...]:
        """Whole numbers become real where one operand is real."""
        return tuple(map(self.as_real, tensors)) if any(t.type.dtype == "real" for t in tensors) else tensors

    def same_axes(self, tensors: list[Tensor], along: str, span: Span) -> list[Tensor]:
        """Repeat tensors along the axes that others have, so that they can be joined along `along`."""
        axes: list[Axis] = []
        for tensor in tensors:
            axes += [a for a in tensor.type.axes if all(a.name != b.name for b in axes)]
        body = self.building(span)
        result = []
        for tensor in self.same_dtype(tuple(tensors), span):
            wanted = tuple(tensor.type.axis(along) if a.name == along else a for a in axes)
            result.append(tensor if tensor.type.axes == wanted else body.op("expand", (tensor,), span, axes=wanted))
        return result

    def known_axis(self, name: str) -> Axis | None:
        """The axis a name stands for here, if it is one."""
        found, value = self.scope.find(name, _nowhere(self.scope))
        if found and isinstance(value, Axis):
            return Axis(name, value.size)
        return self.body.known.get(name) if self.body else None

    def axis_names(self, given: Given) -> tuple[str, ...]:
        """Names of axes in an argument: a name, a `dims` parameter, a tuple of them, or `..`."""
        here = given.tree
        if isinstance(here, tree.Rest):
            rests = self.building(given.span).binding.rests
            if not rests:
                help = ("write `..` in the type of an argument, or name the axes",)
                raise WeftError(
                    errors.wrong_call("`..` stands for nothing here: no argument is declared with it", given.span, help)
                )
            return tuple(a.name for axes in rests for a in axes)
        if isinstance(here, tree.Tuple):
            return tuple(n for i in here.items for n in self.axis_names(Given(None, i, None, i.span)))
        if isinstance(here, tree.Name):
            found, value = self.scope.find(here.id, here.span)
            return tuple(a.name for a in value.axes) if found and isinstance(value, Pack) else (here.id,)
        raise WeftError(
            errors.wrong_call("the name of an axis is needed here", given.span, (), "not the name of an axis")
        )


def _nowhere(scope: Scope) -> Span:
    return Span(scope.unit.source, 0, 0)
