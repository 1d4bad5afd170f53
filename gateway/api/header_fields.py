"""The headers of requests and answers in the API's description: each is described once, here.

Routes say by `opt={"reads": …}` which headers they read, and by `opt={"tells": …}` which good answers carry, beside
those that all routes read and all answers carry.
"""

from collections.abc import Iterable, Mapping

from litestar.openapi.spec import OpenAPIHeader, Parameter, Schema
from litestar.openapi.spec.enums import OpenAPIType

from gateway.api.compression import CODINGS
from gateway.canary import Preference
from gateway.domain import Variant
from gateway.schemas import VERSION_PATTERN

REQUEST_ID = "[A-Za-z0-9_-]{1,64}"
GENERATION = r'(?:W/)?"([0-9]{1,18})"'
"""Of a route, as its ETag tells it."""

_TEXT, _NUMBER = OpenAPIType.STRING, OpenAPIType.INTEGER
_TRACE = Schema(
    type=_TEXT,
    pattern="^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}",
    examples=["00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"],
)
_REQUEST_ID = Schema(type=_TEXT, pattern=f"^{REQUEST_ID}$")
_VERSION = Schema(type=_TEXT, pattern=VERSION_PATTERN, examples=["2"])
_MIXED_LENGTH = Schema(type=_NUMBER, minimum=0, maximum=99_999_999_999)

ALWAYS_READ = ("X-Request-Id", "traceparent")
CALL = ("Priority", "X-Request-Timeout", "X-Model-Version", "X-Canary")
PACKED_CALL = (*CALL, "Content-Encoding")
TENSOR_CALL = (*PACKED_CALL, "Inference-Header-Content-Length", "Accept-Encoding")
IF_MATCH = ("If-Match",)
MAY_MATCH = ("If-Match-Optional",)

ALWAYS_TOLD = ("X-Request-Id", "traceparent", "Cache-Control")
TOLD_TO_CALLERS = ("RateLimit", "RateLimit-Policy", "Server-Timing")
SERVED = ("Priority", "X-Model-Version", "X-Model-Variant", "Deprecation", "Sunset")
TENSORS = (*SERVED, "Inference-Header-Content-Length", "Content-Encoding", "Vary")
ETAG = ("ETag",)
SESSION = ("Set-Cookie",)


def _parameter(name: str, description: str, schema: Schema, *, required: bool = False) -> Parameter:
    return Parameter(name=name, param_in="header", description=description, schema=schema, required=required)


_READ = (
    _parameter(
        "X-Request-Id",
        "Your id of the request, which answers, problems and logs repeat; without one, or with any other text, the "
        "gateway draws one.",
        _REQUEST_ID,
    ),
    _parameter(
        "traceparent",
        "The trace that the request belongs to (W3C Trace Context), which goes on where the gateway sends traces.",
        _TRACE,
    ),
    _parameter(
        "Priority",
        "How urgent the request is (RFC 9218): `u=0` to `u=2` is interactive, 3 and 4 standard, 5 to 7 batch, never "
        "above the key's ceiling; what cannot be read counts as absent.",
        Schema(type=_TEXT, max_length=256, examples=["u=1"]),
    ),
    _parameter(
        "X-Request-Timeout",
        "The milliseconds that the answer may take, after which it is a 504; more than the gateway's own bound is its "
        "bound.",
        Schema(type=_NUMBER, minimum=1, maximum=10**16 - 1, examples=[2000]),
    ),
    _parameter(
        "X-Model-Version",
        "The one version of the model that may answer, which needs the scope `pin-version`.",
        _VERSION,
    ),
    _parameter(
        "X-Canary",
        "Whether the canary of a rollout answers, or the stable version, which needs the scope `pin-version`.",
        Schema(type=_TEXT, enum=[choice.value for choice in Preference]),
    ),
    _parameter(
        "Content-Encoding",
        "How the body is compressed.",
        Schema(type=_TEXT, enum=["identity", *CODINGS]),
    ),
    _parameter(
        "Accept-Encoding",
        f"Compressions of the answer that you take (RFC 9110); of these the gateway knows {' and '.join(CODINGS)}.",
        Schema(type=_TEXT, examples=["gzip"]),
    ),
    _parameter(
        "Inference-Header-Content-Length",
        "How many bytes of the body are JSON, before any compression; the rest is binary tensor data. With 0 all of it "
        "is.",
        _MIXED_LENGTH,
    ),
    _parameter(
        "If-Match",
        "The ETag of what this changes, as a GET answers it.",
        Schema(type=_TEXT, pattern=f"^{GENERATION}$", examples=['"8"']),
        required=True,
    ),
)
PARAMETERS: Mapping[str, Parameter] = {
    **{parameter.name: parameter for parameter in _READ},
    "If-Match-Optional": _parameter(
        "If-Match",
        "The ETag of what this changes, as a GET answers it; without it, or with `*`, whatever is there is changed.",
        Schema(type=_TEXT, pattern=rf"^(\*|{GENERATION})$", examples=['"8"']),
    ),
}
"""Of requests, by the names that routes read them by."""


def _header(description: str, schema: Schema | None = None) -> OpenAPIHeader:
    return OpenAPIHeader(description=description, schema=schema or Schema(type=_TEXT))


HEADERS: Mapping[str, OpenAPIHeader] = {
    "X-Request-Id": _header("The request's id: yours, or the one that the gateway drew.", _REQUEST_ID),
    "traceparent": _header("The request's span (W3C Trace Context), where it is traced.", _TRACE),
    "RateLimit": _header(
        'What is left of the quota that is nearest to its end, and the seconds until it is whole: `"key";r=50;t=30`.'
    ),
    "RateLimit-Policy": _header('Every quota that applies to you: `"key";q=100;w=60`.'),
    "Retry-After": _header("The seconds after which to try again.", Schema(type=_NUMBER, minimum=1)),
    "Server-Timing": _header("The milliseconds that each stage took, and all of them."),
    "WWW-Authenticate": _header("The scheme by which to send a key or a token: Bearer."),
    "Priority": _header(
        "The class that was applied to a call of a model: `u=1` interactive, `u=3` standard, `u=5` batch.",
        Schema(type=_TEXT, enum=["u=1", "u=3", "u=5"]),
    ),
    "X-Model-Version": _header("The version that answered.", _VERSION),
    "X-Model-Variant": _header(
        "Why this version answered.",
        Schema(type=_TEXT, enum=[variant.value for variant in Variant if variant is not Variant.SHADOW]),
    ),
    "Deprecation": _header(
        "When the version that answered was deprecated (RFC 9745), if it was: `@1767225600`."
    ),
    "Sunset": _header("When the version that answered will be gone (RFC 8594), if it will."),
    "Inference-Header-Content-Length": _header(
        "How many bytes of the answer are JSON, before any compression, where tensors follow them.",
        _MIXED_LENGTH,
    ),
    "Content-Encoding": _header(
        "How the answer is compressed, if it is.", Schema(type=_TEXT, enum=[*CODINGS])
    ),
    "Vary": _header("The header of the request that the answer depends on."),
    "Cache-Control": _header("`no-store`: the answer is not to be kept."),
    "Set-Cookie": _header("The cookie of the console's session, or its end."),
    "ETag": _header(
        "The generation of what is shown, to be sent back as If-Match.",
        Schema(type=_TEXT, pattern=r'^"[0-9]{1,18}"$'),
    ),
}
"""Of answers, by their names."""


def parameter_refs(names: Iterable[str]) -> list[dict[str, str]]:
    """Headers of requests, as an operation refers to them."""
    return [{"$ref": f"#/components/parameters/{name}"} for name in names]


def header_refs(names: Iterable[str]) -> dict[str, dict[str, str]]:
    """Headers of answers, as an answer refers to them."""
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}
