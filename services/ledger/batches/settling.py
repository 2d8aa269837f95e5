"""From records to the truth: decide a batch, commit it, answer; the next one is decided while this one commits.

Deciding ahead builds on a batch that is not true yet. So nothing of it is stored or said before that batch has become
true exactly as it was decided; else it is decided again.
"""

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import structlog
from msgspec import UNSET

from events.codec import micros
from services.coffin import DeadLetter
from services.keyring import NoKey
from services.ledger import metrics
from services.ledger.batches import admission
from services.ledger.batches.admission import Asked, Bulk, Declined, One, Rejected
from services.ledger.batches.batch import Batch
from services.ledger.batches.decisions import Decisions, Read
from services.ledger.batches.erasing import erasing, erasures, may_erase
from services.ledger.batches.outcomes import Unsure
from services.ledger.failures import KnownKey, NotKept, Unstorable
from services.ledger.ownership import Held
from services.ledger.ports import CommandRecord
from services.ledger.world import World

log = structlog.get_logger()

BATCH_COMMANDS_MAX = 500
CAREFUL_COMMANDS = 1_000
LETTERS_SECONDS = 2.0
AHEAD_MICROS_MAX = 100_000
"""What was decided longer ago is decided again if a deadline has passed since."""


class _Work(NamedTuple):
    """Records and what they ask for, as read at a moment."""

    records: Sequence[CommandRecord]
    read: Read
    now: int


class _Committing(NamedTuple):
    batch: Batch
    task: "asyncio.Task[bool]"


class Settling:
    """One batch at a time is being made true. `awaited`: all answers wait for the topic, so it is never calm."""

    def __init__(self, world: World, decisions: Decisions, shards: int, awaited: bool) -> None:
        self._world = world
        self._decisions = decisions
        self._shards = shards
        self._awaited = awaited
        self._committing: _Committing | None = None
        self.careful()

    def careful(self) -> None:
        """Repeats are likely for a while: receipts are read before deciding."""
        self._careful = CAREFUL_COMMANDS

    async def take(self, records: Sequence[CommandRecord]) -> Sequence[CommandRecord]:
        """Decide what fits into one batch and begin to commit it; the rest."""
        if not (records := self._taken(records)):
            return records
        now = self._world.clock.micros()
        fitting = self._decisions.fitting(self._reading(records, now), BATCH_COMMANDS_MAX)
        work = _Work(records[: len(fitting)], fitting, now)
        doubtful = self._doubtful(work)
        batch = None
        before = self._committing
        if before is not None and not before.task.done() and not doubtful:
            batch = await self._ahead(work, before.batch)
        held = await self.settled()
        if not held or _late(work, self._world.clock.micros()):
            work, batch = self._read(work.records), None
        if not work.records:
            return records[len(fitting) :]
        if batch is None:
            doubtful = self._doubtful(work)
            batch = await self._decide(work, doubtful)
        self._committing = _Committing(batch, asyncio.create_task(self._make_true(batch, work, doubtful)))
        await asyncio.sleep(0)  # the commit is on its way before anything else is done
        return records[len(fitting) :]

    async def settled(self) -> bool:
        """Wait for the batch at hand; whether it became true as it was decided. Raises what its commit raised."""
        committing, self._committing = self._committing, None
        return committing is None or await committing.task

    async def drop(self) -> None:
        """Say nothing more of the batch at hand."""
        if self._committing is not None:
            self._committing.task.cancel()
            await asyncio.gather(self._committing.task, return_exceptions=True)

    def _taken(self, records: Sequence[CommandRecord]) -> Sequence[CommandRecord]:
        """Without those of shards that wait: they are read again."""
        return [one for one in records if not self._world.ownership.waits(one)]

    def _read(self, records: Sequence[CommandRecord]) -> _Work:
        records, now = self._taken(records), self._world.clock.micros()
        return _Work(records, list(self._reading(records, now)), now)

    def _reading(self, records: Sequence[CommandRecord], now: int) -> Iterator[One]:
        available = self._world.relay.available
        return (admission.read(one, self._shards, now, available(one.shard)) for one in records)

    def _doubtful(self, work: _Work) -> bool:
        """Keys are nearly always new: their receipts are read only where they may be known already."""
        return self._careful > 0 or any(_may_be_known(one) for one in work.read)

    async def _ahead(self, work: _Work, on: Batch) -> Batch | None:
        """None where it takes receipts: those of the batch at hand are not stored yet."""
        owned = self._world.ownership.owned
        with contextlib.suppress(Unsure):
            return await self._decisions.decide(work.read, owned, work.now, receipts=False, on=on)
        return None

    async def _decide(self, work: _Work, doubtful: bool) -> Batch:
        owned = self._world.ownership.owned
        with contextlib.suppress(Unsure):
            return await self._decisions.decide(work.read, owned, work.now, doubtful)
        self.careful()
        return await self._decisions.decide(work.read, owned, work.now, receipts=True)

    async def _settle(self, work: _Work, doubtful: bool) -> None:
        if work.records:
            await self._make_true(await self._decide(work, doubtful), work, doubtful)

    async def _make_true(self, batch: Batch, work: _Work, doubtful: bool) -> bool:
        """Commit and answer; whether just this batch.

        Where a key turns out to be known it is done again with receipts read, and so are the next ones, because
        repeats come in company. Where the store refuses the data it is done again by halves.
        """
        self._careful = max(0, self._careful - len(work.records))
        try:
            kept = await self._keep(batch.dead_letters)
            if not kept or not await may_erase(self._world, batch, work.records):
                again = self._read(work.records)
                await self._settle(again, self._doubtful(again))
                return False
            await self._commit(batch)
        except KnownKey:
            if doubtful:
                raise
            self.careful()
            await self._settle(work, doubtful=True)
            return False
        except Unstorable as error:
            await self._split(work, error)
            return False
        await self._finish(batch)
        return True

    async def _keep(self, letters: Sequence[DeadLetter]) -> bool:
        """Dead letters first: the position moves past a record only when it is kept elsewhere.

        Where they cannot be sealed, or Kafka does not take them, their shards wait; for as long nobody else's are tried, for
        each try delays all.
        """
        ownership = self._world.ownership
        unkept = any(held.unkept for held in ownership.held.values())
        if not letters or (not unkept and await self._sent(letters)):
            return True
        first = {letter.shard: Held(letter.offset, unkept=True) for letter in reversed(letters)}
        log.error("dead_letters_not_kept", shards=sorted(first), action="they wait before these records")
        ownership.hold(first, asyncio.get_running_loop().time())
        return False

    async def _sent(self, letters: Sequence[DeadLetter]) -> bool:
        world = self._world
        try:
            sealed = [await world.coffin.seal(letter) for letter in letters]
            async with asyncio.timeout(LETTERS_SECONDS):
                await asyncio.gather(*(world.broker.dead_letter(*one) for one in sealed))
        except NoKey as error:
            log.error("dead_letters_not_sealed", why=str(error))
            return False
        except (NotKept, TimeoutError):
            return False
        for letter in letters:
            metrics.DEAD_LETTERS.labels(letter.code).inc()
        return True

    async def _commit(self, batch: Batch) -> None:
        world = self._world
        commit = batch.commit()
        commit = commit._replace(after=[world.ownership.with_published(row) for row in commit.after])
        if erased := erasures(batch.events):  # first: whoever dies in between is read again
            await world.keys.destroy({event.stream for event in erased})
        with metrics.COMMIT_SECONDS.time():
            await world.store.commit(commit)

    async def _split(self, work: _Work, error: Unstorable) -> None:
        """Find the one that cannot be stored and put it aside; state is untouched, the batch was dropped."""
        metrics.COMMITS_FAILED.labels("Unstorable").inc()
        records = work.records
        if len(records) > 1:
            half = len(records) // 2
            for part in (records[:half], records[half:]):  # whole: a rest put back would come after both
                again = self._read(part)
                await self._settle(again, self._doubtful(again))
            return
        log.error("command_unstorable", shard=records[0].shard, offset=records[0].offset, error=str(error))
        rejected = work._replace(read=[admission.unstorable(records[0])])
        batch = await self._decide(rejected, doubtful=False)
        if await self._keep(batch.dead_letters):
            await self._commit(batch)
            await self._finish(batch)

    async def _finish(self, batch: Batch) -> None:
        """The batch is true now: it may be built on, published and spoken of."""
        world = self._world
        world.ownership.merge(batch.shards)
        self._decisions.merge(batch)
        world.relay.enqueue(batch.events, awaited=batch.awaited or self._awaited)
        metrics.BATCH_COMMANDS.observe(batch.taken)
        for (kind, outcome), count in batch.outcomes.items():
            metrics.COMMANDS.labels(kind, outcome).inc(count)
        for (rule, outcome), count in batch.effects.items():
            metrics.EFFECTS.labels(rule, outcome).inc(count)
        await world.answers.give(batch.answers)


def _late(work: _Work, now: int) -> bool:
    """Whether something that was in time when it was read is not any more."""
    asked = (one.command for one in work.read if isinstance(one, Asked | Bulk))
    return now - work.now > AHEAD_MICROS_MAX and any(
        one.deadline is not UNSET and micros(one.deadline) < now for one in asked
    )


def _may_be_known(one: One) -> bool:
    """A caller's retry, what is read late; and with dead letters the batch should not be done twice.

    What erases never is a guess: a key that a refused command destroyed does not come back.
    """
    return isinstance(one, Declined | Rejected) or one.command.attempt > 0 or erasing(one)
