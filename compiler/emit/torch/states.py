"""`initial_states`: what a step program remembers before the first token."""

from __future__ import annotations

from ....lang import errors
from ....lang.diagnostics import WeftError
from ...ir.module import Function, Module, State
from .calls import site_of
from .names import key_part
from .text import Line, laid_out, shape_of


def initial_states_lines(module: Module, parameter: str | None) -> list[str]:
    """The method of the root that makes all states, layer by layer in loops."""
    lines = ["    def initial_states(self, batch: int) -> dict[str, Tensor]:"]
    if any(s.kind == "constant" for f in module.functions.values() for s in f.states):
        lines += [
            '        """The states before the first token, by the path of the place that keeps them.',
            "",
            "        What depends on no token is not among them: `encode` computes it, once.",
            '        """',
        ]
    else:
        lines.append('        """The states before the first token, by the path of the place that keeps them."""')
    like = f"self.{parameter}" if parameter else "torch.zeros(())"
    body: list[str] = []
    _walk(module, module.main, [], body, 2, 0)
    if any("like" in line for line in body):
        lines.append(f"        like = {like}")
    return [*lines, "        states = {}", *body, "        return states"]


def _walk(module: Module, function: Function, path: list[str], lines: list[str], indent: int, depth: int) -> None:
    for state in (s for s in function.states if s.kind != "constant"):
        key = ".".join((*path, key_part(state.name)))
        quoted = f'f"{key}"' if "{" in key else f'"{key}"'
        text = f"states[{quoted}] = {_initial(module, state)}"
        lines += laid_out(Line(text, indent, (shape_of(state.type.axes),)), text)
    for node in function.graph.nodes():
        if node.op == "call":
            _walk(module, module.functions[node["callee"]], [*path, site_of(node)], lines, indent, depth)
        elif node.op == "repeat":
            for body in range(len(node["bodies"])):
                layers = [i for i, b in enumerate(node["schedule"]) if b == body]
                number = "ijklmn"[depth % 6]
                inner: list[str] = []
                callee = module.functions[node["bodies"][body]]
                _walk(module, callee, [*path, site_of(node), f"{{{number}}}"], inner, indent + 1, depth + 1)
                if inner:
                    lines += [f"{'    ' * indent}for {number} in {_numbers(layers)}:", *inner]


def _numbers(layers: list[int]) -> str:
    """Layer numbers as a range where they are regular."""
    step = layers[1] - layers[0] if len(layers) > 1 else 1
    if layers == list(range(layers[0], layers[-1] + 1, step)):
        if step == 1:
            return f"range({layers[0]}, {layers[-1] + 1})" if layers[0] else f"range({layers[-1] + 1})"
        return f"range({layers[0]}, {layers[-1] + 1}, {step})"
    return str(tuple(layers))


def _initial(module: Module, state: State) -> str:
    sizes = []
    for axis in state.type.axes:
        if axis.size.is_constant:
            sizes.append(str(axis.size.value))
        elif axis.name == state.axis and state.kind in ("grow", "ring"):
            sizes.append("0")
        elif str(axis.size) == module.batch:
            sizes.append("batch")
        else:
            why = f"its axis {axis} has no length before the first token"
            raise WeftError(errors.not_in_torch(f"the state `{state.name}`", why, None))
    shape = ", ".join(sizes) or "()"
    if isinstance(state.initial, str):
        raise WeftError(errors.not_in_torch(f"the state `{state.name}`", "its first value is computed", None))
    value = state.initial
    dtype = {"int": "torch.int64", "bool": "torch.bool"}.get(state.type.dtype, "")
    if state.kind == "carry" and not dtype:
        dtype = "torch.get_default_dtype()"
    options = f", dtype={dtype}" if dtype else ""
    if value == 0:
        return f"like.new_zeros({shape}{options})"
    if value == 1:
        return f"like.new_ones({shape}{options})"
    return f"like.new_full(({shape},), {value!r}{options})"
