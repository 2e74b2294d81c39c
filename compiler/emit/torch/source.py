"""The whole file: imports, functions, classes from the leaves to the root."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

from ...ir.module import Function, Instance, Layers, Module, Path
from .body import write
from .classes import Class, Draft, class_lines, construction, draft, finish
from .emission import Emission
from .head import Head, is_language_model, split
from .helpers import helper_texts
from .loss import IN_CHUNKS, loss_lines
from .method import Method
from .noise import noise_lines, refuse_shared_noise
from .places import instance_at
from .primitives import emit
from .signature import method_lines
from .states import initial_states_lines
from .text import Line, Precision, laid_out


def to_torch(module: Module, recomputed: Mapping[str, int] | None = None) -> str:
    """A module as the source of a PyTorch file. Its root class has the module's name.

    `recomputed`: path of a repeat -> of how many of its first layers only the inputs are kept for the backward pass,
    which then computes them once more (Chen et al. 2016). Results and gradients are the same to the last bit.

    Raises WeftError (E0810) for what PyTorch cannot say.
    """
    head: Head | None = split(module) if is_language_model(module) else None
    if head is not None:
        module = head.module
    emission = Emission(module, write, emit, recomputed or {})
    entry = module.main
    root = emission.method(entry, _given(entry))
    if module.encoder:
        encoder = module.functions[module.encoder]
        emission.method(encoder, _given(encoder))
    refuse_shared_noise(emission, root)
    return _file(emission, _classes(emission), root, head)


def _given(function: Function) -> list[Precision]:
    """In which precision the inputs of an entry come."""
    return [Precision.COMPUTE if type.dtype == "real" else Precision.WHOLE for _, type in function.inputs]


# ------------------------------------------------------------------ classes


def _classes(emission: Emission) -> list[Class]:
    """All classes, children before parents: instances of one height are compared with each other."""
    heights = _heights(emission)
    made: dict[Path, str] = {}
    found: list[Class] = []
    for height in range(max(heights.values()) + 1):
        here: list[Class] = []
        for path in (p for p, h in heights.items() if h == height):
            _sort_in(here, draft(emission, path, made), is_root=not path)
        for class_ in here:
            word = class_.drafts[0].word
            class_.name = emission.module.name if class_.drafts[0].path == () else _class_name(emission, word)
            finish(emission, class_)
            for one in class_.drafts:
                made[one.path] = construction(emission, class_, one.path)
        found += here
    return found


def _sort_in(classes: list[Class], one: Draft, is_root: bool) -> None:
    """Add an instance to the first class that fits it, or to a new one; an instance without content has none."""
    if not is_root and not one.build and not one.methods:
        return
    for class_ in classes:
        if class_.drafts[0].word == one.word and class_.accepts(one):
            class_.drafts.append(one)
            return
    classes.append(Class("", [one]))


def _class_name(emission: Emission, word: str) -> str:
    name, count = word, 1
    while name in emission.globals.taken:
        count += 1
        name = f"{word}{count}"
    emission.globals.reserve(name)
    return name


def _heights(emission: Emission) -> Mapping[Path, int]:
    """Every place of an instance, children before parents, with the length of the longest way down."""
    heights: dict[Path, int] = {}

    def visit(path: Path) -> int:
        below = [-1]
        for name, child in instance_at(emission.module, path).children:
            if isinstance(child, Instance):
                below.append(visit((*path, name)))
            else:
                below += [visit((*path, name, k)) for k in _kinds(emission, (*path, name), child)]
        heights[path] = max(below) + 1
        return heights[path]

    visit(())
    return heights


def _kinds(emission: Emission, path: Path, layers: Layers) -> list[int]:
    numbers = emission.places.layers.get(path) or [layers.schedule.index(b) for b in layers.schedule]
    return list(dict.fromkeys(numbers))


# ------------------------------------------------------------------ the file


def _file(emission: Emission, classes: list[Class], root: Method, head: Head | None) -> str:
    module = emission.module
    blocks: list[list[str]] = [_tables_lines(emission)] if emission.tables else []
    blocks += [text.split("\n") for text in helper_texts(emission.helpers)]
    if head is not None and is_language_model(module):
        blocks.append(IN_CHUNKS.strip("\n").split("\n"))
    for method in emission.free:
        lines = method_lines(emission, method.name, [method, *method.twins])
        blocks.append(_shown(emission, lines))
    for class_ in classes:
        body = _shown(emission, class_lines(emission, class_))
        if not class_.drafts[0].path:
            body += _root_lines(emission, classes, root, head)
        blocks.append([f"class {class_.name}(nn.Module):", *(body or ["    pass"])])
    text = "\n\n\n".join("\n".join(block) for block in blocks)
    return f"{_opening(module, text)}\n\n\n{text}\n"


def _shown(emission: Emission, lines: list[Line]) -> list[str]:
    return [text for line in lines for text in (laid_out(line, emission.blanks.fill(line.text)) if line.text else [""])]


def _tables_lines(emission: Emission) -> list[str]:
    """Tuples of numbers that the program looks up."""
    found = []
    for values, name in emission.tables.items():
        rows = textwrap.wrap(values[1:-1], 112, break_long_words=False)
        found += [f"{name} = (", *(f"    {row}" for row in rows), ")"]
    return found


FORMS = {
    "full": "whole sequences",
    "full+rows": "whole sequences of several documents, or padded ones",
    "step": "new tokens after remembered ones",
    "step+rows": "new tokens after remembered ones, in rows that differ",
}


def _opening(module: Module, body: str) -> str:
    count = module.parameter_count()
    told = f"{module.name}: {count:,} parameters. The forward pass takes {FORMS[module.form]}."
    lines = [f'"""{told if count else f"{module.name}: no parameters."}"""', ""]
    standard = ["import hashlib", ""] if "hashlib." in body else []
    lines += [*standard, "import torch"]
    lines += ["import torch.distributed as dist"] if "dist." in body else []
    lines += ["import torch.nn.functional as F"] if "F." in body else []
    lines += ["from torch import Tensor, nn"]
    lines += ["from torch.utils.checkpoint import checkpoint"] if "checkpoint(" in body else []
    return "\n".join(lines)


def _root_lines(emission: Emission, classes: list[Class], root: Method, head: Head | None) -> list[str]:
    """The methods that every model has besides its forward."""
    module = emission.module
    sections: list[list[str]] = []
    if is_language_model(module):
        named = emission.named.get((), {})
        hidden, logits = (
            next((m for found in named.values() for m in found if head and m.function.name == name), None)
            for name in ((head.hidden, head.logits) if head else ("", ""))
        )
        sections.append([emission.blanks.fill(line) for line in loss_lines(root, hidden, logits, head)])
    if emission.is_step:
        sections.append(initial_states_lines(module, _first_parameter(module)))
    drawn = [c.name for c in classes if c.drafts[0].reset]
    if drawn:
        sections.append(_initialise_lines(drawn, _first_parameter(module)))
    if any(m.noise for c in classes for d in c.drafts for found in d.methods.values() for m in found):
        sections.append(noise_lines())
    return [line for section in sections for line in ("", *section)]


def _first_parameter(module: Module) -> str | None:
    first = next(iter(module.parameters()), None)
    if first is None:
        return None
    parts = first[0].split(".")
    return "".join(f"[{p}]" if p.isdigit() else f".{p}" for p in parts).removeprefix(".")


def _initialise_lines(drawn: list[str], parameter: str | None) -> list[str]:
    wanted = drawn[0] if len(drawn) == 1 else f"({', '.join(drawn)})"
    return [
        "    def initialise(self, seed: int) -> None:",
        '        """Draw all parameters anew."""',
        f"        generator = torch.Generator(self.{parameter}.device).manual_seed(seed)",
        "        for module in self.modules():",
        f"            if isinstance(module, {wanted}):",
        "                module.reset_parameters(generator)",
    ]
