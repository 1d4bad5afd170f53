"""A model's configuration to its card, and the sentence that tells the operator what is wrong with it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.cards import TOKENS, classifier, detector, reader, tokenization

from gateway.catalog import Activation, Task
from gateway.catalog.card import read_card, read_tensor_card
from gateway.catalog.parameters import CardError, has_task
from gateway.domain import ServedModel, TensorSpec

FLOATS = TensorSpec("images", "FP32", (3, 32, 32))


def test_a_classifier_with_the_least_configuration_has_sensible_defaults() -> None:
    card = read_card(classifier(10))
    to = card.preprocessing
    assert (card.name, card.task, card.batch_limit) == ("classifier", Task.IMAGE_CLASSIFICATION, 8)
    assert card.labels[0] == "class 0"
    assert (to.width, to.height, to.datatype) == (32, 32, "UINT8")
    assert (to.channels, to.layout, to.interpolation, to.antialias) == ("RGB", "NCHW", "bilinear", True)
    assert card.parameters.activation is Activation.SOFTMAX  # type: ignore[union-attr]


def test_a_detector_with_the_least_configuration_has_ultralytics_defaults() -> None:
    card = read_card(detector(3))
    assert card.task is Task.OBJECT_DETECTION
    assert card.preprocessing.pad == 114
    expected = {"boxes": "yolov8", "min_score": 0.25, "iou_threshold": 0.7, "max_detections": 300}
    assert card.parameters.model_dump(include=set(expected)) == expected


def test_every_key_of_a_classifier_is_read() -> None:
    card = read_card(
        classifier(
            2,
            input_=TensorSpec("images", "FP16", (48, 64, 3)),
            default="true",
            default_version="3",
            labels="cat\ndog",
            channels="BGR",
            layout="NHWC",
            resize="crop",
            resize_shorter="70",
            interpolation="bicubic",
            antialias="true",
            value_range="0..255",
            mean="104, 117,123",
            std="1,2, 3.5",
            activation="sigmoid",
            top_k="2",
        )
    )
    to = card.preprocessing
    assert (to.width, to.height, to.datatype, to.channels, to.layout) == (64, 48, "FP16", "BGR", "NHWC")
    assert (to.resize, to.resize_shorter, to.interpolation, to.antialias) == ("crop", 70, "bicubic", True)
    assert (to.divisor, to.mean, to.std) == (1.0, (104.0, 117.0, 123.0), (1.0, 2.0, 3.5))
    assert card.default_version == "3"
    assert card.labels == ("cat", "dog")
    expected = {"default": True, "activation": "sigmoid", "top_k": 2}
    assert card.parameters.model_dump(include=set(expected)) == expected


def test_every_key_of_a_detector_is_read() -> None:
    card = read_card(
        detector(
            2,
            input_=TensorSpec("images", "UINT8", (1, 48, 64)),
            channels="GRAY",
            antialias="false",
            pad="0",
            boxes="yolov8",
            min_score="0.4",
            iou_threshold="0.6",
            max_detections="20",
        )
    )
    to = card.preprocessing
    assert (to.width, to.height, to.channels, to.antialias, to.pad) == (64, 48, "GRAY", False, 0)
    expected = {"min_score": 0.4, "iou_threshold": 0.6, "max_detections": 20}
    assert card.parameters.model_dump(include=set(expected)) == expected


def test_a_model_for_texts_with_the_least_configuration_has_berts_defaults() -> None:
    card = read_card(reader(3))
    to = tokenization(card)
    assert (card.task, card.batch_limit) == (Task.TEXT_CLASSIFICATION, 8)
    assert (to.max_tokens, to.length) == (512, None)
    assert (to.ids, to.mask, to.types) == TOKENS
    expected = {"activation": "softmax", "top_k": 5}
    assert card.parameters.model_dump(include=set(expected)) == expected


def test_every_key_of_a_model_for_texts_is_read() -> None:
    ids, mask, types = (TensorSpec(name, "INT32", (128,)) for name in ("ids", "mask", "segments"))
    card = read_card(
        reader(
            2,
            inputs=(types, mask, ids),
            max_tokens="100",
            input_ids="ids",
            attention_mask="mask",
            token_type_ids="segments",
            activation="sigmoid",
            top_k="1",
        )
    )
    to = tokenization(card)
    assert (to.max_tokens, to.length, to.ids, to.mask, to.types) == (100, 128, ids, mask, types)
    expected = {"activation": "sigmoid", "top_k": 1}
    assert card.parameters.model_dump(include=set(expected)) == expected


def test_a_model_for_texts_may_take_no_token_types() -> None:
    assert tokenization(read_card(reader(inputs=TOKENS[:2]))).types is None


@pytest.mark.parametrize("first", [1, -1])
def test_a_model_for_texts_that_does_not_batch_takes_one_text_a_call(first: int) -> None:
    inputs = tuple(TensorSpec(spec.name, "INT64", (first, -1)) for spec in TOKENS)
    card = read_card(reader(2, inputs=inputs, output=TensorSpec("y", "FP32", (first, 2)), batch=0))
    assert (card.batch_limit, tokenization(card).length) == (1, None)


@pytest.mark.parametrize(
    "labels",
    ["cat\ndog", "cat\ndog\n", "cat\r\ndog\r\n", " cat \n\tdog\n\n"],
    ids=["plain", "a line end at the end", "Windows' line ends", "spaces around"],
)
def test_labels_are_lines(labels: str) -> None:
    assert read_card(classifier(2, labels=labels)).labels == ("cat", "dog")


def test_labels_keep_odd_characters_and_may_repeat() -> None:
    labels = ("crane", "crane", "naïve café", "a\u2028b", "x, y")
    assert read_card(classifier(5, labels="\n".join(labels))).labels == labels


def test_keys_without_the_prefix_are_not_ours() -> None:
    served = classifier(2)
    assert read_card(replace(served, parameters={**served.parameters, "execution_mode": "1"}))


def test_a_model_without_a_task_is_not_ours() -> None:
    assert not has_task({"gateway.labels": "a"})
    assert has_task({"gateway.task": "anything"})


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param({"max_batch_size": 8, "instances": 2}, 32, id="two batches an instance"),
        pytest.param({"max_batch_size": 0}, 2, id="two calls of a model that takes no batches"),
        pytest.param({"max_batch_size": 0, "decoupled": True}, 64, id="the streams of one that generates"),
        pytest.param({"max_batch_size": 4, "instances": 2, "decoupled": True}, 128, id="of each instance"),
        pytest.param({"max_batch_size": 100, "decoupled": True}, 200, id="whatever is more"),
    ],
)
def test_as_many_calls_are_in_flight_as_the_model_puts_to_use(changes: dict[str, Any], expected: int) -> None:
    assert read_tensor_card(replace(classifier(2), parameters={}, **changes)).capacity == expected
    limited = {"gateway.max_in_flight": "5"}
    assert read_tensor_card(replace(classifier(2), parameters=limited, **changes)).capacity == 5


def test_without_a_default_version_the_highest_ready_one_answers() -> None:
    assert read_card(replace(classifier(2), versions=("1", "2", "10"))).default_version == "10"


@pytest.mark.parametrize(
    "served",
    [
        pytest.param(
            classifier(5, output=TensorSpec("y", "FP32", (5, 1, 1))), id="scores with dimensions of 1"
        ),
        pytest.param(classifier(5, output=TensorSpec("y", "FP16", (5,))), id="scores in half precision"),
        pytest.param(classifier(5, output=TensorSpec("y", "FP32", (-1,))), id="any number of scores"),
        pytest.param(
            classifier(1, activation="sigmoid", output=TensorSpec("y", "FP32", (1,))), id="a single class"
        ),
        pytest.param(detector(5, output=TensorSpec("y", "FP32", (9, 8400))), id="a fixed number of anchors"),
        pytest.param(detector(5, output=TensorSpec("y", "FP32", (-1, -1))), id="rows and anchors left open"),
    ],
)
def test_outputs_that_fit(served: ServedModel) -> None:
    assert read_card(served).batch_limit == 8


@pytest.mark.parametrize("first", [1, -1])
def test_a_model_that_does_not_batch_takes_one_image_a_call(first: int) -> None:
    card = read_card(
        classifier(
            5,
            input_=TensorSpec("x", "UINT8", (first, 3, 32, 48)),
            output=TensorSpec("y", "FP32", (first, 5)),
            batch=0,
        )
    )
    assert card.batch_limit == 1
    assert (card.preprocessing.width, card.preprocessing.height) == (48, 32)


def sized(*shape: int, datatype: str = "UINT8") -> TensorSpec:
    return TensorSpec("images", datatype, shape)


def scores(*shape: int, datatype: str = "FP32") -> TensorSpec:
    return TensorSpec("scores", datatype, shape)


BAD = [
    # calls
    pytest.param(
        replace(classifier(), decoupled=True),
        "gateway.task is for models that answer each call by itself, once; it has decoupled",
        id="any number of answers",
    ),
    pytest.param(
        replace(classifier(), sequences=True),
        "gateway.task is for models that answer each call by itself, once; it has sequence_batching",
        id="calls that belong together",
    ),
    pytest.param(
        classifier(name="_under"),
        "requests with gateway.task name the model, and _under is no name for one: letters, digits, _, . and -, "
        "first a letter or a digit, at most 128",
        id="a name that nobody can ask for",
    ),
    pytest.param(
        classifier(1),
        "with gateway.activation softmax the score of one label alone is always 1; there is sigmoid, and independent "
        "for a graph that ends in one",
        id="a softmax of one score",
    ),
    # keys
    pytest.param(
        classifier(task="image-clasification"),
        "gateway.task is 'image-clasification'; there is image-classification, object-detection, "
        "text-classification",
        id="the task has a typing error",
    ),
    pytest.param(
        classifier(antialis="true"),
        "there is no key gateway.antialis for this task",
        id="a key has a typing error",
    ),
    pytest.param(
        classifier(resize=None, reisze="crop"),
        "gateway.resize is missing; there is no key gateway.reisze for this task",
        id="a key that is needed has a typing error: both are told",
    ),
    pytest.param(
        classifier(iou_threshold="0.5"),
        "there is no key gateway.iou_threshold for this task",
        id="a classifier has a detector's key",
    ),
    pytest.param(
        detector(activation="softmax"),
        "there is no key gateway.activation for this task",
        id="a detector has a classifier's key",
    ),
    pytest.param(classifier(resize=None), "gateway.resize is missing", id="how to resize is not said"),
    pytest.param(classifier(labels=None), "gateway.labels is missing", id="there are no labels"),
    # values
    pytest.param(
        classifier(resize="fit"),
        "gateway.resize: Input should be 'stretch', 'crop' or 'letterbox'",
        id="a way of resizing that is none",
    ),
    pytest.param(
        classifier(activation="relu"),
        "gateway.activation: Input should be 'softmax', 'sigmoid', 'independent' or 'none'",
        id="an activation that is none",
    ),
    pytest.param(
        classifier(antialias="perhaps"),
        "gateway.antialias: Input should be a valid boolean, unable to interpret input",
        id="neither true nor false",
    ),
    pytest.param(
        classifier(top_k="0"),
        "gateway.top_k: Input should be greater than or equal to 1",
        id="no prediction at all",
    ),
    pytest.param(
        classifier(top_k="five"),
        "gateway.top_k: Input should be a valid integer, unable to parse string as an integer",
        id="a word for a number",
    ),
    pytest.param(
        detector(min_score="25"),
        "gateway.min_score: Input should be less than or equal to 1",
        id="a score in percent",
    ),
    pytest.param(
        detector(min_score="nan"), "gateway.min_score: Input should be a finite number", id="not a number"
    ),
    pytest.param(
        detector(pad="256"), "gateway.pad: Input should be less than or equal to 255", id="a level above 255"
    ),
    pytest.param(
        classifier(default_version="v2"),
        "gateway.default_version: String should match pattern '^[1-9][0-9]{0,18}$'",
        id="a version with a letter",
    ),
    # labels
    pytest.param(classifier(labels=""), "gateway.labels: line 1 is empty", id="the labels are empty"),
    pytest.param(
        classifier(3, labels="cat\n\ndog"),
        "gateway.labels: line 2 is empty",
        id="an empty line would shift the classes after it",
    ),
    pytest.param(
        classifier(labels="cat\ndog"),
        "output logits has shape [10], gateway.labels has 2 lines",
        id="a classifier has too few labels",
    ),
    pytest.param(
        classifier(2, labels="cat\ndog\nfox"),
        "output logits has shape [2], gateway.labels has 3 lines",
        id="a classifier has too many labels",
    ),
    pytest.param(
        detector(output=scores(84, 8400)),
        "output scores has shape [84, 8400]; yolov8 with 3 labels needs [7, -1]",
        id="a detector has too few labels",
    ),
    # what goes together
    pytest.param(
        classifier(resize="crop"),
        "gateway.resize_shorter goes with gateway.resize crop, and only with it",
        id="crop without the side to resize to",
    ),
    pytest.param(
        classifier(resize_shorter="256"),
        "gateway.resize_shorter goes with gateway.resize crop, and only with it",
        id="the side to resize to without crop",
    ),
    pytest.param(
        classifier(resize="crop", resize_shorter="31"),
        "gateway.resize_shorter is smaller than the crop",
        id="a crop larger than the picture it is taken from",
    ),
    pytest.param(
        classifier(input_=sized(3, 32, 48), resize="crop", resize_shorter="40"),
        "gateway.resize_shorter is smaller than the crop",
        id="a crop wider than the picture it is taken from",
    ),
    *(
        pytest.param(
            classifier(resize=resize, antialias="false", interpolation="bicubic", resize_shorter=shorter),
            "gateway.antialias false goes with bilinear or nearest",
            id=f"bicubic without antialiasing, which tools do differently, with {resize}",
        )
        for resize, shorter in (("stretch", None), ("crop", "32"), ("letterbox", None))
    ),
    pytest.param(
        classifier(mean="0.5,0.5,0.5"),
        "gateway.mean is for float inputs; a UINT8 graph normalises by itself",
        id="a mean for UINT8",
    ),
    pytest.param(
        classifier(std="1,1,1"),
        "gateway.std is for float inputs; a UINT8 graph normalises by itself",
        id="a standard deviation for UINT8",
    ),
    pytest.param(
        classifier(value_range="0..255"),
        "gateway.value_range is for float inputs; a UINT8 graph normalises by itself",
        id="a range for UINT8",
    ),
    pytest.param(
        classifier(input_=FLOATS, mean="0.5"), "gateway.mean needs 3 number(s) for RGB", id="one mean for RGB"
    ),
    pytest.param(
        classifier(input_=sized(1, 32, 32, datatype="FP32"), channels="GRAY", std="1,1,1"),
        "gateway.std needs 1 number(s) for GRAY",
        id="three standard deviations for gray",
    ),
    pytest.param(
        classifier(input_=FLOATS, mean="0.5;0.5;0.5"),
        "gateway.mean: Input should be a valid number, unable to parse string as a number",
        id="semicolons for commas",
    ),
    pytest.param(
        classifier(input_=FLOATS, std="1,0,1"),
        "gateway.std needs numbers above 0",
        id="a standard deviation of nothing",
    ),
    pytest.param(
        classifier(input_=FLOATS, std="1,-1,1"),
        "gateway.std needs numbers above 0",
        id="a negative standard deviation",
    ),
    pytest.param(
        classifier(input_=FLOATS, mean="0,inf,0"),
        "gateway.mean: Input should be a finite number",
        id="an infinite mean",
    ),
    # the input
    pytest.param(
        classifier(input_=sized(3, 32, 32, datatype="INT8")),
        "input images is INT8; an image goes in as one of UINT8, FP16, FP32",
        id="a datatype that images do not come in",
    ),
    pytest.param(
        classifier(input_=sized(32, 32)),
        "input images has shape [32, 32]; an image has three dimensions",
        id="an input without channels",
    ),
    pytest.param(
        classifier(input_=sized(1, 32, 32)),
        "input images has shape [1, 32, 32]; NCHW RGB needs 3 channel(s) and fixed sides",
        id="one channel for RGB",
    ),
    pytest.param(
        classifier(channels="GRAY"),
        "input images has shape [3, 32, 32]; NCHW GRAY needs 1 channel(s) and fixed sides",
        id="three channels for gray",
    ),
    pytest.param(
        classifier(layout="NHWC"),
        "input images has shape [3, 32, 32]; NHWC RGB needs 3 channel(s) and fixed sides",
        id="channels first under NHWC",
    ),
    pytest.param(
        classifier(input_=sized(3, -1, -1)),
        "input images has shape [3, -1, -1]; NCHW RGB needs 3 channel(s) and fixed sides",
        id="sides left open",
    ),
    pytest.param(
        classifier(input_=sized(1, 3, 32, 32)),
        "input images has shape [1, 3, 32, 32]; with max_batch_size it is that of one image",
        id="a batch dimension beside max_batch_size",
    ),
    pytest.param(
        classifier(batch=0),
        "input images has shape [3, 32, 32]; without max_batch_size it starts with 1 or -1",
        id="no batch dimension without max_batch_size",
    ),
    pytest.param(
        classifier(input_=sized(4, 3, 32, 32), batch=0),
        "input images has shape [4, 3, 32, 32]; without max_batch_size it starts with 1 or -1",
        id="a fixed batch of four",
    ),
    # the output
    pytest.param(
        classifier(output=scores(10, datatype="INT64")),
        "output scores is INT64; scores are FP32 or FP16",
        id="scores that are whole numbers",
    ),
    pytest.param(
        classifier(input_=sized(1, 3, 32, 32), output=scores(10), batch=0),
        "output scores has shape [10]; without max_batch_size it starts with 1 or -1",
        id="an output without a batch dimension",
    ),
    pytest.param(
        detector(input_=sized(1, 3, 64, 64), output=scores(7, 84), batch=0),
        "output scores has shape [7, 84]; without max_batch_size it starts with 1 or -1",
        id="boxes without a batch dimension",
    ),
    pytest.param(
        detector(output=scores(8400, 7)),
        "output scores has shape [8400, 7]; yolov8 with 3 labels needs [7, -1]",
        id="anchors before rows",
    ),
    pytest.param(
        detector(output=scores(1, 7, 8400)),
        "output scores has shape [1, 7, 8400]; yolov8 with 3 labels needs [7, -1]",
        id="a batch dimension of the boxes beside max_batch_size",
    ),
    pytest.param(
        detector(output=scores(7)),
        "output scores has shape [7]; yolov8 with 3 labels needs [7, -1]",
        id="boxes of one dimension",
    ),
    pytest.param(
        replace(classifier(), inputs=(FLOATS, FLOATS)),
        "an image goes into exactly one input",
        id="two inputs",
    ),
    pytest.param(
        replace(detector(), outputs=()),
        "object-detection needs exactly one output",
        id="no output",
    ),
    # texts
    pytest.param(
        reader(resize="crop"),
        "there is no key gateway.resize for this task",
        id="a model for texts has an image's key",
    ),
    pytest.param(
        reader(max_tokens="4"),
        "gateway.max_tokens: Input should be greater than or equal to 8",
        id="texts of hardly any tokens",
    ),
    pytest.param(
        reader(token_type_ids="attention_mask"),
        "gateway.input_ids, gateway.attention_mask and gateway.token_type_ids name three inputs",
        id="one name for two inputs",
    ),
    pytest.param(
        reader(inputs=TOKENS[:1]),
        "there is no input attention_mask; gateway.attention_mask names the one that is meant",
        id="no mask: padding would be read as text",
    ),
    pytest.param(
        reader(inputs=(*TOKENS, TensorSpec("position_ids", "INT64", (-1,)))),
        "nothing is known to put into input position_ids",
        id="an input more",
    ),
    pytest.param(
        reader(inputs=tuple(replace(spec, datatype="FP32") for spec in TOKENS)),
        "input input_ids is FP32; tokens go in as INT64 or INT32",
        id="tokens as floats",
    ),
    pytest.param(
        reader(inputs=(*TOKENS[:2], TensorSpec("token_type_ids", "INT64", (64,)))),
        "input token_type_ids has shape [64]; all inputs of tokens have one and the same",
        id="inputs of different lengths",
    ),
    pytest.param(
        reader(inputs=tuple(replace(spec, shape=(128,)) for spec in TOKENS)),
        "gateway.max_tokens is 512, the inputs take 128",
        id="more tokens than the network takes",
    ),
    pytest.param(
        reader(inputs=tuple(replace(spec, shape=(-1, -1)) for spec in TOKENS)),
        "input input_ids has shape [-1, -1]; with max_batch_size it is that of one text",
        id="a batch dimension of the tokens beside max_batch_size",
    ),
    pytest.param(
        reader(3, output=scores(2)),
        "output scores has shape [2], gateway.labels has 3 lines",
        id="more labels than scores for texts",
    ),
]


@pytest.mark.parametrize(("served", "message"), BAD)
def test_a_configuration_that_contradicts_itself_is_told_in_a_sentence(
    served: ServedModel, message: str
) -> None:
    with pytest.raises(CardError) as caught:
        read_card(served)
    assert str(caught.value) == message


def test_every_key_is_documented() -> None:
    known = {
        key
        for served in (classifier(), detector(), reader())
        for key in type(read_card(served).parameters).model_fields
    }
    page = (Path(__file__).parents[3] / "docs" / "models.md").read_text(encoding="utf-8")
    assert [key for key in sorted(known) if f"`gateway.{key}`" not in page] == []
