"""One run of the emitter: what was written so far, and how functions, classes and instances are called."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from ...ir.graph import Node
from ...ir.instances import find
from ...ir.module import Function, Instance, Layers, Module, Path
from .liveness import Liveness
from .method import Given, Method
from .names import MODULE_ATTRIBUTES, RESERVED, Names, identifier, root_name
from .places import Places, places
from .text import Blanks, Expr, Precision

if TYPE_CHECKING:
    from .writer import Writer

# Methods of the root that the emitter adds itself.
ENCODE = "encode"
ROOT_METHODS = ("loss", "summed_loss", "initialise", "initial_states", "set_noise", "reset_parameters")


Write = Callable[["Emission", Function, tuple[Given, ...]], Method]
Emit = Callable[["Writer", Node], None]


class Emission:
    """State of one emission; everything in it is ordered, so the same module gives the same text.

    `write` writes a function, `emit` one node of it; they are handed in because both come back here for what they call.
    `recomputed` says of how many layers of a repeat, by its path, the backward pass computes the results again.
    """

    def __init__(self, module: Module, write: Write, emit: Emit, recomputed: Mapping[str, int]) -> None:
        self.module, self.write, self.emit = module, write, emit
        self.recomputed = recomputed
        self.blanks = Blanks()
        self.places: Places = places(module)
        self.liveness = Liveness(module)
        self.globals = Names()
        self.globals.reserve(root_name(module.name), *HELPER_NAMES)
        self.words = tuple(dict.fromkeys((*_words(module), *HELPER_NAMES, TABLE)))
        self.free: list[Method] = []
        self.helpers: dict[str, None] = {}
        self.tables: dict[str, str] = {}
        self.named: dict[Path, dict[str, list[Method]]] = {}
        self._written: dict[object, Method] = {}

    @property
    def root_methods(self) -> tuple[str, ...]:
        """Names that no member of the root may have."""
        return (*ROOT_METHODS, ENCODE) if self.module.encoder else ROOT_METHODS

    @property
    def is_step(self) -> bool:
        return self.module.form.startswith("step")

    def helper(self, name: str) -> str:
        """The name of a function that the emitted file brings along; it will be in the file."""
        self.helpers[name] = None
        return name

    def table(self, values: str) -> str:
        """The name of a tuple of numbers at the top of the file; equal ones are one."""
        if values not in self.tables:
            self.tables[values] = self.globals.take(TABLE)
        return self.tables[values]

    def local_names(self) -> Names:
        """A table for the variables of one function: none of them hides a name of the file."""
        return _Locals(self.words, self.module.name)

    # ------------------------------------------------------------ functions and methods

    def method(self, function: Function, given: Sequence[Given]) -> Method:
        """What is written for a function that is called with such arguments; written now if it is new."""
        key = (function.name, tuple((g.number, type(g.number)) if isinstance(g, Expr) else g for g in given))
        if key not in self._written:
            made = self.write(self, function, tuple(given))
            self._written[key] = self._named_free(made) if made.is_free else self._named_method(made)
        return self._written[key]

    def _named_free(self, method: Method) -> Method:
        """A function of the file; one that reads the same is used again."""
        for other in self.free:
            if self.same(method, other):
                other.twins.append(method)
                method.name = other.name
                return method
        definition = method.function.definition or method.function.method
        base = identifier(definition.rsplit(".", 1)[-1], "function")
        method.name = name = base
        count = 1
        while name in self.globals.taken:
            count += 1
            name = f"{base}{count}"
        self.globals.reserve(name)
        method.name = name
        self.free.append(method)
        return method

    def _named_method(self, method: Method) -> Method:
        if method.function.name == self.module.encoder:
            method.name = ENCODE
            self.named.setdefault((), {})[ENCODE] = [method]
            return method
        wanted = identifier(method.function.method, "method")
        wanted = f"{wanted}_" if wanted in MODULE_ATTRIBUTES and wanted != "forward" else wanted
        paths = self.places.of(method.function.name)
        name, count = wanted, 1
        while not all(self._free_at(path, name, method) for path in paths):
            count += 1
            name = f"{wanted}_{count}"
        method.name = name
        for path in paths:
            self.named.setdefault(path, {}).setdefault(name, []).append(method)
        return method

    def _free_at(self, path: Path, name: str, method: Method) -> bool:
        known = self.named.get(path, {}).get(name)
        if known is not None:
            return self.same(known[0], method)
        instance = find(self.module, path)
        assert isinstance(instance, Instance)
        members = {*(p.name for p in instance.parameters), *(n for n, _ in instance.children)}
        return name not in members and (bool(path) or name not in self.root_methods)

    def same(self, one: Method, other: Method) -> bool:
        """Whether two methods read the same, numbers included (shapes in comments apart)."""
        return self._text(one) == self._text(other)

    def _text(self, method: Method) -> object:
        lines = tuple((line.indent, self.blanks.fill(line.text)) for line in method.lines)
        names = (tuple(n for n, _ in method.parameters), tuple(method.outside.values()), method.ordered_ambients())
        return lines, names, method.stateful, tuple(method.noise)


class _Locals(Names):
    """Names of local variables: never a word of the file, nor one with a number behind it."""

    def __init__(self, words: tuple[str, ...], root: str) -> None:
        super().__init__(RESERVED)
        self.words = (*words, root)

    def take(self, wanted: str, fallback: str = "y") -> str:
        base = identifier(wanted, fallback)
        if any(base.startswith(w) and (base == w or base[len(w) :].isdigit()) for w in self.words):
            base += "_"
        return super().take(base, fallback)


COLLECTIVE = (
    *("shared_over", "reduced_over", "gathered_over", "part_over"),
    *("SharedOver", "ReducedOver", "GatheredOver", "GROUPS"),
)
HELPER_NAMES = (
    *("masked_softmax", "kept", "masked_max", "largest", "dropout", "mix"),
    *("summed_nll", "summed_nll_", "InChunks", "summed_in_chunks"),
    *COLLECTIVE,
)
TABLE = "TABLE"  # what tuples of numbers at the top of the file are called, with a number behind it


def _words(module: Module) -> list[str]:
    """What functions and classes of the file may be called, apart from a number behind it."""
    found = []
    for function in module.functions.values():
        if function.block:
            continue
        definition = function.definition or function.method
        found.append(identifier(definition.rsplit(".", 1)[-1], "function"))
    waiting: list[Instance | Layers] = [module.root]
    while waiting:
        here = waiting.pop()
        if isinstance(here, Layers):
            waiting += here.bodies
        else:
            found.append(class_word(here))
            waiting += [child for _, child in here.children]
    return found


def class_word(instance: Instance) -> str:
    """The name a class should have: that of its block."""
    last = identifier(instance.block.rsplit(".", 1)[-1], "Block")
    return last[0].upper() + last[1:]


def precision_of(expr: Expr) -> Given:
    """What a callee has to know of an argument."""
    if expr.number is not None:
        return expr
    return Precision.COMPUTE if expr.precision is Precision.PARAMETER else expr.precision
