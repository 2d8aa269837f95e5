"""Erased customers in the read models: nothing personal is left, and just what a rebuild would make without the key."""

import json
import secrets
from collections.abc import Callable

import psycopg
import pytest
from msgspec.structs import replace
from psycopg.conninfo import make_conninfo

from events.facts import CustomerErased
from events.ids import owner_of
from events.personal import Personal
from services.coffin import month_owner
from services.keyring import KeyRing
from services.ledger.recovery.erased import check_erased
from services.projections import samples
from services.projections.digests import digests
from services.projections.projector import Projector
from services.projections.read_models import erasures
from services.projections.rebuild import load as rebuild_load
from services.projections.rebuild import tables as rebuild_tables
from tests.factories import TENANT, EventFactory
from tests.integration.read_models import Views, business, make_views
from tests.unit.projections.reading import records_of
from tests.upstream import payment

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


def test_long_histories_are_forgotten_in_bites(views: Views, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erasures, "BITE", 2)
    monkeypatch.setattr(erasures, "FORGET", ())  # what the transaction itself would do
    factory = views.factory()
    for customer in (GONE, "cus_0"):
        factory.registered(customer)
        for number in range(7):
            factory.credited(customer, 1, reason=None if number == 3 else "a reason")
            news = payment(number, f"pay_{customer}_{number}")
            factory.append(
                customer, replace(news.fact, personal=Personal(foreign=news.came)), stream=news.stream
            )
    factory.append(GONE, CustomerErased())
    projector = views.projector()
    bites: list[None] = []
    projector.progressed = lambda: bites.append(None)
    projector.apply(records_of(factory.records[:-1]))
    projector.apply(records_of(factory.records))
    assert (
        len(bites) == 4 + 5 + 4
    )  # two at a time and one that finds none, of entries, payments, and the rest
    reasons = {(row["customer_id"], row["reason"]) for row in views.rows("ledger_entries")}
    assert reasons == {(GONE, None), ("cus_0", "a reason"), ("cus_0", None)}
    assert {(row["customer_id"], row["object"] == {}) for row in views.rows("payments")} == {
        (GONE, True),
        ("cus_0", False),
    }


@pytest.mark.parametrize("long", erasures.LONG, ids=lambda long: str(long.table))
def test_a_bite_costs_what_it_takes_whatever_the_planner_believes(views: Views, long: erasures.Long) -> None:
    """Without samples it takes a customer for one row; joined by keys, each bite compared all rows with all."""
    with psycopg.connect(views.dsn) as session:
        session.execute("SET plan_cache_mode = force_generic_plan")
        session.execute("SET enable_seqscan = off")
        values = ("bus", "test", "cus", *long.first, 10)
        plan = "\n".join(row[0] for row in session.execute(f"EXPLAIN {long.bite}", values))
    assert f"Tid Scan on {long.table}" in plan
    assert "Join" not in plan
    assert "Nested Loop" not in plan
    assert "Index Scan" in plan


def test_times_are_read_back_in_utc_wherever_the_server_is(views: Views) -> None:
    """Elsewhere those of the first and last day that upstream may tell lie beyond what Python knows."""
    with psycopg.connect(views.dsn, autocommit=True) as session:
        session.execute(f"ALTER DATABASE {session.info.dbname} SET timezone = 'Asia/Kolkata'")
    assert views.projector().connection().info.parameter_status("TimeZone") == "UTC"


def test_samples_of_the_planner_are_taken_anew(views: Views) -> None:
    """Of keys there are none at all."""
    factory = business(views.factory())
    projector = views.projector()
    projector.apply(records_of(factory.records))
    with psycopg.connect(views.dsn, autocommit=True) as session, psycopg.connect(views.keys_dsn) as keys:
        session.execute("ANALYZE")
        keys.execute("ANALYZE")
        held = "SELECT attname FROM pg_stats WHERE tablename = 'data_keys'"
        assert "wrapped" not in {name for (name,) in keys.execute(held)}
        assert not samples.renew(views.dsn), "nobody was erased"
        due = samples.Samples(views.dsn)
        assert due.due, "the process before may have erased somebody"
        due.due, projector.forgot = False, due.note
        erase(views, factory)  # long ago: projections may be behind
        projector.apply(records_of(factory.records))
        assert due.due
        known = "SELECT count(*) FROM pg_stats WHERE concat(histogram_bounds, most_common_vals) LIKE '%4@new.example%'"
        assert session.execute(known).fetchone() != (0,)
        with pytest.raises(samples.NotOwned, match="permission denied"):
            samples.renew(_as_another(session, views.dsn))
        assert session.execute(known).fetchone() != (0,)
        assert samples.renew(views.dsn)
        assert session.execute(known).fetchone() == (0,)


def _as_another(session: psycopg.Connection, dsn: str) -> str:
    """A role that may read and write the tables and does not own them."""
    name = f"reader_{secrets.token_hex(4)}"
    session.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{name}'")
    session.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {name}")
    return make_conninfo(dsn, user=name, password=name)


def test_a_restored_key_is_destroyed_at_the_next_start(views: Views) -> None:
    """Of customers whom the store calls erased, and of dead letters that are long gone; and of nobody else."""
    keys = ring(views)
    kept, gone, younger = (owner_of(TENANT, name) for name in ("cus_0", GONE, "cus_younger"))
    with psycopg.connect(views.settings.store_dsn.get_secret_value()) as store:
        months = store.execute(
            "SELECT back, to_char(now() - make_interval(months => back), 'YYYY-MM') FROM unnest(%s) AS back",
            [[0, 2, 3, 14]],
        ).fetchall()
        letters = {back: month_owner(month) for back, month in months}
        keys.get_or_create([kept, gone, *letters.values()])
        rows = [
            (kept, "customer.closed.v1", 1),
            (gone, "customer.erased.v1", 2),
            (younger, "customer.erased.v1", 3),
        ]
        for owner, kind, sequence in rows:
            store.execute("INSERT INTO stored_events VALUES (%s, 1, %s, '', 0, %s)", [owner, kind, sequence])
        plan = store.execute(
            "EXPLAIN SELECT originator_id FROM stored_events WHERE topic = 'customer.erased.v1'"
        )
        assert "stored_events_erased" in str(plan.fetchall())
    assert check_erased(views.settings) == 1
    fresh = ring(views)
    left = {kept, letters[0], letters[2]}
    assert fresh.get([kept, gone, *letters.values()]).keys() == left
    assert fresh.get_or_create([gone, younger]) == {}
    assert fresh.unknown([gone, younger]) == set(), "younger than the backup, and erased all the same"


def test_the_dead_row_of_a_key_goes_at_autovacuums_next_round(views: Views) -> None:
    with psycopg.connect(views.keys_dsn) as keys:
        [(options,)] = keys.execute("SELECT reloptions FROM pg_class WHERE relname = 'data_keys'").fetchall()
    assert set(options) == {"autovacuum_vacuum_scale_factor=0", "autovacuum_vacuum_threshold=0"}


def test_a_rebuild_forgets_once_its_indexes_are_there(views: Views) -> None:
    """Also where the key is there again, so that its events are loaded in clear."""
    factory = business(views.factory())
    factory.append(GONE, CustomerErased())
    records = records_of(factory.records)
    views.projector().apply(records)
    live = digests(views.dsn).tables
    with psycopg.connect(views.dsn, autocommit=True) as session:
        rebuild_tables.create(session)
        shadow = rebuild_load.shadow(views.settings, forgets=False)
        shadow.load()
        shadow.apply(records)
        shadow.reset()
        assert session.execute(
            "SELECT FROM rebuild.payments WHERE customer_id = %s AND object <> '{}'", [GONE]
        ).rowcount
        rebuild_tables.index(session)
        rebuild_load.forget(views.settings)
        with session.transaction():
            rebuild_tables.hold_live(session)
            rebuild_tables.swap(session)
    assert digests(views.dsn).tables == live
