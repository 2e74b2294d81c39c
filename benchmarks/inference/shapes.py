"""The models that are measured: random weights in the layout of Hugging Face, the same for every system."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

SPECIAL = ("<unk>", "<s>", "</s>", "<pad>")


@dataclass(frozen=True)
class Shape:
    """One model: its `config.json`, and the [rows, columns] of each weight by its name in the checkpoint."""

    name: str
    config: dict[str, Any]
    weights: dict[str, tuple[int, ...]]

    @property
    def vocabulary(self) -> int:
        return int(self.config["vocab_size"])

    @property
    def cache(self) -> int:
        """Numbers that attention remembers per token."""
        width = self.config.get("hidden_size") or self.config["n_embd"]
        heads = self.config.get("num_attention_heads") or self.config["n_head"]
        groups = self.config.get("num_key_value_heads") or heads
        layers = self.config.get("num_hidden_layers") or self.config["n_layer"]
        return 2 * layers * groups * (width // heads)


def llama(name: str, width: int, layers: int, heads: int, groups: int, hidden: int, vocabulary: int = 32000) -> Shape:
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": groups,
        "head_dim": width // heads,
        "intermediate_size": hidden,
        "vocab_size": vocabulary,
        "max_position_embeddings": 2048,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "hidden_act": "silu",
        "tie_word_embeddings": False,
        "attention_bias": False,
        "mlp_bias": False,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 3,
        "torch_dtype": "float32",
    }
    keys = groups * (width // heads)
    weights: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (vocabulary, width)}
    for i in range(layers):
        at = f"model.layers.{i}."
        weights |= {
            at + "input_layernorm.weight": (width,),
            at + "self_attn.q_proj.weight": (width, width),
            at + "self_attn.k_proj.weight": (keys, width),
            at + "self_attn.v_proj.weight": (keys, width),
            at + "self_attn.o_proj.weight": (width, width),
            at + "post_attention_layernorm.weight": (width,),
            at + "mlp.gate_proj.weight": (hidden, width),
            at + "mlp.up_proj.weight": (hidden, width),
            at + "mlp.down_proj.weight": (width, hidden),
        }
    weights |= {"model.norm.weight": (width,), "lm_head.weight": (vocabulary, width)}
    return Shape(name, config, weights)


def gpt2(name: str, width: int, layers: int, heads: int, vocabulary: int = 50257) -> Shape:
    config = {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "n_embd": width,
        "n_layer": layers,
        "n_head": heads,
        "n_positions": 1024,
        "vocab_size": vocabulary,
        "activation_function": "gelu_new",
        "layer_norm_epsilon": 1e-5,
        "tie_word_embeddings": True,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 3,
        "torch_dtype": "float32",
    }
    weights: dict[str, tuple[int, ...]] = {
        "transformer.wte.weight": (vocabulary, width),
        "transformer.wpe.weight": (1024, width),
    }
    for i in range(layers):
        at = f"transformer.h.{i}."
        weights |= {
            at + "ln_1.weight": (width,),
            at + "ln_1.bias": (width,),
            at + "attn.c_attn.weight": (width, 3 * width),
            at + "attn.c_attn.bias": (3 * width,),
            at + "attn.c_proj.weight": (width, width),
            at + "attn.c_proj.bias": (width,),
            at + "ln_2.weight": (width,),
            at + "ln_2.bias": (width,),
            at + "mlp.c_fc.weight": (width, 4 * width),
            at + "mlp.c_fc.bias": (4 * width,),
            at + "mlp.c_proj.weight": (4 * width, width),
            at + "mlp.c_proj.bias": (width,),
        }
    weights |= {"transformer.ln_f.weight": (width,), "transformer.ln_f.bias": (width,)}
    return Shape(name, config, weights)


SHAPES = {
    s.name: s
    for s in (
        llama("tiny", 256, 4, 8, 4, 768, vocabulary=4096),
        gpt2("gpt2-125m", 768, 12, 12),
        llama("llama-125m", 768, 12, 12, 4, 2048),
        llama("llama-1b", 2048, 16, 32, 8, 5632),
    )
}


def values(name: str, shape: tuple[int, ...], random: np.random.Generator) -> np.ndarray[Any, Any]:
    """The weights of one name: logits spread by about one, so that the largest is far from a tie with the second."""
    if len(shape) == 1:
        scale = "norm" in name or (".ln_" in name and name.endswith("weight"))
        return np.full(shape, 1.0 if scale else 0.0, np.float32)
    if "embed_tokens" in name:
        spread = 1.0
    elif ".c_" in name:  # the matrices of GPT-2 are stored [in, out]
        spread = shape[0] ** -0.5
    else:
        spread = shape[1] ** -0.5
    return random.standard_normal(shape, np.float32) * np.float32(spread)


def write(shape: Shape, folder: Path) -> None:
    """The checkpoint of a shape: config.json, model.safetensors and a tokenizer; weight by weight, in little memory."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(shape.config, indent=2) + "\n")
    for name, text in tokenizer(shape.vocabulary):
        (folder / name).write_text(text)
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, lengths in shape.weights.items():
        begin, end = end, end + 4 * prod(lengths)
        header[name] = {"dtype": "F32", "shape": list(lengths), "data_offsets": [begin, end]}
    packed = json.dumps(header).encode()
    packed += b" " * (-len(packed) % 8)
    random = np.random.default_rng(0)
    unfinished = folder / "model.unfinished"
    with unfinished.open("wb") as file:
        file.write(struct.pack("<Q", len(packed)) + packed)
        for name, lengths in shape.weights.items():
            file.write(values(name, lengths, random).tobytes())
    unfinished.rename(folder / "model.safetensors")


def tokenizer(vocabulary: int) -> Iterator[tuple[str, str]]:
    """Files of a tokenizer of this size: bytes, and merges of two of them; nobody reads what a random model writes."""
    from itertools import islice, product

    letters = list(_letters().values())
    pairs = list(islice(product(letters, letters), vocabulary - len(SPECIAL) - len(letters)))
    words = [*SPECIAL, *letters, *(a + b for a, b in pairs)]
    assert len(words) == vocabulary == len(set(words))
    added = [
        {"id": i, "content": t, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
         "special": True}
        for i, t in enumerate(SPECIAL)
    ]
    bytewise = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    yield "tokenizer.json", json.dumps({
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": None,
        "pre_tokenizer": bytewise, "post_processor": None, "decoder": bytewise,
        "model": {
            "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
            "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
            "vocab": {w: i for i, w in enumerate(words)}, "merges": [[a, b] for a, b in pairs],
        },
    }, ensure_ascii=False)
    yield "tokenizer_config.json", json.dumps({
        "tokenizer_class": "PreTrainedTokenizerFast", "unk_token": SPECIAL[0], "bos_token": SPECIAL[1],
        "eos_token": SPECIAL[2], "pad_token": SPECIAL[3], "clean_up_tokenization_spaces": False,
    })


def _letters() -> dict[int, str]:
    """The printable character that stands for each byte in a byte-level vocabulary."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in printable]
    return {b: chr(b) for b in printable} | {b: chr(256 + i) for i, b in enumerate(others)}
