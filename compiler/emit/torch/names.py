"""Identifiers of emitted source: every one is checked and taken from a table, so no text of a spec becomes code."""

from __future__ import annotations

import builtins
import keyword
import re

from ....lang import errors
from ....lang.diagnostics import WeftError
from ....lang.source import Span

IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")

# What emitted source uses by name and must not hide.
IMPORTED = frozenset(("torch", "nn", "F", "Tensor", "checkpoint", "hashlib", "dist", "self"))
RESERVED = frozenset((*keyword.kwlist, *keyword.softkwlist, *dir(builtins), *IMPORTED))

# What every torch.nn.Module has already: a member of that name would break it.
MODULE_ATTRIBUTES = frozenset(
    (
        *("T_destination", "add_module", "apply", "bfloat16", "buffers", "call_super_init", "children"),
        *("compile", "cpu", "cuda", "double", "dump_patches", "eval", "extra_repr", "float", "forward"),
        *("get_buffer", "get_extra_state", "get_parameter", "get_submodule", "half", "ipu"),
        *("load_state_dict", "modules", "mtia", "named_buffers", "named_children", "named_modules"),
        *("named_parameters", "parameters", "register_backward_hook", "register_buffer"),
        *("register_forward_hook", "register_forward_pre_hook", "register_full_backward_hook"),
        *("register_full_backward_pre_hook", "register_load_state_dict_post_hook"),
        *("register_load_state_dict_pre_hook", "register_module", "register_parameter"),
        *("register_state_dict_post_hook", "register_state_dict_pre_hook", "requires_grad_"),
        *("set_extra_state", "set_submodule", "share_memory", "state_dict", "to", "to_empty", "train"),
        *("training", "type", "xpu", "zero_grad"),
    )
)


def identifier(text: str, fallback: str) -> str:
    """`text` made fit to be a name of ours: with an underscore behind it if it is taken, or `fallback`."""
    if IDENTIFIER.match(text) is None or text.startswith("__"):
        return fallback
    return f"{text}_" if text in RESERVED else text


def member(name: str, span: Span | None, reserved: tuple[str, ...] = ()) -> str:
    """The name of a parameter or child, which its path fixes. Raises WeftError if an nn.Module cannot have it."""
    taken = name in MODULE_ATTRIBUTES or name in reserved or name.startswith("_")
    if taken or IDENTIFIER.match(name) is None or keyword.iskeyword(name):
        raise WeftError(errors.not_in_torch(f"a member called `{name}`", "torch.nn.Module uses this name itself", span))
    return name


def key_part(text: str, span: Span | None = None) -> str:
    """A call's or a state's name as a part of the key of a state. Raises WeftError for unusual characters."""
    if re.fullmatch(r"[A-Za-z0-9_.]+", text) is None:
        raise WeftError(errors.not_in_torch(f"the name {text!r}", "it holds unusual characters", span))
    return text


def root_name(text: str) -> str:
    """The name of the root class. Raises WeftError if a class cannot have it."""
    if IDENTIFIER.match(text) is None or text in RESERVED or text.startswith("__"):
        raise WeftError(errors.not_in_torch(f"a model called `{text}`", "the emitted file uses this name itself", None))
    return text


class Names:
    """The names taken in one place of emitted source."""

    def __init__(self, taken: frozenset[str] = RESERVED) -> None:
        self.taken = set(taken)

    def reserve(self, *names: str) -> None:
        self.taken.update(names)

    def take(self, wanted: str, fallback: str = "y") -> str:
        """A name that is free: the wanted one, or one with a number behind it."""
        base = name = identifier(wanted, fallback)
        count = 1
        while name in self.taken:
            count += 1
            name = f"{base}_{count}"
        self.taken.add(name)
        return name
