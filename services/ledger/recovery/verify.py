"""Is the store what the topic says, and are its columns, receipts and shard rows what its events say?

Reads on a session of its own, in bites: no worker waits for it.
"""

from collections.abc import Sequence
from typing import Any, LiteralString, NamedTuple
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from events.codec import Malformed, decode_envelope, decode_fact, digest, genesis
from events.envelope import Envelope
from events.facts import FACTS, AnyFact, Movement, WalletCredited
from events.upcasters import UPCASTERS, newest
from services.ledger.batches.receipts import ReceiptKey, ReceiptRow, row_of
from services.reading import BulkReader, Incomplete, Record
from services.sessions import KEEPALIVES, columns
from services.settings import Settings
from services.verifying import Checked, Findings, Kind, Throttle

EVENTS_MAX = 1_000
SESSION = "-c default_transaction_read_only=on -c statement_timeout=60s"

Session = AsyncConnection[TupleRow]

SHARD = "SELECT sequence, head FROM shards WHERE shard = %b"
EVENTS = """
    SELECT sequence, originator_id, originator_version, topic, state FROM stored_events
    WHERE shard = %b AND sequence > %b AND sequence <= %b ORDER BY sequence LIMIT %b
"""
RECEIPTS = """
    SELECT r.stream, r.origin, r.key_hash, r.request_hash, r.shard, r.sequence, r.command_id, r.command_position
    FROM unnest(%b::uuid[], %b::text[], %b::bytea[]) AS k (stream, origin, key_hash)
    JOIN receipts AS r USING (stream, origin, key_hash)
"""
SURPLUS = """
    SELECT r.stream, r.origin, r.key_hash, r.sequence,
        e.sequence IS NULL OR (e.originator_id <> r.stream AND e.topic <> ALL(%b))
        OR position(convert_to('"keyhash":"' || encode(r.key_hash, 'hex') || '"', 'UTF8') IN e.state) = 0
    FROM (SELECT * FROM receipts WHERE (stream, origin, key_hash) > (%b, %b, %b) AND shard = %b AND sequence <= %b
        ORDER BY stream, origin, key_hash LIMIT %b) AS r
    LEFT JOIN stored_events AS e ON e.shard = r.shard AND e.sequence = r.sequence
    ORDER BY r.stream, r.origin, r.key_hash
"""
"""The next receipts, and whether no event carries them: those that events carry are looked up one by one."""


def elsewhere() -> list[str]:
    """Types that stand in a stream of their own, while a receipt stands under its customer. Old types, too."""
    return [name for name in [*FACTS, *UPCASTERS] if FACTS[newest(name)].CATEGORY != "customer"]


class Stored(NamedTuple):
    """One row of the store."""

    sequence: int
    stream: UUID
    version: int
    type: str
    value: bytes


class Books:
    """One shard's events in order, held against each other. Pure."""

    def __init__(self, shard: int, head: bytes, found: Findings) -> None:
        self.shard = shard
        self.head = head
        self.sequence = 0
        self.found = found
        self._balances: dict[tuple[UUID, str], int] = {}
        self._last: ReceiptKey | None = None

    def take(self, row: Stored) -> ReceiptRow | None:
        """Check the next event; the receipt that must be there for it, if it has one."""
        if row.sequence != self.sequence + 1:
            self.found.add(
                Kind.CHAIN, self.sequence + 1, f"the store lacks {row.sequence - self.sequence - 1} events"
            )
        self.sequence, before, self.head = row.sequence, self.head, digest(row.value)
        try:
            envelope = decode_envelope(row.value)
            fact = decode_fact(envelope)
        except Malformed:
            self.found.add(Kind.CHAIN, row.sequence, "the stored bytes are no event")
            return None
        if envelope.previoushash != before.hex():
            self.found.add(Kind.CHAIN, row.sequence, "the event names another predecessor")
        self._check_columns(row, envelope)
        self._check_balance(row, fact)
        receipt = row_of(envelope)
        first, self._last = receipt.key != self._last, receipt.key
        return receipt if first else None

    def _check_columns(self, row: Stored, envelope: Envelope) -> None:
        told = (
            envelope.place,
            envelope.streamversion,
            envelope.type,
            envelope.shard,
            int(envelope.sequence),
        )
        if told != (row.stream, row.version, row.type, self.shard, row.sequence):
            self.found.add(
                Kind.COLUMN, row.sequence, "stream, version, type, shard or sequence are not the event's"
            )

    def _check_balance(self, row: Stored, fact: AnyFact) -> None:
        if not isinstance(fact, Movement):
            return
        wallet = (row.stream, fact.currency)
        moved = fact.amount if isinstance(fact, WalletCredited) else -fact.amount
        fits = (
            fact.balance_before == self._balances.get(wallet, 0)
            and fact.balance_before + moved == fact.balance_after
        )
        if not fits or fact.balance_after < 0:
            self.found.add(Kind.BALANCE, row.sequence, "the balance does not follow from the entries before")
        self._balances[wallet] = fact.balance_after


async def verify_shard(settings: Settings, shard: int, throttle: Throttle) -> Checked:
    """
    Raises:
        psycopg.Error, KafkaError: try again later.
    """
    dsn = settings.store_dsn.get_secret_value()
    async with await AsyncConnection.connect(
        dsn, autocommit=True, options=SESSION, application_name="wallet-ledger verify", **KEEPALIVES
    ) as session:
        found = Findings(shard)
        ((ledger_id,),) = await _rows(session, "SELECT ledger_id FROM ledger")
        ((sequence, head),) = await _rows(session, SHARD, shard)
        books = Books(shard, genesis(str(ledger_id), shard), found)
        await _check_store(session, books, sequence, throttle)
        if (books.sequence, books.head) != (sequence, head):
            found.add(Kind.HEAD, sequence, "the shard row is not that of the last event")
        await _check_receipts(session, found, sequence, throttle)
        try:
            await _check_topic(session, settings, found, sequence, throttle)
        except Incomplete as error:
            found.add(Kind.TOPIC, 0, str(error))
        return Checked(shard, sequence, found.all)


async def _check_store(session: Session, books: Books, until: int, throttle: Throttle) -> None:
    """Chain, columns, balances, and the receipt of each event."""
    while True:
        bite = throttle.bite(EVENTS_MAX)
        rows = [
            Stored(*row) for row in await _rows(session, EVENTS, books.shard, books.sequence, until, bite)
        ]
        if not rows:
            return
        wanted = [receipt for row in rows if (receipt := books.take(row)) is not None]
        keys = columns([receipt.key for receipt in wanted], len(ReceiptKey._fields))
        there = {row.key: row for row in map(ReceiptRow._make, await _rows(session, RECEIPTS, *keys))}
        for receipt in wanted:
            if there.get(receipt.key) != receipt:
                books.found.add(
                    Kind.RECEIPT, receipt.sequence, "the receipt is missing or not that of its event"
                )
        await throttle.took(len(rows))


async def _check_receipts(session: Session, found: Findings, until: int, throttle: Throttle) -> None:
    """None without its event. In the order of their keys: an index by shard would slow each commit."""
    reached: ReceiptKey | None = ReceiptKey(UUID(int=0), "", b"")
    while reached is not None:
        bite = throttle.bite(EVENTS_MAX)
        rows = await _rows(session, SURPLUS, elsewhere(), *reached, found.shard, until, bite)
        for *_, sequence, surplus in rows:
            if surplus:
                found.add(Kind.RECEIPT, sequence, "a receipt that its event does not carry")
        reached = ReceiptKey(*rows[-1][:3]) if rows else None
        await throttle.took(len(rows))


async def _check_topic(
    session: Session, settings: Settings, found: Findings, until: int, throttle: Throttle
) -> None:
    """Each record is the store's bytes at its sequence; the next is the next, or one that was there before."""
    shard, reached = found.shard, 0
    async with BulkReader(settings) as reader:
        ends = await reader.ends([shard])
        async for records in reader.read({shard: 0}, ends, throttle.bite(EVENTS_MAX)):
            told = list(_told(records, found))
            stored = await _stored_values(session, shard, [sequence for sequence, _ in told])
            for sequence, value in told:
                if sequence > reached + 1:
                    found.add(Kind.TOPIC, reached + 1, f"the topic lacks {sequence - reached - 1} events")
                reached = max(reached, sequence)
                if stored.get(sequence) != value:
                    missing = sequence not in stored
                    found.add(
                        Kind.TOPIC, sequence, "the store lacks it" if missing else "store and topic differ"
                    )
            await throttle.took(len(records))
    ((published,),) = await _rows(session, "SELECT published_sequence FROM shards WHERE shard = %b", shard)
    if reached < min(published, until):
        found.add(
            Kind.TOPIC, reached + 1, f"the topic lacks the last {min(published, until) - reached} events"
        )


def _told(records: Sequence[Record], found: Findings) -> Sequence[tuple[int, bytes]]:
    told = []
    for record in records:
        try:
            told.append((int(decode_envelope(record.value).sequence), record.value))
        except Malformed:
            found.add(Kind.TOPIC, 0, f"the record at offset {record.offset} is no event")
    return told


async def _stored_values(session: Session, shard: int, sequences: Sequence[int]) -> dict[int, bytes]:
    query: LiteralString = "SELECT sequence, state FROM stored_events WHERE shard = %b AND sequence = ANY(%b)"
    return dict(await _rows(session, query, shard, list(sequences)))


async def _rows(session: Session, query: LiteralString, *parameters: object) -> list[Any]:
    cursor = session.cursor(binary=True)
    await cursor.execute(query, parameters)
    return await cursor.fetchall()
