"""Are the read models what the events make? Each shard's events are applied again, to temporary tables.

By the very code that applies them live; so what is compared is never a second opinion on what rows should be.
"""

import asyncio
from typing import ClassVar, LiteralString

import psycopg
from psycopg import sql
from sqlalchemy import Table

from services.keyring import KeyRing
from services.projections.applying import SESSION, Applier, ChainBroken
from services.projections.chain import Checkpoint
from services.projections.read_models.tables import READ_MODELS
from services.reading import BulkReader, Incomplete
from services.settings import Settings
from services.verifying import FINDINGS_MAX, Checked, Findings, Kind, Throttle

RECORDS_MAX = 4_000
ROUNDS_MAX = 8
HELD_RECORDS_MAX = 4_000
"""So much is read at full speed in the end, while the database keeps what the read models were for us."""


class Trial(Applier):
    """Temporary tables hide the real ones of the same name from this session's statements."""

    options: ClassVar[str] = (
        f"{SESSION} -c temp_buffers=64MB -c statement_timeout=5min -c idle_in_transaction_session_timeout=60s"
    )
    transaction_timeout: ClassVar[str] = "10min"

    def begin_shard(self, shard: int) -> Checkpoint:
        """Empty tables; the real ones are `public.…`, and here they are now."""
        connection = self.connection()
        for table in READ_MODELS:
            name = sql.Identifier(table.name)
            connection.execute(
                sql.SQL("CREATE TEMPORARY TABLE {} (LIKE public.{} INCLUDING ALL)").format(name, name)
            )
        connection.execute("CREATE TEMPORARY TABLE checkpoints (LIKE public.checkpoints INCLUDING ALL)")
        connection.execute("INSERT INTO checkpoints (shard) VALUES (%s)", [shard])
        self.load()
        return self.live(shard)

    def reached(self, shard: int) -> Checkpoint:
        return self._seen[shard]

    def hold(self, shard: int) -> Checkpoint:
        """From now on the real tables stand still for this session: where they are."""
        connection = self.connection()
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        self.brackets = ("SAVEPOINT batch", "RELEASE SAVEPOINT batch")
        return self.live(shard)

    def live(self, shard: int) -> Checkpoint:
        """How far the real tables are."""
        row = (
            self.connection()
            .execute("SELECT sequence, head, next_offset FROM public.checkpoints WHERE shard = %s", [shard])
            .fetchone()
        )
        assert row is not None, "there is a checkpoint for every shard"
        return Checkpoint(*row)

    def compare(self, shard: int, found: Findings) -> None:
        """Row by row, in both directions; and the sums."""
        connection = self.connection()
        for table in READ_MODELS:
            self._compare_rows(connection, table, "pg_temp", "public", found, "is missing or differs")
            self._compare_rows(connection, table, "public", "pg_temp", found, "is not what its events make")
        self._compare_sums(connection, shard, found)

    def _compare_rows(
        self, connection: psycopg.Connection, table: Table, one: str, other: str, found: Findings, says: str
    ) -> None:
        key = [column.name for column in table.primary_key.columns]
        query = sql.SQL(ONLY_IN_ONE).format(
            key=sql.SQL(", ").join(map(sql.Identifier, key)),
            columns=sql.SQL(", ").join(sql.Identifier(column.name) for column in table.columns),
            one=sql.Identifier(one, table.name),
            other=sql.Identifier(other, table.name),
        )
        for row in connection.execute(query, {"shard": found.shard, "most": FINDINGS_MAX}):
            named = dict(zip(key, row, strict=True))
            place = " ".join(str(value) for name, value in named.items() if name not in ("shard", "sequence"))
            found.add(
                Kind.READ_MODEL, named.get("sequence", 0), f"a row of {table.name} {says} {place}".rstrip()
            )

    def _compare_sums(self, connection: psycopg.Connection, shard: int, found: Findings) -> None:
        for customer, currency in connection.execute(
            WALLETS_AND_ENTRIES, {"shard": shard, "most": FINDINGS_MAX}
        ):
            found.add(
                Kind.BALANCE, 0, f"entries of customer {customer} in {currency} do not add up to the balance"
            )
        for business, mode, currency in connection.execute(TRIAL_BALANCE, {"shard": shard}):
            found.add(
                Kind.TRIAL_BALANCE, 0, f"accounts of {business} ({mode}) in {currency} do not sum to zero"
            )


ONLY_IN_ONE: LiteralString = """
    SELECT {key} FROM (
        SELECT {columns} FROM {one} WHERE shard = %(shard)s EXCEPT
        SELECT {columns} FROM {other} WHERE shard = %(shard)s
    ) AS lone ORDER BY {key} LIMIT %(most)s
"""
WALLETS_AND_ENTRIES = """
    SELECT coalesce(w.customer_id, e.customer_id), coalesce(w.currency, e.currency)
    FROM (SELECT * FROM public.wallets WHERE shard = %(shard)s) AS w
    FULL JOIN (
        SELECT business_id, mode, customer_id, currency,
            sum(CASE WHEN is_credit THEN amount_minor ELSE -amount_minor END) AS total
        FROM public.ledger_entries WHERE shard = %(shard)s GROUP BY 1, 2, 3, 4
    ) AS e USING (business_id, mode, customer_id, currency)
    WHERE w.balance_minor IS DISTINCT FROM e.total
    LIMIT %(most)s
"""
TRIAL_BALANCE = """
    SELECT business_id, mode, currency FROM public.accounts WHERE shard = %(shard)s
    GROUP BY 1, 2, 3 HAVING sum(balance_minor) <> 0
"""


async def verify_shard(settings: Settings, keys: KeyRing, shard: int, throttle: Throttle) -> Checked:
    """
    Raises:
        psycopg.Error, KafkaError: try again later.
    """
    trial, found = Trial(settings.views_dsn.get_secret_value(), keys), Findings(shard)
    try:
        live = await asyncio.to_thread(trial.begin_shard, shard)
        async with BulkReader(settings) as reader:
            for _ in range(ROUNDS_MAX):
                if live.next_offset - trial.reached(shard).next_offset <= HELD_RECORDS_MAX:
                    break
                await _apply(trial, reader, shard, live.next_offset, throttle)
                live = await asyncio.to_thread(trial.live, shard)
            live = await asyncio.to_thread(trial.hold, shard)
            await _apply(trial, reader, shard, live.next_offset, Throttle())
        if trial.reached(shard)[:2] != live[:2]:
            found.add(Kind.HEAD, live.sequence, "the checkpoint is not that of an event in the topic")
        await asyncio.to_thread(trial.compare, shard, found)
        return Checked(shard, live.sequence, found.all)
    except ChainBroken as error:
        for broken in error.breaks:
            found.add(Kind.CHAIN, broken.sequence, broken.reason)
    except Incomplete as error:
        found.add(Kind.TOPIC, 0, str(error))
    finally:
        await asyncio.to_thread(trial.reset)
    return Checked(shard, trial.reached(shard).sequence, found.all)


async def _apply(trial: Trial, reader: BulkReader, shard: int, end: int, throttle: Throttle) -> None:
    starts, ends = {shard: trial.reached(shard).next_offset}, {shard: end}
    async for records in reader.read(starts, ends, throttle.bite(RECORDS_MAX)):
        await asyncio.to_thread(trial.apply, records)
        await throttle.took(len(records))
