"""Batches of records: understood, joined to their customers, asked of the ledger, and only then checked off."""

import asyncio
import time
from collections.abc import Callable, Collection, Sequence
from typing import Protocol

import structlog
from aiokafka.errors import KafkaError

from events.codec import COMMAND_BYTES_MAX
from services.ends import Ends
from services.inbox import Inbox
from services.intake import metrics
from services.intake.joining import Joined, is_moved, join, name_of, payments_of
from services.intake.record import NotUnderstood
from services.intake.settling import Batch, Settling
from services.intake.table import Name, Table, Waiting
from services.intake.together import Ledger
from services.intake.understanding import Said, understand
from services.reading import Record

log = structlog.get_logger()

OVERDUE_SECONDS = 5.0
DATA_BYTES_MAX = COMMAND_BYTES_MAX - 4 * 1024
"""The attributes of a command have room beside it."""


Clock = Callable[[], int]
"""Microseconds since 1970."""


class Coffin(Protocol):
    """Keeps a record that is put aside, sealed; returns when Kafka has it."""

    async def bury(self, record: Record, code: str, message: str) -> None: ...


class Taking:
    """`mode` and `wait_seconds` are configured: see settings."""

    def __init__(
        self,
        inbox: Inbox,
        table: Table,
        ledger: Ledger,
        coffin: Coffin,
        mode: str,
        wait_seconds: float,
        micros: Clock,
    ) -> None:
        self._inbox = inbox
        self._table = table
        self._coffin = coffin
        self._mode = mode
        self._wait_seconds = wait_seconds
        self._micros = micros
        self._settling = Settling(table, ledger, self._bury)

    @property
    def next_offsets(self) -> dict[int, int]:
        """Up to where each partition is checked off."""
        return self._settling.next_offsets

    @property
    def last_progress(self) -> float:
        """When something was checked off last."""
        return self._settling.last_progress

    def late(self) -> dict[int, int]:
        """How many facts have no outcome, of the shards that give none."""
        return self._settling.late()

    def stands(self) -> bool:
        """Whether nothing can be taken until there are outcomes."""
        return self._settling.stands()

    async def load(self, ends: Ends) -> dict[int, int]:
        """Where to read from, as the table says now; a partition that is shorter than that was made anew, and is read from
        its beginning. Kept, the old number would hide what is read until it is reached, and skip it after a restart."""
        found = await self._table.next_offsets()
        reached = await _reached(ends, found)
        beyond = {one: place for one, place in found.items() if place > reached.get(one, place)}
        if beyond:
            log.warning(
                "checkpoint_beyond_end", next_offsets=beyond, ends={one: reached[one] for one in beyond}
            )
            await self._table.begin_again(beyond)
        self._settling.go_on_from(found | dict.fromkeys(beyond, 0))
        return dict(self.next_offsets)

    async def work_forever(self) -> None:
        """Raises what database and Kafka raise: nothing is checked off then, and the process starts again."""
        await asyncio.gather(self._take_forever(), self._settling.settle_forever())

    async def _take_forever(self) -> None:
        looked = -OVERDUE_SECONDS
        while True:
            if time.monotonic() - looked > OVERDUE_SECONDS:
                looked = time.monotonic()
                await self._settle_overdue()
            try:
                async with asyncio.timeout(OVERDUE_SECONDS):
                    records = await self._inbox.take()
            except TimeoutError:
                continue
            await self._settling.begin(await self._join(records))

    async def _join(self, records: Sequence[Record]) -> Batch:
        """Whose payments these are is remembered before they are asked: the next batch may need it."""
        began = time.monotonic()
        understood = [
            (record, one)
            for record in records
            if (one := await self._understood(record, self._mode)) is not None
        ]
        said = [(record, one) for record, one in understood if one.ask is not None]
        metrics.count(metrics.TYPES, (one.type if one.known else "unknown" for _, one in understood))
        metrics.RECORDS.labels("passed").inc(len(understood) - len(said))  # nobody's wallet: payouts
        told = payments_of(one for _, one in said)
        if told:
            await self._table.remember(told)
        waiters = await self._table.waiting_for(told) if told else []
        named = {name_of(one) for _, one in said if one.payment}
        known = await self._table.customers(named) if named else {}
        joined: list[Joined] = []
        parked: list[Waiting] = []
        for record, one in said:
            owner = known.get(name_of(one), "")
            if is_moved(one, owner):
                await self._bury(
                    record, "CUSTOMER_CHANGED", "its payment was told of another customer before"
                )
            elif customer := one.customer or owner:
                joined.append(join(record, one, customer))
            else:
                parked.append(Waiting(record.shard, record.offset, name_of(one), record.value))
        known |= await self._park(parked) if parked else {}
        waiters += [one for one in parked if one.name in known]
        for waiter in waiters:
            joined += await self._parked(waiter, known[waiter.name])
        return Batch(await self._fitting(joined), _behind(records), waiters, began)

    async def _park(self, parked: Sequence[Waiting]) -> dict[Name, str]:
        """Whose their payments are after all: another process, which has told of them since we looked, may have looked for
        what waits before these did."""
        metrics.RECORDS.labels("parked").inc(len(parked))
        await self._table.park(parked)
        return await self._table.customers({one.name for one in parked})

    async def _understood(self, record: Record, mode: str) -> Said | None:
        try:
            return understand(record.value, mode, self._micros())
        except NotUnderstood as error:
            await self._bury(record, error.code, str(error))
            return None

    async def _parked(self, waiting: Waiting, customer: str) -> list[Joined]:
        """Under the mode that it was parked under; nothing, where a newer release does not understand it any more."""
        record = Record(waiting.partition, waiting.offset, waiting.value)
        said = await self._understood(record, waiting.name.mode)
        return [] if said is None else [join(record, said, customer)._replace(waiting=waiting)]

    async def _fitting(self, joined: Sequence[Joined]) -> list[Joined]:
        """What the ledger could not take is put aside by us, too: here it can be sent in again."""
        fitting = []
        for one in joined:
            if len(one.command.data) > DATA_BYTES_MAX:
                await self._bury(one.record, "TOO_LARGE", "the command would be too large")
            else:
                fitting.append(one)
        return fitting

    async def _settle_overdue(self) -> None:
        """What a process parked before it died was read again, and may have found its payment then."""
        found = await self._table.overdue(self._wait_seconds)
        overdue = [one for one in found if one[:2] not in self._settling.leaving]
        self._settling.leaving.update(one[:2] for one in overdue)
        known = await self._table.customers({one.name for one in overdue}) if overdue else {}
        joined: list[Joined] = []
        for one in overdue:
            if one.name in known:
                joined += await self._parked(one, known[one.name])
                continue
            record = Record(one.partition, one.offset, one.value)
            await self._bury(record, "PAYMENT_UNKNOWN", "the payment that it names was not told of in time")
        if overdue:
            fitting = await self._fitting(joined)
            await self._settling.begin(Batch(fitting, {}, overdue, time.monotonic()))
        metrics.WAITING.set(await self._table.count_waiting())

    async def _bury(self, record: Record, code: str, message: str) -> None:
        await self._coffin.bury(record, code, message)
        metrics.RECORDS.labels("dead_letter").inc()
        metrics.DEAD_LETTERS.labels(code).inc()
        log.warning("dead_letter", partition=record.shard, offset=record.offset, code=code, why=message)


async def _reached(ends: Ends, partitions: Collection[int]) -> dict[int, int]:
    """Where they end, as far as somebody says it. Of the others the watch sees it when there is an answer."""
    try:
        return (await ends.seen(partitions)).ends
    except (KafkaError, TimeoutError):
        return {}
    finally:
        await ends.close()  # it is long until they are asked for again


def _behind(records: Sequence[Record]) -> dict[int, int]:
    """The offset behind the last of them, by partition."""
    next_offsets: dict[int, int] = {}
    for record in records:
        next_offsets[record.shard] = max(record.offset + 1, next_offsets.get(record.shard, 0))
    return next_offsets
