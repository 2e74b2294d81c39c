"""The training loss: next-token cross-entropy without ever holding all logits."""

from __future__ import annotations

import json
from dataclasses import replace

from ....lang import errors
from ....lang.diagnostics import WeftError
from ...ir.instances import uses
from ...ir.module import Module
from .head import Head
from .method import Method
from .text import Line, laid_out

FEWEST, MOST, SCORES = 512, 1024, 1 << 26
"""Tokens of a chunk on a CPU: as many as have so many scores, between these bounds."""
ELSEWHERE = 4096
"""Tokens of a chunk where many are computed at once."""

IN_CHUNKS = '''
def summed_nll(scores: Tensor, labels: Tensor, weight: Tensor) -> Tensor:  # [N, V], [N], [N] -> []
    """The sum of the weighted cross-entropies of some tokens."""
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
    return (weight * F.cross_entropy(scores, labels, reduction="none")).sum()


def summed_nll_(scores: Tensor, labels: Tensor, weight: Tensor) -> Tensor:  # [N, V], [N], [N] -> []
    """`summed_nll`, by a formula of its own: its gradient, weight (softmax - 1 at the label), replaces the scores."""
    logp = F.log_softmax(scores, dim=-1, dtype=torch.promote_types(scores.dtype, torch.float32))
    counted = labels != -100  # as in F.cross_entropy
    at, weight = (labels * counted)[:, None], weight * counted
    total = -(weight * logp.gather(-1, at).squeeze(-1)).sum()
    gradient = logp.exp_().scatter_add_(-1, at, -torch.ones_like(at, dtype=logp.dtype))
    torch.mul(gradient, weight[:, None], out=scores)
    return total


class InChunks(torch.autograd.Function):
    """The sum of `summed_nll` over chunks of tokens. Gradients are made with each chunk: no scores outlive it.

    The gradient of scores takes their place, some tokens at a time, so that what is made for them fits a CPU's cache.
    """

    @staticmethod
    def forward(ctx, logits, rows: int, weights: int, *given: Tensor) -> Tensor:
        """`given`: as many weights, then states, labels and weights with a row for every token."""
        wanted = ctx.needs_input_grad[3:]
        gradients = [None if i < weights or not w else torch.empty_like(given[i]) for i, w in enumerate(wanted)]
        total = 0.0
        for start in range(0, len(given[-1]), rows):
            *states, labels, weight = (x[start : start + rows].detach() for x in given[weights:])
            learned = [x.requires_grad_() for x, w in zip((*given[:weights], *states), wanted) if w]
            with torch.enable_grad():
                scores = logits(*(x[None] for x in states))
            values = scores.data  # scores at first, their gradient in the end: nothing of the graph reads them again
            block = max(1, (1 << 20) // values.shape[-1]) if values.device.type == "cpu" else rows
            for some in zip(*(x.split(block) for x in (values[0], labels, weight))):
                total = total + summed_nll_(*some)
            made = iter(torch.autograd.grad(scores, learned, values, allow_unused=True) if learned else ())
            for i, gradient in ((i, next(made)) for i, w in enumerate(wanted) if w):
                if i >= weights:
                    gradients[i][start : start + rows] = gradient
                elif gradients[i] is None:
                    gradients[i] = gradient
                else:
                    gradients[i] += gradient
            made = gradient = None  # the next chunk needs the room
        ctx.gradients = gradients
        return total

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        made, ctx.gradients = ctx.gradients, None
        return None, None, None, *(None if x is None else x.mul_(gradient) for x in made)


summed_in_chunks = torch.compiler.disable(InChunks.apply)
'''

_FRESH = frozenset(("dot", "add", "sub", "mul", "div", "neg", "where"))
"""Operations whose result is a new tensor that the backward pass has no need of."""


def chunk_rows(scores: int) -> int:
    """Tokens of a chunk on a CPU, for so many scores of a token."""
    return max(FEWEST, min(MOST, SCORES // scores // FEWEST * FEWEST))


def head_modules(head: Head) -> list[str]:
    """The modules whose parameters the head uses, as attributes of the root; "" is the root itself."""
    module: Module = replace(head.module, entry=head.logits, encoder="")
    found: dict[str, None] = {}
    for use in uses(module).found:
        if any(node.op == "param" for node in module.functions[use.function].graph.nodes()):
            found["".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in use.path)] = None
    return list(found)


def _may_be_written_over(module: Module, name: str) -> bool:
    """Whether the result of a function can become its own gradient."""
    graph = module.functions[name].graph
    node = graph[graph.outputs[0]]
    return _may_be_written_over(module, node["callee"]) if node.op == "call" else node.op in _FRESH


def loss_lines(root: Method, hidden: Method | None, logits: Method | None, head: Head | None) -> list[str]:
    """The methods `loss` and, where there is a head, `summed_loss`."""
    entry, ambients = root.function, list(root.ordered_ambients())
    inputs = [name for name, _ in root.parameters if name not in root.optional]
    taken = {"labels", "weight", "rows"} & {name for name, _ in root.parameters}
    if taken:
        what = f"an input called `{min(taken)}`"
        raise WeftError(errors.not_in_torch(what, "the loss takes one of this name", entry.origin.first_span()))
    arguments = ", ".join(f"{n}: Tensor" for n in (*inputs, "labels", "weight", *ambients))
    arguments += "".join(f", {n}: Tensor | None = None" for n in root.optional)
    penalties = [n.removeprefix("penalty.") for n in entry.outputs if n.startswith("penalty.")]
    if head is None or hidden is None or logits is None:
        return _plain(arguments, ", ".join((*inputs, *ambients, *root.optional)), penalties)
    states = [f"hidden_{i}" if len(logits.parameters) > 1 else "hidden" for i in range(len(logits.parameters))]
    results = ", ".join((*states, *(f"{p}_penalty" for p in penalties)))
    given = ", ".join((*(n for n, _ in hidden.parameters), *(a for a in ambients if a in hidden.ambients)))
    shown = ", ".join(f"{json.dumps(p)}: {p}_penalty" for p in penalties)
    typed = ", ".join(f"{s}: Tensor" for s in states)
    rows = ", ".join(f"{s}[None]" for s in states)
    opening = f"def loss(self, {arguments}, rows: int | None = None) -> tuple[Tensor, dict[str, Tensor]]:"
    size = logits.types[0].axes[-1].size.value
    owned = (f"self{m}.parameters()" if m else "self.parameters(recurse=False)" for m in head_modules(head))
    method = f"self.{logits.name}"
    if not _may_be_written_over(head.module, head.logits):
        method = f"lambda *states: {method}(*states).clone()"
    return [
        *laid_out(Line(opening, 1), opening),
        '        """The mean cross-entropy in nats over all labels, by weight, and the penalties.',
        "",
        "        Scores are made for `rows` tokens at a time, never for all.",
        '        """',
        *(f"{'    ' * line.indent}{line.text}" for lines in root.optional.values() for line in lines),
        f"        {results} = self.{hidden.name}({given})",
        f'        rows = rows or ({chunk_rows(size)} if labels.device.type == "cpu" else {ELSEWHERE})',
        f"        tokens = [x.flatten(0, 1) for x in ({', '.join((*states, 'labels', 'weight'))})]",
        "        if torch.compiler.is_compiling() and len(tokens[-1]) <= rows:",
        "            total = self.summed_loss(*tokens)",
        "        elif torch.is_grad_enabled() and not weight.requires_grad:",
        f"            weights = [{', '.join(f'*{o}' for o in owned)}]",
        f"            total = summed_in_chunks({method}, rows, len(weights), *weights, *tokens)",
        "        else:  # without a gradient, or with that of `weight`, too",
        "            total = 0.0",
        "            for chunk in zip(*(x.split(rows) for x in tokens), strict=True):",
        "                total = total + checkpoint(self.summed_loss, *chunk, use_reentrant=False)",
        f"        return total / weight.sum(), {{{shown}}}",
        "",
        f"    def summed_loss(self, {typed}, labels: Tensor, weight: Tensor) -> Tensor:  # [N, ..], [N], [N] -> []",
        f"        return summed_nll(self.{logits.name}({rows}).squeeze(0), labels, weight)",
    ]


def _plain(arguments: str, given: str, penalties: list[str]) -> list[str]:
    first = "scores, penalties" if penalties else "scores"
    return [
        f"    def loss(self, {arguments}) -> tuple[Tensor, dict[str, Tensor]]:",
        '        """The mean cross-entropy in nats over all labels, by weight, and the penalties."""',
        f"        {first} = self({given})",
        "        scores = scores.flatten(0, 1).to(torch.promote_types(scores.dtype, torch.float32))",
        '        losses = F.cross_entropy(scores, labels.flatten(), reduction="none")',
        f"        return (weight.flatten() * losses).sum() / weight.sum(), {'penalties' if penalties else '{}'}",
    ]
