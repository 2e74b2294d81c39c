"""Adapters in the files of PEFT, read as a program with adapters and their weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from ...compiler.adaptation import Adaptation, changed, prefix_value, stand_in
from ...compiler.changes import instances
from ...compiler.compile import compile
from ...compiler.ir.module import join
from ...lang import errors
from ...lang.diagnostics import WeftError
from ...lang.layouts import shape as shape_of
from ...lang.program import Program
from ...lang.weight_map import StoredTensor
from ..hub.layout import read_member
from .modules import StoredMatrix, stored_matrices
from .peft_config import PeftConfig, read_config

WEIGHTS = "adapter_model.safetensors"
PREFIX = "base_model.model."


@dataclass(frozen=True)
class ReadAdapter:
    """An adapter: the model with it, its weights by path there, and weights of the original that it brings itself."""

    adaptation: Adaptation
    weights: Mapping[str, Tensor]
    replaced: Mapping[str, Tensor]

    def all_weights(self, base: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
        """`(path, tensor)` of every weight of the adapted model; `base` are those of the original."""
        was = {new: old for old, new in self.adaptation.paths.items()}
        for path in self.adaptation.parameters:
            old = was.get(path)
            yield path, self.weights[path] if old is None else self.replaced.get(old, base[old])


@dataclass
class _Found:
    """What is read so far: values of parts by path, and tensors by paths in the adapted model."""

    values: dict[str, str] = field(default_factory=dict)
    weights: dict[str, Tensor] = field(default_factory=dict)
    replaced: dict[str, Tensor] = field(default_factory=dict)


def read_adapter(
    folder: Path, tensors: Sequence[StoredTensor], program: Program, model: str, name: str | None = None
) -> ReadAdapter:
    """The adapter in a folder, on a model whose checkpoint map gives `tensors`; the adapted model is called `name`.

    Raises WeftError for what the model has no place for, and for keys of the config that are not understood.
    """
    config = read_config(folder)
    stored = _tensors(folder)
    original = compile(program, model)
    blocks = instances(original)
    found = _Found()
    if config.kind in ("LORA", "IA3"):
        matrices = stored_matrices(tensors, original)
        read = _lora if config.kind == "LORA" else _ia3
        rest = read(config, stored, matrices, found)
        _replace(config, rest, tensors, {p: q.shape for p, q in original.parameters()}, found)
    else:
        embeddings = stored.pop("prompt_embeddings", None)
        if embeddings is None or stored:
            raise config.refuse(f"`{WEIGHTS}` should hold `prompt_embeddings` and nothing else")
        if config.kind == "PREFIX_TUNING":
            _prefix(config, embeddings, [join(p) for p, b in blocks.items() if b == "Attention"], found)
        else:
            _prompt(config, embeddings, [join(p) for p, b in blocks.items() if b == "Embedding"], tensors, found)
    values = {p: found.values[join(p)] for p in blocks if join(p) in found.values}
    adaptation = changed(program, model, values, name, original)
    for path in adaptation.trainable:
        shape = adaptation.parameters[path].shape
        if path not in found.weights or tuple(found.weights[path].shape) != shape:
            given = list(found.weights[path].shape) if path in found.weights else "missing"
            raise config.refuse(f"`{path}` should be {list(shape)}, it is {given}")
    return ReadAdapter(adaptation, found.weights, found.replaced)


def _tensors(folder: Path) -> dict[str, Tensor]:
    if not (folder / WEIGHTS).is_file():
        pickled = next((p.name for p in folder.glob("*.bin")), None)
        reason = f"`{WEIGHTS}` is missing"
        if pickled is not None:
            reason += f"; `{pickled}` is a pickle, which may run any code when it is read: convert it to safetensors"
        raise WeftError(errors.unreadable_adapter(str(folder), reason))
    try:
        return dict(safetensors.torch.load_file(folder / WEIGHTS))
    except (OSError, SafetensorError) as error:
        raise WeftError(errors.unreadable_adapter(str(folder), f"`{WEIGHTS}`: {error}")) from error


# ------------------------------------------------------------------ matrices

_LORA = {
    "lora_A.weight": "a", "lora_B.weight": "b", "lora_B.bias": "bias", "lora_embedding_A": "a", "lora_embedding_B": "b",
    "lora_magnitude_vector": "magnitude", "lora_magnitude_vector.weight": "magnitude",
}  # fmt: skip


def _by_module(
    config: PeftConfig, stored: Mapping[str, Tensor], endings: Mapping[str, str], matrices: Mapping[str, StoredMatrix]
) -> tuple[dict[str, dict[str, Tensor]], dict[str, Tensor]]:
    """The tensors of adapters by module and role, and the others. Every module that the config means is there."""
    found: dict[str, dict[str, Tensor]] = {}
    rest: dict[str, Tensor] = {}
    for key, tensor in stored.items():
        name = key.removeprefix(PREFIX)
        ending = next((e for e in endings if name.endswith(f".{e}")), None)
        if ending is None:
            rest[name] = tensor
            continue
        module = name.removesuffix(f".{ending}")
        if module not in matrices:
            raise config.refuse(f"the model has no matrix for `{module}`")
        found.setdefault(module, {})[endings[ending]] = tensor
    targets = config.targets(list(matrices))
    for module in dict.fromkeys((*(targets or ()), *found)):
        if module not in found:
            raise config.refuse(f"`target_modules` means `{module}`, but its tensors are missing")
        if targets is not None and module not in targets:
            raise config.refuse(f"there are tensors for `{module}`, which `target_modules` does not mean")
    return found, rest


def _lora(
    config: PeftConfig, stored: Mapping[str, Tensor], matrices: Mapping[str, StoredMatrix], found: _Found
) -> dict[str, Tensor]:
    """Values and weights of all LoRA and DoRA modules; what is left of the tensors."""
    modules, rest = _by_module(config, stored, _LORA, matrices)
    for module, parts in modules.items():
        at = matrices[module]
        if not {"a", "b"} <= parts.keys() or parts["a"].dim() != 2:
            raise config.refuse(f"`{module}` has no A and B")
        rank = parts["a"].shape[0]
        wanted = config.by_pattern("rank_pattern", module, config.get("r", rank))
        if rank != wanted:
            raise config.refuse(f"`{module}` has rank {rank}, the config says {wanted}")
        table = at.tensor.members[0].path.endswith(".table")
        dora = bool(config.get("use_dora", False))
        if dora != ("magnitude" in parts) or (dora and table):
            raise config.refuse(f"`use_dora` and the tensors of `{module}` do not agree")
        settings: dict[str, bool | int | float] = {
            "rank": rank,
            "alpha": float(config.by_pattern("alpha_pattern", module, config.get("lora_alpha", 8))),
            "stabilised": bool(config.get("use_rslora", False)),
        }
        if not table and not dora:
            settings |= {"dropout": float(config.get("lora_dropout", 0.0)), "bias": "bias" in parts}
        block = "LoRAEmbedding" if table else "DoRA" if dora else "LoRA"
        _put(at, at.down(rank), parts["a"], "delta.a", found, rank, stand_in(block, settings))
        _put(at, at.up(rank), parts["b"], "delta.b", found, rank)
        if "bias" in parts:
            _put(at, at.outgoing(), parts["bias"], "delta.offset", found)
        if dora:
            _put(at, at.outgoing(), parts["magnitude"], "magnitude", found)
    return rest


def _ia3(
    config: PeftConfig, stored: Mapping[str, Tensor], matrices: Mapping[str, StoredMatrix], found: _Found
) -> dict[str, Tensor]:
    """Values and weights of all IA3 modules; what is left of the tensors."""
    modules, rest = _by_module(config, stored, {"ia3_l": "factor"}, matrices)
    for module, parts in modules.items():
        at = matrices[module]
        inputs = config.named("feedforward_modules", module)
        form = at.incoming() if inputs else at.outgoing()
        _put(at, form, parts["factor"], "scale.factor", found, value=stand_in("IA3", {"inputs": inputs}))
    return rest


def _put(
    at: StoredMatrix, form: StoredTensor, tensor: Tensor, name: str, found: _Found, rank: int = 0, value: str = ""
) -> None:
    """Cut a tensor of a module into those of the instances whose weights the module packs."""
    for site, member, matrix in zip(at.sites, form.members, at.forms, strict=True):
        copies, inputs = matrix.sizes[: matrix.copies], matrix.sizes[matrix.copies : matrix.copies + matrix.inputs]
        outputs = matrix.sizes[matrix.copies + matrix.inputs :]
        shape = {
            "delta.a": (*copies, *inputs, rank), "delta.b": (*copies, rank, *outputs),
            "scale.factor": (*copies, *(inputs if form.name.endswith(".inputs") else outputs)),
        }.get(name, (*copies, *outputs))  # fmt: skip
        path = f"{site}.{name}"
        if path not in found.weights:
            found.weights[path] = torch.zeros(shape, dtype=tensor.dtype)
        read_member(tensor.reshape(shape_of(form.layout)), form, member, found.weights[path])
        if value:
            known = found.values.setdefault(site, value)
            if known != value:
                raise WeftError(errors.unreadable_adapter(at.name, f"the copies at `{site}` have different adapters"))


# ------------------------------------------------------------------ whole weights, virtual tokens


def _replace(
    config: PeftConfig, rest: Mapping[str, Tensor], tensors: Sequence[StoredTensor],
    shapes: Mapping[str, tuple[int, ...]], found: _Found,
) -> None:
    """Whole tensors of the base that the adapter brings (`modules_to_save`, `bias`, a table with its LoRA)."""
    known = {t.name: t for t in tensors}
    for name, tensor in rest.items():
        at = known.get(name.replace(".base_layer.", "."))
        if at is None:
            raise config.refuse(f"the model has no place for `{name}`")
        for member in at.members:
            into = found.replaced.setdefault(member.path, torch.zeros(shapes[member.path], dtype=tensor.dtype))
            read_member(tensor, at, member, into)


def _prefix(config: PeftConfig, embeddings: Tensor, sites: Sequence[str], found: _Found) -> None:
    """Keys and values of every layer: [count, 2 layers G K], keys first in each layer."""
    count, layers = int(config.get("num_virtual_tokens")), int(config.get("num_layers"))
    heads = int(config.get("num_attention_heads"))
    if layers != len(sites) or embeddings.shape[0] != count or embeddings.shape[1] % (2 * layers * heads):
        raise config.refuse(f"it has prefixes for {layers} layers, the model has {len(sites)} with attention")
    parts = embeddings.reshape(count, 2 * layers, heads, -1)
    for number, site in enumerate(sites):
        found.values[site] = prefix_value(count)
        found.weights[f"{site}.pos.keys"] = parts[:, 2 * number].clone()
        found.weights[f"{site}.v.prefix.values"] = parts[:, 2 * number + 1].clone()


def _prompt(
    config: PeftConfig, embeddings: Tensor, sites: Sequence[str], tensors: Sequence[StoredTensor],
    found: _Found,
) -> None:
    """Embeddings of virtual tokens, [count, D]: p-tuning is saved with its encoder applied."""
    words = [s for s in sites if any(m.path == f"{s}.table" for t in tensors for m in t.members)]
    if not words:
        raise config.refuse("the model has no embedding of tokens")
    found.values[words[0]] = stand_in("PromptEmbedding", {"count": int(config.get("num_virtual_tokens"))})
    found.weights[f"{words[0]}.prompt.table"] = embeddings.clone()
