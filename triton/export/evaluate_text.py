"""Measures languages_bert on the names of held-out territories, from the ONNX files or by whatever else answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import onnxruntime
from languages import Text, lists, names
from tokenizers import Tokenizer

FOLDER = Path(__file__).resolve().parents[2] / "model_repository" / "languages_bert"
LIST_SEED, NAMES_IN_A_LIST = 73, 3
BATCH = 16

#: The best class of each of at most 16 texts, by this version.
Read = Callable[[Sequence[str], int], Sequence[int]]


def figures(read: Read, version: int) -> Iterator[tuple[str, float]]:
    """Every figure's name and value in percent."""
    single = names("held_out")
    unmistakable = [text for text in single if len(text.right) == 1]
    yield "accuracy, names", 100 * accuracy(read, version, single)
    yield "accuracy, names of one language", 100 * accuracy(read, version, unmistakable)
    listed = lists("held_out", NAMES_IN_A_LIST, LIST_SEED)
    yield "accuracy, lists of three names", 100 * accuracy(read, version, listed)


def accuracy(read: Read, version: int, texts: Sequence[Text]) -> float:
    """Share of `texts` whose best class is a language that writes them so."""
    right = 0
    for start in range(0, len(texts), BATCH):
        batch = texts[start : start + BATCH]
        found = read([text.text for text in batch], version)
        right += sum(best in text.right for best, text in zip(found, batch, strict=True))
    return right / len(texts)


def read_offline(texts: Sequence[str], version: int) -> list[int]:
    """From the ONNX file, one text at a time: so nothing is padded, and padding must change nothing."""
    best = []
    for text in texts:
        ids = np.array([_tokenizer().encode(text).ids], np.int64)
        inputs = {
            "input_ids": ids,
            "attention_mask": np.ones_like(ids),
            "token_type_ids": np.zeros_like(ids),
        }
        (logits,) = _session(version).run(None, inputs)
        best.append(int(logits[0].argmax()))
    return best


@cache
def _tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(FOLDER / "tokenizer.json"))


@cache
def _session(version: int) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(
        FOLDER / str(version) / "model.onnx", providers=["CPUExecutionProvider"]
    )
