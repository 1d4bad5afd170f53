"""A host of images with TLS on loopback, a DNS whose answers a test writes, and a wire from one to the other.

The gateway's own rules stay as they are: the names have public addresses, and only behind all checks does the wire
connect to this machine. Whatever address was not given a host leads to a listener that should never be met.
"""

import asyncio
import contextlib
import datetime
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gateway.fetch import Outside
from gateway.fetch.addresses import Address

NAME, PUBLIC = "images.example", "93.184.215.14"
Page = Callable[[asyncio.StreamWriter], Awaitable[None]]


def page(body: bytes, head: str = "HTTP/1.1 200 OK", *lines: str) -> Page:
    """A whole answer, with its length unless a line says another."""
    length = [] if any("length" in line.lower() for line in lines) else [f"Content-Length: {len(body)}"]

    async def write(writer: asyncio.StreamWriter) -> None:
        writer.write("\r\n".join([head, *length, *lines, "", ""]).encode() + body)
        await writer.drain()

    return write


def redirect(to: str) -> Page:
    return page(b"", "HTTP/1.1 302 Found", f"Location: {to}")


@dataclass
class ImageHost:
    """`pages` by path; `heads` are the requests as they came. `trusted` makes a client trust its certificate."""

    port: int
    trusted: ssl.SSLContext
    pages: dict[str, Page]
    heads: list[str] = field(default_factory=list)


@contextlib.asynccontextmanager
async def image_host(folder: Path, *names: str) -> AsyncIterator[ImageHost]:
    """`folder` is for its certificate, which is for these names."""
    files = _certificate(folder, names or (NAME,))
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(*files)
    host = ImageHost(0, ssl.create_default_context(cafile=files[0]), {})

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):  # whoever asked has left
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            host.heads.append(head)
            await host.pages[head.split()[1]](writer)
        writer.close()

    async with _listening(answer, served) as host.port:
        yield host


@dataclass
class Names:
    """A DNS. Of a name's answers each look-up gets the next one, and the last for ever; an error is raised."""

    answers: Mapping[str, Sequence[Sequence[str] | Exception | float]]
    asked: list[str] = field(default_factory=list)

    async def __call__(self, host: str) -> Sequence[Address]:
        rows = self.answers[host]
        answer = rows[min(self.asked.count(host), len(rows) - 1)]
        self.asked.append(host)
        if isinstance(answer, float):  # so many seconds of silence
            await asyncio.sleep(answer)
            raise OSError("timed out")
        if isinstance(answer, Exception):
            raise answer
        return [ip_address(text) for text in answer]


class Wire(httpx.AsyncBaseTransport):
    """Connects to the port of this machine that stands for the address of the request."""

    def __init__(self, ports: Mapping[str, int], otherwise: int, trusted: ssl.SSLContext) -> None:
        self._ports = ports
        self._otherwise = otherwise
        self._real = httpx.AsyncHTTPTransport(verify=trusted, trust_env=False)
        self.met: list[str] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        address = request.url.host
        assert (request.url.scheme, request.url.port) == ("https", None)
        self.met.append(address)
        place = request.url.copy_with(host="127.0.0.1", port=self._ports.get(address, self._otherwise))
        return await self._real.handle_async_request(
            httpx.Request(request.method, place, headers=request.headers, extensions=request.extensions)
        )

    async def aclose(self) -> None:
        await self._real.aclose()


@dataclass
class Inside:
    """What stands for everything that must not be reached; `connections` counts who came."""

    port: int = 0
    connections: int = 0


@contextlib.asynccontextmanager
async def inside() -> AsyncIterator[Inside]:
    """A listener on 127.0.0.1."""
    listener = Inside()

    async def count(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        listener.connections += 1
        writer.close()

    async with _listening(count, None) as listener.port:
        yield listener


@dataclass
class Scene:
    """An image host, a DNS, and what must not be reached."""

    host: ImageHost
    names: Names
    inside: Inside
    wire: Wire

    @property
    def outside(self) -> Outside:
        return Outside(self.names, lambda: self.wire)


@contextlib.asynccontextmanager
async def scene(
    folder: Path, answers: Mapping[str, Sequence[Sequence[str] | Exception | float]] | None = None
) -> AsyncIterator[Scene]:
    """`images.example` at its public address, unless the DNS says otherwise."""
    async with image_host(folder) as host, inside() as listener:
        names = Names(answers or {NAME: [[PUBLIC]]})
        yield Scene(host, names, listener, Wire({PUBLIC: host.port}, listener.port, host.trusted))


@contextlib.asynccontextmanager
async def _listening(
    answer: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
    tls: ssl.SSLContext | None,
) -> AsyncIterator[int]:
    """The port. Whoever is still being answered at the end is cut off."""
    running: set[asyncio.Task[None]] = set()

    async def begun(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        running.add(task)
        try:
            await answer(reader, writer)
        except asyncio.CancelledError:
            writer.transport.abort()
        finally:
            running.discard(task)

    server = await asyncio.start_server(begun, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def _certificate(folder: Path, names: Sequence[str]) -> tuple[Path, Path]:
    """The files of a certificate that signs itself, and of its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
        .sign(key, hashes.SHA256())
    )
    files = folder / "certificate.pem", folder / "key.pem"
    files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return files
