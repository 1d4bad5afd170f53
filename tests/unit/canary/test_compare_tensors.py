"""What agrees in plain tensors and what does not, and what is kept of a disagreement."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
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
        pytest.param(tensor(*TEN), tensor(*TEN[:9], 7.0), True, 0.9, id="nine in ten"),
        pytest.param(tensor(*TEN[:9]), tensor(*TEN[:8], 7.0), False, 8 / 9, id="eight in nine"),
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


def test_a_large_output_is_compared_in_parts_over_all_of_it() -> None:
    many = np.zeros(1_000_000, np.float32)
    half = many.copy()
    half[500_000:] = 1
    one, other = (RawTensor("y", "FP32", (1_000_000,), each.tobytes()) for each in (many, half))
    assert compared(one, other).overlap == pytest.approx(0.5, abs=0.001)


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
