"""Selections of weights to quantize: read from text or from a recipe, and held against the model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

from ..lang import errors, tree
from ..lang.diagnostics import Diagnostic, WeftError
from ..lang.findings import Findings
from ..lang.parser import parse
from ..lang.plans import SelectionPlan
from ..lang.selectors import read_selection, select
from ..lang.source import Source, Span
from .facts import model_facts
from .ir.module import Module
from .ir.source import Stored
from .passes.contract import apply
from .passes.flatten import Flatten
from .passes.inference import drop_penalties
from .passes.pipeline import passes
from .passes.products import instances_of, products, reads
from .quantization.scheme import GROUPS, NF4, Grouped, Half, PerColumn, Scheme
from .weights import starred_path

CALIBRATED = ("gptq", "awq")
_BITS = {"int2": 2, "int4": 4, "int8": 8}


@dataclass(frozen=True)
class Use:
    """How a weight is used: multiplied with, or looked up. `rows` are what one sum, or one entry, goes over."""

    kind: str
    rows: int
    matrix: Stored | None = None


@dataclass(frozen=True)
class Selected:
    """A selection and the paths of its weights, with `*` for the numbers of layers."""

    plan: SelectionPlan
    weights: tuple[str, ...]

    @property
    def name(self) -> str:
        """The method as it is written."""
        return self.plan.method.span.text or self.plan.method.name

    @property
    def span(self) -> Span:
        return self.plan.method.span

    def has(self, name: str) -> bool:
        return any(key == name for key, _ in self.plan.method.arguments)

    def get(self, name: str, default: object = None) -> object:
        """An argument of the method, or what stands for it where the method has none such."""
        return self.plan.method[name] if self.has(name) else default

    @property
    def always(self) -> bool:
        """Whether it is for all steps, not for long ones alone."""
        return self.get("when", "always") == "always"

    @property
    def calibrates(self) -> bool:
        """Whether it looks at the inputs of its weights."""
        method = self.plan.method.name
        return method in ("llm_int8", "mixed") or self.get("method") in CALIBRATED or self.get("smooth") is not None

    @property
    def schemes(self) -> tuple[Scheme, ...]:
        """What its weights may be stored in: one scheme, or several of which each weight gets one."""
        method, group = self.plan.method.name, int(str(self.get("group", GROUPS[0])))
        if method in _BITS:
            return (Grouped(_BITS[method], group, bool(self.get("symmetric"))),)
        if method == "mixed":
            return (Grouped(4, group), Grouped(8, group))
        if method == "nf4":
            return (NF4(group, bool(self.get("double"))),)
        if method in ("f16", "bf16"):
            return (Half("float16" if method == "f16" else "bfloat16"),)
        return (PerColumn(int(str(self.get("bits")))),)


def read_selections(texts: Iterable[str], module: Module) -> tuple[SelectionPlan, ...]:
    """Selections as a recipe says them behind `quantize`, such as "int4(group = 128) on all Linear except head".

    Raises WeftError, with a caret into the text, for what is wrong in one.
    """
    facts, found = model_facts(module), list[SelectionPlan]()
    for text in texts:
        file, problems = parse(Source("quantize", f"recipe Quantize {{\n  quantize {text}\n}}\n"))
        if problems:
            raise WeftError(*problems)
        findings = Findings()
        members = [m for item in file.items if isinstance(item, tree.Recipe) for m in item.members]
        for member in members:
            if isinstance(member, tree.Quantize):
                plan = read_selection(member, facts, findings)
                found += [plan] if plan is not None else []
        if findings.problems:
            raise WeftError(*findings.problems)
    return tuple(found)


def text_of(plan: SelectionPlan) -> str:
    """A selection as it was written."""
    return f"{plan.method.span.text} on {plan.selector.span.text}"


def selected(plans: Sequence[SelectionPlan], module: Module) -> tuple[Selected, ...]:
    """The weights of each selection. `module` is in full form.

    Raises WeftError: E0816 for groups that do not fit a weight, E0817 for a selection none of whose weights can be
    stored as it says.
    """
    if not plans:
        return ()
    known, problems = uses(module), list[Diagnostic]()
    found = tuple(Selected(plan, _weights(plan, module)) for plan in plans)
    for number, one in enumerate(found):
        later = {w for other in found[number + 1 :] if other.always or not one.always for w in other.weights}
        problems += _problems(one, [w for w in one.weights if w not in later], known)
    if problems:
        raise WeftError(*problems)
    return found


def _problems(one: Selected, weights: Sequence[str], known: Mapping[str, tuple[Use, ...]]) -> list[Diagnostic]:
    """What is wrong with storing weights as one selection says."""
    scheme = one.schemes[0]
    if isinstance(scheme, Half):
        return []
    tables = isinstance(scheme, Grouped)
    fit = {w: u.rows for w in weights for u in known.get(w, ()) if u.kind == "product" or tables}
    if not fit and any(known.get(w) for w in weights):
        reason = "all its weights are tables that are looked up"
        return [errors.cannot_be_stored(one.plan.method.name, reason, one.span)]
    if isinstance(scheme, PerColumn):
        return []
    misfits = {w: n for w, n in fit.items() if n % scheme.group}
    fitting = [g for g in GROUPS if all(n % g == 0 for n in fit.values())]
    return [errors.group_does_not_divide(scheme.group, misfits, fitting, one.span)] if misfits else []


def _weights(plan: SelectionPlan, module: Module) -> tuple[str, ...]:
    facts = model_facts(module)
    left_out: tuple[str, ...] = ()
    if plan.selector.excluded:
        left_out = select(replace(plan.selector, paths=plan.selector.excluded, excluded=()), facts)[0]
    kept = select(plan.selector, facts)[0] if not plan.paths else plan.paths

    def inside(path: str, names: Sequence[str]) -> bool:
        return any(path == n or path.startswith(n + ".") for n in names)

    return tuple(p for p, axes in facts.weights if len(axes) > 1 and inside(p, kept) and not inside(p, left_out))


def uses(module: Module) -> Mapping[str, tuple[Use, ...]]:
    """How every weight is used that is one side of a product, or a table: by path, with `*` for numbers of layers."""
    flat = apply(drop_penalties(module), (Flatten(), *passes()))
    found: dict[str, tuple[Use, ...]] = {}
    for name, paths in instances_of(flat).items():
        function = flat.functions[name]
        here: list[tuple[object, Use]] = []
        for product in products(flat, function, shared=True):
            rows = prod(a.size.value for a in product.over)
            here.append((product.weight, Use("product", rows, product.stored(function, product.over, product.columns))))
        known = reads(flat, function)
        for node in function.graph.nodes():
            if node.op == "take" and node.operands[0] in known:
                type = function.graph.type(node.operands[0])
                if len(type.axes) == 2 and type.names[0] == node["axis"]:
                    here.append((known[node.operands[0]], Use("table", type.axes[1].size.value)))
        for path in paths:
            for read, use in here:
                starred = starred_path(read.path(path))  # type: ignore[attr-defined]
                found[starred] = tuple(dict.fromkeys((*found.get(starred, ()), use)))
    return found
