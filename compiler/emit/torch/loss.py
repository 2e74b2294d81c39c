"""The training loss: next-token cross-entropy without ever holding all logits."""

from __future__ import annotations

import json

from ....lang import errors
from ....lang.diagnostics import WeftError
from .method import Method
from .text import Line, laid_out

ROWS = 1024


def loss_lines(root: Method, hidden: Method | None, logits: Method | None) -> list[str]:
    """The methods `loss` and, where the head is position-wise, `summed_loss`."""
    entry, ambients = root.function, list(root.ordered_ambients())
    inputs = [name for name, _ in root.parameters if name not in root.optional]
    taken = {"labels", "weight", "rows"} & {name for name, _ in root.parameters}
    if taken:
        what = f"an input called `{min(taken)}`"
        raise WeftError(errors.not_in_torch(what, "the loss takes one of this name", entry.origin.first_span()))
    arguments = ", ".join(f"{n}: Tensor" for n in (*inputs, "labels", "weight", *ambients))
    arguments += "".join(f", {n}: Tensor | None = None" for n in root.optional)
    penalties = [n.removeprefix("penalty.") for n in entry.outputs if n.startswith("penalty.")]
    if hidden is None or logits is None:
        return _plain(arguments, ", ".join((*inputs, *ambients, *root.optional)), penalties)
    states = [f"hidden_{i}" if len(logits.parameters) > 1 else "hidden" for i in range(len(logits.parameters))]
    results = ", ".join((*states, *(f"{p}_penalty" for p in penalties)))
    given = ", ".join((*(n for n, _ in hidden.parameters), *(a for a in ambients if a in hidden.ambients)))
    shown = ", ".join(f"{json.dumps(p)}: {p}_penalty" for p in penalties)
    typed = ", ".join(f"{s}: Tensor" for s in states)
    rows = ", ".join(f"{s}[None]" for s in states)
    head = f"def loss(self, {arguments}, rows: int = {ROWS}) -> tuple[Tensor, dict[str, Tensor]]:"
    return [
        *laid_out(Line(head, 1), head),
        '        """The mean cross-entropy in nats over all labels, by weight, and the penalties.',
        "",
        "        Scores are made for `rows` tokens at a time, and once more in the backward pass: never for all.",
        '        """',
        *(f"{'    ' * line.indent}{line.text}" for lines in root.optional.values() for line in lines),
        f"        {results} = self.{hidden.name}({given})",
        f"        chunks = [x.flatten(0, 1).split(rows) for x in ({', '.join((*states, 'labels', 'weight'))})]",
        "        total = 0.0",
        "        for chunk in zip(*chunks, strict=True):",
        "            total = total + checkpoint(self.summed_loss, *chunk, use_reentrant=False)",
        f"        return total / weight.sum(), {{{shown}}}",
        "",
        f"    def summed_loss(self, {typed}, labels: Tensor, weight: Tensor) -> Tensor:  # [T, ..], [T], [T] -> []",
        '        """The sum of the weighted cross-entropies of some tokens."""',
        f"        scores = self.{logits.name}({rows})[0]  # [T, V]",
        "        scores = scores.to(torch.promote_types(scores.dtype, torch.float32))",
        '        return (weight * F.cross_entropy(scores, labels, reduction="none")).sum()',
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
