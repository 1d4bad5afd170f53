"""Tokenizers: what they make of a text, and where the gateway has them from."""

import asyncio
import os
import sys
import time
from pathlib import Path

import pytest
from support.cards import classifier_card, reader_card
from support.vocabulary import CLS, FOUR, ONE, PAD, SEP, THREE, TWO, UNK, WORDS, save, words_only

from gateway.catalog.parameters import CardError
from gateway.errors import ModelUnavailable
from gateway.translate.tokenizer import Tokenizer, Tokenizers


def tokenizer_of(max_tokens: int = 16) -> Tokenizer:
    return Tokenizer(words_only().to_str(), max_tokens)


def test_a_text_becomes_its_tokens_between_those_of_the_vocabulary_itself() -> None:
    found = tokenizer_of().encode("One two  sixteen")
    assert list(found.ids) == [CLS, ONE, TWO, UNK, SEP]
    assert list(found.types) == [0] * 5


def test_a_long_text_loses_its_end_and_keeps_the_closing_token() -> None:
    assert list(tokenizer_of(8).encode("one two three four " * 50).ids) == [
        CLS,
        *[ONE, TWO, THREE, FOUR, ONE, TWO],
        SEP,
    ]


def test_a_text_without_a_word_is_still_an_input() -> None:
    assert list(tokenizer_of().encode("\u200b \n").ids) == [CLS, UNK, SEP]


def test_what_the_file_says_of_truncation_and_padding_does_not_count() -> None:
    own = words_only()
    own.enable_truncation(3, direction="left")
    own.enable_padding(length=12, pad_id=PAD)
    assert list(Tokenizer(own.to_str(), 16).encode("one two").ids) == [CLS, ONE, TWO, SEP]


@pytest.mark.parametrize(
    ("words", "pad_id"),
    [(WORDS, PAD), (("<s>", "<pad>", *WORDS[1:]), 1), (("none", *WORDS[1:]), 0)],
    ids=["as BERT calls it", "as RoBERTa calls it", "no token for padding"],
)
def test_texts_are_padded_with_the_token_that_the_vocabulary_has_for_it(
    words: tuple[str, ...], pad_id: int
) -> None:
    assert Tokenizer(words_only(words).to_str(), 16).encode("one").pad_id == pad_id


def test_the_file_may_name_the_padding_token() -> None:
    own = words_only()
    own.enable_padding(pad_id=FOUR)
    assert Tokenizer(own.to_str(), 16).encode("one").pad_id == FOUR


def test_one_tokenizer_may_be_used_from_several_threads_and_lets_the_others_run() -> None:
    tokenizer, text = tokenizer_of(), "one two three " * 100_000

    async def ticks_meanwhile() -> int:
        ticks = 0
        works = [asyncio.create_task(asyncio.to_thread(tokenizer.encode, text)) for _ in range(2)]
        while not all(work.done() for work in works):
            await asyncio.sleep(0)
            ticks += 1
        assert works[0].result() == works[1].result()
        return ticks

    assert asyncio.run(ticks_meanwhile()) > 100


async def test_a_models_tokenizer_is_read_from_its_folder(tmp_path: Path) -> None:
    save(tmp_path, "reader")
    tokenizers = Tokenizers(tmp_path)
    await tokenizers.prepare(reader_card(max_tokens="8"))
    assert len(tokenizers.of("reader").encode("one " * 50).ids) == 8


async def test_a_file_that_has_not_changed_is_not_read_again(tmp_path: Path) -> None:
    save(tmp_path, "reader")
    tokenizers = Tokenizers(tmp_path)
    await tokenizers.prepare(reader_card())
    before = tokenizers.of("reader")
    await tokenizers.prepare(reader_card())
    assert tokenizers.of("reader") is before


async def test_a_file_that_has_changed_is_read_again(tmp_path: Path) -> None:
    path = save(tmp_path, "reader")
    tokenizers = Tokenizers(tmp_path)
    await tokenizers.prepare(reader_card())
    save(tmp_path, "reader", words_only((*WORDS, "five")))
    os.utime(path, (time.time(), time.time() + 5))
    await tokenizers.prepare(reader_card())
    assert list(tokenizers.of("reader").encode("five").ids) == [CLS, len(WORDS), SEP]


async def test_another_longest_input_cuts_elsewhere(tmp_path: Path) -> None:
    save(tmp_path, "reader")
    tokenizers = Tokenizers(tmp_path)
    for most in (8, 12):
        await tokenizers.prepare(reader_card(max_tokens=str(most)))
        assert len(tokenizers.of("reader").encode("one " * 50).ids) == most


async def test_models_for_images_need_no_tokenizer() -> None:
    await Tokenizers(None).prepare(classifier_card())


async def test_without_a_folder_of_models_the_operator_is_told_the_setting() -> None:
    with pytest.raises(CardError, match="set GATEWAY_MODEL_REPOSITORY to the folder of the models"):
        await Tokenizers(None).prepare(reader_card())


async def test_a_file_that_is_missing_is_told_by_its_path(tmp_path: Path) -> None:
    with pytest.raises(CardError) as caught:
        await Tokenizers(tmp_path).prepare(reader_card())
    assert str(caught.value) == f"{tmp_path}/reader/tokenizer.json cannot be read: No such file or directory"


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b'{"version": "1.0"', b"\xff\xfe"],
    ids=["nothing", "another JSON", "half a JSON", "no text at all"],
)
async def test_a_file_that_is_no_tokenizer_is_told_by_its_path(tmp_path: Path, content: bytes) -> None:
    path = save(tmp_path, "reader")
    path.write_bytes(content)
    with pytest.raises(CardError, match=r"/reader/tokenizer\.json is no tokenizer for this model: "):
        await Tokenizers(tmp_path).prepare(reader_card())


async def test_a_tokenizer_that_has_gone_serves_no_longer(tmp_path: Path) -> None:
    path = save(tmp_path, "reader")
    tokenizers = Tokenizers(tmp_path)
    await tokenizers.prepare(reader_card())
    path.unlink()
    with pytest.raises(CardError):
        await tokenizers.prepare(reader_card())
    with pytest.raises(ModelUnavailable):
        tokenizers.of("reader")


def test_the_hub_of_which_the_library_can_load_is_never_touched() -> None:
    assert not [name for name in sys.modules if name.partition(".")[0] == "huggingface_hub"]
