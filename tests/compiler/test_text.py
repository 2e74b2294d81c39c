"""The text form of the IR: what is printed reads back as the same module, and bad text is pointed at."""

from __future__ import annotations

from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import modules
import pytest
import weft
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from library import REPRESENTATIVE
from weft.compiler.ir import words
from weft.compiler.ir.equality import same
from weft.compiler.ir.graph import Graph, Value
from weft.compiler.ir.module import Init, Instance, Layers, Module, Parameter, Reference, State
from weft.compiler.ir.ops import ELEMENTWISE_NAMES, OPS, build, constant
from weft.compiler.ir.text import parse_module, print_function, print_module
from weft.compiler.ir.text_scanner import Scanner
from weft.lang.axes import Axis, AxisError, TensorType
from weft.lang.diagnostics import WeftError
from weft.lang.program import STDLIB
from weft.lang.render import render
from weft.lang.sizes import Size


def assert_reads_back(module: Module) -> None:
    text = print_module(module)
    read = parse_module(text)
    assert same(read, module)
    assert print_module(read) == text


@pytest.mark.parametrize("name", modules.EVERY)
def test_a_printed_module_reads_back(name: str) -> None:
    assert_reads_back(modules.EVERY[name]())


@pytest.mark.parametrize("path", REPRESENTATIVE, ids=lambda p: p.stem)
def test_every_model_reads_back_and_is_printed_the_same_each_time(path: Path) -> None:
    program = weft.load(path)
    for name in program.models:
        module = weft.compile(program, name)
        assert_reads_back(module)
        assert print_module(weft.compile(weft.load(path), name)) == print_module(module)


def test_a_function_is_readable() -> None:
    assert print_function(modules.silu(modules.real(modules.B, modules.F))) == (
        "function silu(x: [B, F:12]) -> (value: [B, F:12]) {\n"
        "  definition weft.nn.silu\n"
        "  %1 = sigmoid(%x): [B, F:12]\n"
        "  %2 = mul(%x, %1): [B, F:12]\n"
        "  return %2\n"
        "}\n"
    )


def test_origins_are_comments() -> None:
    module = weft.compile(weft.load(STDLIB / "models" / "llama.llm"), "Llama3")
    text = print_module(module, origins=True)
    lines = (STDLIB / "models" / "llama.llm").read_text().splitlines()
    line = 1 + next(i for i, text in enumerate(lines) if "h = x +" in text)
    assert f"llama.llm:{line}:11\n" in text
    assert same(parse_module(text), module)


def test_equal_nodes_stay_two_nodes() -> None:
    b = modules.Body(x=modules.real(modules.D))
    first = b.exp(*b.given)
    second = b.graph.insert("exp", b.given, (), b.graph[first].types)[0]
    module = modules.single(b.done("f", b.add(first, second)))
    assert len(module.main.graph) == 4
    assert_reads_back(module)


# ------------------------------------------------------------------ drawn modules

NAMES = st.one_of(
    st.sampled_from(("x", "value.0", "param", "layers", "true", "none", "inf", "inf.a", "state", "return", "..", "")),
    st.sampled_from(("a b", '"', "λ", "%1")),
    st.text(max_size=6),
)
SIZES = st.dictionaries(
    st.dictionaries(st.sampled_from(("T", "S", "P", "..", "a+-b")), st.integers(-3, 3).filter(bool), max_size=2).map(
        lambda powers: tuple(sorted(powers.items()))
    ),
    st.fractions(max_denominator=9).filter(bool), max_size=3,
).map(Size.collect)
AXES = st.builds(Axis, NAMES, SIZES)
TYPES = st.builds(TensorType, st.lists(AXES, max_size=3).map(tuple), st.sampled_from(("real", "int", "bool")))
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), NAMES, AXES, TYPES, SIZES,
    st.builds(Reference, st.integers(0, 3), st.lists(NAMES, max_size=3).map(tuple)),
    st.builds(Init, NAMES, st.lists(st.tuples(NAMES, st.floats(allow_nan=False)), max_size=2).map(tuple)),
)
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=5).map(tuple), max_leaves=8)


@given(VALUES)
@settings(max_examples=200, deadline=None)
def test_any_attribute_reads_back(value: object) -> None:
    scanner = Scanner(words.attribute(value), "<value>")
    read = scanner.value()
    assert read == value and type(read) is type(value)
    assert scanner.at == len(scanner.text)


def test_a_size_with_fractions_reads_back() -> None:
    size = Size.collect({(("D", 2),): Fraction(-3, 2), (): Fraction(1), (("K", -1),): Fraction(-1)})
    assert words.size(size) in ("1-1/K-3*D^2/2", "-1/K-3*D^2/2+1", "-3*D^2/2-1/K+1")
    assert Scanner(words.size(size), "<size>").size() == size


@st.composite
def instances(draw: st.DrawFn, depth: int = 2) -> Instance:
    start = st.just(Init("normal", (("std", 0.1),)))
    parameters = draw(st.lists(st.builds(Parameter, NAMES, TYPES, start), max_size=2))
    children = []
    for name in draw(st.lists(NAMES, max_size=2)) if depth else ():
        bodies = draw(st.lists(instances(depth - 1), min_size=1, max_size=2))
        schedule = tuple(draw(st.lists(st.integers(0, len(bodies) - 1), max_size=5)))
        children.append((name, Layers(tuple(bodies), schedule) if draw(st.booleans()) else bodies[0]))
    return Instance(draw(NAMES), tuple(parameters), tuple(children))


@st.composite
def drawn_modules(draw: st.DrawFn) -> Module:
    """A function that grows by random operations (typed by inference), calls with several results, and states."""
    types = st.sampled_from((modules.real(modules.B, modules.D), modules.integer(modules.T), modules.real()))
    given = {name: draw(types) for name in draw(st.lists(NAMES, min_size=1, max_size=3, unique=True))}
    graph = Graph()
    pool: list[Value] = [build(graph, "input", name=n, type=t) for n, t in given.items()]
    choices = st.sampled_from((*sorted(ELEMENTWISE_NAMES), "const", "call", "sum", "rename"))
    for op in draw(st.lists(choices, max_size=12)):
        picked = [draw(st.sampled_from(pool)) for _ in range(3)]
        if op == "const":
            pool.append(constant(graph, draw(st.one_of(st.integers(), st.floats(allow_nan=False), st.booleans()))))
            continue
        if op == "call":
            results = tuple(draw(st.lists(TYPES, min_size=1, max_size=3)))
            instance = Reference(1, ("a",))
            pool += graph.add("call", tuple(picked), results, callee=draw(NAMES), site=draw(NAMES), instance=instance)
            continue
        attributes = {"sum": {"over": ("D",)}, "rename": {"axis": "D", "to": modules.axis("E", 8)}}.get(op, {})
        with suppress(AxisError):  # operands that do not fit: the function grows without this operation
            pool.append(build(graph, op, *picked[: OPS[op].arity[0]], **attributes))
    graph.outputs = tuple(draw(st.lists(st.sampled_from(pool), min_size=1, max_size=3)))
    update = draw(st.sampled_from(pool))
    states = (State(draw(NAMES), "carry", graph.type(update), update, draw(st.none() | NAMES), None, draw(NAMES)),)
    names = tuple(f"value.{i}" for i in range(len(graph.outputs)))
    function = weft.compiler.ir.module.Function(
        "f", graph, tuple(given.items()), names, draw(NAMES), draw(NAMES), draw(NAMES),
        tuple(draw(st.lists(st.tuples(NAMES, LEAVES), max_size=2))), states,
    )
    stream = draw(st.none() | st.just(("T", "S")))
    return Module(draw(NAMES), {"f": function}, "f", draw(instances()), stream, "full", draw(NAMES), draw(NAMES))


@given(drawn_modules())
@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_module_reads_back(module: Module) -> None:
    assert_reads_back(module)


# ------------------------------------------------------------------ bad text

HEAD = "module Demo (form=full, entry=f)\n\ninstance Demo\n\n"
BODY = HEAD + "function f(x: [D:4]) -> (value: [D:4]) {\n"
BAD = {
    "": (1, 1, "`module`"),
    "module": (1, 7, "a name"),
    "module Demo (shape=full)": (1, 14, "one of form, entry"),
    "module Demo (form=full)\nfunction": (2, 1, "`instance`"),
    BODY + "  %1 = exp(%y): [D:4]\n": (6, 12, "an input of this function"),
    BODY + "  %1 = exp(%2): [D:4]\n": (6, 12, "a node above this one"),
    BODY + "  %1 = exp(%x)\n": (7, 1, "`:`"),
    BODY + "  %1 = exp(%x) [D:4]\n": (6, 16, "`:`"),
    BODY + "  %1 = exp(%x): D\n": (6, 17, "a type such as"),
    BODY + "  %1 = exp(%x): [D 4]\n": (6, 20, "`,` or `]`"),
    BODY + "  return\n}": (7, 1, "1 values, as in the signature"),
    HEAD + "function f(x: [D:4]) -> (value: [D:5]) {\n  return %x\n}": (6, 10, "a value of the type in the signature"),
    HEAD + "function f(x: [D:4], x: []) -> () { return }": (5, 22, "a name that is not there twice"),
    HEAD + "function f() -> () { return }\nfunction f() -> () { return }": (6, 10, "a name that no other function has"),
    HEAD + 'function "f': (5, 10, "the name of a function"),
    HEAD + "function f(x: [D:1/0]) -> () { return }": (5, 20, "a number other than 0"),
    HEAD + "function f() -> () {\n  %1 = const(value=(0 * 9999999)): []\n": (6, 25, "at most 1,000,000"),
    HEAD + "rest": (5, 1, "`function` or the end"),
}


@pytest.mark.parametrize("text", BAD)
def test_bad_text_is_pointed_at(text: str) -> None:
    line, column, expected = BAD[text]
    with pytest.raises(WeftError) as caught:
        parse_module(text, "demo.ir")
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == "E0802" and diagnostic.primary is not None
    assert expected in diagnostic.title
    assert str(diagnostic.primary.span) == f"demo.ir:{line}:{column}"
    assert "^" in render([diagnostic], color=False)


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_damaged_text_is_refused_or_read_but_never_a_traceback(data: st.DataObject) -> None:
    text = print_module(modules.differing_layers())
    at = data.draw(st.integers(0, len(text)))
    length = data.draw(st.integers(0, 5))
    damaged = text[:at] + data.draw(st.text("%[](){}<>@^*/+-.:,=\"`#1aT \n", max_size=3)) + text[at + length :]
    try:
        print_module(parse_module(damaged))
    except WeftError as error:
        assert [d.code for d in error.diagnostics] == ["E0802"]


def test_deep_nesting_is_refused() -> None:
    deep = HEAD + "function f() -> () {\n  %1 = const(value=" + "(" * 5000
    with pytest.raises(WeftError, match="fewer brackets"):
        parse_module(deep)
    with pytest.raises(WeftError, match="fewer instances"):
        parse_module("module Demo (form=full)\ninstance " + "a { b: " * 5000)


def test_a_value_without_a_written_form_is_refused() -> None:
    with pytest.raises(WeftError, match="E0803"):
        words.attribute(object())
