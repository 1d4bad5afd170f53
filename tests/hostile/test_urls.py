"""Images by URL: whatever a caller or a DNS says, nothing inside is ever connected to, and the refusal is the same.

The gateway runs with all its rules; the names have the addresses that the test gives them, and behind the checks every
connection ends at a listener on this machine that counts: see `support.image_host`.
"""

import base64
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from processes import RunningStack
from support.hostile import assert_problem
from support.hostile_urls import HOSTS, NOT_PUBLIC, REFUSED
from support.image_host import NAME, PUBLIC, Scene, page, redirect, scene
from support.serving import served, until_ready

REFUSAL = {
    "type": "/problems/url_not_allowed",
    "title": "URL not allowed",
    "status": 422,
    "detail": "This URL may not be fetched.",
    "code": "url_not_allowed",
}
FAILURE = {
    "type": "/problems/image_fetch_failed",
    "title": "Image not fetched",
    "status": 422,
    "detail": "The image could not be fetched.",
    "code": "image_fetch_failed",
}


@asynccontextmanager
async def fetching(stack: RunningStack, here: Scene, *hosts: str) -> AsyncIterator[httpx.AsyncClient]:
    """A gateway of the stack's Triton and Redis that fetches from these hosts."""
    async with served(
        stack.at,
        stack.key,
        f"127.0.0.1:{stack.at.triton_grpc_port}",
        outside=here.outside,
        image_hosts=",".join(hosts or (NAME,)),
    ) as client:
        await until_ready(client)
        yield client


async def ask(client: httpx.AsyncClient, url: str) -> tuple[int, dict[str, Any]]:
    """The status, and the body but for what is the request's own."""
    answer = await client.post("/v1/classify", json={"inputs": [{"url": url}]})
    return answer.status_code, {
        name: value for name, value in answer.json().items() if name not in ("request_id", "instance")
    }


async def unlike(
    client: httpx.AsyncClient, digit: bytes, urls: Sequence[str], said: object
) -> dict[str, Any]:
    """The results of those URLs to which the gateway says something else; the last is asked alone as well.

    Asked fifteen at a time, beside an image that is answered, so that each has a result of its own.
    """
    sound = {"image": base64.b64encode(digit).decode()}
    found = {}
    for batch in (urls[start : start + 15] for start in range(0, len(urls), 15)):
        answer = await client.post("/v1/classify", json={"inputs": [sound, *({"url": url} for url in batch)]})
        assert answer.status_code == 200, answer.text
        results = answer.json()["results"][1:]
        found |= {
            url: result for url, result in zip(batch, results, strict=True) if result != {"error": said}
        }
    assert await ask(client, urls[-1]) == (422, REFUSAL)
    return found


def bad_answers() -> Iterator[tuple[str, list[str]]]:
    """Names, each with addresses of which one is not on the internet, first, last or alone."""
    for place, text in enumerate(NOT_PUBLIC):
        yield f"n{place}.example", [text]
        yield f"before{place}.example", [text, PUBLIC]
        yield f"after{place}.example", [PUBLIC, text]


async def test_the_image_of_an_allowed_host_is_classified(
    stack: RunningStack, digit: bytes, results: list[dict[str, Any]], tmp_path: Path
) -> None:
    async with scene(tmp_path) as here, fetching(stack, here) as client:
        here.host.pages["/digit.png?size=1"] = page(digit)
        answer = await client.post(
            "/v1/classify", json={"inputs": [{"url": f"https://{NAME}/digit.png?size=1"}]}
        )
        assert answer.status_code == 200, answer.text
        assert answer.json()["results"] == results
        assert "fetch;dur=" in answer.headers["server-timing"]
        scrape = (await client.get("/metrics")).text
    assert 'gateway_image_fetches_total{outcome="fetched"} 1.0' in scrape
    assert 'gateway_stage_seconds_count{route="/v1/classify",stage="fetch"} 1.0' in scrape
    assert here.wire.met == [PUBLIC]


async def test_in_a_batch_a_url_that_gives_nothing_goes_unanswered_alone(
    stack: RunningStack, digit: bytes, results: list[dict[str, Any]], tmp_path: Path
) -> None:
    async with scene(tmp_path) as here, fetching(stack, here) as client:
        here.host.pages |= {"/digit.png": page(digit), "/none.png": page(b"", "HTTP/1.1 404 Not Found")}
        urls = (f"https://{NAME}/digit.png", "https://127.0.0.1/", f"https://{NAME}/none.png")
        answer = await client.post("/v1/classify", json={"inputs": [{"url": url} for url in urls]})
    assert answer.status_code == 200
    first, second, third = answer.json()["results"]
    assert first == results[0]
    assert second["error"]["code"] == "url_not_allowed"
    assert third["error"]["code"] == "image_fetch_failed"


def test_a_gateway_without_allowed_hosts_refuses_every_url_alike(client: httpx.Client) -> None:
    """The process of the shared stack, as it is by default."""
    for url in (f"https://{NAME}/a.png", "https://127.0.0.1/", "http://localhost/", "", "x" * 2048):
        response = client.post("/v1/classify", json={"inputs": [{"url": url}]})
        assert_problem(response, 422, "url_not_allowed")
        own = {"request_id": response.headers["x-request-id"], "instance": "/v1/classify"}
        assert response.json() == REFUSAL | own


async def test_no_form_of_an_inner_address_or_of_another_url_is_connected_to(
    stack: RunningStack, digit: bytes, tmp_path: Path
) -> None:
    """Rows 101 to 109, straight: as the URL's own host, with either scheme, and with the port."""
    assert len(HOSTS) > 30
    urls = [*REFUSED, *(f"{scheme}://{host}/" for host in HOSTS for scheme in ("https", "http"))]
    urls += [f"https://{host}:443/latest/meta-data/" for host in HOSTS]
    async with scene(tmp_path) as here, fetching(stack, here) as client:
        assert await unlike(client, digit, urls, REFUSAL) == {}
    assert here.names.asked == here.wire.met == []
    assert here.inside.connections == 0


async def test_a_redirect_to_an_inner_address_is_not_followed(
    stack: RunningStack, digit: bytes, tmp_path: Path
) -> None:
    """Row 110: to each of the forms, to itself, and over four hops."""
    targets = [f"https://{host}/" for host in HOSTS if host.isascii()]
    targets += ["http://127.0.0.1/", f"https://{NAME}/0", "/0", "//127.0.0.1/", "https://redis:6379/"]
    targets += [f"https://{NAME}/hop1"]
    async with scene(tmp_path) as here, fetching(stack, here) as client:
        here.host.pages |= {f"/{place}": redirect(target) for place, target in enumerate(targets)}
        here.host.pages |= {f"/hop{hop}": redirect(f"https://{NAME}/hop{hop + 1}") for hop in range(1, 5)}
        urls = [f"https://{NAME}/{place}" for place in range(len(targets))]
        assert await unlike(client, digit, urls, REFUSAL) == {}
    assert here.wire.met == [PUBLIC] * (len(targets) + 1)
    assert len(here.host.heads) == len(targets) + 1
    assert here.inside.connections == 0


async def test_an_allowed_name_with_an_inner_address_is_not_connected_to(
    stack: RunningStack, digit: bytes, tmp_path: Path
) -> None:
    """Rows 101 to 106, by name: one address that is not on the internet among a name's refuses the name."""
    names = dict(bad_answers())
    answers = {name: [addresses] for name, addresses in names.items()}
    async with scene(tmp_path, answers) as here, fetching(stack, here, *names) as client:
        assert await unlike(client, digit, [f"https://{name}/" for name in names], REFUSAL) == {}
    assert set(here.names.asked) == set(names)
    assert here.wire.met == []
    assert here.inside.connections == 0


async def test_a_name_that_turns_inside_after_it_was_checked_is_not_followed_there(
    stack: RunningStack, digit: bytes, tmp_path: Path
) -> None:
    """Row 111: the first answer is on the internet, and what a second look-up would get, is not."""
    names = {f"n{place}.example": text for place, text in enumerate(NOT_PUBLIC)}
    answers = {name: [[PUBLIC], [text]] for name, text in names.items()}
    urls = [f"https://{name}/" for name in names]
    async with scene(tmp_path, answers) as here, fetching(stack, here, *names) as client:
        # The host's certificate is for another name, so that nothing comes of what was allowed.
        assert await unlike(client, digit, urls, FAILURE) == {}
        assert sorted(here.names.asked) == sorted([*names, list(names)[-1]])
        assert await unlike(client, digit, urls, REFUSAL) == {}
    assert here.wire.met == [PUBLIC] * len(names)
    assert here.inside.connections == 0


async def test_a_name_that_turns_inside_still_gives_what_the_checked_address_has(
    stack: RunningStack, digit: bytes, results: list[dict[str, Any]], tmp_path: Path
) -> None:
    async with scene(tmp_path, {NAME: [[PUBLIC], ["127.0.0.1"]]}) as here, fetching(stack, here) as client:
        here.host.pages["/digit.png"] = page(digit)
        status, body = await ask(client, f"https://{NAME}/digit.png")
        assert (status, body["results"]) == (200, results)
        assert await ask(client, f"https://{NAME}/digit.png") == (422, REFUSAL)
    assert here.wire.met == [PUBLIC]
    assert here.inside.connections == 0


async def test_the_listener_would_have_seen_a_connection(tmp_path: Path) -> None:
    """What the other tests rest on: the wire alone, without the checks, does lead inside."""
    async with scene(tmp_path) as here:
        with pytest.raises(httpx.TransportError):
            await here.wire.handle_async_request(httpx.Request("GET", "https://127.0.0.1/"))
    assert here.inside.connections == 1
