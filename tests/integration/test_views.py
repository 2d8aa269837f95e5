"""The views for other teams: their columns are those of the document, and their role reads nothing else."""

import re
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from services.migrate import migrate_database
from tests.integration.lookup_rows import SHARDS, Rows

DOCUMENT = Path(__file__).parents[2] / "docs" / "views.md"
PERSONAL = {"name", "email", "phone_number", "metadata", "reason", "identifier", "search", "name_key"}


@pytest.fixture
def dsn(database: Callable[[str], str]) -> str:
    made = database("reports")
    migrate_database("views", made, SHARDS)
    return made


def documented() -> dict[str, list[tuple[str, str]]]:
    found: dict[str, list[tuple[str, str]]] = {}
    for section in DOCUMENT.read_text().split("\n## reports.")[1:]:
        view = section.split("\n", 1)[0]
        found[view] = re.findall(r"^\| `(\w+)` \| `([a-zA-Z ]+)` \|", section, re.MULTILINE)
    return found


def test_the_columns_are_those_of_the_document(dsn: str) -> None:
    with psycopg.connect(dsn) as connection:
        rows = connection.execute(
            "SELECT table_name, column_name, data_type FROM information_schema.columns "
            "WHERE table_schema = 'reports' ORDER BY table_name, ordinal_position"
        ).fetchall()
    views: dict[str, list[tuple[str, str]]] = {}
    for view, column, kind in rows:
        views.setdefault(view, []).append((column, kind))
    assert views == documented()
    assert not PERSONAL & {column for columns in views.values() for column, _ in columns}


def test_the_role_reads_these_views_and_nothing_else(dsn: str) -> None:
    rows = Rows(dsn)
    rows.customer("cus_1", 1)
    rows.entry("cus_1", 1)
    rows.close()
    with psycopg.connect(dsn, autocommit=True) as connection:
        relations = connection.execute(
            "SELECT relnamespace::regnamespace::text, relname FROM pg_class WHERE relkind IN ('r', 'v', 'm', 'f') "
            "AND relnamespace::regnamespace::text NOT IN ('pg_catalog', 'information_schema')"
        ).fetchall()
        role = "SELECT rolcanlogin OR rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = 'ledger_reports'"
        assert connection.execute(role).fetchall() == [(False,)]
        connection.execute("SET ROLE ledger_reports")
        readable = set()
        for schema, name in relations:
            try:
                connection.execute(f"SELECT * FROM {schema}.{name}")
                readable.add((schema, name))
            except psycopg.errors.InsufficientPrivilege:
                continue
        assert readable == {("reports", view) for view in documented()}
        assert len(relations) > len(readable)
        for statement in (
            "DELETE FROM reports.wallets",
            "CREATE TABLE reports.x ()",
            "CREATE TABLE public.x ()",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)
        found = connection.execute("SELECT customer_id, balance_minor FROM reports.wallets").fetchall()
    assert found == [("cus_1", 5)]
