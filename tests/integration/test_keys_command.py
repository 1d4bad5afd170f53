"""`gateway keys` as an operator types it, on a real Redis."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from stack import Addresses, create_key, free_addresses, store_environment
from support.redis_server import serving

from gateway.auth.store import KEYS


@pytest.fixture(scope="module")
def at() -> Iterator[Addresses]:
    with serving(free_addresses()) as server:
        create_key(server.at, "shop", "infer", "pin-version")
        yield server.at


def keys(at: Addresses, *words: str, stdout: str | None = None) -> "subprocess.CompletedProcess[str]":
    with Path(stdout or os.devnull).open("w") as sink:
        return subprocess.run(
            [sys.executable, "-P", "-m", "gateway", "keys", *words],
            env={**os.environ, **store_environment(at)},
            stdout=sink if stdout else subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=60,
        )


def test_the_list_says_of_each_key_when_it_was_made_and_until_when_it_holds(at: Addresses) -> None:
    head, _, row, *rest = keys(at, "list").stdout.splitlines()
    assert head.split() == [
        "id",
        "state",
        "tenant",
        "tier",
        "scopes",
        "models",
        "made",
        "(UTC)",
        "expires",
        "(UTC)",
    ]
    assert "infer pin-version" in row
    assert row.rstrip().endswith("never")
    assert rest == []


def test_for_machines_it_is_what_the_administration_says(at: Addresses) -> None:
    listed = json.loads(keys(at, "list", "--json").stdout)
    (key,) = listed["keys"]
    assert listed["unreadable"] == []
    assert (key["state"], key["tenant"], key["expires_at"]) == ("active", "shop", None)
    assert key["created_at"].startswith("20")
    assert "hash" not in key


def test_a_key_that_cannot_be_read_is_listed_and_can_only_be_revoked() -> None:
    with serving(free_addresses()) as server:
        key_id = create_key(server.at, "shop", "infer").split("_")[2]
        admin = server.admin()
        admin.hset(KEYS, key_id, admin.hget(KEYS, key_id)[:40])
        assert keys(server.at, "list").stdout.splitlines()[2].split() == [key_id, "unreadable"]
        assert json.loads(keys(server.at, "list", "--json").stdout) == {"keys": [], "unreadable": [key_id]}
        refused = keys(server.at, "rotate", key_id)
        assert refused.returncode == 1
        assert "it can only be revoked" in refused.stderr
        assert keys(server.at, "revoke", key_id).stdout == f"{key_id} is revoked\n"
        assert keys(server.at, "list").stdout.splitlines()[2].split()[:2] == [key_id, "revoked"]


@pytest.mark.parametrize(
    "words",
    [
        ["create", "--tenant", "shop", "--days", str(10**400)],
        ["create", "--tenant", "shop", "--rate", "5/nan"],
        ["rotate", "abcdefgh", "--overlap", "nan"],
    ],
    ids=["a life too long to count", "a period that is no number", "an overlap that is none"],
)
def test_a_number_that_cannot_be_is_refused_in_a_sentence(at: Addresses, words: list[str]) -> None:
    refused = keys(at, *words)
    assert refused.returncode in (1, 2)
    assert "Error: " in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.parametrize("words", [["list"], ["list", "--json"]])
def test_an_output_that_cannot_be_written_is_told_in_one_line(at: Addresses, words: list[str]) -> None:
    told = keys(at, *words, stdout="/dev/full")
    assert (told.returncode, told.stderr) == (
        1,
        "Error: the output cannot be written: No space left on device\n",
    )


@pytest.mark.parametrize("quiet", [[], ["--quiet"]])
def test_a_change_whose_secret_cannot_be_shown_is_told_with_what_to_do(
    at: Addresses, quiet: list[str]
) -> None:
    def told_of(*words: str) -> str:
        told = keys(at, *words, *quiet, stdout="/dev/full")
        assert told.returncode == 1
        begin, _, rest = told.stderr.partition("; key ")
        assert begin == "Error: the output cannot be written: No space left on device"
        name, _, what = rest.partition(" ")
        assert what == f"has a new secret all the same, which is lost: rotate {name}, or revoke it\n"
        return name

    made = told_of("create", "--tenant", "lost")
    assert told_of("rotate", made, "--overlap", "0") == made
    assert keys(at, "revoke", made, stdout="/dev/full").stderr.endswith(f"; {made} is revoked all the same\n")
    listed = json.loads(keys(at, "list", "--json").stdout)["keys"]
    assert [key["state"] for key in listed if key["id"] == made] == ["revoked"]
