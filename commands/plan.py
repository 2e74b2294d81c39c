"""`weft plan`: what a model costs, before anything is allocated."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from ..compiler.plan import BYTES, Inference, Plan, Training, as_json, plan
from ..compiler.quantities import count, size
from .arguments import whole
from .command import Command
from .specs import add_spec, read_modules
from .tables import heading, table
from .terminal import Terminal


def _arguments(parser: ArgumentParser) -> None:
    add_spec(parser)
    parser.add_argument(
        "--context", metavar="N", type=whole(1), default=2048, help="tokens per sequence (default: 2048)"
    )
    parser.add_argument("--batch", metavar="N", type=whole(1), default=1, help="sequences at once (default: 1)")
    parser.add_argument("--json", action="store_true", help="print a list with the plan of every model")


def _run(arguments: Namespace, terminal: Terminal) -> int:
    modules = read_modules(arguments.file, arguments.model)
    plans = [plan(module, arguments.context, arguments.batch) for module in modules]
    if arguments.json:
        terminal.json([as_json(p) for p in plans])
        return 0
    for i, p in enumerate(plans):
        terminal.show(*(("",) if i else ()), *_shown(p))
    return 0


def _shown(p: Plan) -> list[RenderableType]:
    sequences = "1 sequence" if p.batch == 1 else f"{p.batch:,} sequences"
    where = f"{sequences} of {p.context:,} tokens"
    parts: list[RenderableType] = [heading(p.model, where), "", _parameters(p), "", _flops(p)]
    parts += ["", _memory("training (AdamW)", p.training, _TRAINING), "", _memory("inference", p.inference, _INFERENCE)]
    if p.states:
        parts += ["", _states(p)]
    return parts


def _parameters(p: Plan) -> Table:
    rows = table("parameters", "block", "layers >", "learned values >", ">")
    for part in p.parts:
        share = f"{100 * part.parameters / p.parameters:.1f} %"
        rows.add_row(part.name, part.block, f"{part.layers:,}", f"{part.parameters:,}", share)
    rows.add_section()
    rows.add_row(Text("total", "bold"), "", "", Text(f"{p.parameters:,}", "bold"), count(p.parameters))
    rows.add_row("of these in lookup tables", "", "", f"{p.embedding:,}", count(p.embedding))
    if p.active != p.parameters:
        rows.add_row("met by one token (its experts)", "", "", f"{p.active:,}", count(p.active))
    return rows


def _flops(p: Plan) -> Table:
    flops = p.flops
    rows = table("FLOPs per token", ">", "counted")
    rows.add_row("matrix products", count(flops.linear), "every contraction exactly, a multiply-add as two")
    if flops.routed != flops.linear:
        rows.add_row("  with chosen experts only", count(flops.routed), "what a kernel that skips idle experts does")
    if flops.attention:
        rows.add_row("attention", count(flops.attention), f"looking back on {p.context:,} tokens")
    rows.add_row("forward", count(flops.forward), "the sum")
    rows.add_row("training", count(flops.training), "3 × forward: the backward pass has two products for each")
    rows.add_row("everything else", count(flops.other), "one per value of elementwise operations, reductions, softmax")
    return rows


_TRAINING = (
    ("weights", "f32 whatever the precision"),
    ("gradients", "f32"),
    ("moments", "AdamW keeps two f32 values per parameter"),
    ("activations", "estimate of what the backward pass needs"),
)
_INFERENCE = (("weights", ""), ("states", "what the decoder remembers"))


def _memory(
    title: str, by_precision: Mapping[str, Training] | Mapping[str, Inference], notes: Sequence[tuple[str, str]]
) -> Table:
    rows = table(title, *(f"{precision} >" for precision in BYTES), "")
    for name, note in notes:
        rows.add_row(name, *(size(getattr(by_precision[p], name)) for p in BYTES), note)
    rows.add_section()
    rows.add_row(Text("total", "bold"), *(Text(size(by_precision[p].total), "bold") for p in BYTES), "")
    return rows


def _states(p: Plan) -> Table:
    rows = table("states of the decoder (f32)", "kind", "type", "copies >", "per token >", "held >")
    for state in p.states:
        per_token = size(state.per_token) if state.per_token else "fixed"
        rows.add_row(state.path, state.kind, state.type, f"{state.copies:,}", per_token, size(state.held))
    return rows


COMMAND = Command(
    "plan",
    "parameters, FLOPs, memory and states of a model, before anything is allocated",
    """\
examples:
  weft plan model.llm
  weft plan model.llm Llama3_405B --context 8192 --batch 4
  weft plan model.llm --json | jq '.[0].inference.bf16.total'
  weft plan runs/first

prints, per model: learned values by part, FLOPs per token, bytes for training and inference in f32 and bf16, and
every state of the derived decoder. Nothing is allocated: a 405B model takes a second and no memory.
exit codes: 0 fine, 1 the spec is wrong, 2 the command was called wrongly""",
    _arguments,
    _run,
)
