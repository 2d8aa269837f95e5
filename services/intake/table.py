"""Intake's own memory: how far it is, whose each payment is, and what waits for its payment."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

SESSION = "-c statement_timeout=10s -c lock_timeout=5s -c idle_in_transaction_session_timeout=5s"
DUE_MAX = 500


class Name(NamedTuple):
    """A payment as its tenant calls it."""

    business_id: str
    mode: str
    payment_id: str


class Waiting(NamedTuple):
    """A record whose payment is not known yet."""

    partition: int
    offset: int
    name: Name
    value: bytes


class Step(NamedTuple):
    """What one batch leaves behind, in one transaction."""

    next_offsets: dict[int, int]
    payments: dict[Name, str]
    waiting: Sequence[Waiting]
    done: Sequence[Waiting]


class Table:
    """One connection; each call is one transaction. After an error the process ends."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._connection: AsyncConnection[TupleRow] | None = None

    async def open(self) -> None:
        self._connection = await AsyncConnection.connect(
            self._dsn,
            autocommit=True,
            connect_timeout=5,
            options=SESSION,
            application_name="wallet-ledger intake",
        )

    async def close(self) -> None:
        if self._connection is not None:
            await self._connection.close()

    async def next_offsets(self) -> dict[int, int]:
        """Where to read from, by partition; 0 where nothing was read yet."""
        rows = await self._rows("SELECT partition, next_offset FROM intake_checkpoints")
        return dict(rows)

    async def customers(self, names: Iterable[Name]) -> dict[Name, str]:
        """Whose these payments are, as far as that is known."""
        rows = await self._rows(
            """
            SELECT business_id, mode, payment_id, customer_id
            FROM unnest(%s::text[], %s::text[], %s::text[]) AS k (business_id, mode, payment_id)
            JOIN intake_payments USING (business_id, mode, payment_id)
            """,
            *_columns(list(names), 3),
        )
        return {Name(*row[:3]): row[3] for row in rows}

    async def waiting_for(self, names: Iterable[Name]) -> list[Waiting]:
        """What waited for these payments."""
        return _waiting(
            await self._rows(
                """
                SELECT partition, kafka_offset, business_id, mode, payment_id, value
                FROM unnest(%s::text[], %s::text[], %s::text[]) AS k (business_id, mode, payment_id)
                JOIN intake_waiting USING (business_id, mode, payment_id)
                """,
                *_columns(list(names), 3),
            )
        )

    async def overdue(self, seconds: float) -> list[Waiting]:
        """What has waited too long."""
        return _waiting(
            await self._rows(
                """
                SELECT partition, kafka_offset, business_id, mode, payment_id, value FROM intake_waiting
                WHERE since < now() - make_interval(secs => %s) ORDER BY since LIMIT %s
                """,
                seconds,
                DUE_MAX,
            )
        )

    async def count_waiting(self) -> int:
        [(count,)] = await self._rows("SELECT count(*) FROM intake_waiting")
        return int(count)

    async def keep(self, step: Step) -> None:
        """A twin that froze cannot take the checkpoint back."""
        payments = [(*name, customer) for name, customer in step.payments.items()]
        waiting = [(one.partition, one.offset, *one.name, one.value) for one in step.waiting]
        async with self._session.transaction(), self._session.pipeline():
            if payments:
                await self._session.execute(
                    "INSERT INTO intake_payments SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[]) "
                    "ON CONFLICT DO NOTHING",
                    _columns(payments, 4),
                )
            if waiting:
                await self._session.execute(
                    "INSERT INTO intake_waiting (partition, kafka_offset, business_id, mode, payment_id, value) "
                    "SELECT * FROM unnest(%s::int[], %s::bigint[], %s::text[], %s::text[], %s::text[], %s::bytea[]) "
                    "ON CONFLICT DO NOTHING",
                    _columns(waiting, 6),
                )
            if step.done:
                await self._session.execute(
                    "DELETE FROM intake_waiting USING unnest(%s::int[], %s::bigint[]) AS d (partition, kafka_offset) "
                    "WHERE intake_waiting.partition = d.partition AND intake_waiting.kafka_offset = d.kafka_offset",
                    _columns([one[:2] for one in step.done], 2),
                )
            if step.next_offsets:
                await self._session.execute(
                    "INSERT INTO intake_checkpoints AS old SELECT * FROM unnest(%s::int[], %s::bigint[]) "
                    "ON CONFLICT (partition) DO UPDATE "
                    "SET next_offset = greatest(old.next_offset, excluded.next_offset)",
                    _columns(list(step.next_offsets.items()), 2),
                )

    @property
    def _session(self) -> AsyncConnection[TupleRow]:
        if self._connection is None:
            raise psycopg.OperationalError("the session is closed")
        return self._connection

    async def _rows(self, query: Any, *parameters: object) -> list[Any]:
        return await (await self._session.execute(query, parameters)).fetchall()


def _columns(rows: Sequence[Sequence[Any]], width: int) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(width)]


def _waiting(rows: Iterable[Any]) -> list[Waiting]:
    return [Waiting(row[0], row[1], Name(*row[2:5]), bytes(row[5])) for row in rows]
