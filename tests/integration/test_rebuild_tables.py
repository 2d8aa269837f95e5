"""Shadow tables on a real PostgreSQL: filled like the live ones, swapped with all that hangs on them."""

import secrets
from collections.abc import Callable, Iterator

import psycopg
import pytest
from psycopg.errors import LockNotAvailable

from services.keyring import KeyRing
from services.projections.digests import digests
from services.projections.rebuild import catalogue
from services.projections.rebuild import tables as rebuild_tables
from services.projections.rebuild.catalogue import Session
from services.projections.rebuild.load import Shadow
from services.projections.rebuild.tables import NAMES, Unfit
from services.reading import Record
from services.sessions import CHANNEL
from tests.factories import EventFactory
from tests.integration.read_models import Views, business, expect, make_views
from tests.unit.projections.reading import records_of

ROLE = "dashboards_of_tests"


@pytest.fixture
def views(database: Callable[[str], str]) -> Views:
    return make_views(database)


@pytest.fixture
def session(views: Views) -> Iterator[Session]:
    with psycopg.connect(views.dsn, autocommit=True) as connection:
        yield connection


@pytest.fixture
def factory(views: Views) -> EventFactory:
    """Applied to the live tables already."""
    factory = business(views.factory())
    views.projector().apply(records_of(factory.records))
    return factory


def filled(views: Views, session: Session, records: list[Record]) -> None:
    rebuild_tables.create(session)
    shadow = Shadow(views.dsn, KeyRing(views.keys_dsn, views.kek))
    shadow.load()
    shadow.apply(records)
    shadow.reset()
    rebuild_tables.index(session)


def swapped(session: Session) -> None:
    with session.transaction():
        rebuild_tables.hold_live(session)
        rebuild_tables.swap(session)


def looks(session: Session) -> set[str]:
    return catalogue.describe(session, "public", NAMES)


def test_rebuilt_rows_have_the_digests_of_the_live_ones(
    views: Views, session: Session, factory: EventFactory
) -> None:
    before = digests(views.dsn)
    assert [table.rows for table in before.tables if table.table == "customers"] == [5]
    filled(views, session, records_of(factory.records))
    session.execute("UPDATE wallets SET balance_minor = balance_minor + 1 WHERE customer_id = 'cus_1'")
    damaged = digests(views.dsn)
    swapped(session)
    assert digests(views.dsn) == before != damaged
    expect(views, factory)
    assert not rebuild_tables.exists(session)


def test_after_the_swap_the_catalogue_is_that_of_a_fresh_migration(
    views: Views, session: Session, factory: EventFactory
) -> None:
    fresh = looks(session)
    assert {line.split(" of ")[0] for line in fresh} >= {"column", "table", "constraint", "index"}
    filled(views, session, records_of(factory.records))
    swapped(session)
    assert looks(session) == fresh
    filled(views, session, records_of(factory.records))
    swapped(session)
    assert looks(session) == fresh, "nor does a second rebuild change a name"


@pytest.fixture
def dressed(session: Session) -> Iterator[Session]:
    """What operators add: views over views, grants, row-level security, an index, a trigger."""
    role = f"{ROLE}_{secrets.token_hex(3)}"
    for statement in (
        f"CREATE ROLE {role}",
        "CREATE VIEW balances WITH (security_barrier) AS SELECT c.customer_id, w.currency, w.balance_minor "
        "FROM customers c JOIN wallets w USING (business_id, mode, customer_id)",
        "CREATE VIEW rich AS SELECT * FROM balances WHERE balance_minor > 0",
        f"GRANT SELECT ON balances, rich, accounts TO {role}",
        f"GRANT SELECT (entry_id, amount_minor) ON ledger_entries TO {role}",
        "CREATE INDEX mine ON wallets (currency) WHERE balance_minor > 5",
        "ALTER TABLE customers ENABLE ROW LEVEL SECURITY",
        f"CREATE POLICY only_live ON customers AS RESTRICTIVE FOR SELECT TO {role} USING (mode = 'live')",
        "CREATE FUNCTION pass() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
        "CREATE TRIGGER passing BEFORE INSERT ON customers FOR EACH ROW EXECUTE FUNCTION pass()",
        "COMMENT ON COLUMN wallets.balance_minor IS 'never below zero'",
    ):
        session.execute(statement.encode())
    yield session
    session.execute(f"DROP OWNED BY {role}".encode())
    session.execute(f"DROP ROLE {role}".encode())


def test_views_grants_policies_and_indexes_of_others_follow(
    views: Views, dressed: Session, factory: EventFactory
) -> None:
    before, rich = looks(dressed), dressed.execute("SELECT * FROM rich ORDER BY 1, 2").fetchall()
    access = dressed.execute(
        "SELECT relname, relacl, reloptions FROM pg_class WHERE relkind = 'v'"
    ).fetchall()
    filled(views, dressed, records_of(factory.records))
    dressed.execute("UPDATE wallets SET balance_minor = 0")
    swapped(dressed)
    assert looks(dressed) == before
    assert dressed.execute("SELECT * FROM rich ORDER BY 1, 2").fetchall() == rich != []
    again = dressed.execute("SELECT relname, relacl, reloptions FROM pg_class WHERE relkind = 'v'").fetchall()
    assert sorted(map(str, again)) == sorted(map(str, access))


@pytest.mark.parametrize(
    ("statement", "when"),
    [
        ("CREATE STATISTICS also ON currency, cause FROM ledger_entries", "before"),
        ("CREATE MATERIALIZED VIEW sums AS SELECT sum(balance_minor) FROM wallets", "swap"),
        ("CREATE FUNCTION one(wallets) RETURNS int LANGUAGE sql AS 'SELECT 1'", "swap"),
        ("ALTER TABLE wallets ADD COLUMN note text", "swap"),
    ],
)
def test_what_cannot_follow_is_refused_not_lost(
    views: Views, session: Session, factory: EventFactory, statement: str, when: str
) -> None:
    if when == "swap":
        filled(views, session, records_of(factory.records))
    session.execute(statement.encode())
    before, rows = looks(session), views.everything()
    with pytest.raises(Unfit):
        swapped(session) if when == "swap" else rebuild_tables.create(session)
    assert looks(session) == before
    assert views.everything() == rows


def test_live_projector_and_prepared_readers_go_on_over_the_swap(
    views: Views, session: Session, factory: EventFactory
) -> None:
    projector = views.projector()
    query = "SELECT balance_minor FROM wallets WHERE customer_id = %s AND currency = 'USD'"
    with psycopg.connect(views.dsn, autocommit=True) as reader:
        reader.prepare_threshold = 1
        for _ in range(3):
            before = reader.execute(query, ["cus_0"]).fetchall()
        seen = len(factory.records)
        factory.credited("cus_0", 41)
        ahead = records_of(factory.records)
        filled(views, session, ahead)  # the shadow has an event that the live tables lack
        swapped(session)
        factory.credited("cus_0", 1)
        assert reader.execute(query, ["cus_0"]).fetchall() == [(before[0][0] + 41,)]
        projector.apply(records_of(factory.records)[seen:])
        assert reader.execute(query, ["cus_0"]).fetchall() == [(before[0][0] + 42,)]
    expect(views, factory)


def test_a_shadow_that_is_behind_is_not_swapped_in(
    views: Views, session: Session, factory: EventFactory
) -> None:
    filled(views, session, records_of(factory.records)[:-1])
    last = factory.records[-1]
    assert rebuild_tables.behind(session) == {last.shard: 1}
    with pytest.raises(AssertionError):
        swapped(session)
    expect(views, factory)


def test_who_reads_is_not_disturbed_by_a_swap_that_waits(
    views: Views, session: Session, factory: EventFactory
) -> None:
    filled(views, session, records_of(factory.records))
    with psycopg.connect(views.dsn) as reading:
        reading.execute("SELECT * FROM wallets").fetchall()  # and the transaction stays open
        with pytest.raises(LockNotAvailable):
            swapped(session)
    swapped(session)
    expect(views, factory)


def test_an_unfinished_rebuild_of_other_tables_is_not_gone_on_with(
    views: Views, session: Session, factory: EventFactory
) -> None:
    filled(views, session, records_of(factory.records))
    assert rebuild_tables.fits(session)
    session.execute("ALTER TABLE wallets ADD COLUMN note text")
    assert not rebuild_tables.fits(session)
    rebuild_tables.drop(session)
    assert not rebuild_tables.exists(session)


def test_a_shadow_announces_nothing_and_leaves_the_marks_of_breaks(
    views: Views, session: Session, factory: EventFactory
) -> None:
    session.execute("INSERT INTO chain_breaks VALUES (0, 1, 'old', 3, now()), (1, 1000, 'ahead', 3, now())")
    session.execute(f"LISTEN {CHANNEL}")
    filled(views, session, records_of(factory.records))
    assert list(session.notifies(timeout=0.2)) == []
    assert session.execute("SELECT count(*) FROM chain_breaks").fetchall() == [(2,)]
    swapped(session)
    assert session.execute("SELECT shard FROM chain_breaks").fetchall() == [(1,)]
