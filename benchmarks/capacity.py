"""What a request costs the gateway, Redis and the network by its kind, what a worker costs that nobody calls, and how
much of each a load needs: the figures of docs/scale.md.

CPU times are of this machine's cores; what is counted (commands, bytes, series) is the same everywhere.
"""

import io
import math
import random
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, fields
from typing import Any

import httpx
import redis
from connection import Address, http_request
from figures import OK
from hot_path import cpu
from hot_path import request as tensor_request
from load import Closed, Load, measure
from PIL import Image
from processes import RunningStack, running_stack
from testbed import machine, roomy_access

SECONDS, IDLE_SECONDS, ROUNDS, CLIENTS = 6.0, 10.0, 3, 8
PHOTO = (640, 480)
AIM = 0.6  # of a core or a shard: the rest is for peaks and for what fails
RATES, FLEETS = (100, 1_000, 10_000), (20, 60, 150, 1_000)
WORKERS_A_POD, GPU_RATE = 2, 100.0  # requests a second that one GPU is assumed to answer


@dataclass(frozen=True)
class Use:
    """What was used so far: seconds of CPU, and what Redis counted."""

    gateway: float
    triton: float
    redis: float
    scripts: float
    commands: float
    received: float
    sent: float

    def since(self, before: "Use", seconds: float, idle: "Use | None" = None) -> "Use":
        """The difference, less what an idle second uses as often as seconds went by."""
        return Use(
            *(
                getattr(self, field.name)
                - getattr(before, field.name)
                - (0.0 if idle is None else getattr(idle, field.name) * seconds)
                for field in fields(Use)
            )
        )

    def over(self, count: float) -> "Use":
        return Use(*(getattr(self, field.name) / count for field in fields(Use)))


def use(stack: RunningStack, store: redis.Redis) -> Use:
    counted: Mapping[str, Any] = {**store.info("cpu"), **store.info("stats")}
    calls = {name: entry["calls"] for name, entry in store.info("commandstats").items()}
    ours = calls.get("cmdstat_info", 0)
    return Use(
        gateway=cpu(stack.gateway),
        triton=cpu(stack.triton),
        redis=counted["used_cpu_sys"] + counted["used_cpu_user"],
        scripts=calls.get("cmdstat_evalsha", 0),
        commands=sum(calls.values()) - ours,
        received=counted["total_net_input_bytes"],
        sent=counted["total_net_output_bytes"],
    )


def photo() -> bytes:
    """A JPEG of the size of a small camera's, as large as a real one: coarse shapes under fine noise."""
    source = random.Random(1)
    coarse = Image.frombytes("RGB", (16, 12), source.randbytes(16 * 12 * 3)).resize(
        PHOTO, Image.Resampling.BICUBIC
    )
    fine = Image.frombytes("RGB", PHOTO, source.randbytes(PHOTO[0] * PHOTO[1] * 3))
    buffer = io.BytesIO()
    Image.blend(coarse, fine, 0.06).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def requests(key: str) -> dict[str, bytes]:
    picture = photo()
    text = b'{"inputs":[{"text":"Uusi-Seelanti"}],"model":"languages_bert"}'
    return {
        "tensor, 1 KB": tensor_request(key),
        "text": http_request("POST", "/v1/classify", key=key, body=text, content_type="application/json"),
        f"classify, JPEG of {len(picture) // 1000} KB": http_request(
            "POST", "/v1/classify?model=digits_classifier", key=key, body=picture, content_type="image/jpeg"
        ),
        f"detect, JPEG of {len(picture) // 1000} KB": http_request(
            "POST", "/v1/detect?model=digits_detector", key=key, body=picture, content_type="image/jpeg"
        ),
    }


def idle_second(stack: RunningStack, store: redis.Redis) -> Use:
    """What one worker uses that nobody calls."""
    before = use(stack, store)
    time.sleep(IDLE_SECONDS)
    return use(stack, store).since(before, IDLE_SECONDS).over(IDLE_SECONDS)


def per_request(stack: RunningStack, store: redis.Redis, request: bytes, idle: Use) -> tuple[Use, float]:
    """And how many a second there were."""
    address = Address(stack.at.gateway_host, stack.at.gateway_port)
    before, began = use(stack, store), time.monotonic()
    samples = measure(Load(address, [Closed("one kind", request, CLIENTS)], SECONDS))
    seconds = time.monotonic() - began
    if {sample.status for sample in samples} != {OK}:
        raise RuntimeError(f"answers other than 200: {sorted({sample.status for sample in samples})}")
    return use(stack, store).since(before, seconds, idle).over(len(samples)), len(samples) / SECONDS


def median(rounds: Sequence[Use]) -> Use:
    """Of the CPU used by the gateway."""
    return sorted(rounds, key=lambda each: each.gateway)[len(rounds) // 2]


def needs(rate: float, each: Use, idle: Use) -> str:
    """A row: what `rate` requests a second of this kind need."""
    cores = rate * each.gateway / AIM
    workers = math.ceil(cores)
    pods = max(2, math.ceil(workers / WORKERS_A_POD))
    commands = rate * each.commands + pods * WORKERS_A_POD * idle.commands
    busy = rate * each.redis + pods * WORKERS_A_POD * idle.redis
    traffic = 8e-6 * rate * (each.received + each.sent)
    return (
        f"| {rate:,.0f} | {cores:.1f} | {pods} | {commands:,.0f} | {busy * 100:.0f} % | {math.ceil(busy / AIM)} "
        f"| {traffic:.0f} Mbit/s | {math.ceil(rate / GPU_RATE)} |"
    )


def main() -> None:
    print(f"On {machine()}.\n")
    with roomy_access() as access, running_stack(access_file=access, workers=1) as stack:
        with closing(redis.Redis(stack.at.redis_address, port=stack.at.redis_port)) as store:
            kinds = requests(stack.key)
            for request in kinds.values():  # warms up
                per_request(stack, store, request, Use(*[0.0] * len(fields(Use))))
            idle = idle_second(stack, store)
            found = {}
            for name, request in kinds.items():
                rounds = [per_request(stack, store, request, idle) for _ in range(ROUNDS)]
                found[name] = median([each for each, _ in rounds]), max(rate for _, rate in rounds)
            key_bytes = max(len(document) for document in store.hvals("gw:keys"))
        answer = httpx.get(f"{stack.url}/metrics", trust_env=False, timeout=10).raise_for_status().text
    series = [line for line in answer.splitlines() if not line.startswith("#")]
    tell(found, idle)
    print(f"\nOne pod's /metrics: {len(series):,} series, {len(answer) / 1000:.0f} KB.")
    print(f"One API key in Redis: {key_bytes} bytes.")


def tell(found: Mapping[str, tuple[Use, float]], idle: Use) -> None:
    print(
        "| a request | gateway | Triton | Redis | scripts | commands | to Redis | from Redis | one worker |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for name, (each, rate) in found.items():
        print(
            f"| {name} | {each.gateway * 1e6:.0f} us | {each.triton * 1e6:.0f} us | {each.redis * 1e6:.0f} us "
            f"| {each.scripts:.2f} | {each.commands:.1f} | {each.received:.0f} B | {each.sent:.0f} B | {rate:.0f}/s |"
        )
    print(
        f"| a worker's idle second | {idle.gateway * 1e6:.0f} us | {idle.triton * 1e6:.0f} us "
        f"| {idle.redis * 1e6:.0f} us | {idle.scripts:.1f} | {idle.commands:.1f} | {idle.received:.0f} B "
        f"| {idle.sent:.0f} B | |"
    )
    print("\n| workers that nobody calls | commands/s | of one Redis |\n|---|---|---|")
    for workers in FLEETS:
        print(f"| {workers:,} | {workers * idle.commands:,.0f} | {workers * idle.redis * 100:.0f} % |")
    for name, (each, _) in found.items():
        print(f"\nNeeded for {name}, {AIM:.0%} full:\n")
        print(
            "| requests/s | cores | pods | Redis commands/s | of one Redis | shards | to and from Redis | GPUs |"
        )
        print("|---|---|---|---|---|---|---|---|")
        for rate in RATES:
            print(needs(rate, each, idle))


if __name__ == "__main__":
    main()
