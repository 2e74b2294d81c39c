"""Classes: one per block, with arguments for what differs between its instances."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ....lang.source import Span
from ...ir.module import Instance, Layers, Path, Reference
from .emission import Emission, class_word
from .initialise import reset_line
from .layers import module_list
from .method import Method
from .names import Names, member
from .places import instance_at
from .signature import method_lines
from .text import Blank, Line, common, marks, shape_of, show, skeleton

# Names that a class uses in its constructor and `reset_parameters`.
OWN = ("self", "generator", "super", "i")


@dataclass(eq=False)
class Draft:
    """The source of one instance before it is compared with others: blanks stand for its numbers."""

    path: Path
    word: str
    build: list[Line]
    reset: list[Line]
    methods: dict[str, list[Method]]
    members: tuple[str, ...]

    def sections(self) -> dict[str, list[Line]]:
        methods = {f"method {name}": found[0].lines for name, found in self.methods.items()}
        return {"build": self.build, "reset": self.reset, **methods}

    def shape(self, section: str) -> object:
        """What must be equal for two instances to share this part of a class."""
        lines = tuple((line.indent, skeleton(line.text)) for line in self.sections()[section])
        if not section.startswith("method "):
            return lines
        method = self.methods[section.removeprefix("method ")][0]
        names = (tuple(n for n, _ in method.parameters), tuple(method.outside.values()), method.ordered_ambients())
        return lines, names, method.stateful, tuple(method.noise)


@dataclass(eq=False)
class Class:
    """A class and the instances it serves.

    `arguments`: name -> the value for each instance, by path. `written`: how each blank is written. `stored`:
    attributes that methods read, and what they are in the constructor.
    """

    name: str
    drafts: list[Draft]
    arguments: dict[str, dict[Path, object]] = field(default_factory=dict)
    written: dict[int, str] = field(default_factory=dict)
    stored: dict[str, str] = field(default_factory=dict)

    def accepts(self, draft: Draft) -> bool:
        """Whether an instance can be of this class: what both have reads the same."""
        return all(
            other.shape(s) == draft.shape(s) if s in draft.sections() else True
            for other in self.drafts
            for s in other.sections()
        )


def draft(emission: Emission, path: Path, made: Mapping[Path, str]) -> Draft:
    """The source of the instance at a path; `made` holds what builds its children."""
    instance = instance_at(emission.module, path)
    reserved = ("reset_parameters",) if path else emission.root_methods
    build, reset = [], []
    for parameter in instance.parameters:
        name = member(parameter.name, parameter.origin.first_span(), reserved)
        label = "shape" if len(instance.parameters) == 1 else f"{name}_shape"
        shape = emission.blanks.mark(parameter.shape, label, parameter.type.names) if parameter.shape else "()"
        build.append(Line(f"self.{name} = nn.Parameter(torch.empty({shape}))", 2, (shape_of(parameter.type.axes),)))
        reset.append(Line(reset_line(parameter, emission.blanks), 2))
    methods = emission.named.get(path, {})
    for buffer in dict.fromkeys(b for found in methods.values() for b in found[0].noise):
        member(buffer, None, tuple(p.name for p in instance.parameters))
        build.append(Line(f'self.register_buffer("{buffer}", torch.zeros((), dtype=torch.int64), persistent=False)', 2))
    members = [p.name for p in instance.parameters]
    for name, child in instance.children:
        text = _child(emission, (*path, name), child, made)
        if text is not None:
            build.append(Line(f"self.{member(name, _use(emission, path, name), reserved)} = {text}", 2))
            members.append(name)
    return Draft(path, class_word(instance), build, reset, methods, tuple(members))


def _use(emission: Emission, path: Path, child: str) -> Span | None:
    """Where the spec first calls a child, for messages."""
    for name in emission.places.functions.get(path, {}):
        for node in emission.module.functions[name].graph.nodes():
            if node.op in ("call", "repeat") and node["instance"] == Reference(0, (child,)):
                return node.origin.first_span()
    return None


def _child(emission: Emission, path: Path, child: Instance | Layers, made: Mapping[Path, str]) -> str | None:
    if isinstance(child, Instance):
        return made.get(path)
    numbers = emission.places.layers.get(path)
    if numbers is None:
        numbers = tuple(child.schedule.index(b) for b in child.schedule)
    kinds = list(dict.fromkeys(numbers))
    if any((*path, k) not in made for k in kinds):
        return None
    builds = {emission.blanks.fill(made[(*path, k)]): made[(*path, k)] for k in kinds}
    plain = list(builds)
    schedule = [plain.index(emission.blanks.fill(made[(*path, n)])) for n in numbers]
    count = emission.blanks.mark(len(numbers), "layers")
    return module_list(list(builds.values()), schedule, count, emission.blanks)


def finish(emission: Emission, class_: Class) -> None:
    """Decide how every blank of a class is written: as a number, or as an argument where instances differ."""
    columns: list[tuple[list[int], str]] = []
    first: dict[str, Draft] = {}
    for one in class_.drafts:
        for section in one.sections():
            first.setdefault(section, one)
    for section, owner in first.items():
        for i, line in enumerate(owner.sections()[section]):
            for j in range(len(marks(line.text))):
                numbers = [marks(d.sections()[section][i].text)[j] for d in class_.drafts if section in d.sections()]
                columns.append((numbers, section))
    members = (m for d in class_.drafts for m in (*d.members, *d.methods))
    names = Names(frozenset((*OWN, *members)) | Names().taken)
    known: dict[Any, str] = {}
    paths = {s: [d.path for d in class_.drafts if s in d.sections()] for s in first}
    for numbers, section in columns:
        writing = _Writing(class_, paths[section], names, known, "" if section == "build" else "self.")
        text = writing.write([emission.blanks.all[n] for n in numbers])
        class_.written.update(dict.fromkeys(numbers, text))


@dataclass
class _Writing:
    """How the blanks of one section are written; `prefix` is what arguments stand behind outside of the constructor."""

    class_: Class
    paths: list[Path]
    names: Names
    known: dict[Any, str]
    prefix: str

    def write(self, blanks: list[Blank]) -> str:
        """One blank, as it is in every instance."""
        values = [b.value for b in blanks]
        if all(v == values[0] and type(v) is type(values[0]) for v in values):
            return show(values[0], bool(blanks[0].axes))
        if blanks[0].axes:
            groups = [_groups(b) for b in blanks]
            if len(groups[0]) > 1 and all(g.keys() == groups[0].keys() for g in groups):
                return ", ".join(self.write([g[name] for g in groups]) for name in groups[0])
            if all(len(b.value) == 1 and b.axes == blanks[0].axes for b in blanks):
                return self.write([Blank(b.value[0], b.axes[0]) for b in blanks])
        name = self._argument(blanks[0].name, values)
        star = "*" if blanks[0].axes else ""
        return f"{star}{self.prefix}{name}"

    def _argument(self, wanted: str, values: list[Any]) -> str:
        """The name of a number that differs: an argument of the class, or the length of one."""
        key = (tuple(values), tuple(self.paths))
        if key not in self.known:
            self.known[key] = self.names.take(wanted, "size")
            tuples = {k[0]: n for k, n in self.known.items() if k[1] == key[1] and isinstance(k[0][0], tuple)}
            lengths = {tuple(map(len, k)): n for k, n in tuples.items()}
            if self.prefix and tuple(values) in lengths:
                self.class_.stored[self.known[key]] = f"len({lengths[tuple(values)]})"
            else:
                self.class_.arguments[self.known[key]] = dict(zip(self.paths, values, strict=True))
        if self.prefix:
            self.class_.stored.setdefault(self.known[key], self.known[key])
        return self.known[key]


def _groups(blank: Blank) -> dict[str, Blank]:
    """The sizes of a shape, those of a pack of axes (`Out1`, `Out2`) together."""
    groups: dict[str, list[int]] = {}
    for i, axis in enumerate(blank.axes):
        groups.setdefault(axis.rstrip("0123456789") or axis, []).append(i)
    if [i for g in groups.values() for i in g] != list(range(len(blank.axes))):  # not side by side
        groups = {axis: [i] for i, axis in enumerate(blank.axes)}
    return {
        name: Blank(tuple(blank.value[i] for i in group), name, tuple(blank.axes[i] for i in group))
        for name, group in groups.items()
    }


def construction(emission: Emission, class_: Class, path: Path) -> str:
    """The call that builds the instance at a path."""
    arguments: list[str] = []
    named = False
    for name, values in class_.arguments.items():
        value = values.get(path, next(iter(values.values())))
        mark = emission.blanks.mark(value, name)
        named = named or (bool(arguments) and not isinstance(value, tuple))
        arguments.append(f"{name}={mark}" if named else mark)
    return f"{class_.name}({', '.join(arguments)})"


def class_lines(emission: Emission, class_: Class) -> list[Line]:
    """The lines of a class, its first line excepted."""
    drafts = class_.drafts
    build = [_merged(emission, class_, [d.build[i] for d in drafts]) for i in range(len(drafts[0].build))]
    reset = [_merged(emission, class_, [d.reset[i] for d in drafts]) for i in range(len(drafts[0].reset))]
    buffers = dict.fromkeys(b for d in drafts for found in d.methods.values() for b in found[0].noise)
    sections = [[Line(f"{b}: Tensor", 1) for b in buffers]] if buffers else []
    if build or class_.arguments:
        arguments = "".join(f", {n}: {_annotation(v)}" for n, v in class_.arguments.items())
        start = [Line(f"def __init__(self{arguments}) -> None:", 1), Line("super().__init__()", 2)]
        sections.append([*start, *(Line(f"self.{n} = {text}", 2) for n, text in class_.stored.items()), *build])
    if reset:
        sections.append([Line("def reset_parameters(self, generator: torch.Generator) -> None:", 1), *reset])
    for name in dict.fromkeys(n for d in drafts for n in d.methods):
        methods = [m for d in drafts for m in d.methods.get(name, [])]
        lines = method_lines(emission, name, methods)
        sections.append([replace(line, text=_filled(emission, class_, line)) for line in lines])
    return [line for section in sections for line in (Line(""), *section)][1:]


def _filled(emission: Emission, class_: Class, line: Line) -> str:
    return emission.blanks.fill(line.text, lambda n: class_.written[n])


def _merged(emission: Emission, class_: Class, lines: list[Line]) -> Line:
    """One line for all instances: numbers written, shapes generalised."""
    shapes = tuple(common([line.shapes[i] for line in lines]) for i in range(len(lines[0].shapes)))
    return Line(_filled(emission, class_, lines[0]), lines[0].indent, shapes)


def _annotation(values: dict[Path, object]) -> str:
    value = next(iter(values.values()))
    return "tuple[int, ...]" if isinstance(value, tuple) else type(value).__name__
