"""Intake's own memory: how far it is, whose each payment is, and what waits for its payment."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from services.intake.session import Session
from services.sessions import columns

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


_REMEMBER = """
    INSERT INTO intake_payments SELECT * FROM unnest(%b::text[], %b::text[], %b::text[], %b::text[])
    ON CONFLICT DO NOTHING
"""
_PARK = """
    INSERT INTO intake_waiting (partition, kafka_offset, business_id, mode, payment_id, value)
    SELECT * FROM unnest(%b::int[], %b::bigint[], %b::text[], %b::text[], %b::text[], %b::bytea[])
    ON CONFLICT DO NOTHING
"""
_BEGIN_AGAIN = """
    WITH anew AS (
        UPDATE intake_checkpoints AS c SET next_offset = 0
        FROM unnest(%b::int[], %b::bigint[]) AS k (partition, next_offset)
        WHERE c.partition = k.partition AND c.next_offset = k.next_offset
        RETURNING c.partition
    )
    UPDATE intake_waiting SET kafka_offset = kafka_offset
        + ((SELECT 1 + coalesce(max(kafka_offset >> 44), 0) FROM intake_waiting) << 44)
    FROM anew WHERE intake_waiting.partition = anew.partition AND kafka_offset < (1::bigint << 44)
"""
"""What waits goes to offsets that no record has, and none that waits already: others will have those where it was found."""
_CHECK_OFF = """
    WITH done AS (
        DELETE FROM intake_waiting USING unnest(%b::int[], %b::bigint[]) AS d (partition, kafka_offset)
        WHERE intake_waiting.partition = d.partition AND intake_waiting.kafka_offset = d.kafka_offset
    )
    INSERT INTO intake_checkpoints AS old SELECT * FROM unnest(%b::int[], %b::bigint[])
    ON CONFLICT (partition) DO UPDATE SET next_offset = greatest(old.next_offset, excluded.next_offset)
"""


class Table(Session):
    """One connection; each call is one statement, so that two may be made at a time. After an error the process ends."""

    name = "wallet-ledger intake"

    async def next_offsets(self) -> dict[int, int]:
        """Where to read from, by partition; 0 where nothing was read yet."""
        rows = await self._rows("SELECT partition, next_offset FROM intake_checkpoints")
        return dict(rows)

    async def begin_again(self, next_offsets: Mapping[int, int]) -> None:
        """Partitions that were made anew, where nobody has gone on from what was seen of them."""
        await self._session.execute(_BEGIN_AGAIN, columns(list(next_offsets.items()), 2))

    async def customers(self, names: Iterable[Name]) -> dict[Name, str]:
        """Whose these payments are, as far as that is known."""
        rows = await self._rows(
            """
            SELECT business_id, mode, payment_id, customer_id
            FROM unnest(%s::text[], %s::text[], %s::text[]) AS k (business_id, mode, payment_id)
            JOIN intake_payments USING (business_id, mode, payment_id)
            """,
            *columns(list(names), 3),
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
                *columns(list(names), 3),
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

    async def remember(self, payments: Mapping[Name, str]) -> None:
        """Whose they are, where that is not known yet. Before a batch is asked: the next one is joined while it is."""
        told = [(*name, customer) for name, customer in sorted(payments.items())]  # two processes, one order
        await self._session.execute(_REMEMBER, columns(told, 4))

    async def park(self, waiting: Sequence[Waiting]) -> None:
        """Kept until their payments are told of."""
        parked = [(one.partition, one.offset, *one.name, one.value) for one in waiting]
        await self._session.execute(_PARK, columns(parked, 6))

    async def check_off(self, next_offsets: Mapping[int, int], done: Sequence[Waiting]) -> None:
        """What was decided. A twin that froze cannot take the checkpoint back."""
        places = [one[:2] for one in done]
        await self._session.execute(
            _CHECK_OFF, [*columns(places, 2), *columns(list(next_offsets.items()), 2)]
        )

    async def _rows(self, query: Any, *parameters: object) -> list[Any]:
        return await (await self._session.execute(query, parameters)).fetchall()


def _waiting(rows: Iterable[Any]) -> list[Waiting]:
    return [Waiting(row[0], row[1], Name(*row[2:5]), bytes(row[5])) for row in rows]
