"""Corpora: the documents of a recipe, split for training and validation, and tokenised once."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..lang import errors
from ..lang.diagnostics import WeftError
from ..lang.plans import DataPlan, Term, plain
from .documents import Document, documents, files
from .files import new_folder, write_json
from .tokenizer import Tokenizer
from .tokens import Tokens, TokensInfo, TokensWriter, open_tokens

SAMPLE = 1 << 22
"""About so many bytes of the training documents are used to train a tokenizer."""

_TRAIN, _VALIDATION, _DROPPED = 0, 1, 2


@dataclass(frozen=True)
class Survey:
    """What is known of the documents of one source before they are tokenised, one entry per document.

    `keys` are hashes of the names, which decide the order of everything that is drawn; `sizes` are bytes of UTF-8.
    `roles`: 0 trains, 1 validates, 2 is a duplicate. `cut` is `(document, bytes)`: a document of which only the first
    bytes train while the rest validates, when the documents are too few to keep one of them aside.
    """

    keys: NDArray[np.uint64]
    sizes: NDArray[np.int64]
    roles: NDArray[np.uint8]
    cut: tuple[int, int] | None


@dataclass(frozen=True, eq=False)
class Corpus:
    """The tokens of every source, to train on and to validate with, and how often each source is drawn."""

    train: tuple[Tokens, ...]
    validation: tuple[Tokens, ...]
    shares: tuple[float, ...]
    report: dict[str, Any]


def survey(source: Term, folder: Path, dedup: bool, seen: set[bytes]) -> Survey:
    """Reads every document of a source once. `seen` holds the hashes of the texts met before, over all sources."""
    keys: list[int] = []
    sizes: list[int] = []
    roles: list[int] = []
    for document in read(source, folder):
        text = document.text.encode("utf-8", "surrogatepass")
        digest = hashlib.blake2b(text, digest_size=16).digest()
        keys.append(int.from_bytes(hashlib.blake2b(document.name.encode(), digest_size=8).digest(), "little"))
        sizes.append(len(text))
        roles.append(_DROPPED if dedup and digest in seen else _TRAIN)
        if dedup:
            seen.add(digest)
    chosen, cut = split(
        np.array(keys, np.uint64), np.array(sizes, np.int64), np.array(roles, np.uint8), source["validation"]
    )
    return Survey(np.array(keys, np.uint64), np.array(sizes, np.int64), chosen, cut)


def read(source: Term, folder: Path) -> Iterator[Document]:
    """The documents of a `text` source, in the order of their names."""
    return documents(files(source["paths"], folder, source.span))


def split(
    keys: NDArray[np.uint64], sizes: NDArray[np.int64], roles: NDArray[np.uint8], share: float
) -> tuple[NDArray[np.uint8], tuple[int, int] | None]:
    """Whole documents for validation: in the order of their keys, until `share` of the bytes is reached.

    Documents of more than a quarter of that are passed over, so that several are seen; only when that leaves too few
    may one be longer, but never past one and a half times the share. When none fits, the end of the longest document is
    cut off for validation instead.
    """
    if share == 0 or not len(keys):
        return roles, None
    roles = roles.copy()
    wanted = share * float(sizes[roles == _TRAIN].sum())
    taken = 0
    for longest in (0.25 * wanted, 1.5 * wanted):
        for document in np.argsort(keys, kind="stable"):
            fits = sizes[document] <= longest and taken + sizes[document] <= 1.5 * wanted
            if taken < wanted and fits and roles[document] == _TRAIN:
                roles[document] = _VALIDATION
                taken += int(sizes[document])
    if taken:
        return roles, None
    last = int(np.argmax(np.where(roles == _TRAIN, sizes, -1)))
    return roles, (last, int(sizes[last]) - max(1, round(wanted)))


def sample(sources: Iterable[tuple[Term, Survey]], folder: Path) -> Iterator[str]:
    """Training documents for a tokenizer: all of them, or a part of about SAMPLE bytes that their keys pick."""
    pairs = list(sources)
    total = sum(int(s.sizes[s.roles == _TRAIN].sum()) for _, s in pairs)
    limit = np.uint64(min(1.0, SAMPLE / max(1, total)) * (2**64 - 2**12))
    for source, known in pairs:
        for number, document in enumerate(read(source, folder)):
            if known.roles[number] == _TRAIN and known.keys[number] <= limit:
                yield _training_part(number, document.text, known.cut)[0]


def tokenise(
    source: Term, known: Survey, tokenizer: Tokenizer, folder: Path, target: Path, name: str
) -> list[TokensInfo]:
    """Writes `NAME.train` and `NAME.validation` token files to the folder `target`."""
    writers = [
        TokensWriter(target, f"{name}.{part}", tokenizer.size, tokenizer.end) for part in ("train", "validation")
    ]
    for group in _groups(_numbered(source, known, folder), 64):
        for (role, _), ids in zip(group, tokenizer.encode_all([text for _, text in group]), strict=True):
            writers[role].add([ids])
    return [writer.close() for writer in writers]


def _numbered(source: Term, known: Survey, folder: Path) -> Iterator[tuple[int, str]]:
    for number, document in enumerate(read(source, folder)):
        if known.roles[number] == _DROPPED:
            continue
        train, rest = _training_part(number, document.text, known.cut)
        yield int(known.roles[number]), train
        if rest:
            yield _VALIDATION, rest


def _training_part(number: int, text: str, cut: tuple[int, int] | None) -> tuple[str, str]:
    """A document as it is, or cut in two near the given byte, at a line where there is one."""
    if cut is None or cut[0] != number:
        return text, ""
    place = len(text.encode("utf-8", "surrogatepass")[: cut[1]].decode("utf-8", "ignore"))
    place = text.rfind("\n", 0, place) + 1 or place
    return text[:place], text[place:]


def _groups(items: Iterable[tuple[int, str]], size: int) -> Iterator[tuple[tuple[int, str], ...]]:
    iterator = iter(items)
    while group := tuple(itertools.islice(iterator, size)):
        yield group


def prepare(
    data: DataPlan, tokenizer: Tokenizer | None, vocabulary: int, folder: Path, target: Path
) -> tuple[Tokenizer, Corpus]:
    """The corpus of a stage, made in `target` when it is not there yet.

    `tokenizer` None trains one with `vocabulary` tokens. `folder` is where the patterns of the sources start.
    """
    seen: set[bytes] = set()
    surveys = [survey(source, folder, data.dedup is not None, seen) for source, _ in data.sources]
    if tokenizer is None:
        known = zip((source for source, _ in data.sources), surveys, strict=True)
        tokenizer = Tokenizer.train(sample(known, folder), vocabulary)
    with new_folder(target) as writing:
        infos = [
            tokenise(source, known, tokenizer, folder, writing, str(number))
            for number, ((source, _), known) in enumerate(zip(data.sources, surveys, strict=True))
        ]
        report = {
            "documents": sum(len(s.keys) for s in surveys),
            "duplicates": sum(int((s.roles == _DROPPED).sum()) for s in surveys),
            "bytes": sum(int(s.sizes.sum()) for s in surveys),
        }
        index = {
            "data": plain(data),
            "tokenizer": _digest(tokenizer),
            "files": [[asdict(i) for i in pair] for pair in infos],
        }
        write_json(writing / "index.json", index | {"report": report})
    return tokenizer, open_corpus(data, tokenizer, target)


def open_corpus(data: DataPlan, tokenizer: Tokenizer, target: Path) -> Corpus:
    """A corpus that was made before. WeftError when it is damaged or was made from other data."""
    try:
        index = json.loads((target / "index.json").read_text(encoding="utf-8"))
        infos = [[TokensInfo(**{**i, "sha256": tuple(i["sha256"])}) for i in pair] for pair in index["files"]]
        same = index["data"] == json.loads(json.dumps(plain(data))) and index["tokenizer"] == _digest(tokenizer)
        report = index["report"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeftError(errors.damaged_data(str(target), "its index cannot be read")) from error
    if not same:
        raise WeftError(errors.damaged_data(str(target), "they were made from other data or with another tokenizer"))
    pairs = [
        [
            open_tokens(target, f"{number}.{part}", info)
            for part, info in zip(("train", "validation"), pair, strict=True)
        ]
        for number, pair in enumerate(infos)
    ]
    shares = tuple(share for _, share in data.sources)
    return Corpus(tuple(p[0] for p in pairs), tuple(p[1] for p in pairs), shares, report)


def _digest(tokenizer: Tokenizer) -> str:
    return hashlib.sha256(tokenizer.text.encode()).hexdigest()
