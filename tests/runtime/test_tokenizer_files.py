"""Tokenizers made from older files split as the libraries do that the files come from."""

from __future__ import annotations

import io
import json
import random
from pathlib import Path

import pytest
from tokenizers import Tokenizer as Inner
from weft.lang.diagnostics import WeftError
from weft.runtime.conventions import Conventions
from weft.runtime.hub.conventions import conventions
from weft.runtime.hub.tokenizer_files import tokenizer_text
from weft.runtime.tokenizer import Tokenizer

DOCS = Path(__file__).parents[2] / "docs"
TEXT = [line for path in sorted(DOCS.glob("l*.md")) for line in path.read_text("utf-8").splitlines() if line.strip()]
DRAWN = random.Random(0)
TEXTS = [
    *TEXT[:150], "", " ", "  a", "a  ", " a  b ", "é漢😀", "<s> hi</s>", "line\n\ttab",
    *("".join(DRAWN.choice("abcdef  ABC é漢😀\n\t<s>▁.,12") for _ in range(DRAWN.randrange(20))) for _ in range(200)),
]  # fmt: skip


def made(folder: Path) -> Tokenizer:
    text = tokenizer_text(folder)
    assert text is not None
    return Tokenizer.of(Inner.from_str(text), how=conventions(folder) or Conventions())


def sentencepiece_model(kind: str, **settings: object) -> bytes:
    trainer = pytest.importorskip("sentencepiece").SentencePieceTrainer
    written = io.BytesIO()
    trainer.train(
        sentence_iterator=iter(TEXT), model_writer=written, vocab_size=700, model_type=kind, num_threads=1,
        hard_vocab_limit=False, minloglevel=2, **settings,
    )  # fmt: skip
    return written.getvalue()


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
@pytest.mark.parametrize("bytes_too", [True, False])
@pytest.mark.parametrize("rule", ["identity", "nmt_nfkc"])
def test_a_model_of_sentencepiece_splits_as_sentencepiece_does(
    tmp_path: Path, kind: str, bytes_too: bool, rule: str
) -> None:
    model = sentencepiece_model(
        kind, byte_fallback=bytes_too, normalization_rule_name=rule, remove_extra_whitespaces=rule != "identity"
    )
    (tmp_path / "tokenizer.model").write_bytes(model)
    theirs = pytest.importorskip("sentencepiece").SentencePieceProcessor(model_proto=model)
    ours = made(tmp_path)
    assert [ours.encode(text) for text in TEXTS] == [theirs.encode(text) for text in TEXTS]
    if bytes_too:
        assert [ours.decode(theirs.encode(t)) for t in TEXTS] == [theirs.decode(theirs.encode(t)) for t in TEXTS]
    assert ours.first == (theirs.bos_id(),) and ours.end == theirs.eos_id()


def test_pieces_for_a_decoder_begin_with_the_first_token_and_for_an_encoder_end_with_the_last(tmp_path: Path) -> None:
    (tmp_path / "spiece.model").write_bytes(sentencepiece_model("unigram", bos_id=-1, pad_id=0, eos_id=1, unk_id=2))
    ours = made(tmp_path)
    assert ours.first == ()
    assert ours.encode_source("and") == [*ours.encode("and"), 1]


def test_without_legacy_the_space_is_put_in_front_of_the_whole_text_alone(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    plain = {"normalization_rule_name": "identity", "remove_extra_whitespaces": False}
    (tmp_path / "tokenizer.model").write_bytes(sentencepiece_model("bpe", byte_fallback=True, **plain))
    settings = {"legacy": False, "tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": "</s>"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    ours = made(tmp_path)
    for text in ("the axis</s>of a", "<s> and </s>", "and"):
        assert ours.encode_marked(text) == theirs.encode(text, add_special_tokens=False)


def test_tokens_beside_the_model_keep_their_numbers(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.model").write_bytes(sentencepiece_model("bpe"))
    size = Inner.from_str(tokenizer_text(tmp_path) or "").get_vocab_size()
    listed = {"0": {"content": "<unk>", "special": True}, str(size): {"content": "<|user|>", "special": True}}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"added_tokens_decoder": listed}))
    ours = made(tmp_path)
    assert ours.encode_marked("<|user|>") == [size] and size not in ours.encode("<|user|>")
    listed[str(size + 5)] = listed.pop(str(size))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"added_tokens_decoder": listed}))
    with pytest.raises(WeftError, match="E0958"):
        tokenizer_text(tmp_path)


def test_byte_pairs_are_merged_as_the_library_does(tmp_path: Path) -> None:
    trained = Tokenizer.train(TEXT, 500)
    trained.inner.model.save(str(tmp_path))
    ours = made(tmp_path)
    assert [ours.encode(text) for text in TEXTS] == [trained.encode(text) for text in TEXTS]
    assert ours.first == ()
    (tmp_path / "special_tokens_map.json").write_text(
        json.dumps({"cls_token": "<|endoftext|>", "sep_token": {"content": "<|endoftext|>"}})
    )
    assert made(tmp_path).encode_source("and") == [0, *trained.encode("and"), 0]


def test_pairs_of_something_else_than_bytes_are_refused(tmp_path: Path) -> None:
    (tmp_path / "vocab.json").write_text(json.dumps({"a": 0, "b</w>": 1}))
    (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    with pytest.raises(WeftError, match="E0958"):
        tokenizer_text(tmp_path)


@pytest.mark.parametrize("lower", [True, False])
def test_word_pieces_are_found_as_transformers_does(tmp_path: Path, lower: bool) -> None:
    transformers = pytest.importorskip("transformers")
    words = {"[PAD]": 0, "[UNK]": 0, "[CLS]": 0, "[SEP]": 0, "[MASK]": 0}
    words |= {c: 0 for t in TEXTS for c in t.lower() + t if not c.isspace()}
    words |= {f"##{c}": 0 for c in list(words) if len(c) == 1} | {w: 0 for t in TEXT for w in t.split() if w.isalpha()}
    (tmp_path / "vocab.txt").write_text("\n".join(words) + "\n", "utf-8")
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps({"do_lower_case": lower, "tokenizer_class": "BertTokenizer"})
    )
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    ours = made(tmp_path)
    for text in TEXTS:
        assert ours.encode_source(text) == theirs.encode(text), text
    assert ours.decode([ours.end]) == "[SEP]"


def test_a_folder_without_a_tokenizer_has_none(tmp_path: Path) -> None:
    assert tokenizer_text(tmp_path) is None


def settled(folder: Path, **files: object) -> Tokenizer:
    """A tokenizer with the conventions that these files say."""
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    inner = Tokenizer.train(TEXT[:40], 300).inner
    inner.add_special_tokens(["<begin>", "<stop>", "<turn>"])
    return Tokenizer.of(inner, how=conventions(folder))


def test_a_text_ends_with_every_token_that_the_files_name(tmp_path: Path) -> None:
    ours = settled(
        tmp_path,
        tokenizer_config={"eos_token": {"content": "<stop>"}, "bos_token": "<begin>", "add_bos_token": True},
        generation_config={"eos_token_id": [301, 302]},
    )
    named = {name: ours.inner.token_to_id(name) for name in ("<begin>", "<stop>", "<turn>")}
    assert ours.end == named["<stop>"] and ours.ends == {301, 302, named["<stop>"]}
    assert ours.first == (named["<begin>"],)


def test_without_a_word_about_it_nothing_stands_in_front_of_an_imported_text(tmp_path: Path) -> None:
    assert settled(tmp_path, tokenizer_config={"bos_token": "<begin>"}).first == ()
    assert settled(tmp_path, generation_config={"eos_token_id": 7}).ends == {7}
