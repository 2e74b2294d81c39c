"""The parts a recipe is made of: their names, their arguments, and what each takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from . import errors, tree
from .chat_templates import template_names
from .diagnostics import WeftError
from .plans import Term, Value
from .values import (
    FLAG,
    STAGE,
    TEXT,
    Kind,
    Scope,
    among,
    amount,
    choice,
    describe,
    optional,
    pair,
    real,
    whole,
    word_span,
)

REQUIRED: Final = object()
"""The default of an argument that must be given."""


@dataclass(frozen=True)
class Argument:
    """One argument of a form. An argument with `many` takes all values that have no name, as a tuple."""

    name: str
    kind: Kind
    default: Value = REQUIRED
    many: bool = False


@dataclass(frozen=True)
class Form:
    """One part of a recipe, such as `adamw(lr, betas, decay, eps)`."""

    name: str
    arguments: tuple[Argument, ...]
    example: str


@dataclass(frozen=True)
class Family:
    """The forms that may stand in one place; `words` name the place in messages."""

    words: str
    forms: tuple[Form, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f.name for f in self.forms)

    def get(self, name: str) -> Form | None:
        return next((f for f in self.forms if f.name == name), None)

    def kind(self) -> Kind:
        """A value that is one of these forms."""
        return Kind(
            self.words, self.forms[0].example, lambda expression, name, scope: read_term(expression, self, scope)
        )


def read_term(expression: tree.Expression, family: Family, scope: Scope) -> Term:
    """A call of one of the forms of a family, with every argument read or taken from its default."""
    if isinstance(expression, tree.Name) and family.get(expression.id):
        form = family.get(expression.id)
        assert form is not None
        raise WeftError(
            errors.wrong_arguments(
                form.name, "is called like a function", "no parentheses", form.example, expression.span
            )
        )
    if isinstance(expression, tree.Name):
        raise WeftError(errors.unknown_form(expression.id, family.words, family.names, expression.span))
    if not isinstance(expression, tree.Call) or not isinstance(expression.function, tree.Name):
        example = family.forms[0].example
        raise WeftError(errors.wrong_value("this", family.words, describe(expression), example, expression.span))
    name = expression.function.id
    form = family.get(name)
    if form is None:
        raise WeftError(errors.unknown_form(name, family.words, family.names, expression.function.span))
    return Term(name, _arguments(form, expression, scope), expression.span)


def _arguments(form: Form, call: tree.Call, scope: Scope) -> tuple[tuple[str, Value], ...]:
    """`(name, value)` of every argument of the form; all problems of the call are reported together."""
    given: dict[str, tree.Argument] = {}
    loose: list[tree.Argument] = []
    problems = []
    names = tuple(a.name for a in form.arguments)
    many = next((a for a in form.arguments if a.many), None)
    places = [a.name for a in form.arguments]
    for position, argument in enumerate(call.arguments):
        if argument.name is None and many is not None:
            loose.append(argument)
            continue
        if argument.name is None and position >= len(places):
            problems.append(_wrong(form, f"takes at most {len(places)} arguments", "one too many", argument))
            continue
        name = argument.name if argument.name is not None else places[position]
        if name not in names:
            problems.append(errors.unknown_argument(name, form.name, names, word_span(argument.span, name)))
        elif name in given:
            problems.append(_wrong(form, f"has `{name}` twice", "given again here", argument))
        else:
            given[name] = argument
    unknown = bool(problems)
    values: list[tuple[str, Value]] = []
    for wanted in form.arguments:
        try:
            if wanted.many and loose:
                if wanted.name in given:
                    raise WeftError(_wrong(form, f"has `{wanted.name}` twice", "given again here", given[wanted.name]))
                values.append((wanted.name, tuple(wanted.kind.read(a.value, wanted.name, scope) for a in loose)))
            elif wanted.name in given:
                value = wanted.kind.read(given[wanted.name].value, wanted.name, scope)
                values.append((wanted.name, (value,) if wanted.many else value))
            elif wanted.default is REQUIRED and unknown:
                continue  # the unknown argument was probably meant to be this one
            elif wanted.default is REQUIRED:
                span = call.function.span
                missing = errors.wrong_arguments(
                    form.name, f"needs `{wanted.name}`", f"no `{wanted.name}`", form.example, span
                )
                raise WeftError(missing)
            else:
                values.append((wanted.name, wanted.default))
        except WeftError as error:
            problems += error.diagnostics
    if problems:
        raise WeftError(*problems)
    return tuple(values)


def _wrong(form: Form, reason: str, label: str, argument: tree.Argument) -> errors.Diagnostic:
    return errors.wrong_arguments(form.name, reason, label, form.example, argument.span)


# ------------------------------------------------------------------ the parts

_SIZE = whole(1)
_SHARE = real(0, 1, example="0.1")
_RATE = real(0, above=True, example="3e-4")
_FLOOR = real(0, example="3e-5")
_LENGTH = amount("steps", "tokens")
_NONE_YET = amount("steps", "tokens", minimum=0)

TOKENIZERS = Family(
    "a tokenizer",
    (
        Form("bpe", (Argument("vocab", whole(257, 2**24)),), "bpe(vocab = 4096)"),
        Form("file", (Argument("path", TEXT),), 'file("tokenizer.json")'),
        Form("run", (Argument("path", TEXT),), 'run("runs/imported")'),
    ),
)

_VALIDATION = Argument("validation", real(0, 0.5, example="0.02"), 0.01)
_TEMPLATES = choice(*template_names())

SOURCES = Family(
    "a source of data",
    (
        Form("text", (Argument("paths", TEXT, many=True), _VALIDATION), 'text("corpus/*.txt")'),
        Form(
            "chat",
            (Argument("paths", TEXT, many=True), Argument("template", _TEMPLATES), _VALIDATION),
            'chat("chats.jsonl", template = chatml)',
        ),
        Form("pairs", (Argument("paths", TEXT, many=True), _VALIDATION), 'pairs("preferences.jsonl")'),
    ),
)

TRANSFORMS = Family(
    "a step of a data pipeline",
    (
        Form("dedup", (Argument("similarity", real(0, 1, above=True, example="0.8"), 1.0),), "dedup()"),
        Form("pack", (Argument("length", whole(2, 2**24)), Argument("across", FLAG, False)), "pack(2048)"),
    ),
)

SCHEDULES = Family(
    "a schedule",
    (
        Form("constant", (Argument("peak", _RATE), Argument("warmup", _NONE_YET, None)), "constant(peak = 3e-4)"),
        Form(
            "cosine",
            (Argument("peak", _RATE), Argument("warmup", _NONE_YET, None), Argument("floor", _FLOOR, 0.0)),
            "cosine(peak = 3e-4, warmup = 100 steps)",
        ),
        Form(
            "linear",
            (Argument("peak", _RATE), Argument("warmup", _NONE_YET, None), Argument("floor", _FLOOR, 0.0)),
            "linear(peak = 3e-4, warmup = 100 steps)",
        ),
        Form(
            "inverse_sqrt",
            (Argument("peak", _RATE), Argument("warmup", _LENGTH)),
            "inverse_sqrt(peak = 3e-4, warmup = 100 steps)",
        ),
        Form(
            "wsd",
            (
                Argument("peak", _RATE),
                Argument("warmup", _NONE_YET, None),
                Argument("decay", _LENGTH),
                Argument("floor", _FLOOR, 0.0),
                Argument("shape", choice("linear", "cosine", "sqrt"), "linear"),
            ),
            "wsd(peak = 3e-4, warmup = 100 steps, decay = 200 steps)",
        ),
    ),
)


def _read_schedule(expression: tree.Expression, name: str, scope: Scope) -> Term:
    """A schedule; a plain number is a constant rate."""
    if isinstance(expression, tree.Call | tree.Name):
        return read_term(expression, SCHEDULES, scope)
    return Term("constant", (("peak", _RATE.read(expression, name, scope)), ("warmup", None)), expression.span)


_LR = Argument("lr", Kind("a rate or a schedule", "3e-4", _read_schedule))
_BETAS = pair(real(0, 0.99999999, example="0.9"))
_DECAY = real(0, example="0.1")

OPTIMIZERS = Family(
    "an optimizer",
    (
        Form(
            "adamw",
            (_LR, Argument("betas", _BETAS, (0.9, 0.95)), Argument("decay", _DECAY, 0.1), Argument("eps", _RATE, 1e-8)),
            "adamw(lr = 3e-4)",
        ),
        Form("lion", (_LR, Argument("betas", _BETAS, (0.9, 0.99)), Argument("decay", _DECAY, 0.1)), "lion(lr = 1e-4)"),
        Form("muon", (_LR, Argument("momentum", _SHARE, 0.95), Argument("decay", _DECAY, 0.1)), "muon(lr = 0.02)"),
        Form("adafactor", (_LR, Argument("decay", _DECAY, 0.0)), "adafactor(lr = 1e-2)"),
    ),
)

_BETA = Argument("beta", real(0, above=True, example="0.1"), 0.1)

OBJECTIVES = Family(
    "an objective",
    (
        Form("next_token", (Argument("on", choice("all", "assistant"), "all"),), "next_token()"),
        Form("masked_token", (Argument("rate", _SHARE, 0.15),), "masked_token(rate = 0.15)"),
        Form(
            "span_corruption",
            (Argument("rate", _SHARE, 0.15), Argument("length", real(1, example="3"), 3.0)),
            "span_corruption()",
        ),
        Form("reward", (Argument("margin", real(0, example="0.1"), 0.0),), "reward()"),
        Form("dpo", (_BETA, Argument("reference", STAGE)), "dpo(beta = 0.1, reference = sft)"),
        Form("kto", (_BETA, Argument("reference", STAGE)), "kto(beta = 0.1, reference = sft)"),
        Form(
            "distill",
            (Argument("teacher", TEXT), Argument("temperature", _RATE, 1.0), Argument("share", _SHARE, 0.5)),
            'distill(teacher = "run/large")',
        ),
    ),
)

_LORA = (Argument("rank", _SIZE), Argument("alpha", _RATE), Argument("dropout", real(0, 0.99, example="0.05"), 0.0))

ADAPTERS = Family(
    "a way to adapt",
    (
        Form("lora", (*_LORA, Argument("stabilised", FLAG, False)), "lora(rank = 16, alpha = 32)"),
        Form("dora", _LORA[:2], "dora(rank = 16, alpha = 32)"),
        Form("ia3", (Argument("inputs", FLAG, False),), "ia3()"),
        Form("bottleneck", (Argument("width", _SIZE),), "bottleneck(width = 64)"),
        Form("prefix", (Argument("count", _SIZE),), "prefix(count = 20)"),
        Form("prompt", (Argument("count", _SIZE),), "prompt(count = 20)"),
    ),
)

_GROUP = among(16, 32, 64, 128, 256)
_WHEN = Argument("when", choice("always", "prefill"), "always")


def _codes(bits: int, group: int) -> Form:
    """Weights in groups of codes with a scale each."""
    method = Argument("method", choice("rtn", "gptq", "awq"), "rtn")
    activations = Argument("activations", among(8, 32), 8)
    arguments = (Argument("group", _GROUP, group), Argument("symmetric", FLAG, True), method, activations, _WHEN)
    return Form(f"int{bits}", arguments, f"int{bits}(group = {group})")


QUANTIZERS = Family(
    "a way to store weights",
    (
        _codes(8, 128),
        _codes(4, 128),
        _codes(2, 32),
        Form(
            "int8_dynamic",
            (
                Argument("smooth", optional(_SHARE), None),
                Argument("method", choice("rtn", "gptq"), "rtn"),
                Argument("bits", among(7, 8), 8),
                _WHEN,
            ),
            "int8_dynamic()",
        ),
        Form(
            "llm_int8",
            (Argument("threshold", real(0, above=True, example="6.0"), 6.0), Argument("bits", among(7, 8), 8), _WHEN),
            "llm_int8()",
        ),
        Form("nf4", (Argument("group", _GROUP, 64), Argument("double", FLAG, True), _WHEN), "nf4(group = 64)"),
        Form("f16", (_WHEN,), "f16()"),
        Form("bf16", (_WHEN,), "bf16()"),
        Form(
            "mixed",
            (
                Argument("bits", real(2, 16, example="5")),
                Argument("group", _GROUP, 32),
                Argument("activations", among(8, 32), 8),
                _WHEN,
            ),
            "mixed(bits = 5)",
        ),
    ),
)

MESH_AXES = ("data", "tensor", "pipeline", "expert", "context")
MESHES = Family(
    "a mesh of devices",
    (Form("mesh", tuple(Argument(name, whole(1, 2**20), None) for name in MESH_AXES), "mesh(data = 8, tensor = 4)"),),
)

# ------------------------------------------------------------------ plain settings

PRECISION: dict[str, Kind] = {"compute": choice("f32", "bf16", "f16"), "params": choice("f32", "bf16")}

STAGE_VALUES: dict[str, Kind] = {
    "optim": OPTIMIZERS.kind(),
    "clip": real(0, above=True, example="1.0"),
    "batch": amount("tokens", "sequences"),
    "budget": amount("tokens", "steps", "epochs", "examples", "sequences", "hours"),
    "seed": whole(0, 2**63 - 1),
    "micro": amount("sequences", "tokens"),
    "save": amount("steps"),
    "keep": whole(1, 10_000),
    "validate": amount("steps"),
    "compile": FLAG,
    "start": TEXT,
}
"""The settings of a stage besides `data` and `loss`, which have a structure of their own."""

EXPORTS: dict[str, dict[str, Kind]] = {
    "onnx": {
        "context": amount("tokens"),
        "target": choice("portable", "cpu", "cuda", "cuda-bfloat16"),
        "opset": whole(21, 30),
        "calibrate": TEXT,
    },
    "hf": {},
    "torch": {},
    "peft": {},
}

EXPECTATIONS = ("fused",)
