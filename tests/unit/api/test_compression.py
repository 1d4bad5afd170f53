"""Which coding an answer gets, and how far a body may unpack."""

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.api.compression import CODINGS, Accepted, accepted, deflate, inflate
from gateway.errors import BodyTooLarge, ValidationFailed


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("", None),
        ("identity", None),
        ("br, zstd", None),
        ("gzip;q=0", None),
        ("gzip; q=nonsense", None),
        ("gzip", Accepted("gzip", asked=True)),
        ("GZIP", Accepted("gzip", asked=True)),
        ("deflate, identity;q=0.5", Accepted("deflate", asked=True)),
        ("gzip, deflate, br", Accepted("gzip", asked=False)),
        ("gzip;q=0.5, deflate;q=0.8", Accepted("deflate", asked=False)),
    ],
)
def test_what_a_caller_accepts(header: str, found: Accepted | None) -> None:
    assert accepted(header) == found


def test_compressing_pays_for_long_text_or_where_somebody_meant_it() -> None:
    assert Accepted("gzip", asked=True).pays(1, text=False)
    assert Accepted("gzip", asked=False).pays(2000, text=True)
    assert not Accepted("gzip", asked=False).pays(100, text=True)
    assert not Accepted("gzip", asked=False).pays(1_000_000, text=False)


@pytest.mark.parametrize("coding", CODINGS)
@given(st.lists(st.binary(), max_size=3))
def test_what_is_packed_unpacks_to_the_same(coding: str, parts: list[bytes]) -> None:
    whole = b"".join(parts)
    packed = deflate([memoryview(part) for part in parts], coding)
    assert inflate(packed, coding, len(whole)) == whole
    unpack = {"gzip": gzip.decompress, "deflate": zlib.decompress}[coding]
    assert unpack(packed) == whole


@pytest.mark.parametrize("coding", CODINGS)
def test_unpacking_stops_at_the_limit(coding: str) -> None:
    packed = deflate([bytes(1_000_000)], coding)
    assert len(inflate(packed, coding, 1_000_000)) == 1_000_000
    with pytest.raises(BodyTooLarge):
        inflate(packed, coding, 999_999)


@pytest.mark.parametrize("coding", CODINGS)
def test_half_a_stream_and_more_than_one_are_refused(coding: str) -> None:
    packed = deflate([b"some text"], coding)
    for wrong in (b"", packed[:-1], packed + b"x", packed + packed, b"plain text"):
        with pytest.raises(ValidationFailed):
            inflate(wrong, coding, 1000)
