"""Tokens to the tensors of one batch."""

import numpy as np
import pytest
from support.cards import TOKENS, reader_card, tokenization

from gateway.catalog import Tokenization
from gateway.domain import TensorSpec
from gateway.translate.text import Encoded, estimated_tokens, stack

SHORT = Encoded(ids=[2, 5, 3], types=[0, 0, 0], pad_id=9)
LONG = Encoded(ids=[2, 4, 5, 6, 3], types=[0, 0, 1, 1, 1], pad_id=9)
ANY_LENGTH = Tokenization(512, None, *TOKENS)


def test_a_batch_is_padded_to_its_longest_text_and_the_padding_is_masked() -> None:
    ids, mask, types = stack([SHORT, LONG], ANY_LENGTH)
    assert [ids.name, mask.name, types.name] == ["input_ids", "attention_mask", "token_type_ids"]
    assert ids.data.tolist() == [[2, 5, 3, 9, 9], [2, 4, 5, 6, 3]]
    assert mask.data.tolist() == [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]
    assert types.data.tolist() == [[0, 0, 0, 0, 0], [0, 0, 1, 1, 1]]


def test_a_text_alone_has_no_padding() -> None:
    ids, mask, _ = stack([SHORT], ANY_LENGTH)
    assert ids.data.tolist() == [[2, 5, 3]]
    assert mask.data.tolist() == [[1, 1, 1]]


def test_texts_without_a_token_are_padding_alone() -> None:
    nothing = Encoded(ids=[], types=[], pad_id=9)
    ids, mask, types = stack([nothing], ANY_LENGTH)
    assert (ids.data.tolist(), mask.data.tolist(), types.data.tolist()) == ([[9]], [[0]], [[0]])


def test_a_network_that_fixes_the_length_gets_it() -> None:
    to = Tokenization(8, 8, *(TensorSpec(spec.name, "INT64", (8,)) for spec in TOKENS))
    assert [tensor.data.shape for tensor in stack([SHORT], to)] == [(1, 8)] * 3


def test_a_network_without_token_types_gets_none() -> None:
    tensors = stack([SHORT], tokenization(reader_card(inputs=TOKENS[:2])))
    assert [tensor.name for tensor in tensors] == ["input_ids", "attention_mask"]


@pytest.mark.parametrize(("datatype", "dtype"), [("INT64", np.int64), ("INT32", np.int32)])
def test_tokens_have_the_datatype_that_the_model_declares(datatype: str, dtype: type) -> None:
    inputs = tuple(TensorSpec(spec.name, datatype, (-1,)) for spec in TOKENS)
    tensors = stack([SHORT], tokenization(reader_card(inputs=inputs)))
    assert [tensor.data.dtype for tensor in tensors] == [dtype] * 3


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("a", 1), ("four", 1), ("fours", 2), ("中国", 2), ("word " * 800, 1000)],
    ids=["a letter", "four bytes", "five bytes", "six bytes of two characters", "four thousand bytes"],
)
def test_a_token_is_taken_for_four_bytes(text: str, tokens: int) -> None:
    assert estimated_tokens(text) == tokens
