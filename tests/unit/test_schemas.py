"""What is said of a request that is not valid: our words, and places that the caller wrote."""

from typing import Any

import pytest
from pydantic import BaseModel

from gateway.errors import ValidationFailed
from gateway.schemas import ClassifyOptions, ClassifyRequest, validated
from gateway.translate.protocol import InferenceRequest

ONE = {"name": "x", "datatype": "FP32", "shape": [1], "data": [1]}
IMAGE = {"image": "AAAA"}


@pytest.mark.parametrize(
    ("model", "document", "pointer", "detail"),
    [
        (ClassifyRequest, 3, "", "Input should be a valid object"),
        (ClassifyRequest, {"inputs": [3]}, "/inputs/0", "Input should be a valid object"),
        (
            ClassifyRequest,
            {"inputs": [{"text": " "}]},
            "/inputs/0/text",
            "A text has a character that is not white space",
        ),
        (
            ClassifyRequest,
            {"inputs": [IMAGE], "version": "x"},
            "/version",
            "A version is a number from 1 on",
        ),
        (
            ClassifyRequest,
            {"inputs": [IMAGE], "classes": [None]},
            "/classes/0",
            "Input should be a valid integer or string",
        ),
        (
            InferenceRequest,
            {"inputs": [ONE], "parameters": {"foo": [1]}},
            "/parameters/foo",
            "Input should be a valid boolean, integer, number or string",
        ),
        (
            InferenceRequest,
            {"inputs": [ONE], "parameters": {"foo": "x" * 5000}},
            "/parameters/foo",
            "String should have at most 4096 characters",
        ),
    ],
)
def test_a_field_has_one_sentence_and_no_internals(
    model: type[BaseModel], document: Any, pointer: str, detail: str
) -> None:
    with pytest.raises(ValidationFailed) as refused:
        validated(model, document, strict=True)
    assert [(error.pointer, error.detail) for error in refused.value.errors] == [(pointer, detail)]


def test_an_option_in_the_query_has_its_name_for_a_place() -> None:
    with pytest.raises(ValidationFailed) as refused:
        validated(ClassifyOptions, {"model": "-", "top_k": "0"}, strict=False)
    assert {error.pointer for error in refused.value.errors} == {"?model", "?top_k"}
