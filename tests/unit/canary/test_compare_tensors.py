"""What agrees in plain tensors and what does not, and what is kept of a disagreement."""

import json
import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from unit.canary.answers import classes

from gateway.canary.compare import compare
from gateway.canary.compare_tensors import TensorResult
from gateway.canary.comparison import ClassTally, Comparison, Drift
from gateway.canary.report import Disagreement, Report, Versions, from_document, to_document, trimmed
from gateway.datatypes import BF16, BYTES, DTYPES
from gateway.domain import RawTensor
from gateway.translate.elements import pack


def tensor(
    *values: object, datatype: str = "FP32", name: str = "y", shape: tuple[int, ...] = ()
) -> RawTensor:
    """`values` as the output; NaN and infinity too."""
    sizes = shape or (len(values),)
    if datatype in DTYPES:
        return RawTensor(name, datatype, sizes, np.array(values, DTYPES[datatype]).tobytes())
    return RawTensor(name, datatype, sizes, bytes(pack(datatype, values, sizes)))


def compared(stable: RawTensor, canary: RawTensor) -> Comparison:
    return compare(TensorResult((stable,)), TensorResult((canary,)))


TEN = [0.1 * each for each in range(10)]


@pytest.mark.parametrize(
    ("stable", "canary", "agrees", "overlap"),
    [
        pytest.param(tensor(1.0, 2.0), tensor(1.0, 2.0), True, 1.0, id="the same"),
        pytest.param(tensor(100.0), tensor(100.9), True, 1.0, id="within a hundredth"),
        pytest.param(tensor(100.0), tensor(102.0), False, 0.0, id="further away"),
        pytest.param(tensor(0.0), tensor(0.0009), True, 1.0, id="within a thousandth of nothing"),
        pytest.param(tensor(*TEN), tensor(*TEN[:9], 1.0), True, 0.9, id="nine in ten"),
        pytest.param(tensor(*TEN[:9]), tensor(*TEN[:8], 0.9), False, 8 / 9, id="eight in nine"),
        pytest.param(
            tensor(*TEN), tensor(*TEN[:9], 3.6), False, 0.625, id="one in ten that holds half of it all"
        ),
        pytest.param(tensor(math.nan, math.inf), tensor(math.nan, math.inf), True, 1.0, id="both not finite"),
        pytest.param(tensor(math.nan), tensor(1.0), False, 0.0, id="one not finite"),
        pytest.param(tensor(1.0), tensor(1.0, datatype="FP64"), False, 0.0, id="another datatype"),
        pytest.param(tensor(1.0, 2.0), tensor(1.0), False, 0.0, id="another size"),
        pytest.param(tensor(1.0, shape=(1, 1)), tensor(1.0), False, 0.0, id="another shape"),
        pytest.param(tensor(100, datatype="INT8"), tensor(101, datatype="INT8"), False, 0.0, id="integers"),
        pytest.param(tensor(True, datatype="BOOL"), tensor(True, datatype="BOOL"), True, 1.0, id="truths"),
        pytest.param(tensor(1.5, datatype=BF16), tensor(1.5, datatype=BF16), True, 1.0, id="brain floats"),
        pytest.param(
            tensor("a", "b", datatype=BYTES), tensor("a", "c", datatype=BYTES), False, 0.5, id="strings"
        ),
    ],
)
def test_an_output_agrees_by_its_elements(
    stable: RawTensor, canary: RawTensor, agrees: bool, overlap: float
) -> None:
    found = compared(stable, canary)
    assert (found.agrees, found.overlap) == (agrees, pytest.approx(overlap))
    tally = ClassTally(agreed=1) if agrees else ClassTally(changed_from=1, changed_to=1)
    assert found.classes == {"y": tally}


def test_strings_that_are_none_disagree_with_any() -> None:
    broken = RawTensor("y", BYTES, (1,), b"\x09\0\0\0short")
    assert not compared(tensor("a", datatype=BYTES), broken).agrees


def test_drift_is_that_of_floats() -> None:
    found = compared(tensor(1.0, 2.0, math.nan), tensor(2.0, 1.0, math.nan))
    assert found.drift == Drift(0.0, 1.0)
    assert compared(tensor(1, datatype="INT32"), tensor(5, datatype="INT32")).drift is None
    assert compared(tensor(1e308, datatype="FP64"), tensor(-1e308, datatype="FP64")).drift is None


def test_an_answer_agrees_where_all_of_its_outputs_do() -> None:
    label, score = tensor(3, datatype="INT64", name="label"), tensor(0.9, name="score")
    other = tensor(4, datatype="INT64", name="label")
    found = compare(TensorResult((label, score)), TensorResult((other, score)))
    assert (found.agrees, found.overlap, found.drift) == (False, 0.5, Drift(0.0, 0.0))
    assert found.classes["score"] == ClassTally(agreed=1)


def test_an_output_that_only_one_version_gave_is_alike_in_nothing() -> None:
    score, more = tensor(0.9, name="score"), tensor(0.1, name="more")
    for one, other in (((score, more), (score,)), ((score,), (more, score))):
        found = compare(TensorResult(one), TensorResult(other))
        assert (found.agrees, found.overlap) == (False, 0.5)
        assert found.classes == {
            "score": ClassTally(agreed=1),
            "more": ClassTally(changed_from=1, changed_to=1),
        }


def floats(array: NDArray[np.float64]) -> RawTensor:
    return RawTensor("y", "FP32", array.shape, array.astype(np.float32).tobytes())


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def head(objects: Sequence[tuple[int, int]]) -> NDArray[np.float64]:
    """A YOLO head: four edges and eighty scores for each of 8,400 places, at a few of which (place, class) is an
    object, and next to nothing elsewhere.
    """
    draw = np.random.default_rng(1)
    found = np.vstack([draw.uniform(0, 640, (4, 8400)), draw.uniform(0, 5e-3, (80, 8400))])
    for place, kind in objects:
        found[4 + kind, place : place + 20] = 0.9
    return found[None]


def token_ids(*ids: int) -> RawTensor:
    return tensor(*ids, *[0] * (128 - len(ids)), datatype="INT64", shape=(1, 128))


DRAW = np.random.default_rng(1)
LOGITS = DRAW.normal(0, 2, (1, 1000))
SURE = 14 * np.eye(1000)[[3, 7]] + DRAW.normal(0, 1, (2, 1000))
UNSURE = 4 * np.eye(20)[[3, 7]] + DRAW.normal(0, 0.01, (2, 20))
EMBEDDING = DRAW.normal(0, 1, (2, 768)) / math.sqrt(768)
EDGES = DRAW.uniform(0, 640, (1, 25_200, 6)) * [1, 1, 1, 1, 1 / 640, 1 / 640]
ROW = np.array([[[20.0, 30, 310, 420, 0.9, 3]]])
OBJECTS, OTHERS = [(400 * n, n) for n in range(10)], [(400 * n, n + 20) for n in range(10)]


@pytest.mark.parametrize(
    ("stable", "canary"),
    [
        pytest.param(LOGITS, LOGITS[:, ::-1], id="logits, another order"),
        pytest.param(softmax(SURE[:1]), softmax(SURE[1:]), id="another of a thousand classes"),
        pytest.param(softmax(UNSURE[:1]), softmax(UNSURE[1:]), id="another of twenty classes, unsure"),
        pytest.param(EMBEDDING[:1], EMBEDDING[1:], id="another embedding"),
        pytest.param(head(OBJECTS), head(OBJECTS)[:, ::-1], id="a head, all of it"),
        pytest.param(head(OBJECTS), head(OTHERS), id="a head, the right boxes with other classes"),
        pytest.param(head(OBJECTS), head([]), id="a head, no object is seen"),
        pytest.param(EDGES, EDGES * [1, 1, 1, 1, 1, 0], id="boxes, no scores"),
        pytest.param(EDGES, EDGES * [1, 0, 1, 1, 1, 1], id="boxes, an edge is nothing"),
        pytest.param(ROW, ROW + np.array([0, 0, 0, 0, 0, 4]), id="one box, another class"),
        pytest.param(ROW, ROW + np.array([9, 9, 9, 9, 0, 0]), id="one box, elsewhere"),
    ],
)
def test_floats_that_are_wrong_disagree_and_those_that_were_rounded_agree(
    stable: NDArray[np.float64], canary: NDArray[np.float64]
) -> None:
    assert not compared(floats(stable), floats(canary)).agrees
    for answer in (stable, canary):
        assert compared(floats(answer), floats(answer)).overlap == 1
        assert compared(floats(answer), floats(answer.astype(np.float16).astype(np.float64))).agrees


def test_a_head_that_finds_nothing_agrees_whatever_noise_it_gives_out() -> None:
    nothing = [floats(np.random.default_rng(seed).uniform(0, 5e-4, (1, 80, 8400))) for seed in (1, 2)]
    assert compared(*nothing).agrees


def test_padding_hides_no_wrong_integers_nor_strings() -> None:
    assert compared(token_ids(5, 6, 7), token_ids(5, 6, 7)).agrees
    assert not compared(token_ids(5, 6, 7), token_ids(8, 9, 4)).agrees
    assert compared(token_ids(), token_ids()).agrees
    words = [tensor(word, *[""] * 99, datatype=BYTES) for word in ("cat", "dog")]
    assert compared(words[0], words[0]).agrees
    assert not compared(*words).agrees


@pytest.mark.parametrize("shape", [(1_000_000,), (2, 500_000), (1, 250_000, 4), (1000, 1000)])
def test_a_large_output_is_compared_in_parts_over_all_of_it(shape: tuple[int, ...]) -> None:
    stable = np.ones(shape)
    canary = stable.copy()
    canary.reshape(-1)[500_000:] = 2
    assert compared(floats(stable), floats(canary)).overlap == pytest.approx(0.5, abs=0.02)


def test_strings_are_compared_in_thousands() -> None:
    stable = tensor(*["x"] * 5000, datatype=BYTES)
    canary = tensor(*["x"] * 1000, *["y"] * 4000, datatype=BYTES)
    assert compared(stable, canary).overlap == pytest.approx(0.2)


@given(st.binary(max_size=64))
def test_strings_of_any_bytes_compare(data: bytes) -> None:
    text = RawTensor("y", BYTES, (1,), len(data).to_bytes(4, "little") + data)
    assert compared(text, text).agrees
    assert not compared(text, tensor("another", datatype=BYTES)).agrees or data == b"another"


def test_a_sample_keeps_the_beginning_and_survives_the_store() -> None:
    outputs = (
        tensor(*range(20), datatype="INT64", name="ids"),
        tensor(0.5, math.nan, name="scores"),
        tensor("ä" * 300, "b", datatype=BYTES, name="words"),
        RawTensor("raw", BYTES, (1,), b"\x01\0\0\0\xff"),
    )
    kept = trimmed(TensorResult(outputs))
    sample = Disagreement(0.5, "r-1", "0" * 64, kept, kept)
    report = Report(Versions("pets", "1", "2"), compared=1, samples=(sample,))
    assert from_document(to_document(report)) == report
    shown = json.loads(to_document(report))["samples"][0]["stable"]["outputs"]
    assert [each["first"] for each in shown] == [[*range(8)], [], ["ä" * 200, "b"], []]
    assert shown[0]["shape"] == [20]


def test_tensors_do_not_compare_with_classes() -> None:
    with pytest.raises(TypeError):
        compare(TensorResult(()), classes())
