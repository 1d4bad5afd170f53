"""A worker's copy of the keys: what it believes while the store changes, is away, or has forgotten."""

import asyncio
import json

import pytest
import structlog.testing
from unit.auth.workshop import NOW, Clock, Shelf, api_key

from gateway.auth import KeyRing
from gateway.auth.record import from_document, to_document
from gateway.auth.store import KeyStoreAway
from gateway.errors import Overloaded
from gateway.store import Position


def ring_of(shelf: Shelf, clock: Clock | None = None, grace: float = 3600) -> KeyRing:
    return KeyRing(shelf, clock=clock or Clock(), grace=grace)


async def test_keys_are_found_once_the_store_was_read() -> None:
    _, record = api_key()
    shelf = Shelf()
    shelf.put(record)
    ring = ring_of(shelf)
    with pytest.raises(Overloaded):
        ring.find(record.id)
    await ring.refresh()
    assert ring.find(record.id) == record
    assert ring.find("nobody00") is None
    assert ring.status().fresh
    assert ring.status().keys == 1


async def test_an_empty_store_is_a_good_one() -> None:
    ring = ring_of(Shelf())
    await ring.refresh()
    assert ring.find("nobody00") is None
    assert ring.status().usable


async def test_a_store_that_did_not_change_is_not_read_again() -> None:
    shelf = Shelf()
    shelf.put(api_key()[1])
    ring = ring_of(shelf)
    for _ in range(5):
        await ring.refresh()
    assert shelf.reads == 1


async def test_the_last_good_set_holds_for_the_grace_and_then_no_key_is_accepted() -> None:
    _, record = api_key()
    shelf, clock = Shelf(), Clock()
    shelf.put(record)
    ring = ring_of(shelf, clock, grace=100)
    await ring.refresh()
    shelf.away = True
    clock.now += 100
    with pytest.raises(KeyStoreAway):
        await ring.refresh()
    assert ring.find(record.id) == record
    assert not ring.status().fresh
    assert ring.status().usable
    clock.now += 0.1
    with pytest.raises(Overloaded):
        ring.find(record.id)
    assert not ring.status().usable
    shelf.away = False
    await ring.refresh()
    assert ring.find(record.id) == record


@pytest.mark.parametrize("grace", [0, 0.5])
async def test_without_a_grace_keys_serve_while_the_store_answers_and_no_longer(grace: float) -> None:
    _, record = api_key()
    shelf, clock = Shelf(), Clock()
    shelf.put(record)
    ring = ring_of(shelf, clock, grace=grace)
    await ring.refresh()
    clock.now += 1  # until the next poll
    assert ring.find(record.id) == record
    shelf.away = True
    await ring_fails(ring)
    with pytest.raises(Overloaded):
        ring.find(record.id)
    shelf.away = False
    await ring.refresh()
    clock.now += 4  # of a poll that hangs
    with pytest.raises(Overloaded):
        ring.find(record.id)


async def ring_fails(ring: KeyRing) -> None:
    """A poll as `watch` makes it, of a store that is away."""
    watch = asyncio.create_task(ring.watch())
    while ring.status().fresh:
        await asyncio.sleep(0)
    watch.cancel()
    await asyncio.wait([watch])


async def test_an_emptied_store_takes_no_key_away_and_gets_them_back() -> None:
    _, record = api_key()
    _, revoked = api_key()
    revoked = revoked.revoked(NOW)
    shelf = Shelf()
    shelf.put(record, revoked)
    ring = ring_of(shelf)
    await ring.refresh()
    shelf.empty()
    with structlog.testing.capture_logs() as lines:
        await ring.refresh()
    assert ring.find(record.id) == record
    assert ring.find(revoked.id) == revoked
    assert {from_document(text).id for text in shelf.documents.values()} == {record.id, revoked.id}
    (alarm,) = [line for line in lines if line["event"] == "keys_store_lost"]
    assert alarm["log_level"] == "error"
    assert alarm["missing"] == 2


async def test_the_alarm_is_raised_once_also_where_writing_back_is_refused() -> None:
    _, record = api_key()
    shelf, clock = Shelf(), Clock()
    shelf.put(record)
    ring = ring_of(shelf, clock, grace=100)
    await ring.refresh()
    shelf.empty()
    shelf.read_only = True
    with structlog.testing.capture_logs() as lines:
        for _ in range(3):
            with pytest.raises(KeyStoreAway):
                await ring.refresh()
    assert [line["event"] for line in lines] == ["keys_store_lost"]
    assert ring.find(record.id) == record
    clock.now += 101
    with pytest.raises(Overloaded):
        ring.find(record.id)


async def test_keys_made_after_the_loss_join_the_old_ones() -> None:
    _, old = api_key()
    _, new = api_key()
    shelf = Shelf()
    shelf.put(old)
    ring = ring_of(shelf)
    await ring.refresh()
    shelf.empty()
    shelf.put(new)
    await ring.refresh()
    assert ring.find(old.id) == old
    assert ring.find(new.id) == new
    assert set(shelf.documents) == {old.id, new.id}


async def test_a_revocation_outlives_a_store_put_back_to_an_older_state() -> None:
    _, record = api_key()
    shelf = Shelf()
    shelf.put(record)
    before = dict(shelf.documents), shelf.position_now
    shelf.put(record.revoked(NOW))
    ring = ring_of(shelf)
    await ring.refresh()
    shelf.documents, shelf.position_now = dict(before[0]), before[1]
    await ring.refresh()
    found = ring.find(record.id)
    assert found is not None
    assert found.revoked_at == NOW
    assert from_document(shelf.documents[record.id]).revoked_at == NOW


@pytest.mark.parametrize("changes", [1, 2])
async def test_a_revocation_and_a_new_key_outlive_a_store_that_lost_them_and_went_on(changes: int) -> None:
    """As a replica does that had not heard of the last changes when it took over."""
    _, record = api_key()
    _, new = api_key()
    shelf = Shelf()
    shelf.put(record)
    before = dict(shelf.documents), shelf.position_now
    shelf.put(record.revoked(NOW), new)
    ring = ring_of(shelf)
    await ring.refresh()
    shelf.documents, shelf.position_now = dict(before[0]), before[1]
    for _ in range(changes):
        shelf.put(api_key()[1])
    with structlog.testing.capture_logs() as lines:
        await ring.refresh()
    assert [line["event"] for line in lines][:2] == ["keys_store_lost", "keys_written_back"]
    assert from_document(shelf.documents[record.id]).revoked_at == NOW
    assert from_document(shelf.documents[new.id]) == new
    assert ring.status().keys == 2 + changes


async def test_a_rotation_outlives_a_store_put_back_to_an_older_state() -> None:
    _, record = api_key()
    rotated = record.rotated("b" * 64, NOW, 0)
    shelf = Shelf()
    shelf.put(record)
    before = dict(shelf.documents), shelf.position_now
    shelf.put(rotated)
    ring = ring_of(shelf)
    await ring.refresh()
    shelf.documents, shelf.position_now = dict(before[0]), before[1]
    await ring.refresh()
    assert ring.find(record.id) == rotated
    assert from_document(shelf.documents[record.id]) == rotated


@pytest.mark.parametrize("first", ["stale", "knowing"])
async def test_a_worker_that_missed_a_revocation_cannot_undo_it_in_whatever_order_they_write(
    first: str,
) -> None:
    _, record = api_key()
    shelf = Shelf()
    shelf.put(record)
    rings = {"stale": ring_of(shelf), "knowing": ring_of(shelf)}
    await rings["stale"].refresh()
    shelf.put(record.revoked(NOW))
    await rings["knowing"].refresh()
    shelf.empty()
    order = [first, *({"stale", "knowing"} - {first})]
    for _ in range(2):
        for name in order:
            await rings[name].refresh()
    for ring in rings.values():
        found = ring.find(record.id)
        assert found is not None
        assert found.revoked_at == NOW


async def test_a_key_taken_out_of_a_store_that_is_whole_is_gone() -> None:
    _, record = api_key()
    _, other = api_key()
    shelf = Shelf()
    shelf.put(record, other)
    ring = ring_of(shelf)
    await ring.refresh()
    del shelf.documents[record.id]
    shelf.put(other)
    await ring.refresh()
    assert ring.find(record.id) is None


async def test_a_document_that_breaks_keeps_its_last_good_key_and_says_so_once() -> None:
    _, record = api_key()
    shelf = Shelf()
    shelf.put(record)
    ring = ring_of(shelf)
    await ring.refresh()
    with structlog.testing.capture_logs() as lines:
        for version in (7, 8):
            shelf.documents[record.id] = to_document(record)[:20]
            shelf.documents["broken00"] = json.dumps({"hash": "secret"})
            shelf.position_now = Position(shelf.position_now.epoch, version)
            await ring.refresh()
    assert ring.find(record.id) == record
    assert ring.find("broken00") is None
    assert {(line["key"], line["kept"]) for line in lines} == {(record.id, True), ("broken00", False)}
    assert len(lines) == 2
    assert "secret" not in repr(lines)
