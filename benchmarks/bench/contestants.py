"""Who takes turns: A B C A B C …, and the two kinds of load that most of them are."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import psutil
from connection import Address

from bench import clients, drives
from bench.requests import Request
from bench.turns import Generator, Turn, TurnFailed, Watched

Take = Callable[[float], Turn]
"""One turn of so many seconds."""

Rows = dict[str, list[dict[str, Any]]]
"""The turns of each contestant."""


@dataclass
class Pace:
    """How long it all takes. `failures` are those who dropped out, with the reason."""

    rounds: int
    seconds: float
    rate: float = 100.0
    in_flight: int = 16
    together: tuple[int, ...] = (1, 4, 16)
    warm_up: bool = True
    failures: dict[str, str] = field(default_factory=dict)

    def by_turns(self, section: str, contestants: Mapping[str, Take]) -> Rows:
        """A B C A B C …; the first round warms up, and who fails is left out from then on."""
        rows: Rows = {name: [] for name in contestants}
        first = 0 if self.warm_up else 1
        for number in range(first, self.rounds + 1):
            for name in list(rows):
                try:
                    turn = contestants[name](self.seconds if number else min(self.seconds, 1.0))
                except (TurnFailed, psutil.Error) as error:
                    self.failures[f"{section}: {name}"] = str(error)[:300]
                    del rows[name]
                    continue
                if number:
                    rows[name].append(asdict(turn))
        return rows


def by_http(
    generator: Generator, address: Address, request: Request, watched: Watched, in_flight: int
) -> Take:
    """A closed loop by the bench's own generator."""
    return lambda seconds: generator.turn(
        *(drives.http, address, request.raw(), seconds), watched=watched, seconds=seconds, in_flight=in_flight
    )


def by_client(
    generator: Generator,
    watched: Watched,
    make: Callable[..., clients.Made],
    *arguments: object,
    in_flight: int,
) -> Take:
    """So many of a program that prepares its pictures itself."""
    return lambda seconds: generator.turn(
        *(clients.threads, make, arguments, in_flight, seconds), watched=watched, seconds=seconds
    )
