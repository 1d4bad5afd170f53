"""A trickle of digits through a running gateway from many end users, so that a canary has something to answer.

Pictures of held-out digits, as `make accuracy` draws them, each under one of `--users` names in X-User-Id: with
`--sticky header:X-User-Id` a canary gets its share of those. A line every few seconds says which version answered how
much, and how much of that was right. `--url` and `--key` come from GATEWAY_URL and GATEWAY_KEY.
"""

import argparse
import asyncio
import io
import os
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from PIL import Image

# Programs of a folder of their own, which runs in the exporters' environment too and is no package.
sys.path.append(str(Path(__file__).resolve().parents[1] / "triton" / "export"))
from evaluate import pictures  # type: ignore[import-not-found]

_SEED = 4
_AT_ONCE = 64  # more would only wait in the gateway


@dataclass
class Tally:
    """What came back: answers and right ones by version, everything else by its name."""

    answered: Counter[str] = field(default_factory=Counter)
    right: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)

    def line(self) -> str:
        parts = [
            f"version {version}: {count} answers, {self.right[version] / count:.1%} right"
            for version, count in sorted(self.answered.items())
        ]
        parts += [f"{name}: {count}" for name, count in sorted(self.failed.items())]
        return "; ".join(parts) or "nothing came back"


@dataclass(frozen=True)
class Case:
    body: bytes
    label: str


def cases() -> list[Case]:
    """Every held-out digit as a PNG, in the same order in every run."""
    drawn = []
    for picture in pictures():
        file = io.BytesIO()
        Image.fromarray(picture.pixels).save(file, "PNG", compress_level=1)
        drawn.append(Case(file.getvalue(), str(picture.label)))
    random.Random(_SEED).shuffle(drawn)
    return drawn


async def ask(client: httpx.AsyncClient, case: Case, user: str, tally: Tally) -> None:
    headers = {"Content-Type": "image/png", "X-User-Id": user}
    query = {"model": "digits_classifier", "top_k": "3"}
    try:
        answer = await client.post("/v1/classify", params=query, content=case.body, headers=headers)
    except httpx.TransportError as error:
        tally.failed[type(error).__name__] += 1
        return
    if answer.status_code != httpx.codes.OK:
        tally.failed[f"{answer.status_code} {answer.json().get('code')}"] += 1
        return
    document = answer.json()
    version = document["model"]["version"]
    tally.answered[version] += 1
    tally.right[version] += document["results"][0]["predictions"][0]["label"] == case.label


async def trickle(client: httpx.AsyncClient, options: argparse.Namespace) -> Tally:
    """Sends what is due, whether the answers come or not, and prints a line every `options.every` seconds."""
    drawn, draw = cases(), random.Random(_SEED)
    total, tally = Tally(), Tally()
    running: set[asyncio.Task[None]] = set()
    began = told = time.monotonic()
    number = 0
    while (now := time.monotonic()) < began + options.seconds:
        while number < (now - began) * options.rate:
            case, user = drawn[number % len(drawn)], f"user-{draw.randrange(options.users)}"
            number += 1
            if len(running) >= _AT_ONCE:
                tally.failed["not sent, too many are under way"] += 1
                continue
            task = asyncio.create_task(ask(client, case, user, tally))
            running.add(task)
            task.add_done_callback(running.discard)
        if now - told >= options.every:
            print(f"{time.strftime('%H:%M:%S')}  {tally.line()}", flush=True)
            told = now
            add(total, tally)
        await asyncio.sleep(0.01)
    await asyncio.gather(*running)
    add(total, tally)
    return total


def add(total: Tally, tally: Tally) -> None:
    """Moves the counts over."""
    for mine, other in (
        (total.answered, tally.answered),
        (total.right, tally.right),
        (total.failed, tally.failed),
    ):
        mine.update(other)
        other.clear()


async def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("--url", default=os.environ.get("GATEWAY_URL", "http://127.0.0.1:8080"))
    options.add_argument("--key", default=os.environ.get("GATEWAY_KEY", ""))
    options.add_argument("--rate", type=float, default=40, help="calls a second (40)")
    options.add_argument("--seconds", type=float, default=300, help="how long (300)")
    options.add_argument("--users", type=int, default=2000, help="different names (2000)")
    options.add_argument("--every", type=float, default=10, help="seconds between two lines (10)")
    chosen = options.parse_args()
    headers = {"Authorization": f"Bearer {chosen.key}"}
    async with httpx.AsyncClient(base_url=chosen.url, headers=headers, timeout=30, trust_env=False) as client:
        total = await trickle(client, chosen)
    print(f"all       {total.line()}")


if __name__ == "__main__":
    asyncio.run(main())
