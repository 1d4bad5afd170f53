"""What a model's `gateway.*` parameters say: its task, how to feed it and how to read its answer.

Triton knows names, datatypes and shapes; what it cannot know (labels, resizing, activation) stands in the
`parameters` of the model's configuration with the prefix `gateway.`, so one folder describes the whole model.
`docs/models.md` lists every key.
"""

from dataclasses import dataclass

from gateway.catalog.inputs import (
    Passthrough,
    Preprocessing,
    Tokenization,
    batch_limit,
    passthrough,
    preprocessing,
    tokenization,
)
from gateway.catalog.outputs import check_outputs, read_outputs
from gateway.catalog.parameters import (
    CardError,
    EncodedParameters,
    GeneralParameters,
    Parameters,
    Task,
    TextParameters,
    has_task,
    parse,
    parse_general,
)
from gateway.domain import ServedModel, TensorSpec
from gateway.schemas import is_model_name

_OF_NO_MEANING = {*GeneralParameters.model_fields, "default"}  # to how a call is made and read


@dataclass(frozen=True, slots=True)
class Card:
    """What a call needs to know of its model, whatever the model does."""

    served: ServedModel
    parameters: GeneralParameters

    @property
    def name(self) -> str:
        return self.served.name

    @property
    def capacity(self) -> int:
        """Calls to a version that Triton can put to use at once, from all gateways together."""
        return self.parameters.capacity_of(self.served)

    @property
    def timeout(self) -> float | None:
        """Seconds that a request has where it asks for nothing else; None where the model does not say."""
        return self.parameters.timeout

    @property
    def default_version(self) -> str:
        """The version that answers when none is asked for; it may be one that is not ready."""
        return self.parameters.version_of(self.served)


@dataclass(frozen=True, slots=True)
class TensorCard(Card):
    """A model that names no task: it is called with its own tensors, on /v2."""


@dataclass(frozen=True, slots=True)
class ModelCard(Card):
    """All that the gateway needs to serve one model on /v1. `encoding` says how its inputs are made.

    `outputs` are those that are read, in the order in which they are: one, or a detector's logits and boxes.
    """

    parameters: Parameters
    encoding: Preprocessing | Passthrough | Tokenization
    outputs: tuple[TensorSpec, ...]
    batch_limit: int

    @property
    def task(self) -> Task:
        return self.parameters.task

    @property
    def labels(self) -> tuple[str, ...]:
        return self.parameters.labels

    def reads_as(self, other: "ModelCard") -> bool:
        """Whether what was made by one of the two can be read by the other: pixels, labels and scores mean the same."""
        one, two = (card.parameters.model_dump(exclude=_OF_NO_MEANING) for card in (self, other))
        return (self.encoding, self.outputs, one) == (other.encoding, other.outputs, two)

    @property
    def preprocessing(self) -> Preprocessing:
        """Of a model for images that takes pixels."""
        assert isinstance(self.encoding, Preprocessing)  # noqa: S101  # the catalog finds by task
        return self.encoding


def card_of(served: ServedModel) -> ModelCard | TensorCard:
    """The card of any model. Raises CardError."""
    return read_card(served) if has_task(served.parameters) else read_tensor_card(served)


def read_card(served: ServedModel) -> ModelCard:
    """The card of a model whose parameters name a task.

    Raises CardError with a sentence for the operator where the parameters contradict the tensors.
    """
    _check_calls(served)
    parameters = parse(served.parameters)
    encoding: Preprocessing | Passthrough | Tokenization
    if isinstance(parameters, EncodedParameters):
        encoding, limit = passthrough(served), batch_limit(served, 1, "image")
    elif isinstance(parameters, TextParameters):
        encoding, limit = tokenization(parameters, served), batch_limit(served, 1, "text")
    else:
        encoding, limit = preprocessing(parameters, served), batch_limit(served, 3, "image")
    card = ModelCard(served, parameters, encoding, read_outputs(parameters, served), limit)
    check_outputs(card.parameters, card.outputs, batched=served.max_batch_size > 0)
    return card


def _check_calls(served: ServedModel) -> None:
    """Raises CardError where no request on /v1 could be answered, whatever the parameters say."""
    if not is_model_name(served.name):
        raise CardError(
            f"requests with gateway.task name the model, and {served.name} is no name for one: "
            "letters, digits, _, . and -, first a letter or a digit, at most 128"
        )
    for is_so, how in ((served.decoupled, "decoupled"), (served.sequences, "sequence_batching")):
        if is_so:
            raise CardError(f"gateway.task is for models that answer each call by itself, once; it has {how}")


def read_tensor_card(served: ServedModel) -> TensorCard:
    """The card of a model without a task. Raises CardError where it has keys that say nothing without one."""
    return TensorCard(served, parse_general(served.parameters))
