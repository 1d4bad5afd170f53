"""One Triton endpoint: one channel for the life of the process, opened inside the running loop.

The generated protobuf stub is used directly: tritonclient's own client objects cost about 130 microseconds more a
call and hide the status code in a string.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from itertools import starmap
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc
import grpc.aio
from tritonclient.grpc import model_config_pb2, service_pb2, service_pb2_grpc

from gateway.catalog import Inventory
from gateway.domain import Array, InferCall, RawTensor, RepositoryEntry, ServedModel, WantedConfig
from gateway.errors import DeadlineExceeded, ModelUnavailable, UpstreamInvalidResponse
from gateway.upstream import codec, described
from gateway.upstream.described import as_json
from gateway.upstream.failures import UNKNOWN_MODEL, translate, translate_message

_T = TypeVar("_T")

_CONTROL_TIMEOUT = 2.0  # seconds, for reading the index and the configurations
_LOAD_TIMEOUT = 120.0  # seconds: a large network is read from a disk and laid out on a GPU
_DEADLINE_MARGIN = 0.02  # seconds kept back to decode and send an answer that arrives just in time
_CANCELS_SAFELY = (
    2,
    59,
)  # the first release that survives cancelled calls; older ones crash after some thousands
_MAX_MESSAGE = 64 * 1024 * 1024  # bytes either way
_CHANNEL_OPTIONS = (
    # gRPC's default backoff grows to two minutes; a Triton that is back must be found within a second.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
    # A retry is a decision about the caller's deadline; it is not made inside the channel.
    ("grpc.enable_retries", 0),
    ("grpc.max_send_message_length", _MAX_MESSAGE),
    ("grpc.max_receive_message_length", _MAX_MESSAGE),
)


class TritonClient:
    """`async with TritonClient(url, clock=time.monotonic) as triton:`; `url` is host:port of Triton's gRPC."""

    def __init__(self, url: str, *, clock: Callable[[], float]) -> None:
        self._url = url
        self._clock = clock
        self._channel: grpc.aio.Channel
        self._stub: service_pb2_grpc.GRPCInferenceServiceStub
        self._send_infer: grpc.aio.UnaryUnaryMultiCallable[bytes, service_pb2.ModelInferResponse]
        self._send_stream: grpc.aio.StreamStreamMultiCallable[bytes, service_pb2.ModelStreamInferResponse]
        self._version: tuple[int, ...] = ()

    async def __aenter__(self) -> Self:
        self._channel = grpc.aio.insecure_channel(self._url, options=_CHANNEL_OPTIONS)
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)
        # Takes the message as bytes: the codec writes the tensors into it, once.
        self._send_infer = self._channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            response_deserializer=service_pb2.ModelInferResponse.FromString,
        )
        self._send_stream = self._channel.stream_stream(
            "/inference.GRPCInferenceService/ModelStreamInfer",
            response_deserializer=service_pb2.ModelStreamInferResponse.FromString,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Triton waits out its whole exit timeout for clients that stay connected, so the channel is closed.
        await self._channel.close()

    @property
    def endpoint(self) -> str:
        """host:port."""
        return self._url

    @property
    def can_cancel(self) -> bool:
        """Whether calls may be cancelled; no, until the server has said which release it is."""
        return self._version >= _CANCELS_SAFELY

    @property
    def release(self) -> tuple[int, ...]:
        """The server's release, such as (2, 51, 0); empty until `inventory` has asked."""
        return self._version

    async def infer(self, call: InferCall) -> dict[str, Array]:
        """The outputs by name, each checked against the model's declaration.

        Raises DeadlineExceeded, or UpstreamError as `failures` maps it, or UpstreamInvalidResponse.
        """
        response = await self._model_infer(call)
        batch = call.inputs[0].shape[0] if call.model.max_batch_size > 0 else None
        return codec.infer_outputs(response, call.target, call.model.outputs, batch)

    async def exchange(self, call: InferCall) -> list[RawTensor]:
        """The outputs that the call asks for, as bytes; raises what `infer` does."""
        return codec.raw_outputs(await self._model_infer(call), call)

    async def _model_infer(self, call: InferCall) -> service_pb2.ModelInferResponse:
        request, timeout = self._request(call)
        return await _translated(
            self._send_infer(
                codec.serialized(request, call.inputs), timeout=timeout, metadata=_metadata(call)
            )
        )

    def _request(self, call: InferCall) -> tuple[service_pb2.ModelInferRequest, float]:
        """The message without the tensors' bytes, and the seconds that the call has. Raises DeadlineExceeded."""
        timeout = call.deadline.remaining(self._clock()) - _DEADLINE_MARGIN
        if timeout <= 0:
            raise DeadlineExceeded("The request ran out of time before the model was called.")
        request = codec.infer_request(call)
        codec.set_urgency(request, call.priority, timeout)
        return request, timeout

    async def stream(self, call: InferCall) -> AsyncIterator[list[RawTensor]]:
        """The outputs of each answer, as it comes; raises what `infer` does, before or between them.

        It has to be read to its end: a call that is left is cancelled, which Triton before 2.59 does not bear. A model
        that answers once is called as `exchange` does: in a stream Triton says why a call failed, and not its code.
        """
        if not call.model.decoupled:
            yield await self.exchange(call)
            return
        request, timeout = self._request(call)
        request.parameters["triton_enable_empty_final_response"].bool_param = True
        failure = ""
        try:
            replies = self._send_stream(timeout=timeout, metadata=_metadata(call))
            await replies.write(codec.serialized(request, call.inputs))
            await replies.done_writing()
            async for message in replies:
                reply = _readable(message)
                failure = failure or reply.error_message
                if not failure and not _is_only_the_end(reply.infer_response):
                    # One without outputs is an answer too: models send it to say that they are still there.
                    yield (
                        codec.raw_outputs(reply.infer_response, call) if reply.infer_response.outputs else []
                    )
        except grpc.aio.AioRpcError as error:
            raise translate(error.code(), error.details() or "") from None
        except grpc.aio.InternalError as error:  # the connection broke between two steps of sending
            raise translate(grpc.StatusCode.UNAVAILABLE, f"Connection reset: {error}") from None
        if failure:
            raise translate_message(failure)

    async def inventory(self) -> Inventory:
        """Every model that is ready with its configuration, and the reasons of those that are not."""
        index, self._version = await asyncio.gather(
            _translated(
                self._stub.RepositoryIndex(service_pb2.RepositoryIndexRequest(), timeout=_CONTROL_TIMEOUT)
            ),
            self._release(),
        )
        ready: dict[str, list[str]] = {}
        unavailable: dict[str, str] = {}
        for entry in map(_entry, index.models):
            if entry.state == "READY":
                ready.setdefault(entry.model, []).append(entry.version)
            elif entry.state and not entry.is_unloaded and (entry.reason or entry.model not in unavailable):
                # One version may say why while another only goes with it.
                unavailable[entry.model] = ": ".join(filter(None, (entry.state, entry.reason)))
        return await self._described({name: sorted(v, key=int) for name, v in ready.items()}, unavailable)

    async def metadata(self, model: str, version: str) -> Mapping[str, Any]:
        """The model's description as Triton's HTTP API gives it; `version` may be empty, for Triton's own choice."""
        request = service_pb2.ModelMetadataRequest(name=model, version=version)
        return as_json(await _translated(self._stub.ModelMetadata(request, timeout=_CONTROL_TIMEOUT)))

    async def config(self, model: str, version: str) -> Mapping[str, Any]:
        """The model's whole configuration, in which operators may have written what is not for callers."""
        return as_json(await self._config(model, version))

    async def statistics(self, model: str, version: str) -> Sequence[Mapping[str, Any]]:
        """One entry a version; an empty `model` asks for all models."""
        request = service_pb2.ModelStatisticsRequest(name=model, version=version)
        answer = await _translated(self._stub.ModelStatistics(request, timeout=_CONTROL_TIMEOUT))
        return [as_json(entry) for entry in answer.model_stats]

    async def repository(self) -> list[RepositoryEntry]:
        """Every version that Triton knows of, whether it is ready or not."""
        request = service_pb2.RepositoryIndexRequest()
        index = await _translated(self._stub.RepositoryIndex(request, timeout=_CONTROL_TIMEOUT))
        return [_entry(entry) for entry in index.models]

    async def load(self, model: str, config: str | None = None) -> None:
        """Loads a model, or loads it again where its files have changed; `config` is JSON in place of its own.

        Returns when it serves. While it does not, what served before goes on. Raises UpstreamError.
        """
        request = service_pb2.RepositoryModelLoadRequest(model_name=model)
        if config is not None:
            request.parameters["config"].string_param = config
        await _translated(self._stub.RepositoryModelLoad(request, timeout=_LOAD_TIMEOUT))

    async def unload(self, model: str) -> None:
        """Returns at once; calls that are under way end first. Raises UpstreamError."""
        request = service_pb2.RepositoryModelUnloadRequest(model_name=model)
        await _translated(self._stub.RepositoryModelUnload(request, timeout=_CONTROL_TIMEOUT))

    async def merged_config(self, model: str, change: Mapping[str, Any]) -> WantedConfig:
        """The model's whole configuration, with some of it changed (RFC 7396, JSON merge patch).

        Raises ValueError where the result is none, and UpstreamError.
        """
        config = await self._config(model, "")
        _leave_out_what_is_too_large(config, change)
        wanted, text = described.patched(config, _spelled_out(change))
        if wanted.max_batch_size < 0:
            raise ValueError("max_batch_size is below 0")
        return WantedConfig(text, codec.served_model(wanted, ()))

    async def open_interfaces(self) -> list[str]:
        """Those interfaces that a gateway never uses and that answer all the same, by Triton's names for them."""
        asks = {
            "shared-memory": self._stub.SystemSharedMemoryStatus(
                service_pb2.SystemSharedMemoryStatusRequest(), timeout=_CONTROL_TIMEOUT
            ),
            "trace": self._stub.TraceSetting(service_pb2.TraceSettingRequest(), timeout=_CONTROL_TIMEOUT),
            "logging": self._stub.LogSettings(service_pb2.LogSettingsRequest(), timeout=_CONTROL_TIMEOUT),
        }
        answers = await asyncio.gather(*map(_translated, asks.values()), return_exceptions=True)
        return [name for name, answer in zip(asks, answers, strict=True) if not isinstance(answer, Exception)]

    async def _described(
        self, ready: Mapping[str, Sequence[str]], unavailable: Mapping[str, str]
    ) -> Inventory:
        found = await asyncio.gather(*starmap(self._served, ready.items()))
        served = tuple(model for model in found if isinstance(model, ServedModel))
        broken = {name: why for name, why in zip(ready, found, strict=True) if isinstance(why, str)}
        return Inventory(served, {n: r for n, r in unavailable.items() if n not in ready} | broken)

    async def _served(self, name: str, versions: Sequence[str]) -> ServedModel | str:
        """The model, or why it alone is not served: it went since the index was read, or is of a newer Triton."""
        try:
            # Without a version: one of them may have gone, and the configuration is that of all.
            return codec.served_model(await self._config(name, ""), versions)
        except ModelUnavailable as error:
            if UNKNOWN_MODEL not in error.internal:
                raise
            return "UNLOADING"
        except ValueError as error:
            return str(error)

    async def _config(self, model: str, version: str) -> model_config_pb2.ModelConfig:
        request = service_pb2.ModelConfigRequest(name=model, version=version)
        return (await _translated(self._stub.ModelConfig(request, timeout=_CONTROL_TIMEOUT))).config

    async def _release(self) -> tuple[int, ...]:
        """The server's release, such as (2, 51, 0)."""
        request = service_pb2.ServerMetadataRequest()
        metadata = await _translated(self._stub.ServerMetadata(request, timeout=_CONTROL_TIMEOUT))
        found = re.match(r"(\d+)\.(\d+)\.(\d+)", metadata.version)
        return tuple(map(int, found.groups())) if found else ()


def _leave_out_what_is_too_large(config: model_config_pb2.ModelConfig, change: Mapping[str, Any]) -> None:
    """Of the preferred sizes of a batch. Triton fills in one itself, and refuses it where batches become smaller."""
    largest = change.get("max_batch_size")
    if isinstance(largest, int) and config.HasField("dynamic_batching"):
        sizes = config.dynamic_batching.preferred_batch_size
        sizes[:] = [size for size in sizes if size <= largest]


def _spelled_out(change: Mapping[str, Any]) -> Mapping[str, Any]:
    """Triton wraps each parameter of a model into a message; a plain string will do for callers."""
    parameters = change.get("parameters")
    if not isinstance(parameters, Mapping):
        return change
    wrapped = {
        key: {"string_value": value} if isinstance(value, str) else value for key, value in parameters.items()
    }
    return {**change, "parameters": wrapped}


def _metadata(call: InferCall) -> tuple[tuple[str, str], ...] | None:
    return None if call.traceparent is None else (("traceparent", call.traceparent),)


def _is_only_the_end(answer: service_pb2.ModelInferResponse) -> bool:
    """Whether it says that no answer follows, and is none itself."""
    return not answer.outputs and answer.parameters["triton_final_response"].bool_param


def _entry(found: service_pb2.RepositoryIndexResponse.ModelIndex) -> RepositoryEntry:
    """Triton appends a stack trace to what a backend says; the first line is the reason."""
    lines = found.reason.splitlines()
    return RepositoryEntry(found.name, found.version, found.state, lines[0] if lines else "")


async def _translated(call: Awaitable[_T]) -> _T:
    try:
        answer = await call
    except grpc.aio.AioRpcError as error:
        raise translate(error.code(), error.details() or "") from None
    return _readable(answer)


def _readable(answer: _T | None) -> _T:
    """The message; gRPC hands over None in place of bytes that are none. Raises UpstreamInvalidResponse."""
    if answer is None:
        raise UpstreamInvalidResponse(
            "The model's answer is not valid.", internal="bytes that are no message"
        )
    return answer
