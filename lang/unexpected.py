"""What to say about a token that does not fit."""

from __future__ import annotations

from lark import UnexpectedToken
from lark.lexer import Token

from . import errors
from .diagnostics import Diagnostic
from .grammar import grammar
from .nearest import nearest
from .source import Source, Span
from .words import FOREIGN, RESERVED, UNITS

_COMPARISONS = frozenset(("LESS", "LESS_EQUAL", "EQUAL_EQUAL", "NOT_EQUAL", "MORE", "MORE_EQUAL"))
_OPERATORS = _COMPARISONS | frozenset(("PIPE", "PLUS", "MINUS", "STAR", "SLASH", "PERCENT", "CARET", "AND", "OR"))
_STARTS = frozenset(
    ("NAME", "NUMBER", "STRING", "TRUE", "FALSE", "LPAR", "MINUS", "NOT", "IF", "REPEAT", "STACK", "SCAN")
)
_AFTER_VALUE = frozenset(("WITH", "DOT", "UNIT", "ARROW", "WHERE"))


def explain_unexpected(
    fed: list[Token], found: Token, following: Token | None, source: Source, start: str
) -> Diagnostic:
    """The diagnostic for `found`, the first token that cannot follow `fed`."""
    expected = _accepted(fed, start)
    before = fed[-1] if fed else None
    span = _shown_span(found, before, source)
    special = _special(fed, found, before, expected, span, source)
    if special is not None:
        return special
    wanted = _in_words(expected)
    return errors.unexpected(
        span, _found_in_words(found), wanted, _label(found, wanted), _advice(fed, found, following, expected)
    )


def _accepted(fed: list[Token], start: str) -> frozenset[str]:
    """The terminals that could have followed `fed`."""
    parser = grammar().interactive(start)
    for token in fed:
        parser.feed_token(token)
    accepted = set()
    for terminal in parser.choices():
        if terminal == "$END":
            trial = parser.copy(deepcopy_values=False)
            try:
                trial.feed_token(Token("$END", ""))
            except (UnexpectedToken, AttributeError):
                continue
            accepted.add(terminal)
    return frozenset(accepted | parser.accepts())


def _special(
    fed: list[Token], found: Token, before: Token | None, expected: frozenset[str], span: Span, source: Source
) -> Diagnostic | None:
    """The mistakes that have a code of their own."""
    if found.value in RESERVED and "NAME" in expected and not expected & _OPERATORS and not expected >= _STARTS:
        return errors.reserved_word(span, "a name")
    begins_line = len(fed) > 1 and fed[-2].type in ("_NL", "LBRACE", "LPAR", "COMMA")
    if found.type in ("EQUAL", "COLON") and before is not None and before.value in RESERVED and begins_line:
        return errors.reserved_word(_span(before, source), "a name")
    if expected == {"ELSE"}:
        begins = _last_open_if(fed)
        behind = Span(source, fed[-1].end_pos or 0, (fed[-1].end_pos or 0) + 1)
        return errors.missing_else(behind, _span(begins, source) if begins else span)
    if "UNIT" in expected and found.type == "NAME" and nearest(found.value, UNITS) is not None:
        return errors.unknown_unit(span, UNITS)
    if found.type == "COLON" and "EQUAL" in expected:
        return errors.wrong_sign(span, "=", "a value is given with `=`; `:` stands before a type")
    if found.type == "EQUAL" and "EQUAL_EQUAL" in expected:
        return errors.wrong_sign(span, "==", "two values are compared with `==`; `=` gives a name to a value")
    if found.type == "EQUAL" and "COLON" in expected:
        return errors.wrong_sign(span, ":", "`:` stands before a type or a layout, `=` before a value")
    if found.type == "EQUAL_EQUAL" and "EQUAL" in expected:
        return errors.wrong_sign(span, "=", "a value is given with `=`; `==` compares")
    if found.type in _COMPARISONS and "AND" in expected:
        first = next((t for t in reversed(fed) if t.type in _COMPARISONS), found)
        return errors.chained_comparison(span, _span(first, source))
    if found.type in ("ARROW", "WHERE") and expected & _OPERATORS:
        example = "rename(T -> S)" if found.type == "ARROW" else "softmax(x, S where mask)"
        return errors.only_in_arguments(span, example)
    return None


def _last_open_if(fed: list[Token]) -> Token | None:
    """The `if` whose body was closed by the last fed token."""
    depth = 0
    for token in reversed(fed):
        if token.type == "RBRACE":
            depth += 1
        elif token.type == "LBRACE":
            depth -= 1
        elif token.type == "IF" and depth == 0:
            return token
    return None


def _shown_span(found: Token, before: Token | None, source: Source) -> Span:
    """Where the caret goes: at the token, or behind the last one when the line ends too early."""
    if found.type in ("_NL", "$END") and before is not None:
        end = before.end_pos or 0
        return Span(source, end, end + 1)
    return _span(found, source)


def _span(token: Token, source: Source) -> Span:
    return Span(source, token.start_pos or 0, token.end_pos or 0)


def _found_in_words(found: Token) -> str:
    if found.type == "_NL":
        return "the end of the line"
    if found.type == "$END":
        return "the end of the item"
    if found.type == "STRING":
        return "a string"
    if found.type == "NUMBER":
        return f"the number `{errors.shorten(found.value)}`"
    return f"`{errors.shorten(found.value)}`"


def _in_words(expected: frozenset[str]) -> str:
    """ "a name", "`,` or `)`", "an operator or the end of the line"."""
    rest = set(expected)
    words: list[str] = []
    if len(rest & _STARTS) >= 6:
        words.append("an expression")
        rest -= _STARTS
    if "EQUAL" in rest and rest & _OPERATORS:
        rest -= {"EQUAL"} if "RPAR" in rest else {"EQUAL", "COMMA"}
    closers = [t for t in ("COMMA", "RPAR", "RSQB", "RBRACE", "LBRACE", "ELSE", "OF", "EQUAL") if t in rest]
    if len(rest & _OPERATORS) >= 4:
        rest -= _OPERATORS | _AFTER_VALUE
        if not closers or "_NL" in rest:
            words.append("an operator")
        if "LPAR" in rest:
            rest -= {"LPAR", "LSQB"}
    if len(rest) > 7:
        rest = {t for t in rest if not grammar().texts.get(t, "").isalpha()}
    names = {"NAME": "a name", "NUMBER": "a number", "STRING": "a string", "UNIT": "a unit"}
    for terminal in sorted(rest, key=lambda t: (t not in names, t in ("_NL", "$END"), grammar().texts.get(t, t))):
        if terminal in names:
            words.append(names[terminal])
        elif terminal == "_NL":
            words.append("a new line")
        elif terminal == "$END":
            words.append("the end of the item")
        else:
            words.append(f"`{grammar().texts[terminal]}`")
    if not words:
        return "something else"
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def _label(found: Token, wanted: str) -> str:
    if found.type == "_NL":
        return "the line ends too early"
    if found.type == "$END":
        return "the item ends too early"
    return f"expected {wanted}" if len(wanted) <= 40 else "not expected here"


def _misspelt_keyword(tokens: list[Token]) -> tuple[str, ...]:
    """Help when the line begins with a word like a keyword, followed by a name (`stge pretrain {`)."""
    begins = max((i + 1 for i, t in enumerate(tokens[:-1]) if t.type in ("_NL", "LBRACE")), default=0)
    line = tokens[begins : begins + 2]
    if len(line) < 2 or line[0].type != "NAME" or line[1].type not in ("NAME", "NUMBER", "STRING"):
        return ()
    return errors.did_you_mean(line[0].value, [k for k in grammar().keywords if len(k) > 2 and k != line[0].value])


def _advice(fed: list[Token], found: Token, following: Token | None, expected: frozenset[str]) -> tuple[str, ...]:
    before = fed[-1] if fed else None
    if before is not None and before.type == "NAME" and before.value in FOREIGN:
        return (FOREIGN[before.value],)
    misspelt = _misspelt_keyword([*fed, found])
    if misspelt:
        return misspelt
    if found.value in FOREIGN and found.type == "NAME":
        return (FOREIGN[found.value],)
    if found.type == "DEEP" or (found.type == "STAR" and before is not None and before.type == "STAR"):
        return ("a power is written `x ^ 2`",)
    doubled = [t.type for t in (before, found, following) if t is not None]
    if found.type == "SLASH" and doubled.count("SLASH") > 1:
        return ("a comment begins with `#`; integer division is `/`, which must be exact",)
    if found.type == "EQUAL" and before is not None and before.type in ("PLUS", "MINUS", "STAR", "SLASH"):
        return ("names are given once: write `y = x + 1` with a new name",)
    if found.type in ("COMMA", "COLON") and "RSQB" in expected and expected & _OPERATORS:
        return ("`kinds[i]` is one entry of a list; `take`, `slice` and `split` look along axes of a tensor",)
    if found.type == "LBRACE" and "_NL" in expected:
        return ("braces follow `if`, `else`, `repeat`, `with`, a method's or an item's head",)
    if "_NL" in expected and found.type in ("NAME", "NUMBER", "STRING") and expected & _OPERATORS:
        return ("each statement stands on a line of its own",)
    if found.type == "COMMA" and "_NL" in expected:
        return ("statements are separated by new lines, not by commas",)
    if found.type == "_NL" and expected == {"LBRACE"}:
        return ("the `{` stands on the same line",)
    return ()
