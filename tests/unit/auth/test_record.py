"""What the gateway knows of a key: which secrets hold, how states are ordered, and its document."""

import json
from dataclasses import replace

import pytest
from unit.auth.workshop import HASHER, NOW, api_key, grant

from gateway.auth import Grant
from gateway.auth.record import BrokenRecord, accepts, from_document, to_document
from gateway.domain import Priority, Quota
from gateway.errors import ValidationFailed


def test_a_secret_holds_until_its_key_is_revoked_or_expires() -> None:
    text, record = api_key(expires_at=NOW + 10)
    digest = HASHER.digest(text)
    assert accepts(record, digest, NOW)
    assert not accepts(record, digest, NOW + 10)
    assert not accepts(record.revoked(NOW), digest, NOW)
    assert not accepts(record, HASHER.digest("other"), NOW)
    assert not accepts(None, digest, NOW)


def test_after_a_rotation_both_secrets_hold_for_the_overlap() -> None:
    text, record = api_key()
    old, new = HASHER.digest(text), HASHER.digest("new")
    rotated = record.rotated(new, NOW, 60)
    assert accepts(rotated, new, NOW)
    assert accepts(rotated, old, NOW + 59.9)
    assert not accepts(rotated, old, NOW + 60)
    assert accepts(rotated, new, NOW + 60)


def test_a_second_rotation_ends_the_oldest_secret_at_once() -> None:
    text, record = api_key()
    twice = record.rotated(HASHER.digest("b"), NOW, 60).rotated(HASHER.digest("c"), NOW, 60)
    assert not accepts(twice, HASHER.digest(text), NOW)
    assert accepts(twice, HASHER.digest("b"), NOW)
    assert accepts(twice, HASHER.digest("c"), NOW)


def test_without_an_overlap_the_old_secret_ends_at_once() -> None:
    text, record = api_key()
    assert not accepts(record.rotated(HASHER.digest("b"), NOW, 0), HASHER.digest(text), NOW)


def test_revoking_again_changes_nothing() -> None:
    _, record = api_key()
    revoked = record.revoked(NOW)
    assert revoked.revoked(NOW + 5) is revoked


def test_revoked_beats_everything_and_then_the_later_change_wins() -> None:
    _, record = api_key()
    rotated = record.rotated("b" * 64, NOW, 0)
    twice = rotated.rotated("c" * 64, NOW, 0)
    revoked = record.revoked(NOW)
    assert rotated.outranks(record)
    assert not record.outranks(rotated)
    assert not record.outranks(record)
    assert revoked.outranks(twice)
    assert not twice.outranks(revoked)


def test_a_document_is_read_back_whole() -> None:
    _, plain = api_key()
    _, full = api_key(
        models=frozenset({"pets"}),
        scopes=frozenset({"infer:pets", "pin-version"}),
        priority_ceiling=Priority.INTERACTIVE,
        quota=Quota(5, 1.0, 10),
        expires_at=NOW + 1,
    )
    for record in (plain, full, full.rotated("b" * 64, NOW, 60), full.revoked(NOW)):
        assert from_document(to_document(record)) == record


def test_fields_of_a_newer_gateway_are_passed_over() -> None:
    _, record = api_key()
    assert from_document(json.dumps({**json.loads(to_document(record)), "color": "red"})) == record


@pytest.mark.parametrize(
    "document",
    ["", "{", "[]", "null", "{}", '{"id": "a"}', "\x00\xff", '{"hash": "secretsecret"}'],
)
def test_a_document_that_is_no_key_is_refused_and_not_repeated(document: str) -> None:
    with pytest.raises(BrokenRecord) as refused:
        from_document(document)
    assert "secretsecret" not in str(refused.value)


def test_a_hash_that_is_none_makes_the_document_unreadable() -> None:
    _, record = api_key()
    with pytest.raises(BrokenRecord, match="hash"):
        from_document(to_document(replace(record, hash="\u00e9" * 64)))


@pytest.mark.parametrize(
    ("wrong", "pointer"),
    [
        (grant(tenant=""), "/tenant"),
        (grant(tenant="a b"), "/tenant"),
        (grant(tenant="a" * 65), "/tenant"),
        (grant(tenant="{acme}"), "/tenant"),
        (grant(scopes=frozenset()), "/scopes"),
        (grant(scopes=frozenset({"infer", "admin:*"})), "/scopes"),
        (grant(models=frozenset()), "/models"),
        (grant(models=frozenset({"a/b"})), "/models"),
        (grant(quota=Quota(0, 1.0, 1)), "/rate_limit"),
        (grant(quota=Quota(1, 0.0, 1)), "/rate_limit"),
        (grant(quota=Quota(1, float("nan"), 1)), "/rate_limit"),
        (grant(expires_at=NOW), "/expires_at"),
        (grant(expires_at=float("nan")), "/expires_at"),
        (grant(expires_at=float("inf")), "/expires_at"),
        (grant(expires_at=253_402_300_800), "/expires_at"),  # the year 10000
    ],
)
def test_a_grant_that_cannot_be_names_the_field(wrong: Grant, pointer: str) -> None:
    with pytest.raises(ValidationFailed) as refused:
        wrong.check(NOW)
    assert [error.pointer for error in refused.value.errors] == [pointer]


def test_all_wrong_fields_are_named_at_once() -> None:
    with pytest.raises(ValidationFailed) as refused:
        grant(tenant="", scopes=frozenset(), expires_at=0).check(NOW)
    assert [error.pointer for error in refused.value.errors] == ["/tenant", "/scopes", "/expires_at"]
