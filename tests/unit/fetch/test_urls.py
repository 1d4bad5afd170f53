"""The one form of a URL that is fetched."""

import pytest
from support.hostile_urls import HOSTS, REFUSED

from gateway.fetch import is_host
from gateway.fetch.urls import host_of

LISTED = frozenset({"images.example", "xn--bcher-kva.example"})


@pytest.mark.parametrize(
    "url",
    [
        "https://images.example",
        "https://images.example/",
        "https://images.example:443/a/b.jpg",
        "HTTPS://Images.Example/a.png?size=2&sig=a%2Fb%3D",
        "https://images.example/a/../b;v=1/(x)!*'$&+,:@",
    ],
)
def test_https_on_a_listed_host_may_be_fetched(url: str) -> None:
    assert host_of(url, LISTED) == "images.example"


def test_a_name_of_another_script_is_listed_as_the_dns_has_it() -> None:
    assert host_of("https://xn--bcher-kva.example/1", LISTED) == "xn--bcher-kva.example"
    assert host_of("https://bücher.example/1", LISTED) is None


@pytest.mark.parametrize("url", REFUSED)
def test_nothing_else_may_be_fetched(url: str) -> None:
    assert host_of(url, LISTED) is None


@pytest.mark.parametrize("host", HOSTS)
def test_no_form_of_an_address_may_be_fetched(host: str) -> None:
    assert host_of(f"https://{host}/", LISTED) is None


def test_a_list_that_holds_an_address_all_the_same_does_not_open_it() -> None:
    assert host_of("https://127.0.0.1/", {"127.0.0.1"}) is None
    assert host_of("https://localhost/", {"localhost"}) is None


@pytest.mark.parametrize("name", ["images.example", "a.b-c.xn--p1ai", "1.example"])
def test_full_names_can_be_listed(name: str) -> None:
    assert is_host(name)


@pytest.mark.parametrize(
    "name",
    [
        *(
            "localhost",
            "127.0.0.1",
            "0x7f.1",
            "*.example",
            ".example",
            "images.example.",
            "-a.example",
            "a-.example",
        ),
        *(
            "a..example",
            "bücher.example",
            "images.example:443",
            "https://images.example",
            "",
            "images.example\n",
        ),
        f"{'a' * 64}.example",
        f"{'a.' * 126}example",
    ],
)
def test_nothing_else_can_be_listed(name: str) -> None:
    assert not is_host(name)
