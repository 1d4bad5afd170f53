"""What threads allocate comes from one heap, which gives back what is free, but not at once."""

import subprocess
import sys

import pytest

_RESIDENT = """
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096
"""


def printed(program: str) -> str:
    """By a process of its own: what an allocator holds depends on all that ran before."""
    command = [sys.executable, "-P", "-c", program]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip()


# Each thread holds what is too large for Python's own allocator, until all do; then the C library tells its heaps.
_THREADS = """
import ctypes, threading
from gateway.serving import share_one_heap
{first}
together = threading.Barrier(8)
def work():
    held = bytearray(64 * 1024)
    together.wait()
threads = [threading.Thread(target=work) for _ in range(8)]
[each.start() for each in threads]
[each.join() for each in threads]
library = ctypes.CDLL(None)
library.malloc_info(0, ctypes.c_void_p.in_dll(library, "stdout"))
library.fflush(None)
"""


@pytest.mark.parametrize(
    ("first", "several"),
    [
        pytest.param("share_one_heap()", False, id="threads share the first heap"),
        pytest.param("", True, id="they would have heaps of their own"),
    ],
)
def test_threads_share_one_heap(first: str, several: bool) -> None:
    assert (printed(_THREADS.format(first=first)).count("<heap nr=") > 1) is several


_PARTS = """
import asyncio
from gateway.serving import give_back, share_one_heap
share_one_heap()
parts = [bytearray(b"x") * 1_000_000 for _ in range(100)]
last = bytearray(1_000)
held = resident()
del parts
async def until_less():
    giving = asyncio.create_task(give_back(interval=0.05))
    while held - resident() < 90_000_000:
        await asyncio.sleep(0.01)
    giving.cancel()
print(held - resident() < 10_000_000)
asyncio.run(asyncio.wait_for(until_less(), 30))
"""


def test_what_is_free_is_kept_for_a_while_and_then_given_back() -> None:
    assert printed(_RESIDENT + _PARTS) == "True"


_PARSER = """
import asyncio
from gateway.serving import give_back, share_one_heap
from gateway.translate import typed_json
from gateway.translate.tensors import load_json
share_one_heap()
numbers = ",".join(["1.25"] * 1_000_000)
text = ('{"inputs":[{"name":"a","datatype":"FP32","shape":[1000000],"data":[' + numbers + "]}]}").encode()
del numbers
before = resident()
assert typed_json.load(text, load_json)
async def until_let_go():
    giving = asyncio.create_task(give_back(typed_json.let_go, interval=0.05))
    while resident() - before > 2_000_000:
        await asyncio.sleep(0.01)
    giving.cancel()
print(resident() - before > 10_000_000)
asyncio.run(asyncio.wait_for(until_let_go(), 30))
"""


def test_what_a_large_text_needed_is_not_kept_for_good() -> None:
    assert printed(_RESIDENT + _PARSER) == "True"


@pytest.mark.parametrize(
    ("first", "loaded"),
    [
        pytest.param("gateway.cli.serve", False, id="in the only process"),
        pytest.param(
            "gateway.http, gateway.cli.serve", False, id="in a worker, which is sent the protocol first"
        ),
        pytest.param("gateway.app", True, id="anywhere else"),
    ],
)
def test_what_serves_does_not_load_what_it_never_shows(first: str, loaded: bool) -> None:
    program = f"import {first}, gateway.app, sys; print('rich.text' in sys.modules)"
    assert printed(program) == str(loaded)
