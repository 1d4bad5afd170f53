"""The far side of the wire: an in-process gRPC server that speaks Triton's protocol and misbehaves on demand."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import grpc
import grpc.aio
import numpy as np
from tritonclient.grpc import model_config_pb2, service_pb2, service_pb2_grpc

Request = service_pb2.ModelInferRequest
Response = service_pb2.ModelInferResponse
Behaviour = Callable[[Request, grpc.aio.ServicerContext], Awaitable[Response]]

CLASSIFIER = {
    "gateway.task": "image-classification",
    "gateway.default": "true",
    "gateway.default_version": "1",
    "gateway.labels": "cat\ndog\nfox",
    "gateway.resize": "stretch",
    "gateway.activation": "none",
}
READER = {
    "gateway.task": "text-classification",
    "gateway.labels": "good\nbad",
    "gateway.max_tokens": "8",
    "gateway.activation": "none",
}
DETECTOR = {
    "gateway.task": "object-detection",
    "gateway.labels": "cat\ndog",
    "gateway.resize": "letterbox",
}


_NO_TIMES = service_pb2.InferStatistics(
    **{
        name: service_pb2.StatisticDuration()
        for name in ("success", "fail", "queue", "compute_input", "compute_infer", "compute_output")
    }
)


def config(
    name: str,
    parameters: Mapping[str, str],
    *,
    output: Sequence[int],
    side: int = 8,
    max_batch_size: int = 4,
) -> model_config_pb2.ModelConfig:
    """The configuration of an image model with UINT8 input [3, side, side] and one FP32 output."""
    message = model_config_pb2.ModelConfig(name=name, max_batch_size=max_batch_size)
    message.input.add(name="images", data_type=model_config_pb2.TYPE_UINT8, dims=[3, side, side])
    message.output.add(name="scores", data_type=model_config_pb2.TYPE_FP32, dims=output)
    for key, value in parameters.items():
        message.parameters[key].string_value = value
    return message


def decoupled(name: str) -> model_config_pb2.ModelConfig:
    """The configuration of a model with the same tensors and no task, which may answer any number of times."""
    message = config(name, {}, output=[3])
    message.model_transaction_policy.decoupled = True
    return message


def tensors_config(
    name: str,
    inputs: Sequence[tuple[str, str, Sequence[int]]],
    outputs: Sequence[tuple[str, str, Sequence[int]]],
    parameters: Mapping[str, str] | None = None,
    *,
    max_batch_size: int = 4,
) -> model_config_pb2.ModelConfig:
    """The configuration of a model with these tensors, each as name, datatype and shape."""
    message = model_config_pb2.ModelConfig(name=name, max_batch_size=max_batch_size)
    for tensors, declared in ((inputs, message.input), (outputs, message.output)):
        for tensor, datatype, dims in tensors:
            kind = "STRING" if datatype == "BYTES" else datatype
            declared.add(name=tensor, data_type=model_config_pb2.DataType.Value(f"TYPE_{kind}"), dims=dims)
    for key, value in (parameters or {}).items():
        message.parameters[key].string_value = value
    return message


async def echoes(request: Request, _: grpc.aio.ServicerContext) -> Response:
    """Each input as the output that is called `out_` and its name."""
    response = Response(model_name=request.model_name, model_version=request.model_version, id=request.id)
    wanted = {output.name for output in request.outputs}
    for tensor, raw in zip(request.inputs, request.raw_input_contents, strict=True):
        if f"out_{tensor.name}" in wanted:
            response.outputs.add(name=f"out_{tensor.name}", datatype=tensor.datatype, shape=tensor.shape)
            response.raw_output_contents.append(raw)
    return response


def answer(request: Request, rows: "np.ndarray[tuple[int, ...], np.dtype[np.float32]]") -> Response:
    """An honest answer to `request` with this output."""
    response = Response(model_name=request.model_name, model_version=request.model_version, id=request.id)
    response.outputs.add(name="scores", datatype="FP32", shape=rows.shape)
    response.raw_output_contents.append(rows.astype(np.float32).tobytes())
    return response


async def prefers_the_first_class(request: Request, _: grpc.aio.ServicerContext) -> Response:
    """Probabilities 0.5, 0.3, 0.2 for every image."""
    batch = request.inputs[0].shape[0]
    return answer(request, np.tile(np.array([0.5, 0.3, 0.2], np.float32), (batch, 1)))


@dataclass
class FakeTriton(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]  # generated without types
    """What it serves can be changed while it runs; `requests` are the inferences that it saw."""

    models: dict[str, tuple[model_config_pb2.ModelConfig, list[str]]] = field(default_factory=dict)
    unavailable: dict[str, str] = field(default_factory=dict)
    infer: Behaviour = prefers_the_first_class
    answers: int = 2  # of a stream
    version: str = "2.51.0"
    index_error: tuple[grpc.StatusCode, str] | None = None
    order_error: tuple[grpc.StatusCode, str] | None = (grpc.StatusCode.UNIMPLEMENTED, "no such call")
    config_errors: dict[str, tuple[grpc.StatusCode, str]] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)

    async def RepositoryIndex(self, _: object, context: grpc.aio.ServicerContext) -> object:  # noqa: N802
        if self.index_error:
            await context.abort(*self.index_error)
        response = service_pb2.RepositoryIndexResponse()
        for name, (_config, versions) in self.models.items():
            for version in versions:
                response.models.add(name=name, version=version, state="READY")
        for name, reason in self.unavailable.items():
            response.models.add(name=name, version="1", state="UNAVAILABLE", reason=reason)
        return response

    async def ServerMetadata(self, _: object, __: object) -> object:  # noqa: N802
        return service_pb2.ServerMetadataResponse(name="triton", version=self.version)

    async def ModelConfig(self, request: object, context: grpc.aio.ServicerContext) -> object:  # noqa: N802
        name: str = request.name  # type: ignore[attr-defined]
        if name in self.config_errors:
            await context.abort(*self.config_errors[name])
        message, _versions = self.models[name]
        return service_pb2.ModelConfigResponse(config=message)

    async def RepositoryModelLoad(  # noqa: N802
        self, request: object, context: grpc.aio.ServicerContext
    ) -> object:
        name = request.model_name  # type: ignore[attr-defined]
        if name not in self.models:
            reason = f"failed to load '{name}', failed to poll from model repository"
            await context.abort(grpc.StatusCode.INTERNAL, reason)
        if self.order_error:
            await context.abort(*self.order_error)
        return service_pb2.RepositoryModelLoadResponse()

    async def RepositoryModelUnload(  # noqa: N802
        self, _: object, context: grpc.aio.ServicerContext
    ) -> object:
        if self.order_error:
            await context.abort(*self.order_error)
        return service_pb2.RepositoryModelUnloadResponse()

    async def ModelMetadata(self, request: object, _: object) -> object:  # noqa: N802
        message, versions = self.models[request.name]  # type: ignore[attr-defined]
        answer = service_pb2.ModelMetadataResponse(name=message.name, versions=versions, platform="fake")
        for tensors, described in ((message.input, answer.inputs), (message.output, answer.outputs)):
            for tensor in tensors:
                datatype = model_config_pb2.DataType.Name(tensor.data_type).removeprefix("TYPE_")
                known = "BYTES" if datatype == "STRING" else datatype
                described.add(name=tensor.name, datatype=known, shape=[-1, *tensor.dims])
        return answer

    async def ModelStatistics(self, request: object, _: object) -> object:  # noqa: N802
        answer = service_pb2.ModelStatisticsResponse()
        name: str = request.name  # type: ignore[attr-defined]
        for model in [name] if name else self.models:
            answer.model_stats.add(name=model, version="1", inference_count=7, inference_stats=_NO_TIMES)
        return answer

    async def ModelInfer(self, request: Request, context: grpc.aio.ServicerContext) -> Response:  # noqa: N802
        self.requests.append(request)
        return await self.infer(request, context)

    async def ModelStreamInfer(  # noqa: N802
        self, requests: AsyncIterator[Request], context: grpc.aio.ServicerContext
    ) -> AsyncIterator[object]:
        """`infer` answers so many times."""
        async for request in requests:
            self.requests.append(request)
            for _ in range(self.answers):
                reply = await self.infer(request, context)
                yield service_pb2.ModelStreamInferResponse(infer_response=reply)


def failing(code: grpc.StatusCode, message: str) -> Behaviour:
    """A behaviour that ends every inference with this status."""

    async def infer(_: Request, context: grpc.aio.ServicerContext) -> Response:
        await context.abort(code, message)
        raise AssertionError("abort raises")

    return infer


@asynccontextmanager
async def serving(triton: FakeTriton) -> AsyncIterator[str]:
    """The host:port on which the fake listens for the length of the block."""
    server = grpc.aio.server()
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(triton, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)
