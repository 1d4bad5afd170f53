"""What the door costs on the hot path: CPU a request with authentication, limits, priority and admission, and without.

Two gateways on the same Triton and the same machine take the same minimal tensor request by turns; what counts is the
CPU time of each gateway's process, so the load generator, Triton and Redis are left out of it.
"""

import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil
from connection import Address, http_request
from figures import OK
from load import Closed, Load, Sample, measure
from processes import Process, running, running_stack, wait_ready
from stack import Part, free_port, gateway
from testbed import machine, roomy_access

ROUNDS, SECONDS, CLIENTS = 7, 4.0, 4
MODEL = "digits_classifier"
TENSOR = bytes(32 * 32)
HEADER = (
    b'{"inputs":[{"name":"images","datatype":"UINT8","shape":[1,1,32,32],"parameters":{"binary_data_size":1024}}],'
    b'"parameters":{"binary_data_output":true}}'
)


def request(key: str) -> bytes:
    """One image as a binary tensor."""
    return http_request(
        "POST",
        f"/v2/models/{MODEL}/infer",
        key=key,
        body=TENSOR,
        content_type="application/octet-stream",
        inference_header=HEADER,
    )


def cpu(process: Process) -> float:
    """Seconds that the process and its children have used."""
    parent = psutil.Process(process.popen.pid)
    return sum(sum(each.cpu_times()[:2]) for each in (parent, *parent.children(recursive=True)))


def per_request(
    process: Process, address: Address, raw: bytes, clients: int, seconds: float
) -> tuple[float, Sequence[Sample]]:
    """Microseconds of the process's CPU a request over one closed loop, and its samples. Raises RuntimeError where an
    answer is none."""
    before = cpu(process)
    samples = measure(Load(address, [Closed("all", raw, clients)], seconds))
    used = cpu(process) - before
    answered = [sample.status for sample in samples]
    if set(answered) != {OK}:
        raise RuntimeError(f"answers other than 200: {sorted(set(answered))}")
    return used / len(answered) * 1e6, samples


def main() -> None:
    print(f"On {machine()}.\n")
    with roomy_access() as access, running_stack(access_file=access) as stack:
        open_port = free_port()
        part = gateway(stack.at)
        command = [
            *(sys.executable, "-P", "-m", "uvicorn", "--factory", "open_door:create_app"),
            *("--host", "127.0.0.1", "--port", str(open_port), "--loop", "uvloop", "--http", "httptools"),
            *("--log-level", "warning", "--no-access-log", "--app-dir", str(Path(__file__).parent)),
        ]
        with running(Part("open-door", command, part.environment)) as without:
            wait_ready(f"http://127.0.0.1:{open_port}/readyz", without)
            addresses = {
                "with": (stack.gateway, Address(stack.at.gateway_host, stack.at.gateway_port)),
                "without": (without, Address("127.0.0.1", open_port)),
            }
            rounds = [
                {
                    name: per_request(process, address, request(stack.key), CLIENTS, SECONDS)[0]
                    for name, (process, address) in addresses.items()
                }
                for _ in range(ROUNDS)
            ][1:]  # the first one warms up
    ratios = [each["with"] / each["without"] for each in rounds]
    print("| | CPU a request |\n|---|---|")
    for name in ("with", "without"):
        print(f"| {name} the door | {statistics.median(each[name] for each in rounds):.0f} us |")
    low, high = min(ratios), max(ratios)
    print(
        f"| ratio, median of {len(ratios)} turns | {statistics.median(ratios):.2f} ({low:.2f} to {high:.2f}) |"
    )


if __name__ == "__main__":
    main()
