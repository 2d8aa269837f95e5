"""One SHA-256 per read model: the same events give the same digest, wherever and however they were applied."""

import hashlib
from typing import NamedTuple

import psycopg
from psycopg import sql
from sqlalchemy import Table, Text

from services.projections.read_models.tables import READ_MODELS
from services.sessions import KEEPALIVES

SESSION = (
    "-c timezone=UTC -c datestyle=ISO -c intervalstyle=postgres -c extra_float_digits=1 -c bytea_output=hex "
    "-c default_transaction_read_only=on"
)


class Digest(NamedTuple):
    """Over the names of the columns and all rows in order of the primary key, as COPY writes them."""

    table: str
    columns: list[str]
    rows: int
    sha256: str


class Digests(NamedTuple):
    """Of all read models at one moment; `positions` are the sequences they are true for, by shard."""

    positions: dict[int, int]
    tables: list[Digest]


def digests(dsn: str) -> Digests:
    """Read every row once, within one snapshot; nobody waits for it."""
    with psycopg.connect(dsn, options=SESSION, **KEEPALIVES) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        rows = connection.execute("SELECT shard, sequence FROM checkpoints ORDER BY shard").fetchall()
        positions: dict[int, int] = dict(rows)
        return Digests(positions, [_digest(connection, table) for table in READ_MODELS])


def _digest(connection: psycopg.Connection, table: Table) -> Digest:
    columns = [column.name for column in table.columns]
    order = [
        sql.SQL('{} COLLATE "C"' if isinstance(column.type, Text) else "{}").format(
            sql.Identifier(column.name)
        )
        for column in table.primary_key.columns
    ]
    query = sql.SQL("COPY (SELECT {} FROM {} ORDER BY {}) TO STDOUT").format(
        sql.SQL(", ").join(map(sql.Identifier, columns)),
        sql.Identifier(table.name),
        sql.SQL(", ").join(order),
    )
    found = hashlib.sha256(f"{table.name}({','.join(columns)})\n".encode())
    rows = 0
    with connection.cursor() as cursor, cursor.copy(query) as copy:
        for line in copy:
            found.update(line)
            rows += 1
    return Digest(table.name, columns, rows, found.hexdigest())
