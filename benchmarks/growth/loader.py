"""`python -m benchmarks.growth.loader < plan`: customers with a past, decided and committed as a worker does it.

The commands are not read from `ledger.commands`, because nobody sent them. All else is the ledger's own: the decider,
seals, chain, receipts, the fenced commit, the relay's publish. One of several processes, each with shards of its own.
"""

import asyncio
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import cycle

import msgspec
import uvloop
from msgspec import Struct
from msgspec.structs import replace

from benchmarks import backlog
from benchmarks.stage import TENANT
from events.commands import CreditWallet, CustomerAsk, DebitWallet, RegisterCustomer
from events.ids import derived, stream_id, stream_name
from events.sharding import shard_of
from services import runtime
from services.keyring import KeyRing, parse_kek
from services.ledger.batches.admission import Asked
from services.ledger.batches.attempts import Attempts, Declines
from services.ledger.batches.batch import Batch, Configured
from services.ledger.batches.decisions import NOTHING
from services.ledger.batches.receipts import receipt_key
from services.ledger.broker.kafka import KafkaBroker
from services.ledger.ports import CommandRecord, Commit, ShardRow, StoredRow
from services.ledger.store.postgres import PostgresStore
from services.settings import Settings
from services.upstream.people import CULTURES

CUSTOMERS_EACH = 40
"""In one batch, all of one shard: with their entries about as many events as a worker takes at a time."""
CURRENCIES = ("USD", "INR")


class Plan(Struct, frozen=True, kw_only=True):
    """Customers `first` to `last` - 1 of those that live in `shards`."""

    shards: list[int]
    first: int
    last: int
    entries: int


def customer_id(number: int) -> str:
    return derived("cus_", f"grown {number}")


def email(number: int) -> str:
    return f"grown{number}@example.com"


def main() -> None:
    """One line with the events written so far, again and again."""
    plan = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=Plan)
    runtime.settle()
    uvloop.run(Loader(Settings(), plan).run())


class Loader:
    """Decides a batch while the one before is committed and published."""

    def __init__(self, settings: Settings, plan: Plan) -> None:
        self._settings = settings
        self._plan = plan
        self._store = PostgresStore(settings.store_dsn.get_secret_value(), f"growth-{plan.shards[0]}")
        self._broker = KafkaBroker(settings)
        kek = parse_kek(settings.key_encryption_key.get_secret_value())
        self._ring = KeyRing(settings.keys_dsn.get_secret_value(), kek)
        secret = settings.request_hash_secret.get_secret_value().encode()
        self._configured = Configured(frozenset(CURRENCIES), secret)
        self._rows: dict[int, ShardRow] = {}
        self._written = 0

    async def run(self) -> None:
        await self._store.open()
        await self._broker.open()
        claimed = await self._store.claim(self._plan.shards, len(self._plan.shards))
        assert len(claimed) == len(self._plan.shards), "a worker holds some of the shards"
        self._rows = {row.shard: row for row in claimed}
        writing: asyncio.Task[None] | None = None
        for shard, numbers in self._chunks():
            commit = self._decided(shard, numbers)
            if writing is not None:
                await writing
            writing = asyncio.create_task(self._write(shard, commit))
            await asyncio.sleep(0)
        if writing is not None:
            await writing
        await self._store.release(list(self._rows.values()))
        await self._broker.close()
        await self._store.close()

    def _chunks(self) -> Iterator[tuple[int, list[int]]]:
        waiting: dict[int, list[int]] = defaultdict(list)
        for number in range(self._plan.first, self._plan.last):
            shard = shard_of(customer_id(number), self._settings.shards)
            if shard in self._rows:
                waiting[shard].append(number)
                if len(waiting[shard]) == CUSTOMERS_EACH:
                    yield shard, waiting.pop(shard)
        yield from waiting.items()

    def _decided(self, shard: int, numbers: list[int]) -> Commit:
        """The position stays: nothing was read from `ledger.commands`."""
        before = self._rows[shard]
        record = CommandRecord(shard, max(0, before.position), b"")
        streams = {n: stream_id(TENANT, stream_name("customer", customer_id(n))) for n in numbers}
        keys = self._ring.get_or_create(streams.values())
        now = time.time_ns() // 1_000
        batch = Batch(
            self._configured, {shard: before}, {}, NOTHING, Attempts({}, Declines(), now), keys, now
        )
        for number in numbers:
            for place, ask in enumerate(_asks(number, self._plan.entries)):
                command = backlog.command(
                    customer_id(number), ask, answered=False, name=f"grown-{number}-{place}"
                )
                batch.take(Asked(record, command, ask, receipt_key(command, streams[number])))
        commit = batch.commit()
        position = {"position": before.position, "position_command_id": before.position_command_id}
        row = replace(commit.after[0], **position)
        self._rows[shard] = row
        return commit._replace(after=[row])

    async def _write(self, shard: int, commit: Commit) -> None:
        await self._store.commit(commit)
        events: list[StoredRow] = list(commit.events)
        offset = await self._broker.publish(shard, events)
        published = {"published_sequence": events[-1].sequence, "published_offset": offset + len(events) - 1}
        self._rows[shard] = replace(self._rows[shard], **published)
        self._written += len(events)
        print(self._written, flush=True)


def _asks(number: int, entries: int) -> Iterable[CustomerAsk]:
    """A name as the world writes them, a tier, and a past of credits and debits that never go below zero."""
    culture = CULTURES[number % len(CULTURES)]
    first = culture.first[number // 3 % len(culture.first)]
    last = culture.last[number // 7 % len(culture.last)]
    name = f"{culture.pattern.format(first=first, last=last)} {number:06x}"
    yield RegisterCustomer(name=name, email=email(number), metadata={"tier": ("gold", "plain")[number % 2]})
    currencies = cycle(CURRENCIES)
    for place in range(entries):
        currency = next(currencies) if number % 4 == 0 else "USD"
        amount = 1_000 + (number * 31 + place * 17) % 9_000
        if place % 4 == 3 and number % 4:
            yield DebitWallet(currency=currency, amount=amount // 4, reference=f"inv_{number}_{place}")
        else:
            yield CreditWallet(currency=currency, amount=amount, reference=f"pay_{number}_{place}")


if __name__ == "__main__":
    main()
