"""Adapters of a model written as files that PEFT loads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from ...compiler.adaptation import Adaptation
from ...compiler.stand_ins import StandIn
from ...lang import errors
from ...lang.diagnostics import WeftError
from ...lang.weight_map import StoredTensor
from .. import files
from ..hub.layout import write_stored
from .merge import PARTS
from .modules import StoredMatrix, stored_matrices
from .peft_config import CONFIG
from .peft_reading import PREFIX, WEIGHTS

CHANGES = ("LoRA", "LoRAEmbedding", "DoRA")


def write_adapter(
    folder: Path, adaptation: Adaptation, weights: Mapping[str, Tensor], tensors: Sequence[StoredTensor],
    base: str = "", replaced: Collection[str] = (),
) -> None:
    """Write `adapter_config.json` and `adapter_model.safetensors`.

    `weights` are those of the adapted model by path, `tensors` those of the checkpoint map of the original; `base` is
    what the config calls the base model. Of the original's weights those in `replaced` are written, too
    (`modules_to_save`). Raises WeftError for adapters that PEFT has no form for.
    """
    kinds = {s.block for s in adaptation.stand_ins.values()} - {*PARTS, "PrefixKeys"}
    task = "CAUSAL_LM" if adaptation.module.stream is not None else None
    config: dict[str, Any] = {"base_model_name_or_path": base or None, "inference_mode": True, "task_type": task}
    if kinds == {"PrefixValues"}:
        found, given = _prefix(adaptation, weights)
    elif kinds == {"PromptEmbedding"}:
        found, given = _prompt(adaptation, weights)
    elif (kinds and kinds <= set(CHANGES)) or kinds == {"IA3"}:
        matrices = stored_matrices(tensors, adaptation.original)
        write = _ia3 if kinds == {"IA3"} else _lora
        found, given = write(adaptation, weights, matrices)
        given["modules_to_save"] = _saved(adaptation, weights, tensors, replaced, found)
    else:
        raise WeftError(errors.not_writable_adapter(f"they are {errors.one_of(sorted(kinds), 'and')}"))
    folder.mkdir(parents=True, exist_ok=True)
    held = {k: v.contiguous() for k, v in found.items()}
    safetensors.torch.save_file(held, folder / WEIGHTS, metadata={"format": "pt"})
    files.write_json(folder / CONFIG, {**config, **given})


# ------------------------------------------------------------------ matrices


@dataclass(frozen=True)
class _Adapted:
    """A module and the adapter of each instance in it; None for an instance that has none."""

    at: StoredMatrix
    stand_ins: tuple[StandIn | None, ...]

    @property
    def present(self) -> list[StandIn]:
        return [s for s in self.stand_ins if s is not None]


def _adapted(adaptation: Adaptation, matrices: Mapping[str, StoredMatrix]) -> list[_Adapted]:
    """All modules with adapters. Raises WeftError for adapters of other parts, and around other adapters."""
    left = {p: s for p, s in adaptation.stand_ins.items() if s.block not in PARTS}
    nested = next((p for p in left if f"{p}.base" in left), None)
    if nested is not None:
        raise WeftError(errors.not_writable_adapter(f"`{nested}` is an adapter of an adapter"))
    found = []
    for at in matrices.values():
        here = tuple(left.get(site) for site in at.sites)
        if any(here):
            found.append(_Adapted(at, here))
    reached = {s for one in found for s in one.at.sites}
    lost = next((p for p in left if p not in reached), None)
    if lost is not None:
        raise WeftError(errors.not_writable_adapter(f"`{lost}` is no module with a matrix"))
    return found


def _lora(
    adaptation: Adaptation, weights: Mapping[str, Tensor], matrices: Mapping[str, StoredMatrix]
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    modules = _adapted(adaptation, matrices)
    blocks = {s.block for one in modules for s in one.present}
    if "DoRA" in blocks and len(blocks) > 1:
        raise WeftError(errors.not_writable_adapter("all of them are DoRA, or none"))
    stabilised = all(s.settings["stabilised"] for one in modules for s in one.present)
    biased = {bool(s.settings.get("bias")) for one in modules for s in one.present}
    if len(biased) > 1:
        raise WeftError(errors.not_writable_adapter("all of them add an offset, or none"))
    dropouts = {float(s.settings.get("dropout", 0.0)) for one in modules for s in one.present}
    found: dict[str, Tensor] = {}
    ranks: dict[str, int] = {}
    alphas: dict[str, float] = {}
    for one in modules:
        name, change = one.at.name, _change(one, weights)
        ranks[name] = change.rank
        alphas[name] = change.scale * (change.rank**0.5 if stabilised else change.rank)
        table = one.present[0].block == "LoRAEmbedding"
        ends = ("lora_embedding_A", "lora_embedding_B") if table else ("lora_A.weight", "lora_B.weight")
        down, up = one.at.down(change.rank), one.at.up(change.rank)
        found[f"{PREFIX}{name}.{ends[0]}"] = write_stored(_single(down), change.a[:1])
        found[f"{PREFIX}{name}.{ends[1]}"] = write_stored(up, change.b)
        if any(biased):
            found[f"{PREFIX}{name}.lora_B.bias"] = _outgoing(one, weights, "delta.offset", 0.0)
        if "DoRA" in blocks:
            if None in one.stand_ins:
                raise WeftError(errors.not_writable_adapter(f"`{name}` packs weights that have no DoRA"))
            found[f"{PREFIX}{name}.lora_magnitude_vector"] = _outgoing(one, weights, "magnitude", 1.0)
    rank, alpha = _commonest(ranks.values()), _commonest(alphas.values())
    return found, {
        "peft_type": "LORA", "r": rank, "lora_alpha": _whole(alpha),
        "rank_pattern": {m: r for m, r in ranks.items() if r != rank},
        "alpha_pattern": {m: _whole(a) for m, a in alphas.items() if a != alpha},
        "use_rslora": stabilised, "use_dora": "DoRA" in blocks, "lora_bias": any(biased), "bias": "none",
        "lora_dropout": max(dropouts), "fan_in_fan_out": _transposed(modules),
        "target_modules": _targets([one.at.name for one in modules], matrices),
    }  # fmt: skip


@dataclass(frozen=True)
class _Change:
    """The A and B of a module, one for each of its instances; all A are the same."""

    a: list[Tensor]
    b: list[Tensor]
    rank: int
    scale: float


def _change(one: _Adapted, weights: Mapping[str, Tensor]) -> _Change:
    """What is packed into one matrix has one A: a common one stays, others are laid side by side.

    b_j of instance j then stands in its own part of the rank: [a_1 a_2] [[b_1, 0], [0, b_2]].
    """
    present = one.present
    first = present[0]
    same = all(
        torch.equal(weights[f"{s.path}.delta.a"], weights[f"{first.path}.delta.a"])
        and s.settings["scale"] == first.settings["scale"]
        for s in present
    )
    scale = float(first.settings["scale"])
    chosen = [first] if same else present
    a = torch.cat([weights[f"{s.path}.delta.a"] for s in chosen], dim=-1)
    rank = a.shape[-1]
    begins = {s.path: sum(int(p.settings["rank"]) for p in chosen[:i]) for i, s in enumerate(chosen)}
    b = []
    for stand_in, form in zip(one.stand_ins, one.at.forms, strict=True):
        outputs = form.sizes[form.copies + form.inputs :]
        part = torch.zeros((*form.sizes[: form.copies], rank, *outputs), dtype=a.dtype)
        if stand_in is not None:
            own = weights[f"{stand_in.path}.delta.b"]
            place = part.narrow(form.copies, begins.get(stand_in.path, 0), own.shape[form.copies])
            place.copy_(own * (float(stand_in.settings["scale"]) / scale))
        b.append(part)
    return _Change([a], b, rank, scale)


def _single(tensor: StoredTensor) -> StoredTensor:
    """A tensor that is the same for all weights that a module packs, as that of the first."""
    return replace(tensor, members=tensor.members[:1])


def _ia3(
    adaptation: Adaptation, weights: Mapping[str, Tensor], matrices: Mapping[str, StoredMatrix]
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    modules = _adapted(adaptation, matrices)
    found: dict[str, Tensor] = {}
    feedforward = []
    for one in modules:
        name = one.at.name
        inputs = {bool(s.settings["inputs"]) for s in one.present}
        if inputs == {False}:
            found[f"{PREFIX}{name}.ia3_l"] = _outgoing(one, weights, "scale.factor", 1.0)[:, None]
            continue
        factors = [weights[f"{s.path}.scale.factor"] for s in one.present]
        if len(inputs) > 1 or None in one.stand_ins or any(not torch.equal(f, factors[0]) for f in factors):
            raise WeftError(errors.not_writable_adapter(f"`{name}` packs weights whose inputs have different factors"))
        found[f"{PREFIX}{name}.ia3_l"] = write_stored(_single(one.at.incoming()), factors[:1])[None, :]
        feedforward.append(name)
    return found, {
        "peft_type": "IA3", "target_modules": _targets([one.at.name for one in modules], matrices),
        "feedforward_modules": _targets(feedforward, matrices), "fan_in_fan_out": _transposed(modules),
    }  # fmt: skip


def _outgoing(one: _Adapted, weights: Mapping[str, Tensor], name: str, neutral: float) -> Tensor:
    """One number for each output of a module; `neutral` where an instance has no adapter."""
    kind = weights[f"{one.present[0].path}.{name}"].dtype
    parts = []
    for stand_in, form in zip(one.stand_ins, one.at.forms, strict=True):
        outputs = (*form.sizes[: form.copies], *form.sizes[form.copies + form.inputs :])
        parts.append(
            torch.full(outputs, neutral, dtype=kind) if stand_in is None else weights[f"{stand_in.path}.{name}"]
        )
    return write_stored(one.at.outgoing(), parts)


def _targets(modules: Sequence[str], matrices: Mapping[str, StoredMatrix]) -> list[str]:
    """Last parts of names where they mean all that end so and are adapted; whole names otherwise."""
    named = set(modules)
    short = {m.rpartition(".")[2] for m in modules}
    whole = {s for s in short if all(m in named for m in matrices if m.rpartition(".")[2] == s)}
    return sorted(whole) + [m for m in modules if m.rpartition(".")[2] not in whole]


def _transposed(modules: Iterable[_Adapted]) -> bool:
    return any(one.at.transposed for one in modules if one.present[0].block != "LoRAEmbedding")


def _commonest(values: Iterable[Any]) -> Any:
    return Counter(values).most_common(1)[0][0]


def _whole(number: float) -> int | float:
    return int(number) if number == int(number) else number


def _saved(
    adaptation: Adaptation, weights: Mapping[str, Tensor], tensors: Sequence[StoredTensor], replaced: Collection[str],
    found: dict[str, Tensor],
) -> list[str] | None:
    """Write whole tensors of the base beside the adapters; the names of their modules."""
    modules = []
    for tensor in tensors:
        if any(m.path in replaced for m in tensor.members):
            if not all(adaptation.paths[m.path] == m.path for m in tensor.members):
                raise WeftError(errors.not_writable_adapter(f"`{tensor.name}` is both adapted and replaced"))
            found[PREFIX + tensor.name] = write_stored(tensor, [weights[m.path] for m in tensor.members])
            modules.append(tensor.name.rpartition(".")[0])
    return sorted(set(modules)) or None


# ------------------------------------------------------------------ virtual tokens


def _prefix(adaptation: Adaptation, weights: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    sites = [p.removesuffix(".v") for p, s in adaptation.stand_ins.items() if s.block == "PrefixValues"]
    counts = {int(adaptation.stand_ins[f"{s}.v"].settings["count"]) for s in sites}
    if len(counts) > 1:
        raise WeftError(errors.not_writable_adapter("all layers have prefixes of one length"))
    parts = [weights[p] for s in sites for p in (f"{s}.pos.keys", f"{s}.v.prefix.values")]
    count, heads, width = parts[0].shape
    table = torch.stack(parts, dim=1).reshape(count, -1)
    return {"prompt_embeddings": table}, {
        "peft_type": "PREFIX_TUNING", "num_virtual_tokens": count, "num_layers": len(sites),
        "num_attention_heads": heads, "token_dim": heads * width, "encoder_hidden_size": heads * width,
        "num_transformer_submodules": 1, "prefix_projection": False,
    }  # fmt: skip


def _prompt(adaptation: Adaptation, weights: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    (site,) = (s for s in adaptation.stand_ins.values() if s.block == "PromptEmbedding")
    table = weights[f"{site.path}.prompt.table"]
    if f"{site.path}.encoder" in adaptation.stand_ins:
        table = _encoded(table, f"{site.path}.encoder", weights)
    return {"prompt_embeddings": table}, {
        "peft_type": "PROMPT_TUNING", "num_virtual_tokens": table.shape[0], "token_dim": table.shape[1],
        "num_transformer_submodules": 1, "prompt_tuning_init": "RANDOM",
    }  # fmt: skip


def _encoded(table: Tensor, encoder: str, weights: Mapping[str, Tensor]) -> Tensor:
    """What the encoder of p-tuning makes of its table: with it applied, p-tuning is prompt tuning."""
    result = table.double()
    for layer in ("up", "mid", "down"):
        weight, offset = (weights[f"{encoder}.{layer}.{name}"].double() for name in ("weight", "offset"))
        result = (result if layer == "up" else result.relu()) @ weight + offset
    return result.to(table.dtype)
