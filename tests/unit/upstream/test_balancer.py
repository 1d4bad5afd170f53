"""Which of several Tritons a call goes to: even where all are well, elsewhere where one is not."""

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass, replace

import grpc
import numpy as np
import pytest
from support.fake_triton import (
    CLASSIFIER,
    Behaviour,
    FakeTriton,
    Request,
    Response,
    config,
    failing,
    prefers_the_first_class,
    serving,
)
from support.virtual_time import VirtualLoop
from tritonclient.grpc import service_pb2

from gateway.domain import (
    Deadline,
    InferCall,
    ModelVersion,
    Priority,
    ServedModel,
    Tensor,
    TensorSpec,
    Variant,
)
from gateway.errors import ConnectionFailed, DeadlineExceeded, GatewayError, ModelDeclines, OutOfService
from gateway.upstream import Balancer, Breakers, Endpoints, EveryTriton, GuardedTriton, Replicas, RetryBudget
from gateway.upstream.answers import Answers
from gateway.upstream.breaker import judge

Code = grpc.StatusCode
STABLE = ModelVersion("pets", "1", Variant.STABLE)
CANARY = ModelVersion("pets", "2", Variant.CANARY)
MODEL = ServedModel(
    "pets", ("1",), 4, (TensorSpec("images", "UINT8", (3, 8, 8)),), (TensorSpec("scores", "FP32", (3,)),), {}
)


def triton(*versions: str, **parameters: str) -> FakeTriton:
    fake = FakeTriton()
    fake.models["pets"] = (config("pets", {**CLASSIFIER, **parameters}, output=[3]), list(versions or "1"))
    return fake


@dataclass
class Scene:
    """Fakes, and what calls them."""

    fakes: Sequence[FakeTriton]
    urls: list[str]
    replicas: Replicas
    balancer: Balancer
    upstream: GuardedTriton
    dead: list[str]

    async def call(self, target: ModelVersion = STABLE, model: ServedModel = MODEL) -> None:
        await self.upstream.infer(a_call(target, model, seconds=5))

    def stream(self, target: ModelVersion, seconds: float) -> Answers:
        return self.upstream.stream(a_call(target, replace(MODEL, decoupled=True), seconds))

    @property
    def asked(self) -> list[int]:
        return [len(fake.requests) for fake in self.fakes]


def a_call(target: ModelVersion, model: ServedModel, seconds: float) -> InferCall:
    """A call that has the usual time."""
    images = Tensor("images", np.zeros((1, 3, 8, 8), np.uint8))
    deadline = Deadline(time.monotonic() + seconds)
    return InferCall(target, model, [images], deadline, Priority.STANDARD, "r", usual=seconds)


@asynccontextmanager
async def scene(*fakes: FakeTriton) -> AsyncIterator[Scene]:
    async with AsyncExitStack() as stack:
        urls = [await stack.enter_async_context(serving(fake)) for fake in fakes]
        replicas = Replicas(Endpoints(",".join(urls)), clock=time.monotonic)
        await stack.enter_async_context(replicas)
        await replicas.inventory()
        balancer = Balancer(
            replicas, Breakers(clock=time.monotonic, uniform=random.uniform), draw=random.Random(1).random
        )
        dead: list[str] = []
        upstream = GuardedTriton(
            balancer,
            RetryBudget(uniform=lambda low, _: low),
            clock=time.monotonic,
            died=lambda model, _: dead.append(model),
        )
        yield Scene(fakes, urls, replicas, balancer, upstream, dead)


@pytest.mark.parametrize(("variant", "turned_away"), [(Variant.CANARY, True), (Variant.SHADOW, False)])
async def test_only_callers_who_ran_out_of_time_have_others_turned_away(
    variant: Variant, turned_away: bool
) -> None:
    """Mirrored calls go last and have a second: that they are late says nothing."""
    async with scene(triton("1", "2")) as here:
        here.fakes[0].infer = failing(Code.DEADLINE_EXCEEDED, "Deadline Exceeded")
        for _ in range(5):
            with pytest.raises(DeadlineExceeded):
                await here.call(ModelVersion("pets", "2", variant))
        with pytest.raises(OutOfService) if turned_away else nullcontext():
            here.upstream.check(ModelVersion("pets", "2", Variant.CANARY))


async def test_a_stream_whose_answers_stop_has_others_turned_away() -> None:
    began: list[grpc.aio.ServicerContext] = []

    async def stops(request: Request, context: grpc.aio.ServicerContext) -> Response:
        if context in began:
            await asyncio.sleep(10)
        began.append(context)
        return await prefers_the_first_class(request, context)

    async with scene(triton("1", "2")) as here:
        here.fakes[0].infer = stops
        streams = [here.stream(CANARY, seconds=0.5) for _ in range(5)]
        for each in streams:
            await each.begin()
        assert await ends(streams) == {DeadlineExceeded}
        with pytest.raises(OutOfService):
            here.upstream.check(CANARY)


async def test_callers_who_do_not_read_their_streams_have_nobody_turned_away() -> None:
    async with scene(triton("1", "2")) as here:
        here.fakes[0].answers = 1_000_000
        streams = [here.stream(CANARY, seconds=0.5) for _ in range(5)]
        for each in streams:
            await each.begin()
        assert await ends(streams) == {DeadlineExceeded}
        here.upstream.check(CANARY)


async def ends(streams: Sequence[Answers]) -> set[type[BaseException]]:
    """What the calls ended by."""
    return {type(end) for end in await asyncio.gather(*(one.task for one in streams), return_exceptions=True)}


async def test_calls_are_spread_evenly_where_all_are_well() -> None:
    async with scene(triton(), triton(), triton()) as here:
        taken: Counter[str] = Counter()
        for _ in range(3000):
            admitted = here.balancer.admit(STABLE)
            taken[admitted.replica.endpoint] += 1
            here.balancer.record(admitted, STABLE, None, judge(None))
        assert set(taken) == set(here.urls)
        assert all(abs(count - 1000) < 200 for count in taken.values())


async def test_one_that_does_not_answer_gathers_no_more_calls_than_the_others() -> None:
    async with scene(triton(), triton(), triton()) as here:
        stuck: set[str] = {here.urls[0]}
        held = 0
        for _ in range(1000):
            admitted = here.balancer.admit(STABLE)
            if admitted.replica.endpoint in stuck:
                held += 1
            else:
                here.balancer.record(admitted, STABLE, None, judge(None))
        assert 1 <= held <= 2  # the others have none under way whenever one is drawn beside it


async def test_a_version_is_asked_for_only_where_it_is_ready() -> None:
    async with scene(triton("1", "2"), triton("1")) as here:
        for _ in range(20):
            await here.call(ModelVersion("pets", "2", Variant.PINNED))
        assert here.asked == [20, 0]


async def test_who_has_a_model_with_another_configuration_is_not_asked_for_it_and_it_is_told() -> None:
    async with scene(triton(), triton(**{"gateway.labels": "dog\ncat\nfox"}), triton()) as here:
        for _ in range(20):
            await here.call()
        assert here.asked[1] == 0
        inventory = await here.replicas.inventory()
        assert here.urls[1] in inventory.differing["pets"].split(" not as ")[0]
        (model,) = inventory.served
        assert model.parameters["gateway.labels"] == "cat\ndog\nfox"
        assert model.instances == 2  # of those that agree


@pytest.mark.parametrize(
    "behaviour",
    [
        failing(Code.UNAVAILABLE, "Server is stopping"),
        failing(Code.UNAVAILABLE, "Socket closed"),
    ],
    ids=["it is shutting down", "its connection is gone"],
)
async def test_one_failure_of_the_endpoint_sends_everything_elsewhere(behaviour: Behaviour) -> None:
    async with scene(triton(), triton()) as here:
        here.fakes[0].infer = behaviour
        for _ in range(50):
            await here.call()
        assert here.asked[0] == 1
        here.fakes[0].infer = here.fakes[1].infer
        await here.replicas.inventory()  # it did not answer then, so nobody waits for it
        assert [each.away for each in here.replicas.members] == [False, False]


@pytest.mark.parametrize(
    "behaviour",
    [
        failing(Code.NOT_FOUND, "Request for unknown model: 'pets' version 1 has no available versions"),
        failing(Code.INTERNAL, "Stub process 'pets_0_0' is not healthy."),
    ],
    ids=["the version is gone", "its process died"],
)
async def test_a_failure_of_the_version_there_is_answered_elsewhere(behaviour: Behaviour) -> None:
    async with scene(triton(), triton()) as here:
        here.fakes[0].infer = behaviour
        for _ in range(50):
            await here.call()  # raises nothing
        assert here.asked[0] == 1  # until its index has been read again


async def test_what_may_be_the_inputs_fault_is_not_tried_elsewhere_and_the_last_one_stays() -> None:
    async with scene(triton(), triton()) as here:
        for fake in here.fakes:
            fake.infer = failing(Code.INTERNAL, "ValueError")
        for _ in range(60):
            with pytest.raises(GatewayError) as caught:
                await here.call()
            assert not isinstance(caught.value, OutOfService)
        assert sum(here.asked) == 60
        assert max(here.asked) > 40  # the one that was left


async def test_one_that_was_away_for_a_moment_is_called_where_the_others_are_out_of_service() -> None:
    async with scene(triton(), triton()) as here:
        here.fakes[1].infer = failing(Code.INTERNAL, "Stub process 'pets_0_0' is not healthy.")
        for _ in range(20):
            await here.call()
        well, here.fakes[0].infer = here.fakes[0].infer, failing(Code.UNAVAILABLE, "Socket closed")
        with contextlib.suppress(GatewayError):
            await here.call()
        assert [each.away for each in here.replicas.members] == [True, False]
        here.fakes[0].infer = well
        await here.call()


async def test_where_all_are_away_a_call_says_so() -> None:
    async with scene(triton(), triton()) as here:
        for fake in here.fakes:
            fake.infer = failing(Code.UNAVAILABLE, "Socket closed")
        with pytest.raises(ConnectionFailed):
            await here.call()


async def test_without_any_address_it_cannot_be_reached() -> None:
    async def nobody(_: str, __: int) -> list[str]:
        raise OSError("no such name")

    async with Replicas(Endpoints("dns:///tritons:8001", nobody), clock=time.monotonic) as replicas:
        await replicas.resolve()
        with pytest.raises(ConnectionFailed):
            await replicas.inventory()
        balancer = Balancer(
            replicas, Breakers(clock=time.monotonic, uniform=random.uniform), draw=random.random
        )
        with pytest.raises(ConnectionFailed):
            balancer.check(STABLE)


async def test_one_that_cannot_be_read_leaves_the_others_models_there() -> None:
    async with scene(triton("1"), triton("1", "2")) as here:
        here.fakes[0].index_error = (Code.UNAVAILABLE, "Server not ready")
        for _ in range(3):
            inventory = await here.replicas.inventory()
        assert inventory.served[0].versions == ("1", "2")
        for _ in range(20):
            await here.call()
        assert here.asked == [0, 20]


async def test_all_are_told_to_load_and_say_each_what_came_of_it() -> None:
    async with scene(triton(), triton()) as here:
        every = EveryTriton(here.replicas)
        outcomes = await every.load("pets")  # the fakes know no such call
        assert list(outcomes) == here.urls
        assert all(isinstance(error, GatewayError) for error in outcomes.values())
        entries = await every.repository()
        assert [(entry.endpoint, entry.state) for entry in entries] == [(url, "READY") for url in here.urls]
        (sums,) = await every.statistics("pets", "1")
        assert sums["inference_count"] == 14


class Loading(FakeTriton):
    async def RepositoryModelLoad(self, _: object, __: object) -> object:  # noqa: N802
        return service_pb2.RepositoryModelLoadResponse()


@pytest.mark.parametrize("here_or_elsewhere", ["here", "elsewhere"])
async def test_a_model_that_was_loaded_again_is_called_at_once(here_or_elsewhere: str) -> None:
    """Its calls failed while it was away, so its breaker is open. Elsewhere another gateway has loaded it."""
    fake = Loading(models=triton().models)
    fake.infer = failing(
        Code.UNAVAILABLE, "Request for unknown model: 'pets' version 1 is not at ready state"
    )
    async with scene(fake) as here:
        for _ in range(9):
            with contextlib.suppress(GatewayError):
                await here.call()
        with pytest.raises(OutOfService):
            await here.call()
        fake.infer = prefers_the_first_class
        if here_or_elsewhere == "here":
            assert await EveryTriton(here.replicas).load("pets") == {here.urls[0]: None}
        else:
            models, fake.models = fake.models, {}
            await here.replicas.inventory()
            fake.models = models
            await here.replicas.inventory()
        await here.call()


async def test_a_process_that_died_is_left_alone_however_often_its_triton_says_that_it_is_ready() -> None:
    fake = triton()
    fake.infer = failing(Code.INTERNAL, "Stub process 'pets_1_0' is not healthy.")
    async with scene(fake) as here:
        with pytest.raises(GatewayError):
            await here.call()
        await here.replicas.inventory()
        with pytest.raises(OutOfService):
            await here.call()


async def test_a_model_that_declines_a_call_is_called_again_with_the_next() -> None:
    one, other = triton(), triton()
    one.infer = other.infer = failing(Code.UNAVAILABLE, "the adapter of this call is being fetched")
    async with scene(one, other) as here:
        for _ in range(3):
            with pytest.raises(ModelDeclines):
                await here.call()
        assert sum(here.asked) == 3
        assert len(here.replicas.serving(("pets", "1"))) == 2


@pytest.mark.parametrize(
    ("process", "dead"),
    [
        ("pets_0_0", "pets"),
        ("cut_0_1", "cut"),
        ("cut_0_0_1", "cut_0"),
        ("a group of its own_0", "pets"),
        ("elsewhere_0_0", "pets"),
    ],
    ids=["its own", "a step's", "of the step with the longer name", "of nobody knows which", "no step's"],
)
async def test_the_model_is_told_of_whose_process_died(process: str, dead: str) -> None:
    fake = triton()
    fake.infer = failing(Code.INTERNAL, f"in ensemble 'pets', Stub process '{process}' is not healthy.")
    async with scene(fake) as here:
        with pytest.raises(GatewayError):
            await here.call(model=replace(MODEL, steps=("cut", "cut_0")))
        assert here.dead == [dead]


class Names:
    """What a name stands for, and how often it was asked."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = list(addresses)
        self.asked = 0

    async def __call__(self, _: str, __: int) -> list[str]:
        self.asked += 1
        if not self.addresses:
            raise OSError("nobody can say")
        return list(self.addresses)


def test_one_that_left_ends_first_what_else_it_was_asked() -> None:
    """In virtual time; nobody listens at these addresses."""

    async def run() -> None:
        names, left = Names("127.0.0.2", "127.0.0.3"), []
        clock = asyncio.get_running_loop().time
        replicas = Replicas(Endpoints("dns:///tritons:8001", names), clock=clock, left=left.append)
        async with replicas:
            await replicas.resolve()
            with replicas.members[1].asked():
                names.addresses = ["127.0.0.2"]
                await replicas.resolve()
                await asyncio.sleep(100)
                assert not left
            await asyncio.sleep(1)
            assert left == ["127.0.0.3:8001"]

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(run())


def test_names_are_looked_up_again_and_again_and_one_that_left_ends_its_calls_first() -> None:
    """In virtual time; nobody listens at these addresses."""

    async def run() -> None:
        names, left = Names("127.0.0.2", "127.0.0.3"), []
        clock = asyncio.get_running_loop().time
        replicas = Replicas(
            Endpoints("dns:///tritons:8001", names), clock=clock, interval=2, left=left.append
        )
        async with replicas:
            following = asyncio.create_task(replicas.follow())
            await asyncio.sleep(1)
            kept, leaves = replicas.members
            assert (kept.endpoint, leaves.endpoint) == ("127.0.0.2:8001", "127.0.0.3:8001")
            leaves.in_flight += 1
            names.addresses = ["127.0.0.2", "::1"]
            await asyncio.sleep(2)
            assert [each.endpoint for each in replicas.members] == ["127.0.0.2:8001", "[::1]:8001"]
            assert replicas.members[0] is kept
            names.addresses = []
            await asyncio.sleep(100)
            assert len(replicas.members) == 2  # what nobody can say changes nothing
            assert not left
            leaves.in_flight -= 1
            leaves.ended()
            await asyncio.sleep(1)
            assert left == ["127.0.0.3:8001"]
            assert names.asked == 53  # at 0, 2, … 104 s
            following.cancel()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(run())
