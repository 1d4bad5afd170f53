"""Requests with a secret in every field that a caller writes, each of its own, so that a leak names its field."""

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

from support.hostile import BOUNDARY, segment, tiff_block, with_segments

IMAGE_HOST = "images.example"
"""A host that the gateway should be allowed to ask for images; nobody has this name."""

_CREDENTIALS = ("authorization", "x-api-key", "cookie")
_HEADERS = (
    *("user-agent", "referer", "origin", "accept", "accept-language", "cookie", "tracestate", "baggage"),
    *("traceparent", "x-request-id", "x-forwarded-for", "forwarded", "via", "priority", "x-request-timeout"),
    *("x-model-version", "content-encoding", "content-language", "sec-websocket-protocol", "x-anything"),
)


def secret(place: str) -> str:
    """What is planted there: of letters and digits, so that it stays whole wherever it goes."""
    return f"hush{place.replace('-', '')}hush"


@dataclass(frozen=True)
class Planted:
    """`key` says whether a good key is sent with it."""

    place: str
    method: str = "POST"
    path: str = "/v1/classify"
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    key: bool = True


def everywhere(jpeg: bytes) -> Iterator[Planted]:
    """In a request with this sound image, or about it."""
    yield from _in_headers(jpeg)
    yield from _in_addresses(jpeg)
    yield from _in_bodies(jpeg)
    yield from _in_urls()


def _in_headers(jpeg: bytes) -> Iterator[Planted]:
    image = {"content-type": "image/jpeg"}
    for name in _HEADERS:
        value = (
            f"{secret(name)}." if name == "x-request-id" else secret(name)
        )  # well-formed ids are for the log
        yield Planted(name, body=jpeg, headers={**image, name: value})
    yield Planted(
        "tracestate",
        body=jpeg,
        headers={
            **image,
            "traceparent": f"00-{0xABC:032x}-{1:016x}-01",
            "tracestate": f"vendor={secret('tracestate')}",
        },
    )
    for name in _CREDENTIALS:
        for form in (
            "{}",
            "Bearer {}",
            "Basic {}",
            "Bearer gw_dev_{}_{}",
            "gw_dev_{}_{}",
            "__Host-console={}",
        ):
            value = form.format(secret(name), secret(name))
            yield Planted(name, body=jpeg, headers={**image, name: value}, key=False)
    yield Planted("jwt", body=jpeg, headers={**image, "authorization": f"Bearer {_token('jwt')}"}, key=False)
    yield Planted("content-type", body=jpeg, headers={"content-type": f"image/{secret('content-type')}"})


def _in_addresses(jpeg: bytes) -> Iterator[Planted]:
    image = {"content-type": "image/jpeg"}
    for name in ("model", "version", "top_k", "api_key", "access_token"):
        yield Planted("query", path=f"/v1/classify?{name}={secret('query')}", body=jpeg, headers=image)
    yield Planted("option", path=f"/v1/classify?{secret('option')}=1", body=jpeg, headers=image)
    yield Planted("query", "GET", path=f"/v1/detect/stream?key={secret('query')}")
    for path in ("/{}", "/v1/{}", "/v2/models/{}/infer", "/v2/models/digits_classifier/versions/{}/infer"):
        yield Planted("path", path=path.format(secret("path")), body=b"{}")
    for path in ("/problems/{}", "/assets/{}", "/admin/v1/keys/{}", "/v2/models/{}"):
        yield Planted("path", "GET", path.format(secret("path")))


def _in_bodies(jpeg: bytes) -> Iterator[Planted]:
    said = secret("json")
    for document in (
        {"inputs": [{"text": said}]},
        {"inputs": [{"text": said}], "model": "languages_bert"},
        {"inputs": [{"image": said}]},
        {"inputs": [{"url": f"https://example.org/{said}"}]},
        {"inputs": [{"text": "x"}], "model": said},
        {"inputs": [{"text": "x"}], "classes": [said]},
        {"inputs": [{"text": "x"}], said: 1},
        [said],
    ):
        yield _json("json", "/v1/classify", document)
    yield Planted("json", body=f'{{"{said}'.encode(), headers={"content-type": "application/json"})
    for tensor in (
        {"name": said, "datatype": "UINT8", "shape": [1], "data": [1]},
        {"name": "images", "datatype": said, "shape": [1], "data": [1]},
        {"name": "images", "datatype": "UINT8", "shape": [1, 1, 32, 32], "data": [said]},
    ):
        yield _json("json", "/v2/models/digits_classifier/infer", {"inputs": [tensor], "id": said})
    form = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}
    for line in (
        f'form-data; name="image"; filename="{secret("filename")}"',
        f'form-data; name="{secret("filename")}"',
        f"form-data; {secret('filename')}",
    ):
        yield Planted("filename", body=_form(line, jpeg), headers=form)
    text = secret("exif").encode() + b"\0"
    exif = tiff_block((0x010E, 2, len(text), (26).to_bytes(4, "little")), extra=text)
    image = {"content-type": "image/jpeg"}
    yield Planted("exif", body=with_segments(jpeg, segment(0xE1, exif), segment(0xFE, text)), headers=image)
    yield Planted("exif", body=with_segments(jpeg, segment(0xE1, exif))[:-200], headers=image)
    yield Planted("image", body=secret("image").encode() * 50, headers=image)


def _in_urls() -> Iterator[Planted]:
    """Of images: at a host that may be asked and is not there, and where nothing may be asked."""
    said = secret("url")
    for url in (
        f"https://{IMAGE_HOST}/{said}?sig={said}",
        f"https://{said}:{said}@{IMAGE_HOST}/x",
        f"https://{IMAGE_HOST}/x#{said}",
        f"https://{IMAGE_HOST}:8443/{said}",
        f"http://{IMAGE_HOST}/{said}",
        f"https://{said}.example/x",
        f"https://127.0.0.1/{said}",
        f"file:///{said}",
        said,
    ):
        yield _json("url", "/v1/detect", {"inputs": [{"url": url}]})


def on_the_wire() -> Mapping[str, bytes]:
    """Requests that are refused at the parser, by the place of the secret in them."""
    found = {}
    for place, request in {
        "wire-path": "GET /{} HTTP/1.1\r\n\r\n",
        "wire-query": "GET /livez?{} HTTP/1.1\r\n\r\n",
        "wire-long-path": "GET /{}{filler} HTTP/1.1\r\nHost: gateway\r\n\r\n",
        "wire-slashes": "GET //{} HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n",
        "wire-authority": "GET http://{}/ HTTP/1.1\r\nHost: gateway\r\n\r\n",
        "wire-method": "{} / HTTP/1.1\r\nHost: gateway\r\n\r\n",
        "wire-version": "GET / HTTP/{}\r\nHost: gateway\r\n\r\n",
        "wire-host": "GET / HTTP/1.1\r\nHost: {}@gateway\r\n\r\n",
        "wire-hosts": "GET / HTTP/1.1\r\nHost: {}\r\nHost: {}\r\n\r\n",
        "wire-key": "GET / HTTP/1.1\r\nX-API-Key: {}\r\nHost: a\r\nHost: b\r\n\r\n",
        "wire-long-header": "GET / HTTP/1.1\r\nHost: gateway\r\nX-Note: {}{filler}\r\n\r\n",
        "wire-header-name": "GET / HTTP/1.1\r\nHost: gateway\r\n{} : x\r\n\r\n",
        "wire-length": "POST / HTTP/1.1\r\nHost: gateway\r\nContent-Length: {}\r\n\r\n",
        "wire-coding": "POST / HTTP/1.1\r\nHost: gateway\r\nTransfer-Encoding: {}\r\n\r\n",
        "wire-chunk": "POST / HTTP/1.1\r\nHost: gateway\r\nTransfer-Encoding: chunked\r\n\r\n{}\r\n",
        "wire-no-http": "{}\r\n\r\n",
    }.items():
        found[place] = request.replace("{}", secret(place)).replace("{filler}", "x" * 40_000).encode()
    return found


def _json(place: str, path: str, document: object) -> Planted:
    return Planted(
        place, path=path, body=json.dumps(document).encode(), headers={"content-type": "application/json"}
    )


def _form(disposition: str, content: bytes) -> bytes:
    head = f"--{BOUNDARY}\r\nContent-Disposition: {disposition}\r\nContent-Type: image/jpeg\r\n\r\n"
    return head.encode() + content + f"\r\n--{BOUNDARY}--\r\n".encode()


def _token(place: str) -> str:
    """A JSON web token whose every part can be read by whoever decodes it."""
    parts = [
        {"alg": "RS256", "kid": secret(place)},
        {"sub": secret(place), "iss": f"https://{secret(place)}"},
    ]
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts]
    return ".".join([*encoded, quote(secret(place))])
