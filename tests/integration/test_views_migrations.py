"""A database that is there already gets what lookups need, with what it holds."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from services import migrate
from services.migrate import _MIGRATIONS, migrate_database, sqlalchemy_url
from services.mistakes import ExitCode, Mistake
from services.projections.read_models.tables import metadata
from tests.running import eventually

SHARDS = 4


def migrate_to(dsn: str, revision: str) -> None:
    """As an earlier version left it."""
    with create_engine(sqlalchemy_url(dsn), poolclass=NullPool).connect() as connection:
        config = Config()
        config.set_main_option("script_location", str(_MIGRATIONS))
        config.set_main_option("path_separator", "newline")
        config.set_main_option("version_locations", str(_MIGRATIONS / "views"))
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        connection.commit()


def test_a_table_that_others_use_is_told_after_a_while(
    database: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrate, "LOCK_SECONDS_MAX", 0.1)
    dsn = database("used")
    migrate_database("views", dsn, SHARDS)
    with psycopg.connect(dsn) as reading:
        reading.execute("LOCK TABLE alembic_version IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(Mistake, match="run `migrate` again") as told:
            migrate_database("views", dsn, SHARDS)
    assert told.value.exit_code is ExitCode.REFUSED
    migrate_database("views", dsn, SHARDS)


def test_who_waits_for_another_migration_is_not_waited_for(database: Callable[[str], str]) -> None:
    """A statement that waited would hold a snapshot, for whose end an index that is built concurrently waits."""
    dsn = database("twice")
    migrate_database("store", dsn, SHARDS)
    with psycopg.connect(dsn, autocommit=True) as first, ThreadPoolExecutor() as others:
        first.execute("SELECT pg_advisory_lock(%s)", [migrate._LOCK])
        second = others.submit(migrate_database, "store", dsn, SHARDS)
        eventually(lambda: _asked(first), what="the other one asks")
        first.execute("SET lock_timeout = '5s'")
        first.execute("CREATE INDEX CONCURRENTLY ON stored_events (topic)")
        assert not second.done()
        first.execute("SELECT pg_advisory_unlock(%s)", [migrate._LOCK])
        assert second.result(30) == "store: up to date"


def test_a_ledger_at_work_goes_on_while_its_store_is_migrated(database: Callable[[str], str]) -> None:
    """A report that reads for long is waited for, and nobody who writes waits behind that."""
    dsn = database("at_work")
    migrate_database("store", dsn, SHARDS)
    with psycopg.connect(dsn, autocommit=True) as made:
        made.execute("DROP INDEX stored_events_erased")
        made.execute("UPDATE alembic_version SET version_num = 'store_0005'")
    row = "INSERT INTO stored_events VALUES (gen_random_uuid(), 1, 'x', '', 0, %s)"
    with (
        psycopg.connect(dsn) as reading,
        psycopg.connect(dsn, autocommit=True) as ledger,
        ThreadPoolExecutor() as others,
    ):
        reading.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        reading.execute("SELECT count(*) FROM stored_events")
        ledger.execute("SET lock_timeout = '2s'")
        migrating = others.submit(migrate_database, "store", dsn, SHARDS)
        building = (
            "SELECT count(*) FROM pg_stat_progress_create_index WHERE relid = 'stored_events'::regclass"
        )
        for sequence in range(2):
            if sequence:
                eventually(
                    lambda: ledger.execute(building).fetchone() != (0,), what="the index is being built"
                )
            ledger.execute(row, [sequence])
        assert not migrating.done()
        reading.rollback()
        assert migrating.result(30) == "store: up to date"


def _asked(session: psycopg.Connection) -> bool:
    row = session.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_try_advisory_lock%' AND pid <> pg_backend_pid() "
        "AND datname = current_database()"
    ).fetchone()
    return row != (0,)


def test_customers_and_entries_from_before_are_found_and_counted(database: Callable[[str], str]) -> None:
    dsn = database("before")
    migrate_to(dsn, "views_0003")
    with psycopg.connect(dsn) as connection:
        connection.execute(
            "INSERT INTO customers (business_id, mode, customer_id, shard, name, email, created_at, updated_at) "
            "VALUES ('bus', 'test', 'cus_1', 2, 'Đỗ', 'E@x', now(), now())"
        )
        connection.execute(
            "INSERT INTO ledger_entries SELECT 2, g, 'bus', 'test', 'cus_1', 'wle_' || g, 'USD', true, 1, 0, 1, "
            "'adjustment', 'x', NULL, NULL, now() FROM generate_series(1, 3) g"
        )
    for _ in range(2):
        migrate_database("views", dsn, SHARDS)
    with psycopg.connect(dsn) as connection:
        customers = connection.execute("SELECT search, name_key FROM customers").fetchall()
        tallies = connection.execute(
            "SELECT shard, business_id, mode, customers, entries FROM tallies"
        ).fetchall()
    assert customers == [("do\ne@x\ncus_1", "do")]
    assert tallies == [(2, "bus", "test", 1, 3)]


def test_the_tables_that_digests_and_verify_know_are_those_of_the_migrations(
    database: Callable[[str], str],
) -> None:
    """A column that only a migration has would be missing from both, and nobody would see it."""
    dsn = database("catalogue")
    migrate_database("views", dsn, SHARDS)

    def ours(_: object, name: str | None, kind: str, *__: object) -> bool:
        return kind != "index" and (kind != "table" or name in metadata.tables)

    with create_engine(sqlalchemy_url(dsn), poolclass=NullPool).connect() as connection:
        context = MigrationContext.configure(connection, opts={"include_object": ours})
        assert compare_metadata(context, metadata) == []
