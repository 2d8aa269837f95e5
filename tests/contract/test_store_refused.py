"""The ledger's store works on no PostgreSQL that could forget what was answered, or keep what a dead worker owned."""

from collections.abc import Callable

import psycopg
import pytest

from services.ledger.failures import WrongStore
from services.ledger.store.postgres import PostgresStore

OVERRULED = """
    ALTER DATABASE {database} SET synchronous_commit = off;
    ALTER ROLE CURRENT_USER IN DATABASE {database} SET synchronous_commit = off;
"""
SHOWS = """
    CREATE FUNCTION current_setting(name text) RETURNS text LANGUAGE sql AS
        $$ SELECT CASE name WHEN '{name}' THEN '{value}' ELSE pg_catalog.current_setting(name) END $$;
    ALTER DATABASE {database} SET search_path = public, pg_catalog;
"""
"""As a server that was started so, or a pooler that drops what a client asks for, would show it."""


@pytest.fixture
def dsn(database: Callable[[str], str]) -> str:
    return database("unsafe")


def change(dsn: str, statements: str, **values: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(statements.format(database=connection.info.dbname, **values).encode())


async def test_a_database_and_a_role_that_commit_asynchronously_are_overruled(dsn: str) -> None:
    change(dsn, OVERRULED)
    with psycopg.connect(dsn) as connection:
        assert connection.execute("SHOW synchronous_commit").fetchone() == ("off",)
    store = PostgresStore(dsn, "worker")
    await store.open()
    await store.close()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("fsync", "off"),
        ("full_page_writes", "off"),
        ("synchronous_commit", "off"),
        ("synchronous_commit", "local"),
        ("idle_session_timeout", "0"),
        ("idle_in_transaction_session_timeout", "0"),
        ("statement_timeout", "1min"),
        ("lock_timeout", "0"),
    ],
)
async def test_a_server_that_would_break_a_promise_is_refused(dsn: str, name: str, value: str) -> None:
    change(dsn, SHOWS, name=name, value=value)
    store = PostgresStore(dsn, "worker")
    with pytest.raises(WrongStore, match=f"WALLET_LEDGER_STORE_DSN has {name} = {value}; the ledger needs"):
        await store.open()
    await store.close()
