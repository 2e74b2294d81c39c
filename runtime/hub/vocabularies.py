"""Vocabulary files as tokenizers: byte-level BPE from `vocab.json` and `merges.txt`, WordPiece from `vocab.txt`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from ...lang import errors
from ...lang.diagnostics import WeftError

NAMED = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
"""The special tokens that have a name in tokenizer_config.json."""


def read_byte_pairs(folder: Path, settings: Mapping[str, Any], special: Mapping[str, str]) -> Tokenizer:
    """Byte-level BPE (Radford et al. 2019). `special` are the special tokens by name."""
    path = folder / "vocab.json"
    try:
        ids = {str(token): int(i) for token, i in json.loads(path.read_text("utf-8")).items()}
        lines = (folder / "merges.txt").read_text("utf-8").splitlines()
        pairs = [line.split(" ") for line in lines if line and not line.startswith("#version")]
        merges = [(first, second) for first, second in pairs]
        model = models.BPE(ids, merges, fuse_unk=False)
    except Exception as error:  # the library raises plain Exception for merges that do not fit
        raise WeftError(errors.unconvertible_tokenizer(str(path), str(error))) from error
    lacking = sorted(set(pre_tokenizers.ByteLevel.alphabet()) - ids.keys())
    if lacking:
        reason = f"it is not byte-level BPE: it has no token for `{lacking[0]}` and {len(lacking) - 1} other bytes"
        raise WeftError(errors.unconvertible_tokenizer(str(path), reason))
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=bool(settings.get("add_prefix_space", False)))
    tokenizer.decoder = decoders.ByteLevel()
    _frame(tokenizer, special)
    return tokenizer


def read_word_pieces(folder: Path, settings: Mapping[str, Any], special: Mapping[str, str]) -> Tokenizer:
    """WordPiece (Schuster and Nakajima 2012) with the cleaning of BERT (Devlin et al. 2019)."""
    path = folder / "vocab.txt"
    try:
        words = path.read_text("utf-8").split("\n")
    except ValueError as error:
        raise WeftError(errors.unconvertible_tokenizer(str(path), "it is not UTF-8")) from error
    names = {"unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]",
             "mask_token": "[MASK]", **special}  # fmt: skip
    ids = {word.rstrip("\r"): i for i, word in enumerate(words) if word or i + 1 < len(words)}
    if names["unk_token"] not in ids:
        raise WeftError(errors.unconvertible_tokenizer(str(path), f"it lacks `{names['unk_token']}`"))
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token=names["unk_token"]))
    tokenizer.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=bool(settings.get("tokenize_chinese_chars", True)),
        strip_accents=settings.get("strip_accents"),
        lowercase=bool(settings.get("do_lower_case", True)),
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix="##")
    tokenizer.add_special_tokens([AddedToken(n, normalized=False) for n in names.values() if n in ids])
    _frame(tokenizer, names)
    return tokenizer


def _frame(tokenizer: Tokenizer, special: Mapping[str, str]) -> None:
    """What encoders put around a whole text, where the files name both tokens."""
    first, last = (tokenizer.token_to_id(special.get(name, "")) for name in ("cls_token", "sep_token"))
    if first is not None and last is not None:
        begin, end = special["cls_token"], special["sep_token"]
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{begin} $A {end}", pair=f"{begin} $A {end} $B:1 {end}:1",
            special_tokens=[(begin, first), (end, last)],
        )  # fmt: skip
