"""Running the layers of a repeat: each layer's body is specialised once, the schedule says which runs when."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ...lang import errors
from ...lang.axes import TensorType
from ...lang.diagnostics import WeftError
from ...lang.source import Span
from ..ir.control import repeat
from ..ir.graph import Origin
from ..ir.ops import constant
from .arguments import Given, is_tensor
from .crossing import inward, outward
from .values import PlacedLayers

if TYPE_CHECKING:
    from .elaborate import Elaborator, Specialised
    from .expressions import Evaluator


def run_layers(
    elaborator: Elaborator, evaluator: Evaluator, layers: PlacedLayers, arguments: list[Given], span: Span
) -> Any:
    """Run the layers of a repeat: the first arguments are carried from layer to layer, the others seen by all."""
    body = evaluator.building(span)
    if body.outer is not None or body.placed is None:
        raise WeftError(errors.not_in_scan("`repeat`", span))
    tensors = [evaluator.lift(value, at) for name, value, at in arguments]
    named = next((n for n, _, _ in arguments if n is not None), None)
    if named is not None:
        raise WeftError(errors.wrong_call("repeated layers take their arguments by position", span))
    made = []
    for placed in layers.bodies:
        method = placed.methods.get("forward")
        if method is None:
            raise WeftError(errors.no_such_part("forward", f"`{placed.label}`", list(placed.methods), span))
        parameters = [p for p in method.signature.parameters if is_tensor(p)]
        if len(parameters) != len(tensors):
            message = f"`{placed.label}` takes {len(parameters)} arguments, {len(tensors)} are given"
            raise WeftError(errors.wrong_call(message, span))
        binding, local = inward(
            elaborator.symbolic, method, parameters, tensors, placed, placed.label, placed.scope, span
        )
        definition = f"{placed.component.unit.prefix}.{placed.label}.forward"
        try:
            one = elaborator.specialise(
                method,
                placed,
                "forward",
                placed.scope,
                placed.key,
                (),
                parameters,
                binding,
                local,
                span,
                definition,
            )
        except WeftError as error:
            raise error.seen_from(span, "the layers are called here") from error
        for position, output in enumerate(one.outputs):
            back = outward(output, binding, placed, span)
            wanted = tensors[position].type if position < len(tensors) else None
            if back != wanted:
                at = method.body.result.span if method.body.result else method.span
                raise WeftError(errors.layer_changes_type(str(back), str(wanted or "nothing"), at))
        made.append(one)
    carried = len(made[0].outputs)
    penalties = tuple(dict.fromkeys(p for one in made for p in one.penalties))
    if any(one.penalties != penalties for one in made):
        penalties = _even(elaborator, made, penalties)
    types = tuple(t.type for t in tensors[:carried]) + (TensorType(()),) * len(penalties)
    reference = body.placed.reference_to(layers.path)
    values = repeat(
        body.graph, tuple(one.name for one in made), layers.schedule, tuple(t.value for t in tensors), types,
        body.site("_".join(reference.down)), reference, carried, len(penalties), Origin(span),
    )
    for name, value in zip(penalties, values[carried:], strict=True):
        body.penalties.setdefault(name, []).append(value)
    results = tuple(body.tensor(v, span) for v in values[:carried])
    return results if made[0].several else results[0]


def _even(elaborator: Elaborator, made: list[Specialised], penalties: tuple[str, ...]) -> tuple[str, ...]:
    """Layers that differ may have different penalties: those a layer lacks are 0 there."""
    for one in made:
        function = elaborator.functions[one.name]
        kept = [
            v for v, n in zip(function.graph.outputs, function.outputs, strict=True) if not n.startswith("penalty.")
        ]
        present = {n: v for v, n in zip(function.graph.outputs, function.outputs, strict=True)}
        extra = [present.get(f"penalty.{p}") or constant(function.graph, 0.0) for p in penalties]
        function.graph.outputs = (*kept, *extra)
        names = tuple(n for n in function.outputs if not n.startswith("penalty."))
        elaborator.functions[one.name] = replace(function, outputs=(*names, *(f"penalty.{p}" for p in penalties)))
        for key, value in elaborator.made.items():
            if value.name == one.name:
                elaborator.made[key] = replace(value, penalties=penalties)
    return penalties
