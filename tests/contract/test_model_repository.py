"""The model repository against what callers and the gateway rely on, file by file."""

import json
from pathlib import Path

import onnx
import pytest
from google.protobuf import text_format
from onnx import TensorProto
from stack import ROOT
from support.cards import tokenization
from tritonclient.grpc import model_config_pb2

from gateway.catalog import Passthrough, Task
from gateway.catalog.card import read_card, read_tensor_card
from gateway.translate.tokenizer import Tokenizers
from gateway.upstream.codec import served_model

REPOSITORY = ROOT / "model_repository"
# Code or a plan in place of a network: nothing to hold a graph, batches or warm-up against.
WITHOUT_NETWORK = ("digits_ensemble", "digits_preprocess", "words_stream")
MODELS = sorted(path for path in REPOSITORY.iterdir() if path.is_dir() and path.name not in WITHOUT_NETWORK)
STREAMING = REPOSITORY / "words_stream"  # which has no task, and code in place of a network
# What each machine may decide for itself; everything else is what callers see.
OF_THE_MACHINE = (
    "instance_group",
    "dynamic_batching",
    "optimization",
    "model_warmup",
    "backend",
    "default_model_filename",
)
THREADS = ("intra_op_thread_count", "inter_op_thread_count")
DATATYPES = {
    TensorProto.UINT8: model_config_pb2.TYPE_UINT8,
    TensorProto.FLOAT: model_config_pb2.TYPE_FP32,
    TensorProto.INT64: model_config_pb2.TYPE_INT64,
}

# Their files are exported by whoever wants them: hundreds of megabytes.
EXPORTED = ("bert_onnx", "resnet50_pytorch", "yolov8_tensorrt")

Config = model_config_pb2.ModelConfig
every_model = pytest.mark.parametrize("folder", MODELS, ids=lambda folder: folder.name)


def read(path: Path) -> Config:
    return text_format.Parse(path.read_text(), Config())


def versions(folder: Path) -> list[str]:
    if folder.name in EXPORTED:
        return ["1"]
    return sorted((path.name for path in folder.iterdir() if path.name.isdigit()), key=int)


def seen_by_callers(config: Config) -> Config:
    rest = Config()
    rest.CopyFrom(config)
    for field in OF_THE_MACHINE:
        rest.ClearField(field)
    for key in THREADS:
        rest.parameters.pop(key, None)
    return rest


@every_model
def test_both_configurations_are_the_same_to_callers(folder: Path) -> None:
    gpu, cpu = read(folder / "config.pbtxt"), read(folder / "configs" / "cpu.pbtxt")
    assert text_format.MessageToString(seen_by_callers(gpu)) == text_format.MessageToString(
        seen_by_callers(cpu)
    )


@pytest.mark.parametrize("name", WITHOUT_NETWORK)
def test_both_configurations_of_what_has_no_network_are_the_same_to_callers(name: str) -> None:
    gpu, cpu = (
        seen_by_callers(read(REPOSITORY / name / path)) for path in ("config.pbtxt", "configs/cpu.pbtxt")
    )
    assert text_format.MessageToString(gpu) == text_format.MessageToString(cpu)


def test_the_ensemble_is_described_as_the_model_at_its_end_is() -> None:
    ensemble, classifier = (
        read_card(served_model(read(REPOSITORY / name / "configs" / "cpu.pbtxt"), ["1"]))
        for name in ("digits_ensemble", "digits_classifier")
    )
    assert isinstance(ensemble.encoding, Passthrough)
    assert (ensemble.labels, ensemble.outputs[0].shape) == (classifier.labels, classifier.outputs[0].shape)


def test_the_model_that_streams_has_no_task() -> None:
    served = served_model(read(STREAMING / "configs" / "cpu.pbtxt"), versions(STREAMING))
    assert served.decoupled
    assert read_tensor_card(served).default_version == "1"


@every_model
def test_the_gateway_can_serve_the_model_from_its_configuration(folder: Path) -> None:
    card = read_card(served_model(read(folder / "configs" / "cpu.pbtxt"), versions(folder)))
    assert card.name == folder.name
    assert card.default_version in versions(folder)


@every_model
def test_the_labels_of_triton_and_of_the_gateway_are_the_same(folder: Path) -> None:
    card = read_card(served_model(read(folder / "configs" / "cpu.pbtxt"), versions(folder)))
    assert tuple((folder / "labels.txt").read_text().splitlines()) == card.labels


@every_model
def test_every_version_in_the_folder_is_served(folder: Path) -> None:
    policy = read(folder / "config.pbtxt").version_policy
    kind = policy.WhichOneof("policy_choice")
    assert kind == "all" or [str(version) for version in policy.specific.versions] == versions(folder)


@every_model
def test_the_gpu_configuration_bounds_its_queue_and_takes_priorities_and_timeouts(folder: Path) -> None:
    batching = read(folder / "config.pbtxt").dynamic_batching
    policy = batching.default_queue_policy
    assert batching.priority_levels == 3
    assert 1 <= batching.default_priority_level <= 3
    assert policy.max_queue_size > 0
    assert policy.allow_timeout_override
    assert policy.default_timeout_microseconds > 0


@every_model
def test_the_cpu_configuration_batches_with_a_delay_and_nothing_that_stalls_the_batcher(folder: Path) -> None:
    batching = read(folder / "configs" / "cpu.pbtxt").dynamic_batching
    fields = {field.name for field, _ in batching.ListFields()}
    assert fields == {"max_queue_delay_microseconds"}


@every_model
def test_both_configurations_warm_the_model_up(folder: Path) -> None:
    for path in (folder / "config.pbtxt", folder / "configs" / "cpu.pbtxt"):
        assert read(path).model_warmup, path


@pytest.mark.parametrize(
    "path",
    [path for path in sorted(REPOSITORY.glob("*/*/model.onnx")) if path.parts[-3] not in EXPORTED],
    ids=lambda path: "/".join(path.parts[-3:-1]),
)
def test_the_graph_is_what_the_configuration_declares(path: Path) -> None:
    config = read(path.parents[1] / "config.pbtxt")
    graph = onnx.load(path).graph
    assert path.stat().st_size < 8_000_000
    for declared, tensors in ((config.input, graph.input), (config.output, graph.output)):
        assert [spec.name for spec in declared] == [tensor.name for tensor in tensors]
        for spec, tensor in zip(declared, tensors, strict=True):
            assert DATATYPES[tensor.type.tensor_type.elem_type] == spec.data_type
            sides = [side.dim_value for side in tensor.type.tensor_type.shape.dim]
            # The first side is the batch; 0 stands for one that the graph leaves open, as -1 does in the config.
            open_or_same = [(0, 0), *((0, max(want, 0)) for want in spec.dims)]
            assert all(side in wanted for side, wanted in zip(sides, open_or_same, strict=True))


@every_model
async def test_a_model_for_texts_brings_a_tokenizer_whose_tokens_the_graph_knows(folder: Path) -> None:
    card = read_card(served_model(read(folder / "configs" / "cpu.pbtxt"), versions(folder)))
    if card.task is not Task.TEXT_CLASSIFICATION or folder.name in EXPORTED:
        return
    tokenizers = Tokenizers(REPOSITORY)
    await tokenizers.prepare(card)
    document = json.loads((folder / "tokenizer.json").read_text())
    known = max(document["model"]["vocab"].values()) + 1
    assert len(tokenizers.of(folder.name).encode("a " * 1000).ids) == tokenization(card).max_tokens
    for version in versions(folder):
        graph = onnx.load(folder / version / "model.onnx").graph
        tables = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
        rows = {name.split(".")[-2]: dims[0] for name, dims in tables.items() if "embeddings" in name}
        assert rows["word_embeddings"] == known
        assert rows["position_embeddings"] == tokenization(card).max_tokens
