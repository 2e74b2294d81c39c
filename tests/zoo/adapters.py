"""Adapters made by `peft` on a tiny random model of `transformers`, with the logits they give."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import peft
import torch
import transformers
from numpy.typing import NDArray
from peft import (
    IA3Config,
    LoraConfig,
    PeftModel,
    PrefixTuningConfig,
    PromptEncoderConfig,
    PromptTuningConfig,
    TaskType,
)

BASES: Mapping[str, tuple[type[Any], dict[str, Any]]] = {
    # 4 heads of 24 for a width of 64, so that a transposed matrix cannot pass
    "llama": (
        transformers.LlamaConfig,
        {
            "vocab_size": 131, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "head_dim": 24,
            "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64,
        },
    ),
    # packed projections, stored input first, tied head
    "gpt2": (
        transformers.GPT2Config,
        {"vocab_size": 131, "n_positions": 64, "n_embd": 48, "n_inner": 80, "n_layer": 2, "n_head": 4},
    ),
}  # fmt: skip
"""Models to adapt: the class of their config and its values."""


def kinds(attention: list[str], mlp: str, embedding: str) -> dict[str, Any]:
    """A config of every kind, on modules of a family."""
    task, both = TaskType.CAUSAL_LM, [*attention, mlp]
    lora: dict[str, Any] = {"task_type": task, "r": 4, "lora_alpha": 8}
    virtual: dict[str, Any] = {"task_type": task, "num_virtual_tokens": 5}
    return {
        "lora": LoraConfig(**lora, target_modules=attention),
        "all-linear": LoraConfig(**lora, target_modules="all-linear"),
        "patterns": LoraConfig(
            **lora, target_modules=both, rank_pattern={mlp: 2}, alpha_pattern={attention[0]: 3}, layers_to_transform=[1]
        ),
        "embedding": LoraConfig(**lora, target_modules=[embedding, *attention]),
        "offsets": LoraConfig(**lora, target_modules=attention, lora_bias=True),
        "rslora": LoraConfig(**lora, target_modules=attention, use_rslora=True),
        "dora": LoraConfig(**lora, target_modules=both, use_dora=True),
        "ia3": IA3Config(task_type=task, target_modules=both, feedforward_modules=[mlp]),
        "prefix": PrefixTuningConfig(**virtual),
        "prefix with an encoder": PrefixTuningConfig(**virtual, prefix_projection=True, encoder_hidden_size=32),
        "prompt": PromptTuningConfig(**virtual),
        "p-tuning": PromptEncoderConfig(**virtual, encoder_hidden_size=32),
    }


TARGETS: Mapping[str, tuple[list[str], str, str]] = {
    "llama": (["q_proj", "v_proj"], "down_proj", "embed_tokens"),
    "gpt2": (["c_attn"], "mlp.c_proj", "wte"),
}


@dataclass(frozen=True)
class Adapted:
    """A base model in `base`, its adapter in `folder`, and what they give for `tokens` [2, 11]."""

    base: Path
    folder: Path
    tokens: NDArray[Any]
    plain: NDArray[Any]
    logits: NDArray[Any]


def make_base(family: str, folder: Path) -> Path:
    """A model whose every weight matters."""
    torch.manual_seed(0)
    config, values = BASES[family]
    model = transformers.AutoModelForCausalLM.from_config(config(**values))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter) / max(1, parameter.dim() > 1) ** 0.5)
    model.save_pretrained(folder)
    return folder


def make_adapter(family: str, kind: str, base: Path, folder: Path) -> Adapted:
    """An adapter of that kind with random weights: those it starts with change nothing, so they would test nothing."""
    torch.manual_seed(1)
    tokens = np.random.default_rng(2).integers(5, 131, (2, 11))
    plain = logits(load(base), tokens)
    model = peft.get_peft_model(load(base), kinds(*TARGETS[family])[kind]).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.2 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    return Adapted(base, folder, tokens, plain, logits(model, tokens))


def load(base: Path, adapter: Path | None = None) -> Any:
    """The model of `transformers`, with an adapter as `peft` loads it."""
    found = transformers.AutoModelForCausalLM.from_pretrained(
        base, dtype=torch.float32, attn_implementation="eager", local_files_only=True
    ).eval()
    return found if adapter is None else PeftModel.from_pretrained(found, adapter).eval()


@torch.no_grad()
def logits(model: Any, tokens: NDArray[Any]) -> NDArray[Any]:
    found: NDArray[Any] = model(input_ids=torch.from_numpy(tokens)).logits.numpy()
    return found
