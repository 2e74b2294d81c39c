"""What an `adapter_config.json` of PEFT says. A key that is set, changes the meaning and is not known is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...lang import errors
from ...lang.diagnostics import WeftError

CONFIG = "adapter_config.json"

_ANYWHERE = (
    "task_type", "peft_type", "peft_version", "base_model_name_or_path", "revision", "inference_mode", "auto_mapping",
)  # fmt: skip
_TARGETS = ("target_modules", "exclude_modules", "modules_to_save", "layers_to_transform", "layers_pattern")
_VIRTUAL = ("num_virtual_tokens", "token_dim", "num_layers", "num_attention_heads", "num_transformer_submodules")
_KNOWN: Mapping[str, tuple[str, ...]] = {
    "LORA": (
        *_TARGETS, "r", "lora_alpha", "rank_pattern", "alpha_pattern", "use_rslora", "use_dora", "lora_bias", "bias",
        "lora_dropout", "fan_in_fan_out", "init_lora_weights", "megatron_core", "qalora_group_size", "runtime_config",
    ),
    "IA3": (*_TARGETS, "feedforward_modules", "fan_in_fan_out", "init_ia3_weights"),
    "PREFIX_TUNING": (*_VIRTUAL, "encoder_hidden_size", "prefix_projection", "init_weights"),
    "PROMPT_TUNING": (
        *_VIRTUAL, "prompt_tuning_init", "prompt_tuning_init_text", "tokenizer_name_or_path", "tokenizer_kwargs",
    ),
    "P_TUNING": (
        *_VIRTUAL, "encoder_reparameterization_type", "encoder_hidden_size", "encoder_num_layers", "encoder_dropout",
    ),
}  # fmt: skip
"""The keys of each kind that are understood, or that change nothing once the weights are there."""

_STARTS = (None, True, False, "gaussian", "eva", "orthogonal", "lora_ga")
"""Where LoRA may have started without changing the base weights (as `pissa` and `olora` do)."""


@dataclass(frozen=True)
class PeftConfig:
    """A config that is understood in full. `folder` is where it stands, for messages."""

    folder: str
    kind: str
    values: Mapping[str, Any]

    def get(self, key: str, default: Any = None) -> Any:
        found = self.values.get(key)
        return default if found is None else found

    def refuse(self, reason: str, *advice: str) -> WeftError:
        return WeftError(errors.unreadable_adapter(self.folder, reason, advice))

    def targets(self, modules: Collection[str]) -> list[str] | None:
        """The modules that are adapted, as PEFT chooses them; None when only it can know (`all-linear`)."""
        wanted = self.values.get("target_modules")
        if isinstance(wanted, str) and wanted.lower() == "all-linear":
            return None
        return [m for m in modules if self._targeted(m, wanted)]

    def _targeted(self, module: str, wanted: Any) -> bool:
        excluded = self.get("exclude_modules", ())
        if re.fullmatch(excluded, module) if isinstance(excluded, str) else _ends(module, excluded):
            return False
        if any(re.match(rf"(^|.*\.){m}($|\..*)", module) for m in self.get("modules_to_save", ())):
            return False
        if isinstance(wanted, str):
            return re.fullmatch(wanted, module) is not None
        return _ends(module, wanted or ()) and self._in_layers(module)

    def _in_layers(self, module: str) -> bool:
        layers = self.get("layers_to_transform", ())
        layers = [layers] if isinstance(layers, int) else layers
        if not layers:
            return True
        patterns = self.get("layers_pattern", ())
        patterns = [patterns] if isinstance(patterns, str) else patterns
        for pattern in patterns or (r"[^.]*",):
            match = re.match(rf"(?:^|.*?\.){pattern}\.(\d+)\.", module)
            if match:
                return int(match[1]) in layers
        return False

    def by_pattern(self, key: str, module: str, default: Any) -> Any:
        """The value of `rank_pattern` or `alpha_pattern` for a module."""
        for pattern, value in self.get(key, {}).items():
            if re.match(rf"(.*\.)?({pattern})$", module):
                return value
        return default

    def named(self, key: str, module: str) -> bool:
        """Whether `feedforward_modules` means a module."""
        wanted = self.get(key, ())
        return bool(re.fullmatch(wanted, module)) if isinstance(wanted, str) else _ends(module, wanted)


def _ends(module: str, names: Sequence[str]) -> bool:
    return any(module == n or module.endswith(f".{n}") for n in names)


def read_config(folder: Path) -> PeftConfig:
    """The config in a folder. Raises WeftError when it is none, or says what is not understood."""
    try:
        values = json.loads((folder / CONFIG).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise WeftError(errors.unreadable_adapter(str(folder), f"`{CONFIG}`: {error}")) from error
    if not isinstance(values, dict):
        raise WeftError(errors.unreadable_adapter(str(folder), f"`{CONFIG}` is no JSON object"))
    config = PeftConfig(str(folder), str(values.get("peft_type")), values)
    known = _KNOWN.get(config.kind)
    if known is None:
        advice = f"known are {errors.one_of(tuple(_KNOWN), 'and')}"
        raise config.refuse(f"the kind `{config.kind}` is not known", advice)
    for key, value in values.items():
        if key not in known and key not in _ANYWHERE and value not in (None, False, "", 0, [], {}):
            reason = "changes what it means, and this version does not know it"
            raise config.refuse(f"`{key}` = {json.dumps(value)} {reason}")
    if config.values.get("init_lora_weights") not in _STARTS:
        raise config.refuse(
            f"`init_lora_weights` = {json.dumps(values['init_lora_weights'])} changed the base weights when it started",
            "let PEFT convert it: `save_pretrained(.., path_initial_model_for_weight_conversion = ..)`",
        )
    if config.get("num_transformer_submodules", 1) != 1:
        raise config.refuse("`num_transformer_submodules` = 2: virtual tokens for an encoder and a decoder")
    return config
