"""`attend` as scaled dot-product attention: masks by structure or as a tensor, grouped heads, biases."""

from __future__ import annotations

import math
from dataclasses import replace

from ....lang.axes import Axis
from ...ir.graph import Value
from . import layout
from .masks import Parts, parts
from .text import Expr, Level
from .writer import Writer


def attend(writer: Writer) -> tuple[Expr, ...] | None:
    """The body of `weft.attention.attend` by F.scaled_dot_product_attention; None where the axes stand otherwise.

    q: [.., T, G, R, K], k: [.., S, G, K], v: [.., S, G, U].
    """
    graph = writer.graph
    found = parts(writer.function)
    if found is None or any(writer.graph[x]["name"] not in writer.inputs for x in (found.q, found.k, found.v)):
        return None
    for node in graph.nodes():
        if node.op == "input" and node["name"] in writer.inputs:
            writer.values[node.values[0]] = writer.inputs[node["name"]]
    q, k, v = (writer.values[x] for x in (found.q, found.k, found.v))
    groups, rows = q.axes[-3], q.axes[-2]
    many = not (rows.size.is_constant and rows.size.value == 1)
    t = len(q.axes) - 4
    heads = f".transpose({t}, {t + 1})"
    arguments = [f"{q.text}.flatten({t + 1}, {t + 2}){heads}", f"{k.text}{heads}", f"{v.text}{heads}"]
    arguments += _mask(writer, found, q)
    if not _is_default(found.scale, q.axes[-1]):
        arguments.append(f"scale={writer.emission.blanks.mark(found.scale, 'scale')}")
    if many:
        arguments.append("enable_gqa=True")
    name = writer.scope.names.take("y")
    writer.scope.line(f"{name} = F.scaled_dot_product_attention(")
    line = writer.scope.method.lines[-1]
    queries, rest = arguments[:3], arguments[3:]
    writer.scope.method.lines.append(replace(line, text=f"    {', '.join(queries)},"))
    if rest:
        writer.scope.method.lines.append(replace(line, text=f"    {', '.join(rest)},"))
    batch = q.axes[:-4]
    writer.scope.line(")", ((*batch, replace(groups, name="H"), q.axes[-4], v.axes[-1]),))
    result = (*q.axes[:-1], v.axes[-1])
    type = writer.graph.type(graph.outputs[0])
    text = f"{name}{heads}.unflatten({t + 1}, {q.text}.shape[{t + 1}:{t + 3}])"
    expr = Expr(text, Level.ATOM, result, q.precision)
    writer.values[graph.outputs[0]] = replace(expr, axes=tuple(type.axis(a.name) for a in result))
    return (writer.values[graph.outputs[0]],)


def _is_default(scale: float, axis: Axis) -> bool:
    """Whether the kernel would scale by this number anyway."""
    return axis.size.is_constant and math.isclose(scale, 1 / math.sqrt(axis.size.value), rel_tol=1e-12)


def _mask(writer: Writer, found: Parts, q: Expr) -> list[str]:
    """The arguments for mask and bias, after the statements that make them."""
    kind = writer.scope.structure if found.mask is not None else "full"
    bias = None if found.bias is None else _evaluated(writer, found.bias)
    if bias is not None and bias.number is not None:
        bias = None if bias.number == 0 else writer.shaped(found.bias)  # type: ignore[arg-type]
    if bias is None and kind == "causal":
        return ["is_causal=True"]
    mask = None if kind == "full" or found.mask is None else _evaluated(writer, found.mask)
    if mask is not None and mask.number is not None:
        mask = None if mask.number else writer.shaped(found.mask)  # type: ignore[arg-type]
    if bias is None and mask is None:
        return []
    target = (*q.names[:-4], q.names[-3], q.names[-4], writer.graph.type(found.k).names[-3])
    if mask is not None:
        mask = layout.aligned(mask, target)
    if bias is None:
        assert mask is not None
        return [f"attn_mask={_variable(writer, mask, 'mask')}"]
    bias = _heads(writer, bias, q, target)
    if mask is not None:
        bias = bias.with_text(f'torch.where({mask.text}, {bias.text}, float("-inf"))')
    if bias.precision is not q.precision:
        bias = bias.with_text(f"{bias.at(Level.ATOM)}.to({q.text}.dtype)")
    return [f"attn_mask={_variable(writer, bias, 'bias')}"]


def _heads(writer: Writer, bias: Expr, q: Expr, target: tuple[str, ...]) -> Expr:
    """A bias per group of heads, repeated for each head of the group."""
    group, rows = q.axes[-3], q.axes[-2]
    bias = layout.aligned(writer.real(bias), target)
    if group.name in bias.names and not (rows.size.is_constant and rows.size.value == 1):
        bias = bias.with_text(f"{bias.at(Level.ATOM)}.repeat_interleave({q.text}.shape[-2], dim=-3)")
    return bias


def _variable(writer: Writer, expr: Expr, wanted: str) -> str:
    if len(expr.text) < 40:
        return expr.text
    own = any(e.text == wanted for e in writer.inputs.values())
    name = wanted if own else writer.scope.names.take(wanted)
    writer.scope.line(f"{name} = {expr.text}")
    return name


def _evaluated(writer: Writer, value: Value) -> Expr:
    """A value of the body that is computed beside the kernel: write what it needs."""
    wanted, waiting = set[int](), [value.node]
    while waiting:
        here = waiting.pop()
        if here not in wanted:
            wanted.add(here)
            waiting += [v.node for v in writer.graph[here].operands]
    for node in writer.graph.nodes():
        if node.id in wanted and node.values[0] not in writer.values and node.op != "input":
            writer.emit(node)
    return writer.values[value]
