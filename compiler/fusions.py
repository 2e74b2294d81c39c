"""What was fused in a model for a target: by rules, passes and kernels; and of what was not, why not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..lang import errors
from ..lang.diagnostics import WeftError
from .emit.onnx.build import build
from .emit.onnx.kernels.kernel import Decision
from .emit.onnx.targets import find_target
from .ir.module import Module
from .ir.needs import callees, callees_first
from .passes.cached_attention import CachedAttention
from .passes.contract import apply
from .passes.experts import Experts
from .passes.inference import drop_penalties
from .passes.recurrences import Recurrences
from .rules.explain import why_not
from .rules.library import library_rules
from .rules.rewrite import Report, rewrite
from .rules.rule import Rule
from .targets import after_rules, before_rules

# Functions that rules put in for the sake of an operator, and those that passes put in.
_JOINED = "weft.rules."
_MADE: Mapping[type, tuple[str, ...]] = {
    CachedAttention: ("cached_attend",), Experts: ("mix_experts", "route_experts"), Recurrences: ("linear_attend",),
}


@dataclass(frozen=True)
class Fusions:
    """Everything that was decided on the way of a model to a target.

    `rules` were tried, `report` says which were used where, and `module` is what they left. `refusals` are the reasons
    of passes, by the functions they would have made; `decisions` are those of kernels, one for each call of a
    composite; `inside` are the composites that others do the work of.
    """

    target: str
    module: Module
    rules: tuple[Rule, ...]
    report: Report
    refusals: Mapping[str, tuple[str, ...]]
    decisions: tuple[Decision, ...]
    inside: Mapping[str, frozenset[str]]

    def happened(self, name: str) -> bool:
        """Whether something was fused: by a rule of that name, into a function of that name, or by that operator."""
        used = [f for f in self.report.firings if f.rule == name or any(_is(m, name) for m in f.makes)]
        made = [m for f in used for m in f.makes]
        if used and not any(d.definition in made for d in self.decisions):
            return not any(m.startswith(_JOINED) for m in made)  # nobody was asked, as for `softplus`
        for decision in self.decisions:
            whole = (decision.definition, *self.inside.get(decision.definition, ()))
            named = name in decision.operator.split(", ") or any(d in made or _is(d, name) for d in whole)
            if decision.operator and named:
                return True
        return False

    def reasons(self, name: str) -> list[str]:
        """Why something was not fused; [] for what nothing in this model or target is called."""
        found: list[str] = []
        for rule in self.rules:
            if rule.name != name and not any(_is(m, name) for m in rule.makes):
                continue
            if self.report.count(rule.name):
                asked = {d.definition for d in self.decisions}
                missing = [m for m in rule.makes if m not in asked]
                found += [f"the target {self.target} has no operator for `{m.rpartition('.')[2]}`" for m in missing]
                found += [line for m in rule.makes for line in self._declined(m)]
            else:
                found += [f"{rule.name}: {line}" for line in why_not(self.module, rule)]
        if name in self.refusals:
            found += self.refusals[name] or (f"nothing in `{self.module.name}` looks like what it is made of",)
        found += [line for d in self.decisions if _is(d.definition, name) for line in self._declined(d.definition)]
        found += [line for d in self.decisions for line in d.declined if line.partition(":")[0] == name]
        return list(dict.fromkeys(found))

    @property
    def names(self) -> tuple[str, ...]:
        """What can be asked for: rules, the functions that rules and passes put in, composites, operators."""
        found = [r.name for r in self.rules]
        found += [m.rpartition(".")[2] for r in self.rules for m in r.makes]
        found += [*self.refusals, *(d.definition.rpartition(".")[2] for d in self.decisions)]
        for decision in self.decisions:
            found += [*decision.operator.split(", "), *(line.partition(":")[0] for line in decision.declined)]
        return tuple(dict.fromkeys(name for name in found if name))

    def _declined(self, definition: str) -> list[str]:
        short = definition.rpartition(".")[2]
        asked = [d for d in self.decisions if d.definition == definition and not d.operator]
        return [f"{short}: {line}" for d in asked for line in d.declined]


def fusions(module: Module, target: str, rules: Sequence[Rule] = (), context: int | None = None) -> Fusions:
    """What preparing a module (in form `step+rows` or `full+rows`) for a target does; no weights are needed.

    `rules` are tried beside the library's. Raises WeftError (E0825) for an unknown target.
    """
    found = find_target(target)
    module, report, tried = drop_penalties(module), Report(), tuple[Rule, ...]()
    refusals: dict[str, tuple[str, ...]] = {}
    ruled = module
    if found.name != "portable":
        tried = (*rules, *library_rules())
        module, report = rewrite(apply(module, before_rules()), tried)
        ruled = module
        for one in after_rules(found, module, (), context):
            if isinstance(one, CachedAttention | Experts | Recurrences):
                refusals |= dict.fromkeys(_MADE[type(one)], tuple(one.refusals(module)))
            module = apply(module, (one,))
    decisions = build(module, found).decisions
    return Fusions(found.name, ruled, tried, report, refusals, decisions, _inside(module))


def require(found: Fusions, names: Sequence[str]) -> None:
    """`expect fused NAME`, for each of the names. Raises WeftError (E0808) that says why what is missing is."""
    missing = [name for name in names if not found.happened(name)]
    rules = [r.name for r in found.rules]
    if missing:
        raise WeftError(*(errors.not_fused(name, found.reasons(name), rules, None) for name in missing))


def _inside(module: Module) -> Mapping[str, frozenset[str]]:
    """The composites that each composite calls, at any depth."""
    found: dict[str, frozenset[str]] = {}
    for name in callees_first(module):
        function = module.functions[name]
        below = [module.functions[c] for node in function.graph.nodes() for c in callees(node)]
        inner = {d for f in below for d in (f.definition, *found.get(f.definition, ())) if d}
        found[function.definition] = found.get(function.definition, frozenset()) | inner
    return found


def _is(definition: str, name: str) -> bool:
    return name in (definition, definition.rpartition(".")[2])
