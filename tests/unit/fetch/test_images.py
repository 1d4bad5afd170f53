"""Fetching from a real TLS server on loopback: what comes back, and what is said where nothing does."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.image_host import NAME, PUBLIC, Scene, page, redirect, scene

from gateway.domain import ImageUrl
from gateway.errors import ImageFetchFailed, Overloaded, UrlNotAllowed
from gateway.fetch import ImageUrls

URL = f"https://{NAME}/a.png"


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Scene]:
    async with scene(tmp_path) as found:
        yield found


async def fetch(here: Scene, url: str = URL, hosts: tuple[str, ...] = (NAME,)) -> tuple[bytes, list[str]]:
    told: list[str] = []
    async with ImageUrls(hosts, here.outside, told.append) as urls:
        content = await urls.fetch(ImageUrl(url), lambda _: None)
    return content, told


async def test_an_image_comes_from_a_listed_host(here: Scene) -> None:
    here.host.pages["/a.png"] = page(b"bytes")
    assert await fetch(here) == (b"bytes", ["fetched"])
    assert here.wire.met == [PUBLIC]


async def test_the_host_learns_nothing_of_the_caller(here: Scene) -> None:
    here.host.pages["/a.png"] = page(b"bytes", "HTTP/1.1 200 OK", "Set-Cookie: seen=yes; Path=/")
    for _ in range(2):
        await fetch(here)
    for head in here.host.heads:
        names = sorted(line.split(":")[0].lower() for line in head.split("\r\n")[1:] if line)
        assert names == ["accept", "accept-encoding", "connection", "host", "user-agent"]
        assert f"host: {NAME}" in head.lower()
        assert "accept-encoding: identity" in head.lower()


async def test_each_fetch_has_a_connection_and_an_answer_of_the_dns_of_its_own(here: Scene) -> None:
    here.host.pages["/a.png"] = page(b"bytes")
    told: list[str] = []
    async with ImageUrls([NAME], here.outside, told.append) as urls:
        for _ in range(3):
            await urls.fetch(ImageUrl(URL), lambda _: None)
    assert here.names.asked == [NAME] * 3
    assert here.wire.met == [PUBLIC] * 3


async def test_without_hosts_nothing_is_fetched_and_nobody_asked(here: Scene) -> None:
    with pytest.raises(UrlNotAllowed):
        await fetch(here, hosts=())
    assert here.names.asked == here.wire.met == []


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308])
async def test_a_redirect_is_refused(here: Scene, status: int) -> None:
    here.host.pages["/a.png"] = page(b"", f"HTTP/1.1 {status} Elsewhere", f"Location: https://{NAME}/b.png")
    here.host.pages["/b.png"] = page(b"bytes")
    with pytest.raises(UrlNotAllowed):
        await fetch(here)
    assert len(here.host.heads) == 1


@pytest.mark.parametrize("status", [204, 206, 401, 403, 404, 500, 503])
async def test_what_is_not_200_is_no_image(here: Scene, status: int) -> None:
    here.host.pages["/a.png"] = page(b"", f"HTTP/1.1 {status} No")
    with pytest.raises(ImageFetchFailed):
        await fetch(here)


async def test_a_certificate_for_another_name_is_not_believed(tmp_path: Path) -> None:
    async with scene(tmp_path, {"other.example": [[PUBLIC]]}) as here:
        here.host.pages["/a.png"] = page(b"bytes")
        with pytest.raises(ImageFetchFailed):
            await fetch(here, "https://other.example/a.png", ("other.example",))
        assert here.wire.met == [PUBLIC]
        assert here.host.heads == []


async def test_each_piece_is_announced_before_it_is_kept(here: Scene) -> None:
    here.host.pages["/a.png"] = page(b"x" * 200_000)
    sizes: list[int] = []

    def hold(size: int) -> None:
        sizes.append(size)
        if sum(sizes) > 100_000:
            raise Overloaded("full")

    async with ImageUrls([NAME], here.outside, lambda _: None) as urls:
        with pytest.raises(Overloaded):
            await urls.fetch(ImageUrl(URL), hold)
    assert 100_000 < sum(sizes) < 200_000


async def test_all_refusals_and_all_failures_say_the_same(here: Scene) -> None:
    here.host.pages |= {"/a": redirect("https://127.0.0.1/"), "/b": page(b"", "HTTP/1.1 404 No")}
    here.host.pages["/c"] = page(b"x", "HTTP/1.1 200 OK", "Content-Encoding: gzip")
    said = []
    for url in (
        "http://x/",
        "https://other.example/",
        f"https://{NAME}/a",
        f"https://{NAME}/b",
        f"https://{NAME}/c",
    ):
        with pytest.raises((UrlNotAllowed, ImageFetchFailed)) as caught:
            await fetch(here, url)
        said.append((type(caught.value), str(caught.value), caught.value.internal))
    refused = (UrlNotAllowed, "This URL may not be fetched.", "")
    failed = (ImageFetchFailed, "The image could not be fetched.", "")
    assert said == [refused, refused, refused, failed, failed]
