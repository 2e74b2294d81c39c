"""A program with adapters: the model as it was, with some of its parts replaced by what stands in for them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path as FilePath

from ..lang import errors, tree
from ..lang.diagnostics import WeftError
from ..lang.findings import Findings
from ..lang.parser import parse
from ..lang.plans import SelectionPlan, Term
from ..lang.program import STDLIB, Program, load, load_source
from ..lang.selectors import read_selection, select
from ..lang.source import Source
from .changes import instances, override_lines
from .compile import compile
from .facts import model_facts
from .ir.module import Instance, Layers, Module, Parameter, Path
from .stand_ins import StandIn, stand_ins


@dataclass(frozen=True, eq=False)
class Adaptation:
    """A model with adapters.

    `program` holds it as `model`, beside the model `base` it was made from; `program.main.source.text` is the spec.
    `module` and `original` are both compiled. `paths` gives every weight of the original its path in the adapted model;
    all other weights are `trainable`: they are the adapters'.
    """

    program: Program
    model: str
    base: str
    module: Module
    original: Module
    paths: Mapping[str, str]
    trainable: tuple[str, ...]
    stand_ins: Mapping[str, StandIn]

    @cached_property
    def parameters(self) -> dict[str, Parameter]:
        """All parameters of the adapted model by path."""
        return dict(self.module.parameters())

    @property
    def virtual_tokens(self) -> tuple[int, ...]:
        """The ids that every text must begin with; logits are longer by as many."""
        counted = [s.settings for s in self.stand_ins.values() if s.block in ("PromptEmbedding", "PrefixValues")]
        if not counted:
            return ()
        first = next((int(s["V"]) for s in counted if "V" in s), None)
        count = max(int(s["count"]) for s in counted)
        return (0,) * count if first is None else tuple(range(first, first + count))


def adapt(
    program: Program, model: str, selections: Sequence[SelectionPlan | str], name: str | None = None
) -> Adaptation:
    """The model with adapters, as `NAME` (default: the model's name and `Adapted`).

    A selection is what a recipe says behind `adapt`, read already or as text: "lora(rank = 16, alpha = 32) on
    blocks.attn.{q, v}". Raises WeftError when one selects nothing that it can stand in for.
    """
    module = compile(program, model)
    wanted: dict[Path, str] = {}
    for selection in selections:
        plan = _read(selection, module) if isinstance(selection, str) else selection
        wanted |= _stand_in_values(plan, module, wanted)
    return changed(program, model, wanted, name, module)


def changed(
    program: Program, model: str, values: Mapping[Path, str], name: str | None = None, original: Module | None = None
) -> Adaptation:
    """The model with other values at some paths: `("blocks", 1, "attn", "q")` -> "LoRA(original, rank = 4)".

    `original` is the model as it is compiled, for those who have it.
    """
    name = name or f"{model}Adapted"
    original = original or compile(program, model)
    lines = override_lines(values, original)
    text = program.main.source.text.rstrip("\n")
    known = _library_names()
    uses = sorted({n for line in lines for n in re.findall(r"\b[A-Z]\w*(?=\()", line) if n in known})
    text += f"\n\nuse adapters: {', '.join(uses)}\n" if uses else "\n"
    body = " {\n" + "".join(f"  {line}\n" for line in lines) + "}"
    text += f"\nmodel {name} = {model} with{body}\n"
    path = FilePath(program.main.source.path)
    adapted = load_source(Source(program.main.source.path, text), path.parent if path.is_file() else None)
    if any(d.severity == "error" for d in adapted.diagnostics):
        raise WeftError(*adapted.diagnostics)
    return _adaptation(adapted, name, model, original)


def adaptation(program: Program, model: str) -> Adaptation:
    """The adapters of a model that the main file writes as `BASE with { .. }`. Raises WeftError when it does not."""
    found = program.main.items.get(model)
    value = found.value if isinstance(found, tree.DerivedModel) else None
    if not isinstance(value, tree.With) or not isinstance(value.base, tree.Name):
        raise WeftError(errors.no_adapters(model))
    return _adaptation(program, model, value.base.id, compile(program, value.base.id))


def _adaptation(program: Program, model: str, base: str, original: Module) -> Adaptation:
    module = compile(program, model)
    paths = dict(_pairs(module.root, original.root, "", ""))
    parameters, before = dict(module.parameters()), dict(original.parameters())
    found = stand_ins(program, model)
    if not found or any(p not in paths or parameters[paths[p]].shape != q.shape for p, q in before.items()):
        raise WeftError(errors.no_adapters(model))
    kept = set(paths.values())
    trainable = tuple(p for p in parameters if p not in kept)
    return Adaptation(program, model, base, module, original, paths, trainable, found)


def _library_names() -> frozenset[str]:
    return frozenset(load(STDLIB / "adapters.llm").main.items)


# ------------------------------------------------------------------ selections


def _read(text: str, module: Module) -> SelectionPlan:
    source = Source("adapt", f"recipe Adapt {{\n  stage adapt {{\n    adapt {text}\n  }}\n}}\n")
    file, problems = parse(source)
    members = [m for item in file.items if isinstance(item, tree.Recipe) for m in item.members]
    adapts = [a for m in members if isinstance(m, tree.Stage) for a in m.members if isinstance(a, tree.Adapt)]
    if problems:
        raise WeftError(*problems)
    findings = Findings()
    plan = read_selection(adapts[0], model_facts(module), findings)
    if findings.problems or plan is None:
        raise WeftError(*findings.problems)
    return plan


METHODS: Mapping[str, Mapping[str, str]] = {
    "lora": {"Linear": "LoRA", "Embedding": "LoRAEmbedding"},
    "dora": {"Linear": "DoRA"},
    "ia3": {"Linear": "IA3"},
    "bottleneck": {"": "Bottleneck"},
    "prompt": {"Embedding": "PromptEmbedding"},
    "prefix": {"Attention": ""},
}
"""What a method stands in for, and with which block. Those of `WITHIN` adapt all such parts inside what is selected."""

WITHIN = ("lora", "dora", "ia3")

_PREFIX = """original with {{
    pos = PrefixKeys(original, count = {0}, G = G, K = K)
    v   = PrefixValues(original, count = {0})
  }}"""


def _stand_in_values(plan: SelectionPlan, module: Module, before: Mapping[Path, str]) -> dict[Path, str]:
    """The value of every part that a selection adapts; `before` are those of earlier selections."""
    kinds = METHODS[plan.method.name]
    weights = {path for path, _ in model_facts(module).weights}
    selected = [_plain(path.rpartition(".")[0] if path in weights else path) for path in plan.paths]
    left_out = [_plain(path) for path in _excluded(plan, module)]
    values: dict[Path, str] = {}
    for path, block in instances(module).items():
        names = tuple(p for p in path if isinstance(p, str))
        if names == tuple(p for p in path[:-1] if isinstance(p, str)):
            continue  # a layer: its number follows the name of the repeat
        if any(names[: len(e)] == e for e in left_out):
            continue
        inside = any(names[: len(s)] == s for s in selected)
        chosen = inside if plan.method.name in WITHIN else names in selected
        if chosen and (block in kinds or "" in kinds):
            value = _value(plan.method, kinds.get(block, kinds.get("", "")))
            if path in before:
                value = value.replace("original", before[path], 1)
            values[path] = value
    if not values:
        span = plan.selector.span
        raise WeftError(errors.not_adaptable(plan.method.name, span.text, [k for k in kinds if k], span))
    return values


def _plain(path: str) -> tuple[str, ...]:
    return tuple(p for p in path.split(".") if p != "*")


def _excluded(plan: SelectionPlan, module: Module) -> tuple[str, ...]:
    if not plan.selector.excluded:
        return ()
    return select(replace(plan.selector, paths=plan.selector.excluded, excluded=()), model_facts(module))[0]


def _value(method: Term, block: str) -> str:
    if method.name == "prefix":
        return prefix_value(method["count"])
    given = dict(method.arguments)
    if block == "LoRAEmbedding" and given.pop("dropout"):
        raise WeftError(errors.not_built_yet("`dropout` of ids", ("adapt the embedding without it",), method.span))
    return stand_in(block, given)


def prefix_value(count: int) -> str:
    """An attention with `count` learned keys and values in front."""
    return _PREFIX.format(count)


def stand_in(block: str, settings: Mapping[str, bool | int | float]) -> str:
    """`LoRA(original, rank = 4, alpha = 8.0)`: what is 0 or false is left out."""
    given = [f"{n} = {str(v).lower() if isinstance(v, bool) else v}" for n, v in settings.items() if v]
    return f"{block}({', '.join(['original', *given])})"


# ------------------------------------------------------------------ old paths and new


def _pairs(new: Instance, old: Instance, at: str, was: str) -> Iterator[tuple[str, str]]:
    """`(path in the original, path in the adapted model)` of all weights that both have."""
    for _ in range(_wrapped(new) - _wrapped(old)):
        inner = new.child("base")
        assert isinstance(inner, Instance)
        new, at = inner, f"{at}base."
    known = {p.name for p in new.parameters}
    yield from ((was + p.name, at + p.name) for p in old.parameters if p.name in known)
    children = dict(new.children)
    for name, before in old.children:
        after = children.get(name)
        if isinstance(before, Layers) and isinstance(after, Layers):
            if len(after.schedule) != len(before.schedule):
                continue  # another number of layers is another model, not one with adapters
            for i, (a, b) in enumerate(zip(after.schedule, before.schedule, strict=True)):
                yield from _pairs(after.bodies[a], before.bodies[b], f"{at}{name}.{i}.", f"{was}{name}.{i}.")
        elif isinstance(before, Instance) and isinstance(after, Instance):
            yield from _pairs(after, before, f"{at}{name}.", f"{was}{name}.")


def _wrapped(instance: Instance) -> int:
    """How many blocks around something, each holding the next as `base`, stand here."""
    count = 0
    while (inner := next((c for n, c in instance.children if n == "base"), None)) and isinstance(inner, Instance):
        instance, count = inner, count + 1
    return count
