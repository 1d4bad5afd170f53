"""The text of a key: what is made, and that nothing else passes for one."""

import re
import string

import pytest
from unit.auth.workshop import HASHER

from gateway.auth import KeyHasher
from gateway.auth.keys import generate, is_id, new_id, parse
from gateway.errors import InvalidKey

KEY = generate("live", "a1B2c3D4")


def test_a_key_has_the_shape_that_leak_scanners_look_for() -> None:
    assert re.fullmatch(r"gw_live_a1B2c3D4_[0-9A-Za-z]{38}", KEY)


def test_a_key_is_read_back() -> None:
    assert parse(KEY).id == "a1B2c3D4"
    assert parse(KEY).text == KEY


def test_no_two_keys_are_alike() -> None:
    assert len({generate("live", "a1B2c3D4") for _ in range(1000)}) == 1000
    assert len({new_id() for _ in range(1000)}) == 1000
    assert all(is_id(new_id()) for _ in range(100))


def test_every_single_typo_is_refused_without_a_lookup() -> None:
    for place in range(len("gw_live_"), len(KEY)):
        for character in string.ascii_letters + string.digits:
            if character != KEY[place]:
                with pytest.raises(InvalidKey):
                    parse(KEY[:place] + character + KEY[place + 1 :])


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="nothing"),
        pytest.param("gw_", id="the prefix alone"),
        pytest.param(KEY[:-1], id="one character short"),
        pytest.param(KEY + "0", id="one character long"),
        pytest.param(KEY + " ", id="a space behind"),
        pytest.param(KEY + "\n", id="a newline behind"),
        pytest.param(KEY + "\r\n", id="a line break behind"),
        pytest.param(" " + KEY, id="a space before"),
        pytest.param(KEY.replace("gw_", "GW_"), id="another prefix"),
        pytest.param(KEY.replace("live", "test"), id="another environment under the same checksum"),
        pytest.param(KEY.replace("live", "LIVE"), id="an environment in capitals"),
        pytest.param(KEY.replace("a1B2c3D4", "a1B2c3D5"), id="another id under the same checksum"),
        pytest.param(KEY[:-6] + "000000", id="a wrong checksum"),
        pytest.param(KEY[:-1] + "\N{FULLWIDTH DIGIT ONE}", id="a digit that is not ASCII"),
        pytest.param("gw_live_a1B2c3D4_" + "\x00" * 38, id="zero bytes"),
        pytest.param("gw_" + "a" * 100_000, id="far too long"),
    ],
)
def test_what_is_not_a_key_is_refused_with_the_one_answer(text: str) -> None:
    with pytest.raises(InvalidKey) as refused:
        parse(text)
    assert str(refused.value) == "The API key is not valid."


@pytest.mark.parametrize("environment", ["", "Live", "li_ve", "a" * 17, "liv\u00e9"])
def test_an_environment_is_a_short_word(environment: str) -> None:
    with pytest.raises(ValueError, match="environment"):
        generate(environment, "a1B2c3D4")


def test_the_hash_depends_on_the_pepper_and_covers_every_character() -> None:
    assert HASHER.digest(KEY) == HASHER.digest(KEY)
    assert HASHER.digest(KEY) != KeyHasher(b"q" * 32).digest(KEY)
    assert HASHER.digest(KEY) != HASHER.digest(KEY.replace("live", "test"))
    assert len(HASHER.digest(KEY)) == 64


def test_a_short_pepper_is_refused_without_being_shown() -> None:
    with pytest.raises(ValueError, match="31 bytes, it needs 32") as refused:
        KeyHasher(b"0123456789012345678901234567890")
    assert "0123" not in str(refused.value)
