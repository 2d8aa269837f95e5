"""The ledger worker: take shards over, decide what arrives for them, commit, answer, publish.

Its loop is also its heartbeat: a frozen worker stops beating and loses its session, and with it its shards.
"""

import asyncio
from collections.abc import Collection, Coroutine, Iterable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

import structlog

from services.ledger import intake, metrics
from services.ledger.answers import Answers
from services.ledger.batch import Batch, Rules
from services.ledger.beating import ATTEMPT_MICROS, HEARTBEAT_SECONDS, beating
from services.ledger.decisions import Decisions, Keys, One, Read
from services.ledger.intake import Rejected
from services.ledger.outcomes import DeadLetter
from services.ledger.ownership import Ownership
from services.ledger.ports import Broker, Clock, CommandRecord, KnownKey, Store, Unstorable
from services.ledger.relay import Relay
from services.pace import Pace

log = structlog.get_logger()
T = TypeVar("T")

BATCH_COMMANDS_MAX = 500
CAREFUL_BATCHES = 100
PACE_SECONDS = 0.005
"""A batch costs about the same for one command as for ten."""
FLUSH_SECONDS = 5.0
SURPLUS_SECONDS = 1.0  # so long a hand-over may keep the other shards waiting


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
        """A new life: nothing of an earlier one is believed."""
        self._relay = Relay(self._broker, self._store, self._clock)
        self._ownership = Ownership(self._store, self._broker, self._relay, self._shards, self._beating)
        self._decisions = Decisions(self._store, self._keys, self._rules)
        self._answers = Answers(self._broker, self._relay, self._acknowledge_topic)
        self._inbox: list[CommandRecord] = []
        self._beaten = float("-inf")
        self._pace = Pace(PACE_SECONDS)
        self._careful = CAREFUL_BATCHES
        self.skew_seconds = 0.0

    @property
    def owned(self) -> set[int]:
        """The shards this worker holds."""
        return set(self._ownership.owned)

    @property
    def refused(self) -> set[int]:
        """Free shards that it does not take: topic and store differ."""
        return set(self._ownership.refused)

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
            await self._store.leave()
            await self._hand_back(sorted(self.owned), FLUSH_SECONDS)
        finally:
            await self._drop()

    async def _step(self) -> None:
        if self._relay.diverged is not None:
            raise self._relay.diverged
        if not self._inbox:
            await self._pace.turn()
            patience = self._ownership.patience(asyncio.get_running_loop().time())
            self._inbox = await self._broker.fetch(min(patience, HEARTBEAT_SECONDS / 2), BATCH_COMMANDS_MAX)
        if self._inbox:
            records, self._inbox = self._inbox[:BATCH_COMMANDS_MAX], self._inbox[BATCH_COMMANDS_MAX:]
            await self._process(records)

    async def _beat(self) -> None:
        """Once a second: keep the session, compare clocks. Then, and in between where it is due: share with others."""
        now = asyncio.get_running_loop().time()
        if now - self._beaten >= HEARTBEAT_SECONDS:
            self._beaten = now
            before = self._clock.micros()
            server = await self._ownership.heartbeat(before - ATTEMPT_MICROS)
            self.skew_seconds = ((before + self._clock.micros()) / 2 - server) / 1e6
            metrics.CLOCK_SKEW_SECONDS.set(self.skew_seconds)
            self._relay.observe()
            await self._decisions.keep_snapshots()
        elif self._ownership.patience(now) > 0:
            return
        if surplus := await self._ownership.look(now):
            await self._hand_back(surplus, SURPLUS_SECONDS)
        elif await self._ownership.take_free(now):
            self._inbox = []  # everything is read on from where the shard rows say
            self._careful = CAREFUL_BATCHES  # who waited for the owner before asks again

    async def _beating(self, work: Coroutine[Any, Any, T]) -> T:
        """Await something long without losing the session."""
        return await beating(lambda: self._ownership.heartbeat(self._clock.micros() - ATTEMPT_MICROS), work)

    async def _hand_back(self, shards: Collection[int], flush_seconds: float) -> None:
        """Between two batches. The next owner starts where we stopped: published, noted, unlocked.

        What cannot be published stays, unless this worker leaves: then it is the next owner's.
        """
        self._ownership.stop_reading(shards)
        self._inbox = []
        published = await self._beating(self._relay.flush(shards, flush_seconds))
        await self._answers.settle()
        await self._ownership.give_back(shards if self._stopping else published)
        self._relay.forget(published)
        self._decisions.forget()

    async def _drop(self) -> None:
        self._answers.drop()
        await self._relay.stop()
        await self._store.close()
        await self._broker.close()
        self._decisions.forget()
        self._ownership.owned.clear()
        self.connected = False
        metrics.SHARDS_OWNED.set(0)

    async def _process(self, records: Sequence[CommandRecord]) -> None:
        """What fits into one batch; the rest goes back to the front of the inbox."""
        now = self._clock.micros()
        read = self._decisions.fitting(self._reading(records, now), BATCH_COMMANDS_MAX)
        self._inbox = [*records[len(read) :], *self._inbox]
        await self._settle(records[: len(read)], read, now)

    def _reading(self, records: Iterable[CommandRecord], now: int) -> Iterator[One]:
        return (intake.read(r, self._shards, now, self._relay.available(r.shard)) for r in records)

    async def _settle(self, records: Sequence[CommandRecord], read: Read, now: int) -> None:
        """Decide, commit, answer all of these, in order; by halves where the store refuses the data."""
        try:
            batch = await self._decide_and_commit(read, now)
        except Unstorable as error:
            await self._split(records, now, error)
            return
        await self._finish(batch)

    async def _decide_and_commit(self, read: Read, now: int) -> Batch:
        """Keys are nearly always new: their receipts are read only where they may be known already.

        A key that is known all the same meets its receipt at the commit, which rolls back and is done again with
        receipts read; so are the next batches, because repeats come in company.
        """
        doubtful = self._careful > 0 or any(_may_be_known(one) for one in read)
        self._careful = max(0, self._careful - 1)
        batch = await self._decisions.decide(read, self._ownership.owned, now, receipts=doubtful)
        try:
            await self._commit(batch)
        except KnownKey:
            if doubtful:
                raise
            self._careful = CAREFUL_BATCHES
            batch = await self._decisions.decide(read, self._ownership.owned, now, receipts=True)
            await self._commit(batch)
        return batch

    async def _commit(self, batch: Batch) -> None:
        """Dead letters first: the position moves past a record only when it is kept elsewhere."""
        for letter in batch.dead_letters:
            await self._broker.dead_letter(*await self._coffin.seal(letter))
            metrics.DEAD_LETTERS.labels(letter.code).inc()
        commit = batch.commit()
        commit = commit._replace(after=[self._ownership.with_published(row) for row in commit.after])
        with metrics.COMMIT_SECONDS.time():
            await self._store.commit(commit)

    async def _split(self, records: Sequence[CommandRecord], now: int, error: Unstorable) -> None:
        """Find the one that cannot be stored and put it aside; state is untouched, the batch was dropped."""
        metrics.COMMITS_FAILED.labels("Unstorable").inc()
        if len(records) > 1:
            half = len(records) // 2
            for part in (records[:half], records[half:]):  # whole: a rest put back would come after both
                again = self._clock.micros()
                await self._settle(part, list(self._reading(part, again)), again)
            return
        log.error("command_unstorable", shard=records[0].shard, offset=records[0].offset, error=str(error))
        rejected = intake.unstorable(records[0])
        batch = await self._decisions.decide([rejected], self._ownership.owned, now, receipts=False)
        await self._commit(batch)
        await self._finish(batch)

    async def _finish(self, batch: Batch) -> None:
        """The batch is true now: it may be built on, published and spoken of."""
        self._ownership.merge(batch.shards)
        self._decisions.merge(batch)
        self._relay.enqueue(batch.events, awaited=batch.awaited or self._acknowledge_topic)
        metrics.BATCH_COMMANDS.observe(batch.taken)
        for (kind, outcome), count in batch.outcomes.items():
            metrics.COMMANDS.labels(kind, outcome).inc(count)
        await self._answers.give(batch.answers)


def _may_be_known(one: One) -> bool:
    """A caller's retry; and with dead letters the batch should not be done twice."""
    return isinstance(one, Rejected) or one.command.attempt > 0
