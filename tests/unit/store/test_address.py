"""Where Redis is, as its URL says it."""

import pytest

from gateway.store.address import Kind, parse


@pytest.mark.parametrize(
    ("url", "kind", "nodes", "primary", "options"),
    [
        ("redis://store", Kind.SERVER, [("store", 6379)], "", {}),
        ("redis://store:7000/2", Kind.SERVER, [("store", 7000)], "", {"db": 2}),
        (
            "redis://ann:a%40b@store/0",
            Kind.SERVER,
            [("store", 6379)],
            "",
            {"username": "ann", "password": "a@b", "db": 0},
        ),
        (
            "redis+cluster://ann:word@a:7000,b,[::1]:7002/",
            Kind.CLUSTER,
            [("a", 7000), ("b", 6379), ("::1", 7002)],
            "",
            {"username": "ann", "password": "word"},
        ),
        (
            "redis+sentinel://:word@s1,s2:26380/mymaster/3",
            Kind.SENTINEL,
            [("s1", 26379), ("s2", 26380)],
            "mymaster",
            {"password": "word", "db": 3},
        ),
    ],
)
def test_an_address_is_read(
    url: str, kind: Kind, nodes: list[tuple[str, int]], primary: str, options: dict[str, object]
) -> None:
    found = parse(url)
    assert (found.kind, list(found.nodes), found.primary) == (kind, nodes, primary)
    assert found.options == options
    assert not found.secure
    secure = parse(url.replace("redis", "rediss", 1))
    assert secure.secure
    assert secure.options == options


def test_sentinels_have_credentials_of_their_own() -> None:
    found = parse("rediss+sentinel://a/m?ssl_ca_certs=/ca.pem&sentinel_username=ann&sentinel_password=word")
    assert found.options == {"ssl_ca_certs": "/ca.pem"}
    assert found.sentinel_options == {"username": "ann", "password": "word"}


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("http://:word@a", "begins with"),
        ("redis+ring://:word@a", "begins with"),
        ("unix:///word", "begins with"),
        ("redis://:word@", "hosts"),
        ("redis://:word@a:many", "hosts"),
        ("redis://:word@a:70000", "hosts"),
        ("redis://:word@a,b", "several hosts"),
        ("redis://:word@a/first", "a number"),
        ("redis+cluster://:word@a,,b", "hosts"),
        ("redis+cluster://:word@a/1", "database 0"),
        ("redis+sentinel://:word@a", "name"),
        ("redis+cluster://:word@a?sentinel_password=word", "sentinels"),
    ],
)
def test_what_is_no_address_is_told_without_its_password(url: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence) as refused:
        parse(url)
    assert "word" not in str(refused.value)
