"""Erased customers in the read models: nothing personal is left, and just what a rebuild would make without the key."""

import json
from collections.abc import Callable
from datetime import UTC, datetime

import psycopg
import pytest

from events.facts import CustomerErased
from events.ids import owner_of
from services.keyring import KeyRing
from services.ledger.erasing import check_erased
from services.projections import erasures
from services.projections.projector import Projector
from tests.factories import TENANT, EventFactory
from tests.integration.read_models import Views, business, make_views
from tests.unit.projections.reading import records_of

GONE = "cus_4"
"""The closed one of the business."""
OWNER = owner_of(TENANT, GONE)
PERSONAL = ("Name 4 🦊", "4@new.example", "a reason", "laptop", "Huế", "4242")


@pytest.fixture
def views(database: Callable[[str], str]) -> Views:
    return make_views(database)


def erase(views: Views, factory: EventFactory) -> None:
    """As the ledger does."""
    ring(views).destroy([OWNER])
    factory.append(GONE, CustomerErased())


def ring(views: Views) -> KeyRing:
    return KeyRing(views.keys_dsn, views.kek)


def of(views: Views, customer: str) -> str:
    """All that the read models have of a customer."""
    rows = [
        row for table in views.everything().values() for row in table if row.get("customer_id") == customer
    ]
    return json.dumps(rows, default=str, ensure_ascii=False)


def test_nothing_personal_is_left_and_a_rebuild_makes_the_same(views: Views) -> None:
    factory = business(views.factory())
    projector = views.projector()
    projector.apply(records_of(factory.records))
    known = of(views, GONE)
    assert [text for text in PERSONAL if text not in known] == []
    others = [of(views, f"cus_{number}") for number in range(4)]

    erase(views, factory)
    projector.apply(records_of(factory.records))
    left = of(views, GONE)
    assert [text for text in PERSONAL if text in left] == []
    [customer] = [row for row in views.rows("customers") if row["customer_id"] == GONE]
    assert (customer["name"], customer["email"], customer["phone_number"]) == ("", "", None)
    assert (customer["metadata"], customer["status"]) == ({}, "closed")
    assert customer["erased_at"] is not None
    assert [of(views, f"cus_{number}") for number in range(4)] == others

    live = views.everything()
    views.clear()
    views.projector().apply(records_of(factory.records))
    assert views.everything() == live


def test_a_key_that_a_backup_brought_back_changes_nothing(views: Views) -> None:
    """The events are applied in clear up to the erasure, which is the last word."""
    factory = business(views.factory())
    factory.append(GONE, CustomerErased())
    views.projector().apply(records_of(factory.records))
    with_key = views.everything()
    ring(views).destroy([OWNER])
    views.clear()
    views.projector().apply(records_of(factory.records))
    assert views.everything() == with_key


def test_the_key_is_forgotten_too(views: Views) -> None:
    factory = business(views.factory())
    keys = ring(views)
    projector = Projector(views.dsn, keys)
    projector.load()
    projector.apply(records_of(factory.records))
    assert keys.cached([OWNER])
    erase(views, factory)
    projector.apply(records_of(factory.records))
    assert not keys.cached([OWNER])


def test_a_long_history_is_forgotten_in_bites(views: Views, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erasures, "BITE", 2)
    monkeypatch.setattr(erasures, "FORGET", ())
    factory = views.factory()
    factory.registered(GONE)
    for number in range(7):
        factory.credited(GONE, 1, reason=None if number == 3 else "a reason")
        factory.credited("cus_0", 1, reason="another reason")
    factory.append(GONE, CustomerErased())
    views.projector().apply(records_of(factory.records[:-1]))
    views.projector().apply(records_of(factory.records))
    assert {(row["customer_id"], row["reason"]) for row in views.rows("ledger_entries")} == {
        (GONE, None),
        ("cus_0", "another reason"),
    }


def test_a_restored_key_is_destroyed_at_the_next_start(views: Views) -> None:
    """Of customers whom the store calls erased, and of dead letters that are long gone; and of nobody else."""
    keys = ring(views)
    kept, gone = (owner_of(TENANT, name) for name in ("cus_0", GONE))
    keys.get_or_create([kept, gone])
    with psycopg.connect(views.settings.store_dsn.get_secret_value()) as store:
        rows = [(kept, "customer.closed.v1", 1), (gone, "customer.erased.v1", 2)]
        for owner, kind, sequence in rows:
            store.execute("INSERT INTO stored_events VALUES (%s, 1, %s, '', 0, %s)", [owner, kind, sequence])
        plan = store.execute(
            "EXPLAIN SELECT originator_id FROM stored_events WHERE topic = 'customer.erased.v1'"
        )
        assert "stored_events_erased" in str(plan.fetchall())
    check_erased(views.settings, datetime(2026, 12, 1, tzinfo=UTC))
    fresh = ring(views)
    assert fresh.get([kept, gone]).keys() == {kept}
    assert fresh.get_or_create([gone]) == {}
    assert fresh.unknown([gone]) == set()


def test_the_dead_row_of_a_key_goes_at_autovacuums_next_round(views: Views) -> None:
    with psycopg.connect(views.keys_dsn) as keys:
        [(options,)] = keys.execute("SELECT reloptions FROM pg_class WHERE relname = 'data_keys'").fetchall()
    assert set(options) == {"autovacuum_vacuum_scale_factor=0", "autovacuum_vacuum_threshold=0"}
