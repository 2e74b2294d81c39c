"""A checkpoint as a GGUF file: `python -m inference.gguf_files CHECKPOINT OUT.gguf F32|Q8_0|Q4_0|Q4_0-all`.

`Q4_0` keeps the matrix of the logits in Q8_0, near to what llama.cpp's own tool does (Q6_K); `Q4_0-all` does not.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Kind
from safetensors import safe_open

LLAMA = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
GPT2 = {
    "transformer.wte": "token_embd",
    "transformer.wpe": "position_embd",
    "transformer.ln_f": "output_norm",
    "ln_1": "attn_norm",
    "attn.c_attn": "attn_qkv",
    "attn.c_proj": "attn_output",
    "ln_2": "ffn_norm",
    "mlp.c_fc": "ffn_up",
    "mlp.c_proj": "ffn_down",
}
FILE_TYPES = {"F32": 0, "Q8_0": 7, "Q4_0": 2, "Q4_0-all": 2}


def main(checkpoint: Path, out: Path, kind: str) -> None:
    config = json.loads((checkpoint / "config.json").read_text())
    family = config["model_type"]
    heads = config.get("num_attention_heads") or config["n_head"]
    groups = config.get("num_key_value_heads") or heads
    writer = gguf.GGUFWriter(out, family)
    writer.add_name(out.stem)
    writer.add_file_type(FILE_TYPES[kind])
    _describe(writer, config)
    _vocabulary(writer, json.loads((checkpoint / "tokenizer.json").read_text()), config["vocab_size"])
    with safe_open(checkpoint / "model.safetensors", "numpy") as stored:
        for name in stored.keys():  # noqa: SIM118, it is no dictionary
            base, what = name.rsplit(".", 1)
            array = stored.get_tensor(name)
            if ".c_" in base and array.ndim == 2:  # stored [in, out] there, [out, in] here
                array = np.ascontiguousarray(array.T)
            if base.endswith("q_proj"):
                array = _interleaved(array, heads)
            if base.endswith("k_proj"):
                array = _interleaved(array, groups)
            target = f"{_renamed(base, LLAMA if family == 'llama' else GPT2)}.{what}"
            chosen = _kind(target, kind, array, tied=config["tie_word_embeddings"])
            packed = array if chosen is Kind.F32 else gguf.quants.quantize(array, chosen)
            writer.add_tensor(target, packed, raw_dtype=chosen)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _describe(writer: Any, config: dict[str, Any]) -> None:
    if config["model_type"] == "llama":
        writer.add_context_length(config["max_position_embeddings"])
        writer.add_embedding_length(config["hidden_size"])
        writer.add_block_count(config["num_hidden_layers"])
        writer.add_feed_forward_length(config["intermediate_size"])
        writer.add_head_count(config["num_attention_heads"])
        writer.add_head_count_kv(config["num_key_value_heads"])
        writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
        writer.add_rope_dimension_count(config["head_dim"])
        writer.add_rope_freq_base(config["rope_theta"])
        writer.add_vocab_size(config["vocab_size"])
    else:
        writer.add_context_length(config["n_positions"])
        writer.add_embedding_length(config["n_embd"])
        writer.add_block_count(config["n_layer"])
        writer.add_feed_forward_length(4 * config["n_embd"])
        writer.add_head_count(config["n_head"])
        writer.add_layer_norm_eps(config["layer_norm_epsilon"])


def _vocabulary(writer: Any, tokenizer: dict[str, Any], size: int) -> None:
    words = tokenizer["model"]["vocab"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(sorted(words, key=words.get))
    writer.add_token_types([3 if i < 4 else 1 for i in range(size)])
    writer.add_token_merges([" ".join(pair) for pair in tokenizer["model"]["merges"]])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)


def _renamed(base: str, names: dict[str, str]) -> str:
    if base in names:
        return names[base]
    layer, inner = base.split("layers." if "layers." in base else ".h.", 1)[1].split(".", 1)
    return f"blk.{layer}.{names[inner]}"


def _interleaved(rows: np.ndarray[Any, Any], heads: int) -> np.ndarray[Any, Any]:
    """Rotation turns numbers i and i + half of a head there, 2 i and 2 i + 1 here."""
    out, width = rows.shape
    return np.ascontiguousarray(rows.reshape(heads, 2, out // heads // 2, width).swapaxes(1, 2).reshape(out, width))


def _kind(target: str, kind: str, array: np.ndarray[Any, Any], tied: bool) -> Kind:
    if array.ndim == 1 or kind == "F32" or target.startswith("position_embd"):
        return Kind.F32
    head = target == ("token_embd.weight" if tied else "output.weight")
    if kind == "Q8_0" or (kind == "Q4_0" and head):
        return Kind.Q8_0
    return Kind.Q4_0


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
