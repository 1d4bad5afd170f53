"""A small tokenizer, made in the test: whole words only, between [CLS] and [SEP] as BERT has them."""

from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import Lowercase
from tokenizers.pre_tokenizers import WhitespaceSplit
from tokenizers.processors import BertProcessing

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "one", "two", "three", "four")
PAD, UNK, CLS, SEP, ONE, TWO, THREE, FOUR = range(len(WORDS))


def words_only(words: tuple[str, ...] = WORDS) -> Tokenizer:
    vocabulary = {word: index for index, word in enumerate(words)}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = Lowercase()
    tokenizer.pre_tokenizer = WhitespaceSplit()
    tokenizer.post_processor = BertProcessing(("[SEP]", vocabulary["[SEP]"]), ("[CLS]", vocabulary["[CLS]"]))
    return tokenizer


def save(repository: Path, model: str, tokenizer: Tokenizer | None = None) -> Path:
    """Writes it where the gateway looks for the tokenizer of this model."""
    path = repository / model / "tokenizer.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    (tokenizer or words_only()).save(str(path))
    return path
