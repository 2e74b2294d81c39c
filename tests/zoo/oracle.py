"""Oracles: tiny random models of `transformers`, their logits in true float64, and what they generate.

`python -m tests.zoo.oracle FOLDER [FAMILY ..]` makes them; `families.json` holds the configurations. Sizes there are
awkward on purpose (96 query channels for a width of 64), so that a transposed matrix cannot pass.
"""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import json
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import numpy as np
import torch
import transformers
from torch.overrides import TorchFunctionMode

FAMILIES: dict[str, dict[str, Any]] = json.loads((Path(__file__).parent / "families.json").read_text())
LENGTH, PADDING, GENERATED, DECODED = 13, 4, 16, 7
SETS = {"normal": 0.7, "small": 0.01}
"""The weight sets, by the standard deviation of the embedding: small embeddings bring a wrong epsilon to light."""

CLASSES: dict[str, Any] = {
    "causal": transformers.AutoModelForCausalLM,
    "masked": transformers.AutoModelForMaskedLM,
    "seq2seq": transformers.AutoModelForSeq2SeqLM,
}
_LOWER = (torch.float32, torch.bfloat16, torch.float16)
_LEARNED_BUFFERS = ("e_score_correction_bias", "expert_bias", "layer_scalar", "final_logits_bias")
_SCALED = (
    "A_log", "dt_bias", "time_decay", "time_first", "time_mix", "recurrent_param", "slope", "alpha_p", "alpha_n",
    "inv_freq", "embed_scale", "layer_scalar", "igate", "fgate",
)  # fmt: skip
"""Parameters whose sign and size carry the meaning (decay rates, gates): they are moved a little, not drawn anew."""


def make(family: str, folder: Path, embedding: float, seed: int = 0) -> None:
    """Write a checkpoint, inputs and outputs into a folder.

    config.json, model.safetensors    as `save_pretrained` writes them
    inputs.npz     plain_ids [2, 13]; left_ids, left_mask; right_ids, right_mask (row 1 has 4 paddings);
                   encoder-decoders also dec_ids [2, 7]
    logits.npz     CASE_f64 for plain, right, left and leftpos (left with positions); plain_f32;
                   gen_ids [1, 16]: greedy tokens after row 0, with gen_margin: how far the second choice was behind
    """
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    described = FAMILIES[family]
    model = _model(described, torch.float32)
    scramble(model, seed + 1, embedding)
    defaults = getattr(model, "generation_config", None)
    if defaults is not None:
        defaults.eos_token_id, defaults.pad_token_id, defaults.forced_eos_token_id = None, 0, None
    model.save_pretrained(folder)
    inputs, cases = _inputs(model, described["task"], seed)
    np.savez(folder / "inputs.npz", **inputs)
    outputs = {"plain_f32": _logits(model, cases["plain"])}
    exact = Exact()
    with exact.as_default(), exact:
        double = _model(described, torch.float64)
        double.load_state_dict(model.state_dict())
        double = double.double().eval()
        for name, case in cases.items():
            outputs[f"{name}_f64"] = _logits(double, case)
    if described["task"] != "masked":
        outputs |= _generated(model, double, exact, inputs, described["task"])
    np.savez(folder / "logits.npz", **outputs)


def _model(described: Mapping[str, Any], dtype: torch.dtype) -> Any:
    """An evaluating model with plain attention and plain experts, where it lets one choose.

    A family may name another attention: plain attention of Falcon's RefinedWeb models adds their biases twice, once
    with the mask.
    """
    config = transformers.AutoConfig.for_model(described["type"], **json.loads(json.dumps(described["config"])))
    if described["task"] == "causal" and hasattr(config, "is_decoder"):
        config.is_decoder = True
    attention = {"attn_implementation": described.get("attention", "eager")}
    for options in ({**attention, "experts_implementation": "eager"}, attention, {}):
        with contextlib.suppress(ValueError, TypeError, AttributeError):  # not every class takes these options
            return CLASSES[described["task"]].from_config(config, dtype=dtype, **options).eval()
    raise RuntimeError(f"{described['type']} cannot be built")


def scramble(model: torch.nn.Module, seed: int, embedding: float) -> None:
    """Give every learned tensor a value that matters: as initialised, biases are 0 and norms 1, and hide mistakes."""
    draw = torch.Generator().manual_seed(seed)
    stored = set(model.state_dict())
    parameters = [(n, p) for n, p in model.named_parameters() if p.requires_grad or n.endswith(_LEARNED_BUFFERS)]
    buffers = [(n, b) for n, b in model.named_buffers() if n in stored and n.endswith(_LEARNED_BUFFERS)]
    with torch.no_grad():
        for name, tensor in parameters + buffers:
            if not tensor.is_floating_point():
                continue
            noise = torch.randn(tensor.shape, generator=draw).to(tensor.dtype)
            leaf = name.rsplit(".", 1)[-1].lower()
            if any(word in name for word in _SCALED) or leaf in ("d", "beta", "eps"):
                tensor.mul_(1 + 0.1 * noise).add_(0.01 * torch.randn(tensor.shape, generator=draw).to(tensor.dtype))
            elif tensor.dim() < 2:
                tensor.add_(0.2 * noise)
            elif any(word in name for word in ("embed", "wte", "wpe")):
                tensor.copy_(embedding * noise)
            else:
                terms = tensor.shape[-1] if tensor.dim() == 2 else max(tensor.shape[-2:])
                tensor.copy_(noise * 1.2 / terms**0.5)


class Exact(TorchFunctionMode):
    """Turns every request for a lower precision into float64; `model.double()` leaves norms and angles in float32."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        def raised(value: Any) -> Any:
            return torch.float64 if isinstance(value, torch.dtype) and value in _LOWER else value

        if function in (torch.Tensor.float, torch.Tensor.half, torch.Tensor.bfloat16):
            function = torch.Tensor.double
        return function(*map(raised, args), **{k: raised(v) for k, v in (kwargs or {}).items()})

    @contextlib.contextmanager
    def as_default(self) -> Iterator[None]:
        torch.set_default_dtype(torch.float64)
        try:
            yield
        finally:
            torch.set_default_dtype(torch.float32)


def _inputs(model: Any, task: str, seed: int) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    draw = np.random.default_rng(seed + 7)
    config = model.config.get_text_config()
    vocabulary = getattr(config, "vocab_size", None) or 131
    plain = draw.integers(5, vocabulary, (2, LENGTH))
    real = LENGTH - PADDING
    left, right = plain.copy(), plain.copy()
    left_mask, right_mask = np.ones_like(plain), np.ones_like(plain)
    left[1, PADDING:], left[1, :PADDING], left_mask[1, :PADDING] = plain[1, :real], 0, 0
    right[1, real:], right_mask[1, real:] = 0, 0
    positions = np.maximum(left_mask.cumsum(1) - 1, 0)
    inputs = {
        "plain_ids": plain, "left_ids": left, "left_mask": left_mask, "right_ids": right, "right_mask": right_mask,
    }  # fmt: skip
    cases: dict[str, dict[str, Any]] = {"plain": {"input_ids": plain}}
    taken = inspect.signature(model.forward).parameters
    if "attention_mask" in taken:
        cases["right"] = {"input_ids": right, "attention_mask": right_mask}
        if task == "causal":
            cases["left"] = {"input_ids": left, "attention_mask": left_mask}
            if "position_ids" in taken:
                cases["leftpos"] = {**cases["left"], "position_ids": positions}
    if task == "seq2seq":
        start = getattr(model.config, "decoder_start_token_id", None)
        decoded = draw.integers(5, 131, (2, DECODED))
        decoded[:, 0] = 1 if start is None else start
        inputs["dec_ids"] = decoded
        cases = {name: {**case, "decoder_input_ids": decoded} for name, case in cases.items()}
    return inputs, cases


@torch.no_grad()
def _logits(model: Any, case: Mapping[str, Any]) -> Any:
    taken = inspect.signature(model.forward).parameters
    options = {name: False for name in ("use_cache", "use_mems") if name in taken}
    found = model(**{k: torch.from_numpy(np.asarray(v)) for k, v in case.items()}, **options)
    return found.logits.numpy()


def _generated(model: Any, double: Any, exact: Exact, inputs: Mapping[str, Any], task: str) -> dict[str, Any]:
    """Greedy tokens, and in float64 by how much of the logits' size each was ahead of the next.

    Where the cached run of a model is not its whole run (Nemotron-H, Zamba2), the whole run in float64 says the tokens.
    """
    prompt = torch.from_numpy(inputs["plain_ids"][:1])
    options = {"do_sample": False, "max_new_tokens": GENERATED, "min_new_tokens": GENERATED, "num_beams": 1}
    with torch.no_grad():
        try:
            text = model.generate(prompt, attention_mask=torch.ones_like(prompt), use_cache=True, **options)
        except (TypeError, ValueError):  # recurrent models that take no mask
            text = model.generate(prompt, use_cache=True, **options)
    text = text.numpy()

    def whole(tokens: Any) -> Any:
        case = {"input_ids": tokens}
        if task == "seq2seq":
            case = {"input_ids": inputs["plain_ids"][:1], "decoder_input_ids": tokens}
        with exact.as_default(), exact:
            return _logits(double, case)[0]

    logits = whole(text[:, :-1])[-GENERATED:]
    chosen = text[0, -GENERATED:]
    behind = logits.max(-1) - np.take_along_axis(logits, chosen[:, None], -1)[:, 0]
    if (behind > 1e-4 * np.sqrt((logits**2).mean())).any():
        text = text[:, :-GENERATED]
        for _ in range(GENERATED):
            text = np.concatenate([text, whole(text)[-1:].argmax(-1)[None]], 1)
        logits = whole(text[:, :-1])[-GENERATED:]
    ordered = np.sort(logits, -1)
    margin = (ordered[:, -1] - ordered[:, -2]) / np.sqrt((logits**2).mean())
    return {"gen_ids": text[:, -GENERATED:], "gen_margin": margin}


def cached(root: Path, family: str) -> dict[str, Path]:
    """The oracles of a family by weight set, made when they are not there; other versions have other folders."""
    source = Path(__file__).read_bytes() + json.dumps(FAMILIES[family]).encode()
    version = f"{transformers.__version__}-{torch.__version__}-{hashlib.sha256(source).hexdigest()[:8]}"
    found = {}
    for name, embedding in SETS.items():
        folder = root / version / family / name
        if not (folder / "logits.npz").is_file():
            folder.mkdir(parents=True, exist_ok=True)
            make(family, folder, embedding)
        found[name] = folder
    return found


def reloaded(family: str, folder: Path, tokens: Any) -> Any:
    """Logits in float32 of a checkpoint as `transformers` loads it."""
    described = FAMILIES[family]
    attention = described.get("attention", "eager")
    load = CLASSES[described["task"]].from_pretrained
    return _logits(load(folder, dtype=torch.float32, attn_implementation=attention).eval(), tokens)


if __name__ == "__main__":
    for name in sys.argv[2:] or FAMILIES:
        print(name, *cached(Path(sys.argv[1]), name).values(), sep="\n  ", flush=True)
