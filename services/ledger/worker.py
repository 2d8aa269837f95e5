"""The ledger worker: take shards over, decide what arrives for them, commit, answer, publish.

Its loop is also its heartbeat: a frozen worker stops beating and loses its session, and with it its shards.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Coroutine, Sequence
from typing import Any, Protocol, TypeVar
from uuid import UUID

import structlog
from msgspec import UNSET
from msgspec.structs import replace

from events.codec import decode_envelope, decode_fact, encode_reply
from events.commands import RegisterCustomer
from events.ids import parse_position
from services.ledger import intake, metrics
from services.ledger.batch import Answer, Batch, DeadLetter, Rules
from services.ledger.domain.customer import INITIAL, Customer, fold
from services.ledger.intake import Asked, Rejected
from services.ledger.ports import (
    Attempt,
    Broker,
    Clock,
    CommandRecord,
    KnownKey,
    Loaded,
    ShardRow,
    Store,
    Unstorable,
)
from services.ledger.receipts import request_hash
from services.ledger.relay import Relay

log = structlog.get_logger()
T = TypeVar("T")

BATCH_COMMANDS_MAX = 500
BATCH_COLD_MAX = 200
CACHED_CUSTOMERS_MAX = 200_000
HEARTBEAT_SECONDS = 1.0
ATTEMPT_MICROS = 15 * 60 * 1_000_000
REFUSED_SECONDS = 10.0
UNANSWERED_MAX = 1_000
CAREFUL_BATCHES = 100
PACE_SECONDS = 0.004
FULL_COMMANDS = 100
FLUSH_SECONDS = 5.0
NOTHING = Loaded({}, {}, {})


class Keys(Protocol):
    """Data keys of customers by stream."""

    async def of(self, existing: set[UUID], registering: set[UUID]) -> dict[UUID, bytes]:
        """Keys of existing customers, and keys (made now where there is none) of those being registered."""
        ...

    def forget(self) -> None: ...


class Coffin(Protocol):
    """Seals what could not be taken, for operators."""

    async def seal(self, letter: DeadLetter) -> tuple[bytes, bytes]:
        """Key and value of the record for `ledger.dead-letters`."""
        ...


class Worker:
    """One process; `run` returns after `stop`, and raises when it must be started anew, like a stranger."""

    def __init__(
        self,
        store: Store,
        broker: Broker,
        clock: Clock,
        keys: Keys,
        coffin: Coffin,
        rules: Rules,
        shards: int,
        acknowledge_topic: bool = False,
    ) -> None:
        self._store = store
        self._broker = broker
        self._clock = clock
        self._keys = keys
        self._coffin = coffin
        self._rules = rules
        self._shards = shards
        self._acknowledge_topic = acknowledge_topic
        self._stopping = False
        self.connected = False
        self.worked = False
        self._reset()

    def _reset(self) -> None:
        self.owned: dict[int, ShardRow] = {}
        self.refused: dict[int, float] = {}
        self.skew_seconds = 0.0
        self._customers: OrderedDict[UUID, Customer] = OrderedDict()
        self._inbox: list[CommandRecord] = []
        self._untouched: dict[int, int] = {}
        self._unanswered: set[asyncio.Task[None]] = set()
        self._relay = Relay(self._broker, self._store, self._clock)
        self._beaten = float("-inf")
        self._began = float("-inf")
        self._careful = CAREFUL_BATCHES

    def stop(self) -> None:
        """Finish the batch at hand, publish, hand the shards back."""
        self._stopping = True

    async def run(self) -> None:
        """Own shards and work. Whatever goes wrong: drop state, heads and connections, and raise."""
        self._reset()
        try:
            await self._store.open()
            await self._broker.open()
            self.connected = self.worked = True
            while not self._stopping:
                await self._beat()
                await self._step()
            await self._hand_back()
        finally:
            await self._drop()

    async def _step(self) -> None:
        if self._relay.diverged is not None:
            raise self._relay.diverged
        if not self._inbox:
            self._inbox = await self._broker.fetch(HEARTBEAT_SECONDS / 2, BATCH_COMMANDS_MAX)
            await self._gather()
        if self._inbox:
            records, self._inbox = self._inbox[:BATCH_COMMANDS_MAX], self._inbox[BATCH_COMMANDS_MAX:]
            await self._process(records)

    async def _gather(self) -> None:
        """In a busy moment, wait a little for company: a batch costs about the same for one command as for ten."""
        loop = asyncio.get_running_loop()
        missing = PACE_SECONDS - (loop.time() - self._began)
        if missing > 0 and 0 < len(self._inbox) < FULL_COMMANDS:
            await asyncio.sleep(missing)
            self._inbox += await self._broker.fetch(0, BATCH_COMMANDS_MAX)
        self._began = loop.time()

    # --- owning ---

    async def _beat(self) -> None:
        """Once a second: keep the session, compare clocks, look for free shards."""
        now = asyncio.get_running_loop().time()
        if now - self._beaten < HEARTBEAT_SECONDS:
            return
        self._beaten = now
        rows = [self._with_published(row) for row in self.owned.values()]
        before = self._clock.micros()
        server = await self._store.heartbeat(rows, before - ATTEMPT_MICROS)
        self.skew_seconds = ((before + self._clock.micros()) / 2 - server) / 1e6
        self._relay.observe()
        metrics.CLOCK_SKEW_SECONDS.set(self.skew_seconds)
        metrics.CACHED_CUSTOMERS.set(len(self._customers))
        await self._take_over(now)

    async def _take_over(self, now: float) -> None:
        self.refused = {shard: until for shard, until in self.refused.items() if until > now}
        free = [
            shard for shard in range(self._shards) if shard not in self.owned and shard not in self.refused
        ]
        rows = await self._store.claim(free) if free else []
        if rows:
            taken = await self._beating(self._relay.take_over(rows))
            refused = [row for row in rows if row not in taken]
            if refused:
                await self._store.release(refused)
                self.refused |= {row.shard: now + REFUSED_SECONDS for row in refused}
            self._untouched |= await self._beating(self._starts(taken))
            self.owned.update({row.shard: row for row in taken})
            self._inbox = []
            self._broker.assign(
                {row.shard: row.position + 1 for row in self.owned.values()} | self._untouched
            )
            metrics.TAKEOVERS.inc(len(taken))
            log.info("shards_taken", shards=sorted(row.shard for row in taken))
        metrics.SHARDS_OWNED.set(len(self.owned))
        metrics.SHARDS_REFUSED.set(len(self.refused))

    async def _starts(self, rows: Sequence[ShardRow]) -> dict[int, int]:
        """Where to read on: behind the last command taken, if the log still has that very command there.

        Otherwise from the log's beginning, which is safe: every command has a receipt or is late.
        """
        found = await self._broker.commands_at({row.shard: row.position for row in rows if row.position >= 0})
        begins = await self._broker.commands_begin([row.shard for row in rows])
        starts = {}
        for row in rows:
            value = found.get(row.shard)
            if value is not None and intake.identity(value) == row.position_command_id:
                starts[row.shard] = row.position + 1
                continue
            starts[row.shard] = begins[row.shard]
            if row.position >= 0:
                metrics.POSITIONS_UNVERIFIED.inc()
                log.error("position_unverified", shard=row.shard, action="reading the log from its beginning")
        return starts

    async def _beating(self, work: Coroutine[Any, Any, T]) -> T:
        """Await something long without losing the session."""
        task = asyncio.ensure_future(work)
        try:
            while not (await asyncio.wait({task}, timeout=HEARTBEAT_SECONDS))[0]:
                await self._store.heartbeat([], self._clock.micros() - ATTEMPT_MICROS)
        finally:
            task.cancel()  # nothing of this life may go on in the next
            await asyncio.wait({task})
        return task.result()

    async def _hand_back(self) -> None:
        """The next owner starts where we stopped: published, noted, unlocked."""
        await self._beating(self._relay.flush(FLUSH_SECONDS))
        if self._unanswered:
            await asyncio.wait(self._unanswered, timeout=1.0)
        if self.owned:
            await self._store.release([self._with_published(row) for row in self.owned.values()])
        log.info("shards_handed_back", count=len(self.owned))

    async def _drop(self) -> None:
        for task in self._unanswered:
            task.cancel()
        await self._relay.stop()
        await self._store.close()
        await self._broker.close()
        self._keys.forget()
        self.owned = {}
        self.connected = False
        metrics.SHARDS_OWNED.set(0)

    def _with_published(self, row: ShardRow) -> ShardRow:
        sequence, offset = self._relay.published(row.shard)
        return replace(row, published_sequence=sequence, published_offset=offset)

    # --- one batch ---

    async def _process(self, records: Sequence[CommandRecord]) -> None:
        """Read, load, decide, commit, answer; by halves where the store refuses the data."""
        now = self._clock.micros()
        read = [intake.read(r, self._shards, now, self._relay.available(r.shard)) for r in records]
        fitting = self._fitting(read)
        self._inbox = [*records[fitting:], *self._inbox]
        try:
            batch = await self._decide_and_commit(read[:fitting], now)
        except Unstorable as error:
            await self._split(records[:fitting], now, error)
            return
        self._merge(batch)
        await self._answer(batch)

    async def _decide_and_commit(self, read: Sequence[Asked | Rejected], now: int) -> Batch:
        """Keys are nearly always new: their receipts are read only where they may be known already.

        A key that is known all the same meets its receipt at the commit, which rolls back and is done again with
        receipts read; so are the next batches, because repeats come in company.
        """
        doubtful = self._careful > 0 or any(_may_be_known(one) for one in read)
        self._careful = max(0, self._careful - 1)
        batch = await self._decide(read, now, receipts=doubtful)
        try:
            await self._commit(batch)
        except KnownKey:
            if doubtful:
                raise
            self._careful = CAREFUL_BATCHES
            batch = await self._decide(read, now, receipts=True)
            await self._commit(batch)
        return batch

    def _fitting(self, read: Sequence[Asked | Rejected]) -> int:
        """How many of these fit into one batch: the cold aggregates of a batch are bounded."""
        cold: set[UUID] = set()
        for index, one in enumerate(read):
            if isinstance(one, Asked) and one.key.stream not in self._customers:
                cold.add(one.key.stream)
                if len(cold) > BATCH_COLD_MAX:
                    return index
        return len(read)

    async def _decide(self, read: Sequence[Asked | Rejected], now: int, receipts: bool) -> Batch:
        asked = [one for one in read if isinstance(one, Asked)]
        loaded = await self._load(asked, now, receipts)
        registering = {one.key.stream for one in asked if isinstance(one.ask, RegisterCustomer)}
        existing = {s for one in asked if self._customers.get(s := one.key.stream, INITIAL).registered}
        data_keys = await self._keys.of(existing, registering - existing)
        batch = Batch(self._rules, self.owned, self._customers, loaded, data_keys, now)
        for one in read:
            if isinstance(one, Asked):
                batch.take(one)
            else:
                batch.reject(one)
        return batch

    async def _load(self, asked: Sequence[Asked], now: int, receipts: bool) -> Loaded:
        """Receipts if asked for; histories of those not in memory, folded into the cache at once."""
        cold = [stream for stream in {one.key.stream for one in asked} if stream not in self._customers]
        retries = [
            Attempt(
                one.key.stream, request_hash(self._rules.request_secret, one.command, one.ask), attempt - 1
            )
            for one in asked
            if one.command.idempotencykey is UNSET and (attempt := one.command.attempt)
        ]
        keys = list(dict.fromkeys(one.key for one in asked)) if receipts else []
        if not (cold or keys or retries):
            return NOTHING
        with metrics.LOAD_SECONDS.time():
            loaded = await self._store.load(cold, keys, list(dict.fromkeys(retries)), now - ATTEMPT_MICROS)
        for stream in cold:
            self._customers[stream] = _folded(loaded.histories.get(stream, ()))
        return loaded

    async def _commit(self, batch: Batch) -> None:
        """Dead letters first: the position moves past a record only when it is kept elsewhere."""
        for letter in batch.dead_letters:
            await self._broker.dead_letter(*await self._coffin.seal(letter))
            metrics.DEAD_LETTERS.labels(letter.code).inc()
        commit = batch.commit()
        commit = commit._replace(after=[self._with_published(row) for row in commit.after])
        with metrics.COMMIT_SECONDS.time():
            await self._store.commit(commit)

    async def _split(self, records: Sequence[CommandRecord], now: int, error: Unstorable) -> None:
        """Find the one that cannot be stored and put it aside; state is untouched, the batch was dropped."""
        metrics.COMMITS_FAILED.labels("Unstorable").inc()
        if len(records) > 1:
            half = len(records) // 2
            await self._process(records[:half])
            await self._process(records[half:])
            return
        record = records[0]
        log.error("command_unstorable", shard=record.shard, offset=record.offset, error=str(error))
        rejected = intake.unstorable(record)
        batch = Batch(self._rules, self.owned, self._customers, NOTHING, {}, now)
        batch.reject(rejected)
        await self._commit(batch)
        self._merge(batch)
        await self._answer(batch)

    def _merge(self, batch: Batch) -> None:
        """The batch is true now."""
        self.owned.update(batch.shards)
        for shard in batch.shards:
            self._untouched.pop(shard, None)
        for stream, customer in batch.customers.items():
            self._customers[stream] = customer
            self._customers.move_to_end(stream)
        while len(self._customers) > CACHED_CUSTOMERS_MAX:
            self._customers.popitem(last=False)
        self._relay.enqueue(batch.events)
        metrics.BATCH_COMMANDS.observe(batch.taken)
        for (kind, outcome), count in batch.outcomes.items():
            metrics.COMMANDS.labels(kind, outcome).inc(count)

    async def _answer(self, batch: Batch) -> None:
        positions = self._unpublished(batch.answers) if self._acknowledge_topic else {}
        if not positions:
            self._send(batch.answers)
            return
        task = asyncio.create_task(self._answer_when_published(positions, batch.answers))
        self._unanswered.add(task)
        task.add_done_callback(self._unanswered.discard)
        if len(self._unanswered) > UNANSWERED_MAX:
            await asyncio.wait(
                self._unanswered, return_when=asyncio.FIRST_COMPLETED, timeout=HEARTBEAT_SECONDS
            )

    def _unpublished(self, answers: Sequence[Answer]) -> dict[int, int]:
        """What these answers speak of and the topic lacks: a repeated answer speaks of its event, too."""
        positions: dict[int, int] = {}
        for answer in answers:
            if answer.reply.position:
                shard, sequence = parse_position(answer.reply.position)
                if sequence > self._relay.published(shard)[0]:
                    positions[shard] = max(sequence, positions.get(shard, 0))
        return positions

    async def _answer_when_published(self, positions: dict[int, int], answers: Sequence[Answer]) -> None:
        await self._relay.wait_published(positions)
        self._send(answers)

    def _send(self, answers: Sequence[Answer]) -> None:
        for answer in answers:
            self._broker.reply(int(answer.to.partition("/")[0]), encode_reply(answer.reply))


def _may_be_known(one: Asked | Rejected) -> bool:
    """A caller's retry; and with dead letters the batch should not be done twice."""
    return isinstance(one, Rejected) or one.command.attempt > 0


def _folded(history: Sequence[bytes]) -> Customer:
    envelopes = [decode_envelope(value) for value in history]
    return fold((decode_fact(envelope), envelope.time) for envelope in envelopes)
