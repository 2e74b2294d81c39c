"""Every error Weft can report: one named constructor per code."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import ParamSpec

from .diagnostics import Diagnostic, Fix, Label
from .nearest import nearest
from .source import Span

P = ParamSpec("P")

CODES: dict[str, str] = {}
"""Code -> short title, one entry per constructor below; filled while this module is imported."""


def code(number: str, title: str) -> Callable[[Callable[P, Diagnostic]], Callable[P, Diagnostic]]:
    """Registers a constructor under its code and stamps the code on what it returns."""

    def register(constructor: Callable[P, Diagnostic]) -> Callable[P, Diagnostic]:
        assert number not in CODES, f"{number} is used twice"
        assert constructor.__name__ not in globals(), f"{constructor.__name__} is defined twice"
        CODES[number] = title

        def stamped(*args: P.args, **kwargs: P.kwargs) -> Diagnostic:
            return replace(constructor(*args, **kwargs), code=number)

        stamped.__name__ = constructor.__name__
        stamped.__doc__ = constructor.__doc__
        return stamped

    return register


def finding(
    title: str,
    span: Span | None = None,
    label: str = "",
    *,
    labels: Sequence[Label] = (),
    notes: Sequence[str] = (),
    help: Sequence[str] = (),
    fixes: Sequence[Fix] = (),
    severity: str = "error",
) -> Diagnostic:
    """A diagnostic that has no code yet; `@code` stamps it."""
    primary = None if span is None else Label(span, label)
    return Diagnostic("", title, primary, tuple(labels), tuple(notes), tuple(help), tuple(fixes), severity)


def did_you_mean(name: str, candidates: Sequence[str]) -> tuple[str, ...]:
    """The help line for a misspelt name, or nothing when no candidate is near."""
    found = nearest(name, candidates)
    return () if found is None else (f"did you mean `{found}`?",)


# ------------------------------------------------------------------ E01xx: the text


@code("E0101", "unknown character")
def unknown_character(span: Span, shown: str, advice: Sequence[str], replacement: str | None) -> Diagnostic:
    """`shown` names the character in words; `replacement` is what was probably meant."""
    fixes = () if replacement is None else (Fix(span, replacement),)
    return finding(f"{shown} has no meaning in Weft", span, "not part of the language", help=advice, fixes=fixes)


@code("E0102", "string without an end")
def unfinished_string(span: Span) -> Diagnostic:
    return finding(
        "this string has no closing `\"`",
        span,
        "the line ends inside the string",
        help=("a string begins and ends with `\"` on one line; write `\\n` for a line break",),
    )


@code("E0103", "malformed number")
def malformed_number(span: Span, reason: str, advice: str) -> Diagnostic:
    return finding(f"`{shorten(span.text)}` is not a number", span, reason, help=(advice,))


@code("E0104", "unknown escape in a string")
def unknown_escape(span: Span) -> Diagnostic:
    return finding(
        f"`{span.text}` is not an escape",
        span,
        "unknown after `\\`",
        help=(r'the escapes are `\n`, `\t`, `\"` and `\\`; paths are written with `/`',),
    )


@code("E0105", "unexpected text")
def unexpected(span: Span, found: str, expected: str, label: str, advice: Sequence[str] = ()) -> Diagnostic:
    """`found` and `expected` are words a user knows: "`}`", "a name"."""
    return finding(f"expected {expected}, found {found}", span, label, help=advice)


@code("E0106", "bracket that is never closed")
def unclosed_bracket(opened: Span, missing_at: Span, opener: str, closer: str, found: str) -> Diagnostic:
    return finding(
        f"`{opener}` is never closed",
        missing_at,
        f"expected `{closer}` before {found}",
        labels=(Label(opened, f"`{opener}` opened here"),),
    )


@code("E0107", "bracket that closes nothing")
def unopened_bracket(span: Span, closed_before: Span | None) -> Diagnostic:
    labels = () if closed_before is None else (Label(closed_before, "everything open was closed here"),)
    return finding(
        f"`{span.text}` closes nothing",
        span,
        "no bracket is open here",
        labels=labels,
        help=(f"remove this `{span.text}`, or the one that closes too early",),
    )


@code("E0108", "reserved word used as a name")
def reserved_word(span: Span, use: str) -> Diagnostic:
    return finding(
        f"`{span.text}` is a word of the language and cannot be a name",
        span,
        f"{use} expected here",
        help=(f"choose another name, such as `{span.text}_` or a word that says what it is for",),
    )


@code("E0109", "name that cannot be used")
def forbidden_name(span: Span, reason: str, advice: Sequence[str]) -> Diagnostic:
    return finding(f"`{shorten(span.text)}` cannot be a name", span, reason, help=advice)


@code("E0110", "nested too deeply")
def too_deep(span: Span, what: str, limit: int) -> Diagnostic:
    return finding(
        f"{what} nested more than {limit} deep",
        span,
        f"level {limit + 1} begins here",
        help=("give parts of it names on lines of their own",),
    )


@code("E0111", "file too large")
def file_too_large(span: Span, size: int, limit: int) -> Diagnostic:
    return finding(
        f"the file has {size:,} characters; at most {limit:,} are read",
        span,
        "",
        help=("split it into several files and join them with `use`",),
    )


@code("E0112", "text outside of an item")
def not_an_item(span: Span, shown: str, keywords: Sequence[str], advice: Sequence[str] = ()) -> Diagnostic:
    return finding(
        f"{shown} does not begin an item",
        span,
        "expected an item here",
        help=(
            *(advice or did_you_mean(span.text, keywords)),
            f"a file is a list of items; each begins with {one_of(keywords)}",
        ),
    )


@code("E0113", "`=`, `:` and `==` confused")
def wrong_sign(span: Span, expected: str, why: str) -> Diagnostic:
    return finding(
        f"expected `{expected}`, found `{span.text}`",
        span,
        f"write `{expected}`",
        help=(why,),
        fixes=(Fix(span, expected),),
    )


@code("E0114", "`if` without `else`")
def missing_else(span: Span, begins: Span) -> Diagnostic:
    return finding(
        "this `if` has no `else`",
        span,
        "expected `else` here",
        labels=(Label(begins, "the `if` begins here"),),
        help=("`if` is a value: both sides must give one, as in `if tied { a } else { b }`",),
    )


@code("E0115", "body without a value")
def body_without_value(span: Span, label: str, advice: str) -> Diagnostic:
    return finding("this body has no value", span, label, help=(advice,))


@code("E0116", "value that is not used")
def unused_value(span: Span, advice: Sequence[str]) -> Diagnostic:
    return finding(
        "this value is not used",
        span,
        "only the last line of a body may be a value",
        help=advice,
    )


@code("E0117", "`->` or `where` outside of a call")
def only_in_arguments(span: Span, example: str) -> Diagnostic:
    return finding(
        f"`{span.text}` stands only inside the arguments of a call",
        span,
        "not inside a call's arguments",
        help=(f"for example `{example}`",),
    )


@code("E0118", "unknown unit")
def unknown_unit(span: Span, units: Sequence[str]) -> Diagnostic:
    return finding(
        f"`{shorten(span.text)}` is not a unit",
        span,
        "a unit or an operator expected after the number",
        help=(*did_you_mean(span.text, units), f"the units are {one_of(units, 'and')}"),
    )


@code("E0119", "`next` or `yield` outside of a scan")
def only_in_scan(span: Span, word: str) -> Diagnostic:
    return finding(
        f"`{word}` stands only in the body of a `scan`",
        span,
        "not directly inside a scan",
        help=("a scan's body has one step of a recurrence: `next s = ..` and `yield ..`, each on a line of its own",),
    )


@code("E0120", "chained comparison")
def chained_comparison(span: Span, first: Span) -> Diagnostic:
    return finding(
        "comparisons do not chain",
        span,
        "second comparison",
        labels=(Label(first, "first comparison"),),
        help=("join two comparisons with `and`: `a <= b and b < c`",),
    )


@code("E0190", "no such error code")
def unknown_code(asked: str, near: Sequence[str], name: str | None = None) -> Diagnostic:
    """`near` are codes, `name` is one of the standard library."""
    advice = [f"near it: {', '.join(f'{c} ({CODES[c]})' for c in near)}"] if near else []
    advice += [f"did you mean `{name}` of the standard library?"] if name else []
    return finding(f"there is no error code `{shorten(asked)}`, and no such name in the library", help=advice)


@code("E0191", "the formatter disagrees with itself")
def formatter_failed(span: Span, reason: str) -> Diagnostic:
    return finding(
        f"internal error: {reason}",
        span,
        "formatting stopped here; the file was not changed",
        help=("this is a fault of the formatter, not of your file: please report it with this item",),
    )


# ------------------------------------------------------------------ words


def one_of(words: Sequence[str], last: str = "or") -> str:
    """"`a`, `b` or `c`"."""
    if not words:
        return "none"
    quoted = [f"`{w}`" for w in words]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} {last} {quoted[-1]}"


def shorten(text: str, limit: int = 40) -> str:
    """`text`, cut to `limit` characters so that a message stays readable."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


# ------------------------------------------------------------------ E02xx: names


@code("E0201", "unknown name")
def unknown_name(name: str, candidates: Sequence[str], span: Span) -> Diagnostic:
    return finding(f"nothing here is called `{name}`", span, "unknown name", help=did_you_mean(name, candidates))


@code("E0202", "name declared twice")
def duplicate_name(name: str, span: Span, first: Span, help: str = "give one of them another name") -> Diagnostic:
    return finding(
        f"`{name}` is declared twice",
        span,
        "declared again here",
        labels=(Label(first, "first declared here"),),
        help=(help,),
    )


@code("E0203", "unknown module")
def no_such_module(name: str, known: Sequence[str], span: Span) -> Diagnostic:
    return finding(
        f"there is no file for `use {name}`", span, "not beside this file and not in the standard library",
        help=did_you_mean(name, known) or _library(known),
    )


def _library(known: Sequence[str]) -> tuple[str, ...]:
    """The files of the standard library; models are many and only counted."""
    models = [n for n in known if n.startswith("models.")]
    rest = ", ".join(n for n in known if n not in models)
    return (f"the standard library has: {rest}, and {len(models)} files `models.*`",)


@code("E0204", "name not in module")
def not_in_module(name: str, module: str, known: Sequence[str], span: Span) -> Diagnostic:
    return finding(
        f"`{module}` declares no `{name}`", span, "asked for here",
        help=did_you_mean(name, known) or (f"it declares: {', '.join(known)}",),
    )


@code("E0205", "wrong kind of thing")
def wrong_kind(what: str, wanted: str, span: Span, help: Sequence[str] = ()) -> Diagnostic:
    """`what` and `wanted` in words, with their article: "an instance", "the number 3"."""
    return finding(f"expected {wanted}, found {what}", span, f"this is {what}", help=help)


@code("E0206", "no such part")
def no_such_part(name: str, owner: str, candidates: Sequence[str], span: Span) -> Diagnostic:
    return finding(
        f"{owner} has no `{name}`", span, "no such part",
        help=did_you_mean(name, candidates) or ((f"it has: {', '.join(candidates)}",) if candidates else ()),
    )


@code("E0207", "no such model or recipe")
def no_such_item(kind: str, name: str, path: str, candidates: Sequence[str]) -> Diagnostic:
    return finding(
        f"`{path}` has no {kind} `{name}`",
        help=did_you_mean(name, candidates) or ((f"it has: {', '.join(candidates)}",) if candidates else ()),
    )


@code("E0208", "module found twice")
def module_twice(name: str, path: str, span: Span) -> Diagnostic:
    return finding(
        f"`{name}` means two files: `{path}` and one of the standard library", span, "which of them?",
        help=(f"rename `{path}`",),
    )


@code("E0209", "unreadable file")
def unreadable(path: str, reason: str) -> Diagnostic:
    return finding(f"cannot read `{path}`: {reason}", help=("give the path of a `.llm` file",))


@code("E0210", "not UTF-8")
def not_utf8(path: str, offset: int) -> Diagnostic:
    return finding(f"`{path}` is not UTF-8 text (byte {offset})", help=("a `.llm` file is UTF-8 text",))


# ------------------------------------------------------------------ E03xx: axes and types


@code("E0301", "sizes differ")
def sizes_differ(message: str, span: Span, labels: Sequence[Label] = (), help: str = "") -> Diagnostic:
    return finding(message, span, "sizes differ", labels=labels, help=(help,) if help else ())


@code("E0302", "wrong element type")
def wrong_dtype(message: str, span: Span, labels: Sequence[Label] = (), help: str = "") -> Diagnostic:
    return finding(message, span, "here", labels=labels, help=(help,) if help else ())


@code("E0303", "axis twice")
def axis_twice(message: str, span: Span, labels: Sequence[Label] = (), help: str = "") -> Diagnostic:
    return finding(message, span, "here", labels=labels, help=(help or "rename one of them: `rename(x, D -> E)`",))


@code("E0304", "number out of range")
def number_out_of_range(message: str, span: Span, labels: Sequence[Label] = (), help: str = "") -> Diagnostic:
    return finding(message, span, "here", labels=labels, help=(help,) if help else ())


@code("E0305", "axis without a name")
def nameless_axis(size: str, span: Span) -> Diagnostic:
    return finding(
        f"an axis needs a name, `{size}` is only a size", span, "which axis?",
        help=(f"declare it before: `dim F = {size}`, and write `F` here",),
    )


@code("E0306", "argument does not fit")
def argument_mismatch(
    message: str, found: str, span: Span, labels: Sequence[Label] = (), help: str = ""
) -> Diagnostic:
    """`found` is the type of the argument."""
    return finding(message, span, f"this is {found}", labels=labels, help=(help,) if help else ())


@code("E0307", "result does not fit")
def result_mismatch(found: str, declared: str, span: Span, declaration: Span, what: str = "the result") -> Diagnostic:
    """`found` and `declared` are types, or numbers of values in words; `what` has them."""
    return finding(
        f"{what} is declared {declared}, this is {found}",
        span,
        f"this is {found}",
        labels=(Label(declaration, "declared here"),),
    )


@code("E0308", "wrong arguments")
def wrong_call(message: str, span: Span, help: Sequence[str] = (), label: str = "in this call") -> Diagnostic:
    return finding(message, span, label, help=help)


@code("E0309", "a static value is needed")
def not_static(what: str, span: Span) -> Diagnostic:
    return finding(
        f"{what} must be known when the model is compiled, this is a tensor", span, "depends on the input",
        help=("use a parameter of the block, a `dim` or a literal",),
    )


@code("E0310", "not possible in a scan")
def not_in_scan(what: str, span: Span) -> Diagnostic:
    return finding(
        f"{what} cannot stand inside a `scan`", span, "here",
        help=(
            "compute it for all positions before the scan and use its name inside;\n"
            "a step may use fns and kernel functions, such as `dot(s, weight, D)` with a `param weight` of the block",
        ),
    )


@code("E0311", "length not known")
def length_unknown(name: str, span: Span) -> Diagnostic:
    return finding(
        f"the length of `{name}` is not known when the model is compiled", span, "used as a number",
        help=("what depends on the length of the text would change while it grows; use `position(..)` instead",),
    )


@code("E0312", "not an axis")
def not_an_axis(
    message: str, span: Span, labels: Sequence[Label] = (), help: str = "", label: str = "no such axis"
) -> Diagnostic:
    return finding(message, span, label, labels=labels, help=(help,) if help else ())


@code("E0313", "layer changes its type")
def layer_changes_type(found: str, wanted: str, span: Span) -> Diagnostic:
    return finding(
        f"a repeated layer must give back what it takes: it takes {wanted} and gives {found}", span, "this layer",
        help=("the result of layer i is the first argument of layer i + 1",),
    )


# ------------------------------------------------------------------ E04xx: sizes and limits


@code("E0401", "division is not exact")
def inexact_division(expression: str, values: str, span: Span) -> Diagnostic:
    return finding(
        f"`{expression}` does not come out whole{': ' if values else ''}{values}", span, "not a whole number",
        help=("sizes are whole numbers; change one of them, or write a real number (`2.0`) for a real quotient",),
    )


@code("E0402", "requirement not met")
def requirement_failed(text: str, values: str, span: Span) -> Diagnostic:
    return finding(f"`require {text}` does not hold: {values}", span, "this is false")


@code("E0403", "too large")
def too_large(what: str, limit: str, span: Span | None) -> Diagnostic:
    return finding(f"{what} is too large", span, "above the limit", notes=(f"the limit is {limit}",))


@code("E0404", "too much to elaborate")
def too_much_work(span: Span | None) -> Diagnostic:
    return finding(
        "this program unfolds into too much to compile", span, "given up while elaborating this",
        help=("layers that do not mention the index of their `repeat` are elaborated once, whatever their number",),
    )


@code("E0405", "a size must be positive")
def not_positive(what: str, value: str, span: Span) -> Diagnostic:
    return finding(f"{what} is {value}; it must be a whole number of at least 1", span, "not a size")


@code("E0406", "no such entry")
def no_such_entry(what: str, place: int, count: int, span: Span) -> Diagnostic:
    help = f"entries count from 0: the last one is {count - 1}" if count else "the list is empty"
    entries = "1 entry" if count == 1 else f"{count} entries"
    return finding(f"`{what}` has {entries}; there is no entry {place}", span, f"this is {place}", help=(help,))


# ------------------------------------------------------------------ E05xx: streams


@code("E0501", "sees the future")
def sees_the_future(span: Span | None, operation: str, axis: str, labels: Sequence[Label] = ()) -> Diagnostic:
    """`operation` looks along the stream itself: a primitive's name, or words for a part of it."""
    shown = operation if " " in operation else f"`{operation}`"
    return finding(
        f"{shown} along the stream `{axis}` sees the future",
        span,
        f"a token would depend on the tokens of `{axis}` that come after it",
        labels=labels,
        help=(
            f"rename `{axis}` to its history and look along that under a causal mask: "
            "`softmax(scores, S where position(S) <= position(T))`",
            "a model that reads the whole text at once (an encoder) declares no stream",
        ),
    )


@code("E0502", "history without a causal mask")
def history_not_masked(
    span: Span | None,
    operation: str,
    history: str,
    tokens: Sequence[str],
    masks: Sequence[Span],
    labels: Sequence[Label],
) -> Diagnostic:
    """`tokens` are the stream axes of the operation; `masks` is where its mask was made, if it has one."""
    if not tokens:
        why = f"nothing here says for which token `{history}` is looked at"
    else:
        why = f"no mask here implies `position({history}) <= position({tokens[0]})`"
    made = [Label(m, f"this does not imply `{history}` is in the past") for m in masks if m != span]
    token = tokens[0] if tokens else "T"
    operation = {"top": "best"}.get(operation, operation)
    call = f"{'softmax' if operation == 'dot' else operation}(x{', count' if operation == 'best' else ''}"
    return finding(
        f"`{operation}` over the history `{history}` sees the future",
        span,
        why,
        labels=(*made, *labels),
        notes=("what is proved: comparisons of positions, joined with `and`, also through calls",),
        help=(
            f"mask it: `{call}, {history} where position({history}) <= position({token}))`, "
            f"or make the other entries zero: `choose(mask, x, 0)`",
        ),
    )


@code("E0503", "no streaming rule")
def no_streaming_rule(
    span: Span | None, operation: str, axis: str, advice: Sequence[str] = (), labels: Sequence[Label] = ()
) -> Diagnostic:
    return finding(
        f"`{operation}` along `{axis}` has no form that works token by token",
        span,
        f"`{axis}` counts tokens",
        labels=labels,
        help=(*advice, "along the stream there are `position`, `shift`, `delays`, `scan`, and `rename` to its history"),
    )


@code("E0504", "depends on the total length")
def depends_on_length(span: Span | None, operation: str, axis: str, labels: Sequence[Label] = ()) -> Diagnostic:
    """`operation` is `mean` or `size`."""
    how = f"it divides by the length of `{axis}`, which" if operation == "mean" else "the number of tokens"
    return finding(
        f"`{operation}` over `{axis}` depends on the total length",
        span,
        f"{how} grows with every token",
        labels=labels,
        help=(
            "the mean of what a token sees is `mean(x, S where position(S) <= position(T))`"
            if operation == "mean"
            else "the number of tokens so far is `position(T) + 1`",
        ),
    )


@code("E0505", "rename of a history")
def renamed_history(
    span: Span | None, axis: str, to: str, stream: tuple[str, str], labels: Sequence[Label] = ()
) -> Diagnostic:
    """A rename between tokens and something that is not their history. `stream` is (T, S)."""
    token, history = stream
    return finding(
        f"`{axis}` cannot be renamed to `{to}`",
        span,
        f"the tokens `{token}` can only be remembered as `{history}`, once",
        labels=labels,
        help=(f"write `rename({token} -> {history})`; what is remembered stays `{history}`",),
    )


@code("E0506", "memory inside a scan")
def state_in_scan(span: Span | None, what: str, labels: Sequence[Label] = ()) -> Diagnostic:
    return finding(
        f"`{what}` inside a scan would be remembered once per step of the scan",
        span,
        "a scan's body remembers nothing but its own states",
        labels=labels,
        help=("compute it before the scan and use it inside",),
    )


@code("E0507", "mixes rows or documents")
def mixes_rows(span: Span | None, operation: str, axis: str, labels: Sequence[Label] = ()) -> Diagnostic:
    shown = operation if " " in operation else f"`{operation}`"
    return finding(
        f"{shown} along `{axis}` mixes rows or documents that have nothing to do with each other",
        span,
        "a padded or packed row would not equal the row alone",
        labels=labels,
        help=("look along a renamed axis, as attention does: there the other documents can be left out",),
    )


@code("E0508", "no such form")
def no_such_form(span: Span | None, form: str, reason: str, labels: Sequence[Label] = ()) -> Diagnostic:
    return finding(
        f"this operation has no form `{form}`: {reason}",
        span,
        "in that form every row has positions of its own",
        labels=labels,
        help=("give the axes that meet here the same sizes and names of their own",),
    )


@code("E0509", "model without a stream")
def no_stream(span: Span | None, model: str) -> Diagnostic:
    return finding(
        f"`{model}` declares no stream, so there is no next token to compute",
        span,
        "",
        help=("a model that generates declares its token axis and its history: `stream T as S`",),
    )


@code("E0510", "model without rows of tokens")
def no_rows(span: Span | None, model: str) -> Diagnostic:
    return finding(
        f"the input of `{model}` is not a batch of token rows, so nothing can be padded or packed",
        span,
        "",
        help=("such a model starts with `forward(tokens: int[B, T])`",),
    )


# ------------------------------------------------------------------ E06xx: components, overrides, interfaces


@code("E0601", "override names nothing")
def unknown_override(path: str, name: str, owner: str, candidates: Sequence[str], span: Span) -> Diagnostic:
    return finding(
        f"`{path}` cannot be set: {owner} has no parameter, size or child `{name}`", span, "sets nothing",
        help=did_you_mean(name, candidates) or ((f"it has: {', '.join(candidates)}",) if candidates else ()),
    )


@code("E0602", "interface not met")
def interface_unmet(interface: str, name: str, reason: str, span: Span, declaration: Label) -> Diagnostic:
    """`name` is the slot that is filled, or the block that says it is an `interface`."""
    return finding(f"`{name}` must be a `{interface}`: {reason}", span, f"not a `{interface}`", labels=(declaration,))


@code("E0603", "definition in a circle")
def circular(name: str, span: Span) -> Diagnostic:
    return finding(f"the value of `{name}` depends on itself", span, "asks for itself")


@code("E0604", "parameter does not fit")
def parameter_mismatch(name: str, wanted: str, found: str, span: Span) -> Diagnostic:
    return finding(f"`{name}` must be {wanted}, this is {found}", span, found)


@code("E0605", "missing parameter")
def missing_parameter(name: str, owner: str, span: Span) -> Diagnostic:
    return finding(f"`{owner}` needs a value for `{name}`", span, f"`{name}` is not given")


@code("E0606", "recursion")
def recursion(name: str, span: Span) -> Diagnostic:
    return finding(
        f"`{name}` uses itself", span, "used again inside of itself",
        help=("there is no recursion: layers repeat with `repeat n { .. }`, time with `scan T from ..`",),
    )


@code("E0607", "model without forward")
def no_forward(name: str, span: Span) -> Diagnostic:
    return finding(
        f"`{name}` has no method `forward` with types", span, "this model",
        help=("write `forward(tokens: int[B, T]) -> [B, T, V] { .. }`",),
    )


@code("E0608", "number of a layer where nothing is repeated")
def no_layers_there(name: str, where: str, span: Span) -> Diagnostic:
    return finding(
        f"`{name}` counts no layers: {where} has none there", span, "no layers",
        help=("it stands behind the name of a `repeat` and before a part of its layers: `blocks.{i}.attn = ..`",),
    )


@code("E0609", "no single part to stand in for")
def no_original(name: str, span: Span) -> Diagnostic:
    return finding(
        f"`{name}` is repeated layers: there is no single `original`", span, "asked for here",
        help=(f"change a part of the layers: `{name}.PART = ..`, with its own `original`",),
    )


@code("E0610", "input that cannot be left out")
def input_needed(name: str, reason: str, span: Span) -> Diagnostic:
    return finding(
        f"`{name}` has a default, but {reason}", span, "may be left out",
        help=("give it the axes of another input, or no default",),
    )


# ------------------------------------------------------------------ E07xx: recipes and checkpoints


@code("E0701", "unknown setting")
def unknown_setting(name: str, place: str, known: Sequence[str], span: Span) -> Diagnostic:
    """`place` in words: "a stage", "`precision`"."""
    advice = f"the settings of {place} are {one_of(known, 'and')}"
    return finding(f"`{name}` is not a setting of {place}", span, "unknown", help=(*did_you_mean(name, known), advice))


@code("E0702", "setting given twice")
def setting_twice(name: str, span: Span, first: Span) -> Diagnostic:
    return finding(
        f"`{name}` is given twice",
        span,
        "given again here",
        labels=(Label(first, "first given here"),),
        help=("remove one",),
    )


@code("E0703", "unknown part of a recipe")
def unknown_form(name: str, kind: str, known: Sequence[str], span: Span) -> Diagnostic:
    """`kind` in words: "an optimizer", "a source of data"."""
    advice = f"known here: {one_of(known, 'and')}"
    return finding(f"`{name}` is not {kind}", span, f"{kind} expected", help=(*did_you_mean(name, known), advice))


@code("E0704", "unknown argument of a recipe's part")
def unknown_argument(name: str, function: str, known: Sequence[str], span: Span) -> Diagnostic:
    takes = f"`{function}` takes {one_of(known, 'and')}" if known else f"`{function}` takes no arguments"
    return finding(f"`{function}` has no argument `{name}`", span, "unknown", help=(*did_you_mean(name, known), takes))


@code("E0705", "wrong arguments of a recipe's part")
def wrong_arguments(function: str, reason: str, label: str, example: str, span: Span) -> Diagnostic:
    return finding(f"`{function}` {reason}", span, label, help=(f"for example `{example}`",))


@code("E0706", "wrong kind of value in a recipe")
def wrong_value(name: str, expected: str, found: str, example: str, span: Span) -> Diagnostic:
    return finding(
        f"`{name}` must be {expected}, not {found}", span, f"{expected} expected", help=(f"for example `{example}`",)
    )


@code("E0707", "wrong unit")
def wrong_unit(name: str, units: Sequence[str], written: str, span: Span) -> Diagnostic:
    """`written` is the number as it was written, without its unit."""
    return finding(
        f"`{name}` is measured in {one_of(units)}",
        span,
        "no such unit here" if span.text != written else "no unit",
        help=(f"write `{written} {units[0]}`",),
    )


@code("E0708", "value out of range")
def out_of_range(name: str, value: str, bounds: str, span: Span) -> Diagnostic:
    return finding(f"`{name}` must be {bounds}", span, f"this is {value}", help=())


@code("E0709", "unknown choice")
def unknown_choice(word: str, name: str, known: Sequence[str], span: Span) -> Diagnostic:
    return finding(
        f"`{shorten(word)}` is not a choice for `{name}`",
        span,
        "unknown",
        help=(*did_you_mean(word, known), f"the choices are {one_of(known, 'and')}"),
    )


@code("E0710", "stage given twice")
def stage_twice(name: str, span: Span, first: Span) -> Diagnostic:
    return finding(
        f"there are two stages `{name}`",
        span,
        "second",
        labels=(Label(first, "first"),),
        help=("every stage of a recipe has a name of its own",),
    )


@code("E0711", "unknown stage")
def unknown_stage(name: str, earlier: Sequence[str], later: bool, span: Span) -> Diagnostic:
    """`later` says that the stage exists but does not stand before this one."""
    listed = f"the stages before this one are {one_of(earlier, 'and')}" if earlier else "this is the first stage"
    title = f"stage `{name}` does not come before this one" if later else f"there is no stage `{name}`"
    return finding(title, span, "must be an earlier stage", help=(*did_you_mean(name, earlier), listed))


@code("E0712", "missing setting")
def missing_setting(name: str, place: str, example: str, span: Span) -> Diagnostic:
    return finding(f"{place} has no `{name}`", span, f"`{name}` is missing", help=(f"add it: `{example}`",))


@code("E0713", "data in the wrong order")
def wrong_pipeline(title: str, label: str, advice: str, span: Span) -> Diagnostic:
    return finding(title, span, label, help=(advice,))


@code("E0714", "malformed loss")
def wrong_loss(title: str, label: str, span: Span) -> Diagnostic:
    return finding(
        title, span, label, help=("a loss is one objective and weighted penalties: `next_token() + 0.01 * balance`",)
    )


@code("E0715", "unknown penalty")
def unknown_penalty(name: str, model: str, known: Sequence[str], span: Span) -> Diagnostic:
    advice = f"the penalties of `{model}` are {one_of(known, 'and')}"
    return finding(
        f"`{model}` has no penalty `{name}`", span, "no such penalty", help=(*did_you_mean(name, known), advice)
    )


@code("E0716", "penalty without effect")
def idle_penalty(name: str, model: str, span: Span) -> Diagnostic:
    return finding(
        f"`{model}` has no penalties, so `{name}` adds nothing",
        span,
        "always 0",
        help=("keep it when this recipe also trains other models; else remove it",),
        severity="warning",
    )


@code("E0717", "selector that matches nothing")
def selects_nothing(selector: str, model: str, advice: Sequence[str], span: Span) -> Diagnostic:
    return finding(f"`{selector}` matches nothing in `{model}`", span, "matches nothing", help=advice)


@code("E0718", "selection without a matrix")
def selects_no_matrix(selector: str, verb: str, span: Span) -> Diagnostic:
    """`verb`: "adapt" or "quantize"."""
    return finding(
        f"nothing in `{selector}` can be used to {verb}",
        span,
        "no weight with two or more axes",
        help=("select linear maps, such as `blocks.attn.*` or `all Linear`",),
    )


@code("E0719", "schedule longer than the run")
def schedule_too_long(needed: int, steps: int, span: Span, budget: Span) -> Diagnostic:
    return finding(
        f"the schedule needs {needed:,} steps, but the run has {steps:,}",
        span,
        f"{needed:,} steps",
        labels=(Label(budget, f"{steps:,} steps"),),
        help=("shorten the warm-up or the decay, or raise the budget",),
    )


@code("E0720", "batch that cannot be cut evenly")
def uneven_batch(title: str, label: str, advice: str, span: Span) -> Diagnostic:
    return finding(title, span, label, help=(advice,))


@code("E0721", "tokenizer larger than the model")
def vocabulary_too_large(vocab: int, model: str, size: int, span: Span) -> Diagnostic:
    return finding(
        f"the tokenizer has {vocab:,} tokens, but `{model}` knows only {size:,}",
        span,
        f"{vocab:,} tokens",
        help=(f"use a vocabulary of at most {size:,}, or give the model a larger `V`",),
    )


@code("E0722", "axis that cannot be sharded")
def unknown_shard_axis(name: str, model: str, known: Sequence[str], span: Span) -> Diagnostic:
    return finding(
        f"`{name}` is not an axis of `{model}`",
        span,
        "no such axis",
        help=(*did_you_mean(name, known), f"its axes are {one_of(known, 'and')}"),
    )


@code("E0723", "objective and data do not fit")
def objective_misfit(objective: str, needs: str, found: str, span: Span, data: Span) -> Diagnostic:
    return finding(
        f"`{objective}` needs {needs}",
        span,
        f"needs {needs}",
        labels=(Label(data, f"this is {found}"),),
        help=(f"give it {needs}, or choose another objective",),
    )


@code("E0724", "unknown composite in an expectation")
def unknown_expectation(name: str, model: str, known: Sequence[str], span: Span) -> Diagnostic:
    advice = (f"`{model}` uses {one_of(known, 'and')}",) if known else ()
    return finding(
        f"`{model}` does not use `{name}`", span, "nothing to expect", help=(*did_you_mean(name, known), *advice)
    )


@code("E0730", "unknown parameter in a checkpoint's config")
def unknown_config_parameter(name: str, model: str, known: Sequence[str], span: Span) -> Diagnostic:
    return finding(
        f"`{name}` is neither a parameter nor a part of `{model}`",
        span,
        "unknown",
        help=(*did_you_mean(name, known), f"its parameters are {one_of(known, 'and')}"),
    )


@code("E0731", "config entry given twice")
def config_twice(name: str, span: Span, first: Span) -> Diagnostic:
    return finding(
        f"`{name}` is mapped twice", span, "again here", labels=(Label(first, "first here"),), help=("remove one",)
    )


@code("E0732", "config value that cannot be read")
def wrong_config_value(found: str, span: Span) -> Diagnostic:
    return finding(
        f"a config value cannot be {found}",
        span,
        "no value",
        help=(
            "write a key (`D = hidden_size`), numbers and texts, arithmetic, `if`, `default(a, b)`, `given(key)`,\n"
            "`stored(\"name\")`, or a component with such values: `RoPE(K, theta = rope_theta)`",
        ),
    )


@code("E0733", "tensors that a checkpoint map does not know")
def unknown_tensors(names: Sequence[str], place: str, span: Span) -> Diagnostic:
    shown = ", ".join(f"`{n}`" for n in names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
    return finding(
        f"{len(names)} stored tensor{'s' * (len(names) != 1)} of `{place}` would be lost",
        span,
        "this map does not mention them",
        notes=(f"unknown: {shown}",),
        help=(
            "map them, or say `ignore \"name\"` when they do not matter, `keep \"name\"` when they should travel along",
        ),
    )


@code("E0734", "model weight that the checkpoint lacks")
def unmapped_weights(paths: Sequence[str], model: str, hints: Sequence[str], span: Span) -> Diagnostic:
    shown = [f"`{p}`" for p in paths[:8]]
    rest = f" and {len(paths) - 8} more" if len(paths) > 8 else ""
    count = f"{len(paths)} weights" if len(paths) != 1 else "1 weight"
    return finding(
        f"{count} of `{model}` {'are' if len(paths) != 1 else 'is'} not mapped",
        span,
        "incomplete",
        notes=(f"missing: {', '.join(shown)}{rest}",),
        help=(*hints, "give every weight of the model a line in `weights`"),
    )


@code("E0735", "weight mapped twice")
def weight_twice(what: str, span: Span, first: Span) -> Diagnostic:
    """`what` is a path of the model or the name of a stored tensor."""
    return finding(
        f"`{what}` is mapped twice", span, "again here", labels=(Label(first, "first here"),), help=("remove one",)
    )


@code("E0736", "layout that does not fit its weight")
def wrong_layout(path: str, axes: Sequence[str], reason: str, span: Span) -> Diagnostic:
    return finding(
        f"the layout of `{path}` {reason}",
        span,
        f"the weight is [{', '.join(axes)}]",
        help=("a layout names every axis of the weight once; `(G R K)` packs several into one, slowest first",),
    )


@code("E0737", "placeholder that does not fit")
def wrong_placeholder(title: str, label: str, advice: str, span: Span) -> Diagnostic:
    return finding(title, span, label, help=(advice,))


@code("E0738", "unknown base of a checkpoint map")
def unknown_base(name: str, known: Sequence[str], span: Span) -> Diagnostic:
    return finding(
        f'there is no checkpoint map "{name}" to build upon',
        span,
        "not found in this file and those it uses",
        help=(*did_you_mean(name, known), "`use` the file that declares it"),
    )


@code("E0739", "map that is its own base")
def circular_base(name: str, span: Span) -> Diagnostic:
    return finding(f'the checkpoint map "{name}" is built upon itself', span, "a circle", help=("remove this `like`",))


@code("E0740", "key that config.json lacks")
def missing_config_key(key: str, span: Span) -> Diagnostic:
    return finding(
        f"config.json has no `{key}`",
        span,
        "needed here",
        help=(f"`default({key}, value)` gives it a value where files leave it out",),
    )


@code("E0741", "checkpoint that its map refuses")
def config_refused(condition: str, shown: Mapping[str, object], span: Span) -> Diagnostic:
    """`shown` are the keys of the condition with their values."""
    values = ", ".join(f"`{n}` is {json.dumps(v)}" for n, v in shown.items())
    return finding(
        f"this checkpoint is not covered: {condition}",
        span,
        "this does not hold",
        notes=(f"in config.json {values}",) if values else (),
        help=("another value would be another model, which this map cannot say",),
    )


@code("E0742", "keys of config.json that a map does not know")
def unknown_config_keys(keys: Sequence[str], place: str = "config.json") -> Diagnostic:
    shown = ", ".join(f"`{k}`" for k in keys[:12]) + (f" and {len(keys) - 12} more" if len(keys) > 12 else "")
    return finding(
        f"`{place}` has keys that the checkpoint map does not know",
        notes=(f"unknown: {shown}",),
        help=("nothing is lost silently: read them in the map, or list them under `ignore` if they change nothing",),
    )


@code("E0743", "checkpoint of an unknown architecture")
def unknown_architecture(names: Sequence[str], known: Sequence[str]) -> Diagnostic:
    near = did_you_mean(names[0], known) if names else ()
    return finding(
        f"no checkpoint map for {one_of(list(names)) if names else 'a config.json that names no architecture'}",
        help=(*near, "write a `checkpoint` item in a file of your own and name it: `weft import DIR --map FILE.llm`"),
    )


@code("E0744", "stored tensor that does not fit")
def misfit_tensor(name: str, reason: str, span: Span) -> Diagnostic:
    help = ("check the layout and the config",)
    return finding(f"the stored tensor `{name}` {reason}", span, "mapped here", help=help)


@code("E0745", "no checkpoint here")
def no_checkpoint(folder: str, reason: str) -> Diagnostic:
    return finding(
        f"`{folder}` is no checkpoint that can be read: {reason}",
        help=("a folder with `config.json` and `model.safetensors` (or an index of several) is expected",),
    )


@code("E0746", "model that its checkpoint map cannot write")
def unwritable_config(target: str, reason: str, span: Span) -> Diagnostic:
    return finding(
        f"no config.json says what `{target}` is in this model",
        span,
        "this line cannot be turned around",
        notes=(reason,),
        help=("the export would be another model, so it is not written",),
    )


# ------------------------------------------------------------------ E08xx: rules, passes, IR text


@code("E0801", "inconsistent module")
def inconsistent_module(name: str, problems: Sequence[str], after: str = "") -> Diagnostic:
    """A fault of a pass, a rule or a hand-written module, never of a spec."""
    shown = [*problems[:20], *([f"and {len(problems) - 20} more"] if len(problems) > 20 else [])]
    return finding(
        f"the module `{name}` is inconsistent" + (f" after the pass `{after}`" if after else ""),
        notes=shown,
        help=("this is a fault of whatever built or changed the module; run `weft show --ir` on the step before",),
    )


@code("E0802", "IR text that cannot be read")
def ir_text(span: Span, expected: str) -> Diagnostic:
    found = (
        f"`{shorten(span.text)}`" if span.text.strip() else "the end of a line" if span.text else "the end of the text"
    )
    return finding(f"expected {expected}, found {found}", span, "the text of a module cannot be read from here on")


@code("E0803", "IR value that cannot be written")
def unprintable(kind: str) -> Diagnostic:
    return finding(
        f"an attribute holds a `{kind}`, which the text form has no way to write",
        help=("attributes hold numbers, names, axes, types, sizes, instances, initialisers and tuples of these",),
    )


@code("E0804", "function that cannot be inlined")
def not_inlinable(name: str, reason: str, candidates: Sequence[str] = ()) -> Diagnostic:
    return finding(f"`{name}` cannot be inlined: {reason}", help=did_you_mean(name, candidates))


@code("E0805", "unknown optimisation level")
def unknown_level(level: str, levels: Sequence[str]) -> Diagnostic:
    return finding(
        f"there is no optimisation level `{shorten(level)}`", help=(f"the levels are {one_of(levels, 'and')}",)
    )


@code("E0806", "rule that cannot be used")
def unusable_rule(name: str, problem: str, span: Span | None) -> Diagnostic:
    return finding(f"the rule `{name}` cannot be used: {problem}", span, "this rule")


@code("E0807", "rules without end")
def endless_rules(names: Sequence[str], function: str, limit: int) -> Diagnostic:
    return finding(
        f"the rules {one_of(names, 'and')} do not come to rest in `{function}`" if len(names) > 1
        else f"the rule `{names[0]}` does not come to rest in `{function}`",
        notes=(f"given up after {limit} replacements",),
        help=("what a rule puts in must not contain what it, or another rule, looks for",),
    )


# ------------------------------------------------------------------ E090x: commands


@code("E0901", "file that cannot be written")
def unwritable(path: str, reason: str) -> Diagnostic:
    return finding(f"cannot write `{path}`: {reason}", help=("check that its folder exists and may be written to",))


@code("E0902", "file that exists already")
def would_overwrite(path: str) -> Diagnostic:
    return finding(f"`{path}` exists already", help=("choose another name, or move the file away",))


@code("E0903", "nothing of this kind in the file")
def nothing_there(kind: str, path: str) -> Diagnostic:
    """`kind` is "model" or "recipe"."""
    return finding(
        f"`{path}` has no {kind}",
        notes=(f"a {kind} that is brought in with `use` belongs to its own file",),
        help=({
            "model": "derive one here, as in `model Mine = Llama3 with { layers = 4 }`",
            "recipe": "`weft new tiny` writes a starter with a recipe",
        }.get(kind, f"add a {kind}"),),
    )


@code("E0904", "more than one of this kind in the file")
def which_one(kind: str, path: str, names: Sequence[str]) -> Diagnostic:
    """`kind` is "model", "recipe" or "stage"."""
    return finding(f"`{path}` has more than one {kind}: which one?", help=(f"name {one_of(names)}",))


@code("E0905", "name that cannot be a file's")
def bad_spec_name(name: str, reason: str) -> Diagnostic:
    return finding(
        f"`{shorten(name)}` cannot be the name of a model: {reason}",
        help=("names are made of letters, digits and `_`: `weft new tiny`",),
    )


@code("E0906", "device that is not there")
def no_device(name: str) -> Diagnostic:
    return finding(f"there is no device `{name}` to compute on", help=("leave `--device` out",))


@code("E0907", "too little memory")
def too_little_memory(model: str, needed: str, there: str) -> Diagnostic:
    """`needed` and `there` are sizes in words."""
    return finding(
        f"training `{model}` needs at least {needed}; this device has {there}",
        notes=("counted: float32 weights, gradients and both moments of the optimizer",),
        help=("make the model smaller; `weft plan` says what it needs",),
    )


@code("E0908", "refused by the system")
def system_refused(path: str, reason: str) -> Diagnostic:
    where = f"`{path}`" if path else "a file"
    return finding(
        f"the system refused to work with {where}: {reason}",
        help=("check the path, its permissions and the space left",),
    )


# ------------------------------------------------------------------ E093x: export and ONNX sessions


@code("E0930", "no ONNX form")
def no_onnx_form(what: str, function: str, span: Span | None = None) -> Diagnostic:
    """`what` in words, such as the quoted name of an operation."""
    return finding(
        f"{what} in `{function}` has no form in standard ONNX operators",
        span,
        "cannot be exported",
        help=("write it with other operations, or run the model with PyTorch",),
    )


@code("E0931", "weight that does not fit")
def weight_does_not_fit(path: str, reason: str) -> Diagnostic:
    return finding(
        f"the weight `{path}` cannot be exported: {reason}",
        help=("export the weights that were trained with this spec",),
    )


@code("E0932", "export folder in use")
def folder_in_use(folder: str) -> Diagnostic:
    return finding(
        f"`{folder}` holds something that is not an export",
        help=("name a new folder, an empty one, or one that holds an older export: it is replaced",),
    )


@code("E0933", "not an export")
def not_an_export(folder: str, reason: str) -> Diagnostic:
    return finding(f"`{folder}` is not an export that can be run: {reason}", help=("make one with `weft export`",))


@code("E0934", "input that does not fit")
def session_input(name: str, reason: str) -> Diagnostic:
    return finding(f"`{name}` does not fit the model: {reason}")


# ------------------------------------------------------------------ E094x, E095x: training and generation


@code("E0940", "not built yet")
def not_built_yet(what: str, advice: Sequence[str] = (), span: Span | None = None) -> Diagnostic:
    """Something valid that this version cannot run. `what` in words: "`adapt lora`"."""
    return finding(f"{what} is valid, but this version of Weft cannot run it yet", span, "cannot run yet", help=advice)


@code("E0941", "no data")
def no_data(pattern: str, folder: str, span: Span | None = None) -> Diagnostic:
    return finding(
        f"no file matches `{pattern}`",
        span,
        "matches nothing",
        notes=(f"patterns are relative to the folder of the spec: {folder}",),
        help=("check the path; `**` stands for any number of folders",),
    )


@code("E0942", "too little data")
def too_little_data(what: str, found: int, needed: int, span: Span | None = None) -> Diagnostic:
    return finding(
        f"the {what} has {found:,} tokens; one row needs {needed:,}",
        span,
        "too little text",
        help=("add text, shorten the rows (`pack(..)`), or change the share of `validation`",),
    )


@code("E0943", "run of another recipe")
def other_run(folder: str, changed: Sequence[str]) -> Diagnostic:
    return finding(
        f"`{folder}` holds a run of another recipe",
        notes=(f"what differs: {', '.join(changed)}",),
        help=("train into another folder, or put the recipe back as it was to continue this run",),
    )


@code("E0944", "no good checkpoint")
def no_good_checkpoint(folder: str, reasons: Sequence[str]) -> Diagnostic:
    return finding(
        f"no checkpoint in `{folder}` is whole",
        notes=tuple(reasons),
        help=("move the folder away to start anew, or bring a checkpoint back from a copy",),
    )


@code("E0945", "loss is not finite")
def loss_not_finite(step: int, value: float, folder: str) -> Diagnostic:
    return finding(
        f"the loss became {value} at step {step:,}",
        notes=(f"the last checkpoint in `{folder}` is from before this step",),
        help=("lower the learning rate, lengthen the warm-up, or bound the gradient with `clip = 1.0`",),
    )


@code("E0946", "run in use")
def run_in_use(folder: str) -> Diagnostic:
    return finding(
        f"another process is training in `{folder}`", help=("wait until it ends, or train into another folder",)
    )


@code("E0947", "unreadable tokenizer")
def bad_tokenizer(path: str, reason: str) -> Diagnostic:
    return finding(
        f"`{path}` is not a usable tokenizer: {shorten(reason, 200)}",
        help=('give a `tokenizer.json` of the tokenizers library, as in `tokenizer file("tokenizer.json")`',),
    )


@code("E0948", "text longer than the context")
def context_exceeded(length: int, context: int) -> Diagnostic:
    return finding(
        f"{length:,} tokens do not fit the context of {context:,}",
        help=("shorten the prompt, ask for fewer tokens, or export with a larger `context`",),
    )


@code("E0949", "sampling option out of range")
def bad_sampling(name: str, value: object, bounds: str) -> Diagnostic:
    return finding(f"`{name}` must be {bounds}, not {value}")


@code("E0950", "tokenizer and model do not fit")
def tokenizer_misfit(tokens: int, model: str, size: int) -> Diagnostic:
    return finding(
        f"the tokenizer has {tokens:,} tokens, but `{model}` knows only {size:,}",
        help=(f"give the model `V = {tokens}` or more",),
    )


@code("E0951", "damaged data")
def damaged_data(folder: str, reason: str) -> Diagnostic:
    return finding(
        f"the tokens in `{folder}` are damaged: {reason}",
        help=("remove that folder: it is made again from the sources",),
    )


@code("E0952", "weights that do not fit the model")
def weights_misfit(path: str, reason: str) -> Diagnostic:
    return finding(
        f"the weights in `{path}` do not fit the model: {reason}", help=("use the spec that they were trained with",)
    )


@code("E0953", "run that is not there")
def no_run(folder: str, missing: str) -> Diagnostic:
    return finding(
        f"`{folder}` is not a finished run: it has no `{missing}`", help=("train one with `weft train FILE`",)
    )


@code("E0954", "unreadable record")
def bad_record(path: str, line: int, expected: str) -> Diagnostic:
    return finding(
        f"line {line:,} of `{path}` is not {expected}", help=("every line of a .jsonl file is one JSON object",)
    )


@code("E0955", "bad run folder")
def bad_run_folder(folder: str, reason: str) -> Diagnostic:
    return finding(f"`{folder}` cannot hold a run: {reason}", help=("name an empty or a new folder",))


@code("E0808", "expected fusion did not happen")
def not_fused(name: str, reasons: Sequence[str], rules: Sequence[str], span: Span | None) -> Diagnostic:
    return finding(
        f"`{name}` was expected to be fused and is not",
        span,
        "this expectation",
        notes=reasons,
        help=()
        if reasons
        else (*did_you_mean(name, rules), f"the rules are: {', '.join(rules)}" if rules else "no rules ran"),
    )


@code("E0810", "not possible in PyTorch source")
def not_in_torch(what: str, why: str, span: Span | None) -> Diagnostic:
    return finding(
        f"{what} cannot be written as PyTorch: {why}",
        span,
        "made here",
        help=("choose another name or form for it in the spec",),
    )


@code("E0956", "model that cannot be trained so")
def no_stream_to_train(model: str, span: Span | None = None) -> Diagnostic:
    return finding(
        f"`{model}` declares no stream, so its outputs may see the tokens that `next_token` asks for",
        span,
        "needs a model with a stream",
        help=("declare it in the model: `stream T as S`",),
    )


@code("E0957", "package that is missing")
def missing_package(name: str, extra: str, purpose: str) -> Diagnostic:
    return finding(
        f"the package `{name}`, which {purpose}, is not installed", help=(f"pip install 'weft[{extra}]'",)
    )


@code("E0958", "tokenizer that cannot be converted")
def unconvertible_tokenizer(path: str, reason: str) -> Diagnostic:
    return finding(
        f"`{path}` cannot be made a tokenizer.json: {shorten(reason, 200)}",
        help=(
            "save one with the library that the checkpoint comes from and give it with `--tokenizer tokenizer.json`",
            "import without it: `--tokenizer none`",
        ),
    )


@code("E0959", "chat template that is refused")
def bad_chat_template(reason: str, advice: Sequence[str] = ()) -> Diagnostic:
    return finding(f"the chat template is refused: {shorten(reason, 200)}", help=advice)


@code("E0960", "start that is another model")
def other_start(folder: str, reason: str, span: Span | None = None) -> Diagnostic:
    return finding(
        f"`{folder}` is no start for this model: {reason}", span, "starts here",
        help=("train the very model of that run: its `spec.llm` says what it is",),
    )


# ------------------------------------------------------------------ E097x: adapters


@code("E0970", "nothing that can be adapted so")
def not_adaptable(method: str, path: str, wanted: Sequence[str], span: Span | None = None) -> Diagnostic:
    """`wanted` are the blocks that the method stands in for."""
    return finding(
        f"`{method}` has nothing to stand in for at `{path}`", span, "selects no such part",
        help=(f"it stands in for {one_of(wanted)}",) if wanted else (),
    )


@code("E0971", "adapter that cannot be read")
def unreadable_adapter(folder: str, reason: str, advice: Sequence[str] = ()) -> Diagnostic:
    return finding(f"the adapter in `{folder}` cannot be read: {reason}", help=advice)


@code("E0972", "adapter that cannot be merged")
def not_mergeable(path: str, block: str, reason: str) -> Diagnostic:
    return finding(
        f"the `{block}` at `{path}` cannot be merged into the weights: {reason}",
        help=("keep it as an adapter: the adapted model runs, trains and exports as it is",),
    )


@code("E0973", "adapter that PEFT cannot hold")
def not_writable_adapter(reason: str) -> Diagnostic:
    return finding(f"these adapters have no form in the files of PEFT: {reason}")


@code("E0974", "model that is no base with adapters")
def no_adapters(model: str) -> Diagnostic:
    return finding(
        f"`{model}` is no base model with adapters beside its weights",
        help=("write it as `model NAME = BASE with { PATH = LoRA(original, ..) }`, and change nothing else there",),
    )


@code("E0975", "checkpoint of a model with adapters")
def no_checkpoint_for_adapters(folder: str) -> Diagnostic:
    return finding(
        f"the run in `{folder}` has adapters beside its weights, for which a checkpoint has no place",
        help=(
            f"write them into the weights first: `weft merge {folder} --out NEW`",
            f"write them alone: `weft export {folder} --to peft`",
        ),
    )
