"""A transport that only listens, for protocols in virtual time."""

import asyncio


class Wire(asyncio.Transport):
    """What is said, whether it was hung up, and whether anybody listens."""

    def __init__(self, address: str = "10.0.0.1") -> None:
        super().__init__({"peername": (address, 1), "sockname": ("10.0.0.9", 80)})
        self.said = b""
        self.closed_at: float | None = None
        self.paused = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.said += bytes(data)

    def close(self) -> None:
        if self.closed_at is None:
            self.closed_at = asyncio.get_running_loop().time()

    def is_closing(self) -> bool:
        return self.closed_at is not None

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """It tells nobody anything."""
