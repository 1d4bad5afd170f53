"""What is known against a release of Triton, and who can reach it beside the gateway; pure but for `reachable_at`."""

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import Iterable, Iterator, Sequence

from gateway.doctor.finding import Finding, error, warning

_KNOWN = (
    (
        (2, 59),
        "cancelled calls crash it after some thousands; the gateway finishes there what nobody waits for",
    ),
    (
        (2, 60),
        "CVE-2025-23310, -23317, -23319, -23320, -23334 and -23316: who reaches its ports can run code in it",
    ),
    (
        (2, 70),
        "it is from before NVIDIA's bulletin of May 2026 (CVE-2026-24206 to -24209): its restrictions can be passed by",
    ),
    ((2, 75), "its dynamic batcher can use memory after it was freed"),
)
NEWEST = "2.75 (container 26.11)"


def release_findings(release: Sequence[int], *, private: bool) -> Iterator[Finding]:
    """`private`: only this machine reaches it, which leaves what it lacks to callers of the gateway."""
    against = [text for mended, text in _KNOWN if tuple(release) < mended]
    if against:
        made = warning if private else error
        yield made(
            "triton",
            "old-release",
            f"Triton {'.'.join(map(str, release)) or 'of an unknown release'}: {'; '.join(against)}.",
            f"Take Triton {NEWEST} or later, and let nobody but the gateway reach it.",
        )


def access_findings(
    reached: Sequence[str], open_interfaces: Sequence[str], *, private: bool
) -> Iterator[Finding]:
    """`reached` are addresses of this machine, beside loopback, at which Triton's gRPC answers."""
    if reached:
        yield error(
            "triton",
            "reachable",
            f"gRPC answers on {', '.join(reached)}: whoever reaches this machine goes around keys and quotas, can load "
            "models, and crash the server.",
            "Start it with --grpc-address=127.0.0.1 (and --http-address, --metrics-address), or close the ports.",
        )
    if open_interfaces and not private:
        yield warning(
            "triton",
            "open-interfaces",
            f"the interfaces {', '.join(open_interfaces)} are open to whoever reaches it, and the gateway uses none.",
            f"Start it with --grpc-restricted-protocol={','.join(open_interfaces)}:closed=… and a secret word.",
        )


def is_loopback(host: str) -> bool:
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    return host == "localhost"


def own_addresses() -> list[str]:
    """This machine's addresses, but for loopback; nothing is sent."""
    found = set()
    with contextlib.suppress(OSError):
        found |= {str(entry[4][0]) for entry in socket.getaddrinfo(socket.gethostname(), None)}
    # Which address would be used towards a network that exists in documents only.
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        found.add(probe.getsockname()[0])
    return sorted(address for address in found if not is_loopback(address.partition("%")[0]))


async def reachable_at(addresses: Iterable[str], port: int, seconds: float = 1.0) -> list[str]:
    """Those of the addresses where somebody accepts connections on this port."""
    asked = list(addresses)
    answers = await asyncio.gather(*(_accepts(address, port, seconds) for address in asked))
    return [address for address, accepts in zip(asked, answers, strict=True) if accepts]


async def _accepts(address: str, port: int, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            _, writer = await asyncio.open_connection(address, port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True
