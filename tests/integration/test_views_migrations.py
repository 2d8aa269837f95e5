"""A database that is there already gets what lookups need, with what it holds."""

from collections.abc import Callable

import psycopg
import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from services import migrate
from services.migrate import _MIGRATIONS, migrate_database, sqlalchemy_url
from services.mistakes import ExitCode, Mistake

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
