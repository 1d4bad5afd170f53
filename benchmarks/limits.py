"""`make bench-limits`: who gets how much, over HTTP, with two workers, a real Redis and a real Triton.

Parts, all of them if none is named: `exact` (one key, fifty clients), `revoke` (how long a revoked key still holds),
`neighbour` (one tenant far above its quota beside another) and `redis` (frozen and killed under load).
"""

import argparse
import http.client
import math
import time
from collections.abc import Callable

import redis
from connection import http_request
from figures import Figures, between, median, ms, percentile, share, table
from load import Closed, Load, Open, measure
from outage import freeze_and_kill
from stack import ROOT
from testbed import WORKERS, Testbed, machine, started, status

_ROUNDS = 5  # of each measurement whose result is a matter of chance


def main() -> None:
    parts: dict[str, Callable[[Testbed], None]] = {
        "exact": count_the_allowed,
        "revoke": revoke_keys,
        "neighbour": stand_beside,
        "redis": freeze_and_kill,
    }
    options = argparse.ArgumentParser(description="Who gets how much, over HTTP.")
    options.add_argument("parts", nargs="*", help=f"{', '.join(parts)}; all of them if none is named")
    chosen = options.parse_args().parts or list(parts)
    if unknown := set(chosen) - set(parts):
        options.error(f"there is no part {', '.join(sorted(unknown))}")
    with started() as bed:
        print(f"{machine()}; {WORKERS} workers")
        for name, part in parts.items():  # in this order: the last one leaves no Redis behind
            if name in chosen:
                part(bed)


def count_the_allowed(bed: Testbed) -> None:
    """Fifty clients with one key: ten times the quota, and as much as two cores can bear."""
    limit, burst, clients, seconds = 50, 10, 50, 3.0
    row = table(
        f"Exactness: {clients} clients, one key with {limit}/s and burst {burst}, {seconds:.0f} s",
        ("each asks", "asked", "time t", "allowed", f"{burst} + {limit} t", "difference (+0, -3)", "errors"),
    )
    quota = {"limit": limit, "period": 1, "burst": burst}
    for turn in range(2 * _ROUNDS):
        paced = turn < _ROUNDS
        _, key = bed.key(f"exact-{turn}", rate_limit=quota)
        time.sleep(burst / limit)  # until what it took to try the key is back
        request = http_request("GET", "/v1/models", key=key)
        stream = Open("all", request, 10 * limit) if paced else Closed("all", request, clients)
        samples = measure(Load(bed.address, [stream], seconds, seed=turn))
        took = max(s.due + s.latency for s in samples) - min(s.due for s in samples)
        found = Figures(samples, took)
        bound = burst + limit * took
        row(
            f"{10 * limit // clients}/s" if paced else "when it is answered",
            len(samples),
            f"{took:.2f} s",
            found.good,
            f"{bound:.1f}",
            f"{found.good - math.floor(bound):+d}",
            found.server_errors,
        )


def revoke_keys(bed: Testbed) -> None:
    """From the call that revokes until the last worker refuses."""
    row = table("Revocation, on both workers", ("the hint from Redis", "keys", "median", "longest", "goal"))
    at = bed.stack.at
    store = redis.Redis(at.redis_address, at.redis_port)
    for hint, count in (("comes", 20), ("is lost", 8)):
        times = [_revocation(bed, store, lost=hint == "is lost") for _ in range(count)]
        row(hint, count, ms(percentile(times, 0.5)), ms(max(times)), "2000 ms")
    store.close()


def _revocation(bed: Testbed, store: "redis.Redis", *, lost: bool) -> float:
    key_id, key = bed.key("leaver")
    connections = bed.connections()
    if lost:
        store.client_kill_filter(
            _type="pubsub"
        )  # the workers listen again a second later, and poll meanwhile
    started = time.monotonic()
    bed.revoke(key_id)
    accepted = started
    pending = dict(connections)
    while pending:
        for pid, connection in list(pending.items()):
            if status(connection, key) == http.client.OK:
                accepted = time.monotonic()
            else:
                pending.pop(pid)
                accepted = max(accepted, time.monotonic())
    for connection in connections.values():
        connection.close()
    return accepted - started


def stand_beside(bed: Testbed) -> None:
    """Tenant B within its quota, alone and beside tenant A, who asks for twenty times its own."""
    quota, mine, seconds, warm_up = 20, 50, 10.0, 1.0
    row = table(
        f"Noisy neighbour: A asks for 20 times its {quota}/s, B for {mine}/s of 100/s, {_ROUNDS} x {seconds:.0f} s",
        (
            "B",
            "asked",
            "answered (goal 99.5 %)",
            "p50",
            "p99 (median of the rounds)",
            "to p99 alone (goal 1.2)",
            "A was allowed",
        ),
    )
    picture = (ROOT / "clients" / "samples" / "digit.png").read_bytes()

    def stream(name: str, limit: int, rate: float) -> Open:
        _, key = bed.key(name, rate_limit={"limit": limit, "period": 1, "burst": limit})
        return Open(name, http_request("POST", "/v1/classify", key=key, body=picture), rate)

    noisy, quiet = stream("tenant-a", quota, 20 * quota), stream("tenant-b", 100, mine)
    alone: list[Figures] = []
    beside: list[Figures] = []
    others: list[Figures] = []
    for seed in range(_ROUNDS):  # by turns, so that what the machine does besides meets both
        samples = measure(Load(bed.address, [quiet], warm_up + seconds, seed=seed))
        alone.append(between(samples, warm_up, warm_up + seconds))
        samples = measure(Load(bed.address, [quiet, noisy], warm_up + seconds, seed=seed))
        beside.append(between(samples, warm_up, warm_up + seconds, "tenant-b"))
        others.append(between(samples, warm_up, warm_up + seconds, "tenant-a"))
    base = median(alone, lambda found: found.latency(0.99))
    for name, rounds in (("alone", alone), ("beside A", beside)):
        p99 = median(rounds, lambda found: found.latency(0.99))
        row(
            name,
            sum(len(found.samples) for found in rounds),
            share(sum(found.good for found in rounds) / sum(len(found.samples) for found in rounds)),
            ms(median(rounds, lambda found: found.latency(0.5))),
            ms(p99),
            f"{p99 / base:.2f}",
            f"{median(others, lambda found: found.goodput):.1f}/s" if rounds is beside else "",
        )


if __name__ == "__main__":
    main()
