"""The tokenizers of the models that read text: each lies as `tokenizer.json` in its model's folder."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.catalog import ModelCard, Tokenization
from gateway.catalog.parameters import CardError
from gateway.errors import ModelUnavailable
from gateway.translate.text import Encoded

if TYPE_CHECKING:
    import tokenizers

FILE = "tokenizer.json"
_PADDINGS = ("[PAD]", "<pad>")  # what BERT's relatives and RoBERTa's call it


class Tokenizer:
    """One vocabulary, cut to a model's longest input; safe to use from several threads."""

    def __init__(self, document: str, max_tokens: int) -> None:
        """Raises ValueError where the document describes no tokenizer, or one that adds too many tokens itself."""
        import tokenizers  # noqa: PLC0415  # its library is large, and many gateways serve no texts

        try:
            self._tokenizer = tokenizers.Tokenizer.from_str(document)
            self._pad_id = _pad_id(self._tokenizer)
            self._tokenizer.no_padding()
            self._tokenizer.enable_truncation(max_tokens, direction="right")
        except Exception as error:  # noqa: BLE001  # the library raises plain Exception
            raise ValueError(str(error)) from None

    def encode(self, text: str) -> Encoded:
        """The text's first tokens, among those that the vocabulary puts around every text."""
        # Of all its ways only those for batches let go of the interpreter lock; this one leaves out the offsets.
        (found,) = self._tokenizer.encode_batch_fast([text])
        return Encoded(found.ids, found.type_ids, self._pad_id)


def _pad_id(tokenizer: "tokenizers.Tokenizer") -> int:
    """What the file says about padding, or the id of the usual token; what is padded is masked in any case."""
    if tokenizer.padding is not None:
        return int(tokenizer.padding["pad_id"])
    ids = (tokenizer.token_to_id(token) for token in _PADDINGS)
    return next((found for found in ids if found is not None), 0)


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A tokenizer; `stamp` is when its file changed, the file's size, and the longest input that it was cut to."""

    stamp: tuple[int, int, int]
    tokenizer: Tokenizer


class Tokenizers:
    """By model. `prepare` keeps them as the files are, `of` answers from memory."""

    def __init__(self, repository: Path | None) -> None:
        self._repository = repository
        self._loaded: dict[str, _Loaded] = {}

    async def prepare(self, card: ModelCard) -> None:
        """Reads the tokenizer of a model for texts where it is new or has changed.

        Raises CardError with a sentence for the operator where there is none that works.
        """
        if not isinstance(card.encoding, Tokenization):
            return
        path, known = self._path(card.name), self._loaded.get(card.name)
        try:
            self._loaded[card.name] = await asyncio.to_thread(_read, path, card.encoding.max_tokens, known)
        except OSError as error:
            self._loaded.pop(card.name, None)
            raise CardError(f"{path} cannot be read: {error.strerror}") from None
        except ValueError as error:
            self._loaded.pop(card.name, None)
            raise CardError(f"{path} is no tokenizer for this model: {error}") from None

    def of(self, model: str) -> Tokenizer:
        """Raises ModelUnavailable where the file has gone since the model was chosen."""
        found = self._loaded.get(model)
        if found is None:
            raise ModelUnavailable("This model cannot be served at the moment.", retry_after=2)
        return found.tokenizer

    def _path(self, model: str) -> Path:
        if self._repository is None:
            raise CardError(
                f"its {FILE} cannot be found: set GATEWAY_MODEL_REPOSITORY to the folder of the models"
            )
        return self._repository / model / FILE


def _read(path: Path, max_tokens: int, known: _Loaded | None) -> _Loaded:
    """What is known already, where the file is still the same."""
    status = path.stat()
    stamp = (status.st_mtime_ns, status.st_size, max_tokens)
    if known is not None and known.stamp == stamp:
        return known
    return _Loaded(stamp, Tokenizer(path.read_text(encoding="utf-8"), max_tokens))
