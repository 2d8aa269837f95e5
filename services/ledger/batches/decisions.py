"""Committed state in memory, and batches decided on it: load what is cold, get the data keys, decide one by one."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from operator import attrgetter
from uuid import UUID

import structlog
from msgspec import UNSET

from events.codec import digest, micros
from events.commands import GRACE_SECONDS, RegisterCustomer
from events.upstream import RecordUpstream
from services.ledger import metrics
from services.ledger.batches import bulk
from services.ledger.batches.admission import Asked, Bulk, Declined, One
from services.ledger.batches.attempts import Attempts, Declines
from services.ledger.batches.batch import Batch, Configured
from services.ledger.batches.cache import Cache
from services.ledger.batches.erasing import erasing
from services.ledger.batches.folding import Folding, HistoryBroken
from services.ledger.batches.receipts import request_hash
from services.ledger.batches.snapshots import SNAPSHOT_EVERY, Snapshot, snapshot
from services.ledger.domain.customer import Customer
from services.ledger.domain.states import State
from services.ledger.ports import Attempt, Loaded, ShardRow, Store
from services.ledger.world import Keys

log = structlog.get_logger()

BATCH_COLD_MAX = 200
BATCH_COLD_OBJECTS_MAX = 1_000
"""Of objects of upstream: most are new, and none has many events."""
RUN_EVENTS_MAX = 10_000
"""Folded while their statement runs, which has 5 s, on a slow host too: what was cut off would be met again for ever."""
DUE_MAX = 1_000
KEPT_AT_ONCE_MAX = 200
ATTEMPT_MICROS = 15 * 60 * 1_000_000
"""For so long a keyless command is remembered, for its caller's own retry."""
_NUMBER = attrgetter("int")  # UUIDs compare in Python
NOTHING = Loaded({}, {}, {})
REGISTERING = (RegisterCustomer, RecordUpstream)
"""After these an unknown customer may be known: he needs a data key."""

Read = Sequence[One]


class Decisions:
    """State of the customers that this worker's shards own, as committed; bounded."""

    def __init__(self, store: Store, keys: Keys, configured: Configured) -> None:
        self._store = store
        self._keys = keys
        self._configured = configured
        self._due: dict[UUID, Snapshot] = {}
        self._declines = Declines()
        self.cache = Cache()

    def fitting(self, reading: Iterable[One], commands_max: int) -> Read:
        """Those that fit into one batch, one at least: its commands and its cold aggregates are bounded.

        What does not fit is not read: a bulk record takes long to decode. An erasure is a batch by itself: the key goes
        before its commit, which must not take along the closing that allowed it, and what comes after has no part in
        its waiting.
        """
        cold: set[UUID] = set()
        cold_objects: set[UUID] = set()
        read: list[One] = []
        commands = 0
        for one in reading:
            asked = commands_of(one)
            commands += len(asked) or 1
            for each in asked:
                own, *objects = each.streams
                if own not in self.cache:
                    cold.add(own)
                cold_objects.update(one_ for one_ in objects if one_ not in self.cache)
            whole = commands <= commands_max and len(cold) <= BATCH_COLD_MAX and not erasing(one)
            if read and not (whole and len(cold_objects) <= BATCH_COLD_OBJECTS_MAX):
                break
            read.append(one)
            if erasing(one):
                break
        return read

    async def decide(
        self, read: Read, owned: Mapping[int, ShardRow], now: int, receipts: bool, on: Batch | None = None
    ) -> Batch:
        """A batch that is not true yet. `receipts`: whether to look for receipts before, at the cost of a read;
        `on`: a batch that is being committed, to be built on as if it were true.

        Raises:
            Unsure: it takes receipts to decide this.
        """
        receipts = receipts or any(isinstance(one, Declined) for one in read)
        asked = await self._answerable(read)
        streams = {stream for one in asked for stream in one.streams}
        states: dict[UUID, State | HistoryBroken] = {
            one: state for one in streams if (state := self._state(one, on)) is not None
        }
        cold = sorted(streams.difference(states), key=_NUMBER)
        loaded = await self._load(cold, asked, now, receipts)
        if cold:
            kinds = {other.place: other.category for one in asked for other in one.others}
            states |= await self._fold(cold, loaded, kinds)
        registering = {one.key.stream for one in asked if isinstance(one.ask, REGISTERING)}
        existing = {
            stream for stream, state in states.items() if isinstance(state, Customer) and state.registered
        }
        data_keys = await self._keys.of(existing, registering - existing)
        shards = owned if on is None else {**owned, **on.shards}
        attempts = Attempts(loaded.attempts, self._declines, now)
        batch = Batch(self._configured, shards, states, loaded, attempts, data_keys, now, sure=receipts)
        for one in read:
            self._take(batch, one, owned, now)
        return batch

    def _take(self, batch: Batch, one: One, owned: Mapping[int, ShardRow], now: int) -> None:
        """Who is declined and has a receipt, in the store or by this very batch, gets its answer."""
        if isinstance(one, Declined):
            asked, otherwise = one
            if not any(batch.prior(each.key) for each in commands_of(asked)):
                self._note_declined(asked, owned[asked.record.shard].sequence, now)
                one = otherwise
            else:  # of a bulk record some entries may be known and others new
                one = asked._replace(otherwise=otherwise) if isinstance(asked, Bulk) else asked
        if isinstance(one, Asked):
            batch.take(one)
        elif isinstance(one, Bulk):
            bulk.take(batch, one)
        else:
            batch.reject(one)

    def forget(self) -> None:
        """Nothing is known any more: shards were handed to others, who change their customers."""
        self.cache = Cache()
        self._due.clear()
        self._keys.forget()

    def merge(self, batch: Batch) -> None:
        """The batch was committed: its state is the state."""
        for stream, state in batch.states.items():
            self.cache.put(stream, state)
        metrics.CACHED_CUSTOMERS.set(len(self.cache))
        metrics.CACHED_BYTES.set(self.cache.bytes)
        due = {event.stream for event in batch.events if event.version % SNAPSHOT_EVERY == 0}
        if due:
            lasts = {event.stream: event.value for event in batch.events if event.stream in due}
            self._note_due(
                snapshot(stream, batch.states[stream], digest(value)) for stream, value in lasts.items()
            )

    async def keep_snapshots(self) -> None:
        """Some of those that are due. What is not kept before this life ends is due again later."""
        kept = list(islice(self._due.values(), KEPT_AT_ONCE_MAX))
        if kept:
            await self._store.keep(kept)
            self._due = {one.stream: one for one in self._due.values() if one not in kept}
            metrics.SNAPSHOTS_KEPT.inc(len(kept))

    def _state(self, stream: UUID, on: Batch | None) -> State | None:
        """Taken now: what is awaited later may push it out of memory."""
        ahead = None if on is None else on.states.get(stream)
        return ahead or self.cache.get(stream)

    async def _answerable(self, read: Read) -> list[Asked]:
        """All but who is declined and has no receipt in the store: a record may be read again after its deadline."""
        declined = [each for one in read if isinstance(one, Declined) for each in commands_of(one.asked)]
        keys = list(dict.fromkeys(each.key for each in declined))
        known = (await self._store.load([], keys, [], 0)).receipts if keys else {}
        asked: list[Asked] = []
        for one in read:
            if not isinstance(one, Declined):
                asked += commands_of(one)
            elif any(each.key in known for each in commands_of(one.asked)):
                asked += commands_of(one.asked)
        return asked

    def _note_declined(self, asked: Asked | Bulk, sequence: int, now: int) -> None:
        """Unless its caller has been told by now that nobody knows: then it is not repeated by itself."""
        command = asked.command
        told = command.deadline is UNSET or now <= micros(command.deadline) + GRACE_SECONDS * 1e6
        if isinstance(asked, Asked) and command.idempotencykey is UNSET and told:
            attempt = Attempt(asked.key.stream, self._hash(asked), command.attempt)
            self._declines.note(attempt, command.id, now, sequence)

    async def _load(self, cold: Sequence[UUID], asked: Sequence[Asked], now: int, receipts: bool) -> Loaded:
        """Snapshots of those not in memory, receipts if asked for, and what keyless retries may repeat."""
        retries = [
            Attempt(one.key.stream, hashed, attempt)
            for one in asked
            if one.command.idempotencykey is UNSET and one.command.attempt
            for hashed in [self._hash(one)]
            for attempt in (one.command.attempt - 1, one.command.attempt)
        ]
        keys = list(dict.fromkeys(one.key for one in asked)) if receipts else []
        if not (cold or keys or retries):
            return NOTHING
        with metrics.LOAD_SECONDS.time():
            return await self._store.load(cold, keys, list(dict.fromkeys(retries)), now - ATTEMPT_MICROS)

    async def _fold(
        self, cold: Sequence[UUID], loaded: Loaded, kinds: Mapping[UUID, str]
    ) -> Mapping[UUID, State | HistoryBroken]:
        """States from snapshots and what came after: one statement for each `RUN_EVENTS_MAX` of them."""
        folding = Folding(cold, loaded.snapshots, kinds)
        with metrics.LOAD_SECONDS.time():
            while wanted := folding.wanted():
                count = await self._store.histories(wanted, RUN_EVENTS_MAX, folding.take)
                folding.end_run(whole=count < RUN_EVENTS_MAX)
                metrics.EVENTS_FOLDED.inc(count)
        metrics.SNAPSHOTS_IGNORED.inc(folding.ignored)
        self._note_due(folding.worth_keeping())
        for stream, state in folding.states.items():
            if stream not in self.cache:  # else a batch was merged meanwhile: what it left is newer
                self.cache.put(stream, state)
        for stream, why in folding.broken.items():
            log.error("history_broken", stream=str(stream), why=str(why))
        return {**folding.states, **folding.broken}

    def _note_due(self, due: Iterable[Snapshot]) -> None:
        for one in due:
            if len(self._due) < DUE_MAX:
                self._due[one.stream] = one

    def _hash(self, asked: Asked) -> str:
        return request_hash(self._configured.request_secret, asked.command, asked.ask)


def commands_of(one: One) -> Sequence[Asked]:
    """What of a record is to be decided."""
    if isinstance(one, Bulk):
        return one.entries
    return (one,) if isinstance(one, Asked) else ()
