"""What a config.json says about rotary positions and windows, in the words of a spec."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from weft.compiler.emit.reference import run
from weft.compiler.facts import weight_facts
from weft.lang.diagnostics import WeftError
from weft.runtime.hub.reading import Imported, understand

LLAMA: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama",
    "hidden_act": "silu", "hidden_size": 64, "intermediate_size": 96,
    "max_position_embeddings": 64, "num_attention_heads": 4, "num_hidden_layers": 2, "rms_norm_eps": 1e-6,
    "vocab_size": 131,
}  # fmt: skip

QWEN2 = LLAMA | {
    "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2",
    "use_sliding_window": True, "sliding_window": 6, "max_window_layers": 1,
}  # fmt: skip

GEMMA3 = LLAMA | {
    "architectures": ["Gemma3ForCausalLM"], "model_type": "gemma3_text",
    "head_dim": 24, "query_pre_attn_scalar": 20, "sliding_window": 6,
    "num_key_value_heads": 2,
}  # fmt: skip


def imported(config: dict[str, Any]) -> Imported:
    return understand(json.loads(json.dumps(config)), ["lm_head.weight"], "Imported")


def position(config: dict[str, Any]) -> str:
    """The value of `pos` in the spec, on one line."""
    text = " ".join(imported(config).spec.split())
    return text[text.index("pos = ") + 6 :].replace("( ", "(").replace(", )", ")")


SCALINGS: dict[str, tuple[dict[str, Any], str]] = {
    "linear": ({"factor": 4.0}, "RoPE(K, 5000.0, scaling = interpolated(factor = 4.0))"),
    "dynamic": ({"factor": 2.0}, "DynamicRoPE(K, 5000.0, factor = 2.0, context = 64)"),
    "llama3": (
        {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 16},
        "RoPE(K, 5000.0, scaling = llama3_scaled(factor = 8.0, low = 1.0, high = 4.0, context = 16))",
    ),
    "yarn": (
        {"factor": 4.0, "original_max_position_embeddings": 16, "attention_factor": 1.0, "truncate": False},
        "RoPE(K, 5000.0, scaling = yarn_scaled(theta = 5000.0, factor = 4.0, context = 16, whole = false))",
    ),
    "longrope": (
        {"factor": 1.0, "short_factor": [1.0, 1.5], "long_factor": [2.0, 2.5]},
        "RoPE(K, 5000.0, scaling = longrope_scaled(short = (1.0, 1.5), long = (2.0, 2.5)))",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", SCALINGS)
def test_the_older_and_the_newer_form_of_a_config_say_the_same(kind: str) -> None:
    keys, wanted = SCALINGS[kind]
    sizes = {"hidden_size": 16} if kind == "longrope" else {}  # as many pairs as factors
    older = LLAMA | sizes | {"rope_theta": 5000.0, "rope_scaling": {"type": kind} | keys}
    newer = LLAMA | sizes | {"rope_parameters": {"rope_type": kind, "rope_theta": 5000.0} | keys}
    assert position(older).startswith(wanted)
    assert position(newer).startswith(wanted)


def test_without_a_word_about_positions_heads_turn_as_in_the_paper() -> None:
    assert position(LLAMA).startswith("RoPE(K, 10_000.0)")


def test_positions_of_an_unknown_kind_are_refused() -> None:
    with pytest.raises(WeftError) as refused:
        imported(LLAMA | {"rope_scaling": {"type": "spiral", "factor": 2.0}})
    assert refused.value.diagnostics[0].code == "E0741"


def test_layers_with_windows_have_positions_of_their_own_in_both_forms() -> None:
    older = GEMMA3 | {"rope_theta": 1e6, "rope_local_base_freq": 5e3, "rope_scaling": {"type": "linear", "factor": 8.0}}
    newer = GEMMA3 | {
        "rope_parameters": {
            "full_attention": {"rope_type": "linear", "rope_theta": 1e6, "factor": 8.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 5e3},
        }
    }
    assert imported(older).spec == imported(newer).spec
    assert "local_pos = RoPE(K, 5000.0)" in imported(newer).spec


def logits(found: Imported) -> NDArray[Any]:
    """Of twelve tokens, with weights that depend on their shapes alone."""
    draw = np.random.default_rng(0)
    weights = {w.path: draw.normal(size=w.axes.sizes) for w in weight_facts(found.module)}
    (result,) = run(found.module, weights, {"tokens": np.arange(12)[None]}).values
    return result


def test_windows_from_a_layer_on_and_windows_by_a_list_of_layers_are_one_model() -> None:
    counted = imported(QWEN2)
    listed = imported(QWEN2 | {"layer_types": ["full_attention", "sliding_attention"]})
    without = imported(QWEN2 | {"use_sliding_window": False})
    assert "if i < 1 { causal } else { local }" in counted.spec
    assert np.array_equal(logits(counted), logits(listed))
    assert np.abs(logits(counted) - logits(without)).max() > 1e-3
