"""Batches of records: understood, joined to their customers, asked of the ledger, and only then checked off."""

import asyncio
import hashlib
import time
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import structlog
from msgspec import UNSET

from events.codec import COMMAND_BYTES_MAX, encode_ask, encode_command
from events.commands import Command, Origin
from events.replies import Outcome, Reply
from services.inbox import Inbox
from services.intake import metrics
from services.intake.table import Name, Step, Table, Waiting
from services.intake.understanding import NotUnderstood, Said, understand
from services.reading import Record

log = structlog.get_logger()

OVERDUE_SECONDS = 5.0
FINAL = {Outcome.APPLIED, Outcome.REFUSED, Outcome.UNCHANGED}


class Ledger(Protocol):
    """Where commands go; each call returns only with every outcome."""

    async def ask(self, commands: Sequence[Command]) -> list[Reply]: ...


class Coffin(Protocol):
    """Keeps a record that is put aside, sealed; returns when Kafka has it."""

    async def bury(self, record: Record, code: str, message: str) -> None: ...


class Joined(NamedTuple):
    """A record that the ledger is asked about."""

    record: Record
    command: Command


class Taking:
    """`mode` and `wait_seconds` are configured: see settings."""

    def __init__(
        self, inbox: Inbox, table: Table, ledger: Ledger, coffin: Coffin, mode: str, wait_seconds: float
    ) -> None:
        self._inbox = inbox
        self._table = table
        self._ledger = ledger
        self._coffin = coffin
        self._mode = mode
        self._wait_seconds = wait_seconds
        self.last_progress = time.monotonic()
        self.next_offsets: dict[int, int] = {}

    async def load(self) -> dict[int, int]:
        """Where to read from, as the table says now."""
        self.next_offsets = await self._table.next_offsets()
        return dict(self.next_offsets)

    async def take_forever(self) -> None:
        """Raises what database and Kafka raise: nothing is checked off then, and the process starts again."""
        looked = -OVERDUE_SECONDS
        while True:
            if time.monotonic() - looked > OVERDUE_SECONDS:
                looked = time.monotonic()
                await self._bury_overdue()
            try:
                async with asyncio.timeout(OVERDUE_SECONDS):
                    records = await self._inbox.take()
            except TimeoutError:
                continue
            with metrics.BATCH_SECONDS.time():
                await self.take(records)
            self.last_progress = time.monotonic()
            metrics.LAST_PROGRESS.set_to_current_time()

    async def take(self, records: Sequence[Record]) -> None:
        """One batch, all of it."""
        said = [(record, one) for record in records if (one := await self._understood(record)) is not None]
        told = {_name(one): one.customer for _, one in said if one.customer and one.payment}
        waiters = await self._table.waiting_for(told) if told else []
        unknown = {_name(one) for _, one in said if not one.customer} - told.keys()
        known = told | (await self._table.customers(unknown) if unknown else {})
        joined, parked = [], []
        for record, one in said:
            customer = one.customer or known.get(_name(one), "")
            if customer:
                joined.append(_joined(record, one, customer))
            else:
                parked.append(Waiting(record.shard, record.offset, _name(one), record.value))
        for waiter in waiters:
            record = Record(waiter.partition, waiter.offset, waiter.value)
            joined.append(_joined(record, understand(waiter.value, self._mode), known[waiter.name]))
        await self._ask(joined)
        next_offsets: dict[int, int] = {}
        for record in records:
            next_offsets[record.shard] = max(record.offset + 1, next_offsets.get(record.shard, 0))
        metrics.RECORDS.labels("parked").inc(len(parked))
        await self._table.keep(Step(next_offsets, told, parked, waiters))
        self.next_offsets |= next_offsets

    async def _understood(self, record: Record) -> Said | None:
        try:
            said = understand(record.value, self._mode)
        except NotUnderstood as error:
            await self._bury(record, error.code, str(error))
            return None
        metrics.TYPES.labels(said.type if said.known else "unknown").inc()
        if said.ask is None:  # it speaks of nobody's wallet: payouts
            metrics.RECORDS.labels("passed").inc()
            return None
        return said

    async def _ask(self, joined: Sequence[Joined]) -> None:
        """What the ledger could not take is put aside by us, too: here it can be sent in again."""
        asked = []
        for one in joined:
            if len(encode_command(one.command)) > COMMAND_BYTES_MAX - 256:
                await self._bury(one.record, "TOO_LARGE", "the command would be too large")
            else:
                asked.append(one)
        replies = await self._ledger.ask([one.command for one in asked]) if asked else []
        for one, reply in zip(asked, replies, strict=True):
            metrics.RECORDS.labels(reply.outcome.value).inc()
            if reply.outcome not in FINAL:
                await self._bury(one.record, reply.code or reply.outcome.value.upper(), "the ledger said no")

    async def _bury_overdue(self) -> None:
        overdue = await self._table.overdue(self._wait_seconds)
        for one in overdue:
            record = Record(one.partition, one.offset, one.value)
            await self._bury(record, "PAYMENT_UNKNOWN", "the payment that it names was not told of in time")
        if overdue:
            await self._table.keep(Step({}, {}, [], overdue))
        metrics.WAITING.set(await self._table.count_waiting())

    async def _bury(self, record: Record, code: str, message: str) -> None:
        await self._coffin.bury(record, code, message)
        metrics.RECORDS.labels("dead_letter").inc()
        metrics.DEAD_LETTERS.labels(code).inc()
        log.warning("dead_letter", partition=record.shard, offset=record.offset, code=code, why=message)


def _name(said: Said) -> Name:
    return Name(said.tenant.business_id, said.tenant.mode, said.payment)


def _joined(record: Record, said: Said, customer: str) -> Joined:
    """The same fact makes the same command, however often and by whichever door it comes."""
    ask = said.ask
    assert ask is not None, "what asks for nothing is passed over"
    identity = "in-" + hashlib.sha256(f"{said.tenant}|{customer}|{said.key}".encode()).hexdigest()[:40]
    command = Command(
        id=identity,
        source="/intake",
        type=ask.TYPE,
        subject=customer,
        businessid=said.tenant.business_id,
        mode=said.tenant.mode,  # type: ignore[arg-type]
        origin=Origin.INTAKE,
        actor="intake",
        correlationid=identity,
        idempotencykey=said.key,
        effectivetime=ask.told.time,
        deadline=UNSET,
        data=encode_ask(ask),
    )
    return Joined(record, command)
