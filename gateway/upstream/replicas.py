"""The Tritons behind this gateway: one channel each for as long as it is there, and what each of them serves."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import structlog

from gateway.catalog import Inventory
from gateway.errors import ConnectionFailed, GatewayError, ModelDeclines, ModelUnavailable, UpstreamDraining
from gateway.upstream.agreement import Agreement, Version, agreed
from gateway.upstream.client import TritonClient
from gateway.upstream.endpoints import Endpoints

_RESOLVED_EVERY = 2.0  # seconds
_LAST_CALLS = 2.0  # seconds

_log = structlog.stdlib.get_logger("gateway.upstream")


@dataclass(eq=False, slots=True)
class Replica:
    """One Triton. `in_flight`, `answered` and `failed` count this worker's calls; `serving` are the versions that it is
    ready for.

    `away` says that it could not be reached, or was shutting down, and has not been read since: it is then called only
    where nobody else can be.
    """

    endpoint: str
    triton: TritonClient
    in_flight: int = 0
    answered: int = 0
    failed: int = 0
    serving: frozenset[Version] = frozenset()
    away: bool = False
    failure: GatewayError | None = None  # of the last reading
    inventory: Inventory | None = None  # of the last good one
    readings: int = 0  # under way
    orders: int = 0  # under way: whatever else it is asked
    leaving: asyncio.Event | None = None  # set by the end of the last call

    @property
    def is_busy(self) -> bool:
        return bool(self.in_flight or self.readings or self.orders)

    @contextlib.contextmanager
    def asked(self) -> Iterator[TritonClient]:
        """Its client for what is neither an inference nor a reading, and whose end its channel has to wait for."""
        self.orders += 1
        try:
            yield self.triton
        finally:
            self.orders -= 1
            self.ended()

    async def idle(self) -> None:
        """Returns when nothing that it was asked is under way."""
        self.leaving = asyncio.Event()
        if self.is_busy:
            await self.leaving.wait()

    def ended(self) -> None:
        """Told of the end of each call, reading and order."""
        if self.leaving is not None and not self.is_busy:
            self.leaving.set()


class Replicas:
    """`async with`, and then `follow` as a task. `left` hears of each that is there no longer, `loaded` of each model
    that one of them is ready for and was not when it was read before, or has loaded when it was told to.
    """

    def __init__(
        self,
        endpoints: Endpoints,
        *,
        clock: Callable[[], float],
        interval: float = _RESOLVED_EVERY,
        left: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._endpoints = endpoints
        self._clock = clock
        self._interval = interval
        self.left = left
        self.loaded: Callable[[str, str], None] = lambda _, __: None
        self.members: tuple[Replica, ...] = ()
        self._known: dict[Version, tuple[Replica, ...]] = {}
        self._leaving: dict[Replica, asyncio.Task[None]] = {}
        self._beside: set[asyncio.Task[None]] = set()
        self._unresolved = ""

    async def __aenter__(self) -> Self:
        await self._set(self._endpoints.fixed)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._last_calls()
        tasks = [*self._leaving.values(), *self._beside]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for replica in (*self.members, *self._leaving):
            await replica.triton.__aexit__(None, None, None)

    async def _last_calls(self) -> None:
        """Calls that nobody waits for any more get a moment: a channel that closes cancels them."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_CALLS):
                for replica in self.members:
                    await replica.idle()

    async def follow(self) -> None:
        """Looks names up for ever; run as a task and cancel it to stop. A look-up that fails changes nothing."""
        while self._endpoints.change:
            await self.resolve()
            await asyncio.sleep(self._interval)

    async def resolve(self) -> None:
        """Looks up once who is there."""
        found, trouble = await self._endpoints.find()
        if trouble and trouble != self._unresolved:
            _log.warning("triton_name_not_resolved", reason=trouble)
        self._unresolved = trouble
        if found:
            await self._set(found)

    def serving(self, version: Version) -> Sequence[Replica]:
        """Those that are ready for this version, without those that are away where there are others.

        All of them where nobody is ready: then the call itself says what is the matter.
        """
        known = self._known.get(version)
        if known is None:
            ready = [each for each in self.members if version in each.serving] or self.members
            known = self._known[version] = tuple([each for each in ready if not each.away] or ready)
        return known

    def away(self, version: Version) -> Sequence[Replica]:
        """Those that were ready for this version when they were read, and could not be reached since."""
        return [each for each in self.members if each.away and version in each.serving]

    def having(self, model: str, version: str) -> Sequence[Replica]:
        """As `serving`, where `version` may be empty for any."""
        if version:
            return self.serving((model, version))
        ready = [
            each for each in self.members if any(name == model for name, _ in each.serving)
        ] or self.members
        return [each for each in ready if not each.away] or ready

    def note(self, replica: Replica, version: Version, error: BaseException | None) -> None:
        """The end of a call: what it says of the next ones, until the replica is read again.

        One that could not be made says the same of all, whatever they ask for, one that found no model of those that
        ask for it.
        """
        if isinstance(error, ConnectionFailed | UpstreamDraining):
            self._go_away(replica, error)
        elif isinstance(error, ModelUnavailable) and not isinstance(error, ModelDeclines):
            replica.serving -= {version}
            self._known.clear()

    async def inventory(self) -> Inventory:
        """What all of them serve together, read from each now. Raises UpstreamError where none can be asked.

        One that did not answer the last time is asked beside the others, and nobody waits for it.
        """
        waited = [each for each in self.members if each.failure is None] or self.members
        for replica in self.members:
            if replica not in waited and not replica.readings:
                beside = asyncio.create_task(self._read(replica))
                self._beside.add(beside)
                beside.add_done_callback(self._beside.discard)
        await asyncio.gather(*map(self._read, waited))
        return self._agree().inventory

    async def _read(self, replica: Replica) -> None:
        was_away, replica.readings = replica.away, replica.readings + 1
        try:
            before, replica.inventory = replica.inventory, await replica.triton.inventory()
        except GatewayError as error:
            replica.failure = error
            self._go_away(replica, error)
        else:
            replica.failure = None
            for model in {name for name, _ in _ready(replica.inventory) - _ready(before)}:
                self.loaded(replica.endpoint, model)
            if was_away:  # what went away meanwhile has to be read once more
                replica.away = False
                self._tell("triton_back", replica)
        finally:
            replica.readings -= 1
            replica.ended()

    def _agree(self) -> Agreement:
        failures = [each.failure for each in self.members if each.failure is not None]
        if len(failures) == len(self.members):
            raise (
                failures[0] if failures else ConnectionFailed("No inference server is known.", retry_after=1)
            )
        found = {each.endpoint: each.inventory for each in self.members if each.inventory is not None}
        agreement = agreed(found)
        for replica in self.members:
            replica.serving = agreement.serving.get(replica.endpoint, frozenset())
        self._known.clear()
        return agreement

    def _go_away(self, replica: Replica, error: GatewayError) -> None:
        if not replica.away:
            replica.away = True
            self._known.clear()
            self._tell("triton_away", replica, reason=error.internal or str(error))

    def _tell(self, event: str, replica: Replica, **more: object) -> None:
        """Of one alone the catalog and the breakers tell."""
        if len(self.members) > 1:
            _log.warning(event, endpoint=replica.endpoint, **more)

    async def _set(self, endpoints: Sequence[str]) -> None:
        """Opens what is new, and lets go what is there no longer once its last call has ended."""
        there = {each.endpoint: each for each in self.members}
        members = []
        for endpoint in endpoints:
            replica = there.pop(endpoint, None)
            if replica is None:
                triton = await TritonClient(endpoint, clock=self._clock).__aenter__()
                replica = Replica(endpoint, triton)
                if self._endpoints.change:
                    _log.info("triton_found", endpoint=endpoint)
            members.append(replica)
        if there or len(members) != len(self.members):
            self.members = tuple(members)
            self._known.clear()
        for replica in there.values():
            _log.info("triton_left", endpoint=replica.endpoint, in_flight=replica.in_flight)
            self._leaving[replica] = asyncio.create_task(self._let_go(replica))

    async def _let_go(self, replica: Replica) -> None:
        """A channel that closes cancels its calls, so it closes when there are none."""
        await replica.idle()
        del self._leaving[replica]
        await replica.triton.__aexit__(None, None, None)
        if all(replica.endpoint != each.endpoint for each in self.members):
            self.left(replica.endpoint)


def _ready(inventory: Inventory | None) -> frozenset[Version]:
    served = () if inventory is None else inventory.served
    return frozenset((model.name, version) for model in served for version in model.versions)
