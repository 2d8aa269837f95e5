"""States in memory: bounded by what they take, not by how many there are."""

import gc
import os
import tracemalloc
from uuid import UUID

import pytest

from services.ledger.batches import cache as module
from services.ledger.batches.cache import ENTRY_BYTES, Cache
from services.ledger.batches.snapshots import pack
from services.ledger.domain.customer import Customer

PLAIN = Customer("2026-11-23T12:00:00.000000Z", {"USD": 123_456_789}, 57)
RICH = Customer("2026-11-23T12:00:00.000000Z", {f"C{number:02}": 10**12 for number in range(60)}, 57)


def stream(number: int) -> UUID:
    return UUID(int=number + 1)


def test_a_state_comes_back_as_it_was() -> None:
    cache = Cache()
    for number, customer in enumerate((PLAIN, RICH, Customer())):
        cache.put(stream(number), customer)
        assert cache.get(stream(number)) == customer
    assert cache.get(stream(9)) is None
    assert (len(cache), stream(1) in cache, stream(9) in cache) == (3, True, False)


def test_those_used_longest_ago_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CACHE_BYTES_MAX", 3 * (ENTRY_BYTES + len(pack(PLAIN))))
    cache = Cache()
    for number in range(3):
        cache.put(stream(number), PLAIN)
    cache.get(stream(0))
    cache.put(stream(1), PLAIN)
    cache.put(stream(3), PLAIN)
    assert set(cache._packed) == {stream(0), stream(1), stream(3)}


def test_rich_customers_take_more_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CACHE_BYTES_MAX", 100_000)
    cache = Cache()
    for number in range(400):
        cache.put(stream(number % 300), RICH if number % 2 else PLAIN)
        taken = sum(
            len(pack(customer)) + ENTRY_BYTES for one in [*cache._packed] if (customer := cache.get(one))
        )
        assert taken <= 100_000
    assert len(cache) < 200


def test_an_entry_takes_no_more_than_is_counted() -> None:
    count = 12_000
    gc.collect()
    tracemalloc.start()
    try:
        cache = Cache()
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(count):
            cache.put(UUID(bytes=os.urandom(16)), PLAIN)
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (taken - before) / count <= ENTRY_BYTES + len(pack(PLAIN))
