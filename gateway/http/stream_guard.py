"""The WebSocket side of the wire: a stream gets its turns of the event loop, and a flood is hung up on.

uvicorn handles all that a read has brought before anybody else gets a turn, and reads on while answers pile up.
"""

import asyncio
from collections.abc import Iterator
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.websockets.wsproto_impl import WSProtocol
from uvicorn.server import ServerState
from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, Pong, TextMessage
from wsproto.frame_protocol import CloseReason

_EVENTS = 64  # frames handled in one turn of the event loop, a millisecond's worth
_SMALL = 1024  # bytes; what is shorter costs more by its number than by its length
_SMALL_A_SECOND = 1000  # no camera sends as many, and they cost a few hundredths of a core


class Turns(WSConnection):
    """What came, turn by turn: the events of one end behind a whole message, or when there were enough of them.

    `more` says that there may be others already. `small` counts frames that cost more than their bytes tell: control
    frames, texts, and what is shorter than a kilobyte.
    """

    more = False
    small = 0

    def events(self) -> Iterator[Event]:  # type: ignore[override]  # a generator that nobody sends to
        self.more = True
        for number, event in enumerate(super().events(), 1):
            self.small += _is_small(event)
            yield event
            if number == _EVENTS or _is_whole(event):
                return
        self.more = False


class StreamGuard(WSProtocol):
    """One stream. Reading stops until all that was read is handled, and handling stops until the application has taken
    the last message and the peer the last answers.
    """

    conn: Turns

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.conn = Turns(ConnectionType.SERVER)
        self._turn: asyncio.Handle | None = None
        self._second = 0.0  # when the second began in which small frames are counted

    # What moves it

    def handle_events(self) -> None:
        super().handle_events()
        self._go_on()

    async def receive(self) -> Any:
        message = await self.queue.get()
        self._go_on()
        return message

    async def send(self, message: Any) -> None:
        await super().send(message)
        if message["type"] != "websocket.send":  # after the handshake, and when the stream ends
            self._go_on()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._go_on()

    # Turns

    def _go_on(self) -> None:
        if self.transport.is_closing():
            return
        if self._floods():
            self._hang_up()
            return
        waits = self._waits()
        self._read(not (waits or self.conn.more))
        if self.conn.more and not waits and self._turn is None:
            self._turn = self.loop.call_soon(self._take_turn)

    def _take_turn(self) -> None:
        self._turn = None
        if not self.transport.is_closing():
            self.handle_events()

    def _waits(self) -> bool:
        """Behind our own word to close nothing is answered or handed over, so there is nothing to wait for."""
        if self.close_sent:
            return False
        return not (self.handshake_complete and self.queue.empty() and self.writable.is_set())

    def _read(self, reads: bool) -> None:
        if reads and self.read_paused:
            self.transport.resume_reading()
        elif not reads and not self.read_paused:
            self.transport.pause_reading()
        self.read_paused = not reads

    # Ends

    def _floods(self) -> bool:
        now = self.loop.time()
        if now - self._second >= 1:
            self._second, self.conn.small = now, 0
        return self.conn.small > _SMALL_A_SECOND

    def _hang_up(self) -> None:
        if self.close_sent:
            self.transport.close()
        else:
            self.handle_close(CloseConnection(CloseReason.POLICY_VIOLATION, "Too many small messages."))

    def handle_close(self, event: CloseConnection) -> None:
        """The peer's word, or why it is hung up on; wsproto tells in the same way that the peer broke the rules."""
        if not self.close_sent and self.conn.state is ConnectionState.OPEN:
            self.transport.write(self.conn.send(event))
        super().handle_close(event)


def _is_small(event: Event) -> bool:
    if isinstance(event, BytesMessage):
        return event.frame_finished and len(event.data) < _SMALL
    if isinstance(event, TextMessage):
        return event.message_finished or (event.frame_finished and len(event.data) < _SMALL)
    return isinstance(event, Ping | Pong)


def _is_whole(event: Event) -> bool:
    return isinstance(event, BytesMessage | TextMessage) and event.message_finished
