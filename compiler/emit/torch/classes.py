"""Classes: one per block, with arguments for what differs between its instances."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ...ir.module import Instance, Layers, Path
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
        return {"build": self.build, "reset": self.reset, **{f"method {n}": m[0].lines for n, m in self.methods.items()}}

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
    """A class and the instances it serves. `arguments`: name -> the value for each instance, by path."""

    name: str
    drafts: list[Draft]
    arguments: dict[str, dict[Path, object]] = field(default_factory=dict)
    written: dict[int, str] = field(default_factory=dict)
    stored: dict[str, None] = field(default_factory=dict)

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
    reserved = ("loss", "summed_loss", "initialise", "initial_states", "set_noise", "reset_parameters") if not path else ("reset_parameters",)
    build, reset = [], []
    for parameter in instance.parameters:
        name = member(parameter.name, parameter.origin.first_span(), reserved)
        label = "shape" if len(instance.parameters) == 1 else f"{name}_shape"
        shape = emission.blanks.mark(parameter.shape, label, parameter.type.names, bare=True)
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
            build.append(Line(f"self.{member(name, None, reserved)} = {text}", 2))
            members.append(name)
    return Draft(path, class_word(instance), build, reset, methods, tuple(members))


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
    count = emission.blanks.mark(len(numbers), "layers", ("layers",))
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
    known: dict[tuple[object, ...], str] = {}
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
    known: dict[tuple[object, ...], str]
    prefix: str

    def write(self, blanks: list[Blank]) -> str:
        """One blank, as it is in every instance."""
        values = [b.value for b in blanks]
        if all(v == values[0] and type(v) is type(values[0]) for v in values):
            return show(values[0], blanks[0].bare)
        lengths = {len(v) if isinstance(v, tuple) else None for v in values}
        if len(lengths) == 1 and None not in lengths and _labelled(blanks):
            parts = [
                self.write([Blank(b.value[i], label, (label,)) for b in blanks]) for i, label in enumerate(blanks[0].labels)
            ]
            return ", ".join(parts) if blanks[0].bare else f"({', '.join(parts)}{',' if len(parts) == 1 else ''})"
        key = (tuple(values), tuple(self.paths))
        if key not in self.known:
            self.known[key] = self.names.take(blanks[0].name, "size")
            self.class_.arguments[self.known[key]] = dict(zip(self.paths, values, strict=True))
        if self.prefix:
            self.class_.stored[self.known[key]] = None
        return f"{self.prefix}{self.known[key]}"


def _labelled(blanks: list[Blank]) -> bool:
    """Whether the entries of tuples mean the same everywhere, so that each can be an argument of its own."""
    return bool(blanks[0].labels) and all(b.labels == blanks[0].labels for b in blanks)


def construction(emission: Emission, class_: Class, path: Path) -> str:
    """The call that builds the instance at a path."""
    arguments = []
    for i, (name, values) in enumerate(class_.arguments.items()):
        value = values.get(path, next(iter(values.values())))
        labels = (name,) if not isinstance(value, tuple) else tuple(f"{name}_{j}" for j in range(len(value)))
        mark = emission.blanks.mark(value, name, labels)
        arguments.append(mark if i == 0 else f"{name}={mark}")
    return f"{class_.name}({', '.join(arguments)})"


def class_lines(emission: Emission, class_: Class) -> list[Line]:
    """The lines of a class, its first line excepted."""
    drafts = class_.drafts
    build = [_merged(emission, class_, [d.build[i] for d in drafts]) for i in range(len(drafts[0].build))]
    reset = [_merged(emission, class_, [d.reset[i] for d in drafts]) for i in range(len(drafts[0].reset))]
    sections = []
    if build:
        arguments = "".join(f", {n}: {_annotation(v)}" for n, v in class_.arguments.items())
        start = [Line(f"def __init__(self{arguments}) -> None:", 1), Line("super().__init__()", 2)]
        sections.append([*start, *(Line(f"self.{n} = {n}", 2) for n in class_.stored), *build])
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
