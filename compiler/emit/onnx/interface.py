"""The inputs and outputs of the emitted model: Hugging Face's names, symbolic sizes, and what follows from the mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from onnx import ValueInfoProto, helper

from ....lang.axes import TensorType
from ....lang.sizes import Size
from ...ir.module import Module, Path, join
from .layout import ONNX_TYPE, Group, Groups, Tensor, Writer
from .plan import Plan, StoredState, named
from .scope import END, MainScope, Wire, ints
from .sizes import Sizes


@dataclass(frozen=True)
class Port:
    """An input or output of the model: a name, a dtype (real, int, bool) and a length or a symbol per dimension."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]

    def proto(self) -> ValueInfoProto:
        return helper.make_tensor_value_info(self.name, ONNX_TYPE[self.dtype], self.shape)


@dataclass(frozen=True)
class Names:
    """What the symbols of a module are called in the model: `batch`, `sequence` (new tokens), `past` and `total`."""

    module: Module

    def size(self, size: Size) -> int | str:
        if size.is_constant:
            return size.value
        return str(size.substitute({old: Size.symbol(new) for old, new in self._symbols().items()})).replace(" ", "")

    def _symbols(self) -> dict[str, str]:
        module = self.module
        names = {"P": "past"} if "step" in module.form else {}
        if module.stream:
            token, history = module.stream
            names |= {token: "sequence", history: "total" if "step" in module.form else "sequence"}
        names |= {module.batch: "batch", module.sequence: "sequence"}
        return {old: new for old, new in names.items() if old}

    def shape(self, type: TensorType, groups: Groups) -> tuple[int | str, ...]:
        tensor = Tensor(type, groups, None)
        return tuple(self.size(tensor.size(g)) for g in groups)


def described(tensor: Tensor) -> ValueInfoProto:
    """A value inside of the model, with the dimensions whose length is a number."""
    sizes = [tensor.size(g) for g in tensor.groups]
    shape = [s.value if s.is_constant else None for s in sizes]
    assert isinstance(tensor.wire, Wire)
    return helper.make_tensor_value_info(tensor.wire.name, ONNX_TYPE[tensor.type.dtype], shape)


def entry_ports(module: Module) -> list[Port]:
    """The inputs of the entry; its tokens are called `input_ids`."""
    names = Names(module)
    ports: list[Port] = []
    for name, type in module.main.inputs:
        shape = tuple(names.size(a.size) for a in type.axes)
        tokens = type.dtype == "int" and shape == ("batch", "sequence")
        first = not any(p.name == "input_ids" for p in ports)
        ports.append(Port("input_ids" if tokens and first else name, type.dtype, shape))
    return ports


def ambient_ports(module: Module) -> list[Port]:
    """`attention_mask` (1 for tokens, 0 for padding) and `position_ids`, as the form needs them."""
    if "step" in module.form:
        mask = Port("attention_mask", "int", ("batch", "total"))
        return [mask, Port("position_ids", "int", ("batch", "sequence"))] if "rows" in module.form else [mask]
    return [Port("attention_mask", "int", ("batch", "sequence"))] if "rows" in module.form else []


def state_names(stored: StoredState, path: Path) -> tuple[str, str]:
    """`past_key_values.N.key` and `present.N.key` for the cached layers, `past_states.PATH` for other states."""
    if stored.layer is not None:
        end = f"{stored.layer}.{stored.part}"
        return f"past_key_values.{end}", f"present.{end}"
    return f"past_states.{join(path)}", f"present_states.{join(path)}"


def state_ports(module: Module, plan: Plan) -> dict[Path, tuple[Port, Port]]:
    """For every state, the port it comes in by and the one it leaves by."""
    names = Names(module)
    ports = {}
    for path, stored in plan.states.items():
        type = stored.state.type
        before = names.shape(type, named(stored.dimensions, type))
        after = tuple(_after(d) if _grows(stored, i) else d for i, d in enumerate(before))
        read, written = state_names(stored, path)
        ports[path] = (Port(read, type.dtype, before), Port(written, type.dtype, after))
    return ports


def _after(size: int | str) -> int | str:
    return "total" if size == "past" else f"{size}_after"


def _grows(stored: StoredState, dimension: int) -> bool:
    state = stored.state
    if state.kind not in ("grow", "ring") or state.axis is None or state.type.axis(state.axis).size.is_constant:
        return False
    return state.type.index(state.axis) in stored.dimensions[dimension]


def bind_sizes(
    module: Module, sizes: Sizes, inputs: Sequence[Wire], mask: Wire | None, plan: Plan, main: MainScope
) -> None:
    """Where each size symbol is read off: from the tokens, the mask, the states, or a sum of these."""
    for (_, type), wire in zip(module.main.inputs, inputs, strict=True):
        for i, axis in enumerate(type.axes):
            if not axis.size.is_constant and axis.size == Size.symbol(axis.size.symbols[0]):
                sizes.measure(axis.size.symbols[0], wire, i)
    if module.stream and "full" in module.form:
        sizes.define(module.stream[1], Size.symbol(module.stream[0]))
    if "step" in module.form and module.stream and mask is not None:
        token, history = module.stream
        sizes.measure(history, mask, 1)
        sizes.define("P", Size.symbol(history) - Size.symbol(token))
    for path, stored in plan.states.items():
        for i, group in enumerate(named(stored.dimensions, stored.state.type)):
            size = Tensor(stored.state.type, (group,), None).size(group)
            if len(size.symbols) == 1 and size == Size.symbol(size.symbols[0]):
                sizes.measure(size.symbols[0], main.states[path], i)
            if _grows(stored, i):
                sizes.maybe_empty |= set(size.symbols)
    for function in module.functions.values():
        for node in function.graph.nodes():
            if node.op == "append" and len(node["to"].size.symbols) == 1 and not node["to"].size.is_constant:
                before, new = (function.graph.type(v).axis(node["axis"]).size for v in node.operands)
                if node["to"].size != before + new:
                    sizes.define(node["to"].size.symbols[0], before + new)


class Ambients:
    """The ambient values of a form, worked out from `attention_mask` and `position_ids` where they are needed."""

    def __init__(self, module: Module, sizes: Sizes, mask: Wire | None, positions: Wire | None) -> None:
        self.module, self.sizes, self.mask, self.positions = module, sizes, mask, positions

    def read(self, w: Writer, name: str, type: TensorType) -> Tensor:
        """An ambient value under the axis names of one function."""
        if name == "past":
            return Tensor(type, (), self.sizes.scalar(Size.symbol("P")))
        groups: tuple[Group, ...] = tuple((n,) for n in type.names)
        return Tensor(type, groups, self._newest(w, self._counted(w, name), type.axes[-1].size))

    def _counted(self, w: Writer, name: str) -> Wire | None:
        """A value for every token so far, or only for those of this step."""
        if name == "positions" and self.positions is not None:
            return self.positions
        if name in ("positions", "history_positions"):
            seen = w.emit("CumSum", self.mask, np.array(1, np.int64))
            return w.emit("Max", w.emit("Sub", seen, np.array(1, np.int64)), np.array(0, np.int64))
        return self.mask if name == "segments" else w.emit("Cast", self.mask, to=ONNX_TYPE["bool"])

    def _newest(self, w: Writer, wire: Wire | None, columns: Size) -> Wire | None:
        """The last columns of a value that has one for every token so far."""
        everything = Size.symbol(self.module.stream[1] if self.module.stream else self.module.sequence)
        if "step" not in self.module.form or columns == everything or wire is self.positions:
            return wire
        return w.emit("Slice", wire, w.emit("Neg", self.sizes.vector(columns)), END, ints(1))
