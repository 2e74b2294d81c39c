"""Models of sentencepiece (Kudo and Richardson 2018) as tokenizers of the `tokenizers` library."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from ...lang import errors
from ...lang.diagnostics import WeftError
from ..packages import package

SPACE = "\u2581"
_UNIGRAM, _BPE = 1, 2  # TrainerSpec.ModelType
_CONTROL, _USER = 3, 4  # SentencePiece.Type


def read_pieces(path: Path, settings: Mapping[str, Any]) -> Tokenizer:
    """A `.model` file. It splits texts as sentencepiece itself does; `settings` are those of tokenizer_config.json.

    Unigram (Kudo 2018) and BPE (Sennrich et al. 2016), with the normaliser of the file, the space that it puts in
    front (with `legacy: false` only at the begin of a text, not behind special tokens as well) and bytes for what no
    piece covers. Raises WeftError when sentencepiece is missing, or for models of words and characters.
    """
    format = package("sentencepiece.sentencepiece_model_pb2", "sentencepiece", f"reads `{path.name}`")
    proto = format.ModelProto()
    try:
        proto.ParseFromString(path.read_bytes())
    except Exception as error:  # protobuf's DecodeError: nothing else can go wrong in bytes
        raise WeftError(errors.unconvertible_tokenizer(str(path), "it is no model of sentencepiece")) from error
    trainer, cleaning = proto.trainer_spec, proto.normalizer_spec
    if trainer.model_type not in (_UNIGRAM, _BPE):
        raise WeftError(errors.unconvertible_tokenizer(str(path), "it splits into words or characters"))
    if trainer.treat_whitespace_as_suffix or not cleaning.escape_whitespaces or not len(proto.pieces):
        raise WeftError(errors.unconvertible_tokenizer(str(path), "it marks spaces in a way of its own"))
    tokenizer = Tokenizer((_bpe if trainer.model_type == _BPE else _unigram)(trainer, proto.pieces))
    first_only = settings.get("legacy") is False
    tokenizer.normalizer = _normaliser(cleaning, first_only)
    if first_only:
        scheme = "first" if cleaning.add_dummy_prefix else "never"
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(SPACE, scheme, split=False)
    steps = [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    tokenizer.decoder = decoders.Sequence(steps + [decoders.Strip(" ", 1, 0)] * cleaning.add_dummy_prefix)
    tokenizer.add_tokens([
        AddedToken(piece.piece, normalized=False, special=piece.type == _CONTROL)
        for piece in proto.pieces if piece.type in (_CONTROL, _USER)
    ])  # fmt: skip
    _frame(tokenizer, path, trainer, settings)
    return tokenizer


def _normaliser(cleaning: Any, first_only: bool) -> normalizers.Normalizer:
    """Characters brought to one form, spaces tidied, each then written as SPACE, with one in front of the text."""
    steps: list[normalizers.Normalizer] = []
    if cleaning.precompiled_charsmap:
        steps.append(normalizers.Precompiled(cleaning.precompiled_charsmap))
    if cleaning.remove_extra_whitespaces:
        steps += [normalizers.Replace(Regex(r"\A +| +\z"), ""), normalizers.Replace(Regex(" {2,}"), " ")]
    if not first_only:
        if cleaning.add_dummy_prefix:
            steps.append(normalizers.Prepend(SPACE))
        steps.append(normalizers.Replace(" ", SPACE))
    return normalizers.Sequence(steps)


def _unigram(trainer: Any, pieces: Any) -> models.Unigram:
    """The pieces with their log probabilities. What a text spells like `<s>` is cheaper in any other way."""
    lowest = min(piece.score for piece in pieces) - 1000
    scores = [(piece.piece, lowest if piece.type == _CONTROL else piece.score) for piece in pieces]
    return models.Unigram(scores, unk_id=trainer.unk_id, byte_fallback=trainer.byte_fallback)


def _bpe(trainer: Any, pieces: Any) -> models.BPE:
    """Which pairs are merged, best first: a merge is as good as the piece that it makes."""
    ids = {piece.piece: i for i, piece in enumerate(pieces)}
    merges = []
    for piece in pieces:
        if piece.type in (_CONTROL, _USER):
            continue
        text = piece.piece
        cuts = [(text[:i], text[i:]) for i in range(1, len(text)) if text[:i] in ids and text[i:] in ids]
        merges += [(-piece.score, ids[a], ids[b], (a, b)) for a, b in cuts]
    return models.BPE(
        ids, [pair for *_, pair in sorted(merges)], unk_token=trainer.unk_piece, fuse_unk=True,
        byte_fallback=trainer.byte_fallback,
    )  # fmt: skip


def _frame(tokenizer: Tokenizer, path: Path, trainer: Any, settings: Mapping[str, Any]) -> None:
    """What stands around a whole text: as `add_bos_token` and `add_eos_token` say.

    Where they are silent, a begin if the model has one, else an end: so do the decoders whose file this is, and the
    encoder-decoders.
    """
    begin = trainer.bos_piece if trainer.bos_id >= 0 else None
    end = trainer.eos_piece if trainer.eos_id >= 0 else None
    with_begin = bool(settings.get("add_bos_token", begin is not None))
    with_end = bool(settings.get("add_eos_token", begin is None))
    first = [begin] if with_begin and begin else []
    last = [end] if with_end and end else []
    if first or last:
        known = [(token, tokenizer.token_to_id(token)) for token in {*first, *last}]
        tokenizer.post_processor = processors.TemplateProcessing(
            single=" ".join((*first, "$A", *last)), pair=None, special_tokens=known
        )
