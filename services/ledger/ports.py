"""What the worker needs from the world: a broker, a store, a clock. Real ones and simulated ones pass the same suite."""

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from typing import NamedTuple, Protocol
from uuid import UUID

from msgspec import Struct

from services.ledger.batches.receipts import Receipt, ReceiptKey, ReceiptRow
from services.ledger.batches.snapshots import Snapshot


class CommandRecord(NamedTuple):
    """A record of `ledger.commands` as found."""

    shard: int
    offset: int
    value: bytes


class ShardRow(Struct, frozen=True):
    """One row of `shards`: the fence. `position` is the offset of the last command taken, -1 before the first."""

    shard: int
    epoch: int
    position: int
    position_command_id: str
    sequence: int
    head: bytes
    last_time: int
    published_sequence: int
    published_offset: int


class StoredRow(NamedTuple):
    """One event as stored; `key` is the customer id, for publishing."""

    stream: UUID
    version: int
    type: str
    value: bytes
    shard: int
    sequence: int
    key: bytes


class Attempt(NamedTuple):
    """A keyless command's print, so that the caller's automatic retry can be matched once."""

    stream: UUID
    request_hash: str
    attempt: int


class Tried(NamedTuple):
    """A keyless command and what it was answered with: its own event, or that of the command it repeated."""

    command_id: str
    receipt: Receipt


class AttemptRow(NamedTuple):
    """An event was the answer to this attempt, once per attempt. `recorded` in microseconds since 1970."""

    shard: int
    sequence: int
    stream: UUID
    request_hash: str
    attempt: int
    recorded: int
    command_id: str


class Loaded(NamedTuple):
    """What a batch needs from the store: snapshots of cold streams, receipts, earlier keyless attempts."""

    snapshots: Mapping[UUID, Snapshot]
    receipts: Mapping[ReceiptKey, Receipt]
    attempts: Mapping[Attempt, Sequence[Tried]]


class Commit(NamedTuple):
    """One transaction: shard rows by compare-and-set from `before` to `after`, then events, receipts, attempts."""

    before: Sequence[ShardRow]
    after: Sequence[ShardRow]
    events: Sequence[StoredRow]
    receipts: Sequence[ReceiptRow]
    attempts: Sequence[AttemptRow]


class Peers(NamedTuple):
    """The live workers as one of them sees them: how many, its place among them, shards that only others refuse."""

    live: int
    place: int
    refused: frozenset[int]


class Clock(Protocol):
    """The only source of time."""

    def micros(self) -> int:
        """Microseconds since 1970, UTC."""
        ...


class Store(Protocol):
    """One connection: the session that holds the advisory locks is the session that commits."""

    async def open(self) -> None:
        """Connect and check the server. Raises WrongStore."""
        ...

    async def claim(self, shards: Sequence[int], most: int) -> list[ShardRow]:
        """Elect (advisory lock) and fence (epoch + 1) those that are free, at most so many; their rows."""
        ...

    async def release(self, rows: Sequence[ShardRow]) -> None:
        """Hand shards back: note what was published, then unlock."""
        ...

    async def heartbeat(self, rows: Sequence[ShardRow], refused: Collection[int], forget_before: int) -> int:
        """Keep the session alive and this worker known, note what was published, forget keyless attempts before.

        Returns the server's clock in microseconds.
        """
        ...

    async def peers(self) -> Peers:
        """Who is there: a worker is from its first heartbeat to the end of its session."""
        ...

    async def leave(self) -> None:
        """This worker wants no share any more; it keeps the shards that it holds until it releases them."""
        ...

    async def load(
        self, streams: Sequence[UUID], keys: Sequence[ReceiptKey], attempts: Sequence[Attempt], since: int
    ) -> Loaded:
        """A fixed number of statements, however many are asked for. Attempts older than `since` do not count."""
        ...

    async def histories(
        self, starts: Mapping[UUID, int], limit: int, take: Callable[[UUID, int, bytes], None]
    ) -> int:
        """Committed events of streams from these versions on, each stream in order; the number of them.

        Fewer than `limit`: it was all. `take` gets each as (stream, version, value), perhaps in another thread.
        """
        ...

    async def keep(self, snapshots: Sequence[Snapshot]) -> None:
        """Of committed state only, each instead of the stream's last one."""
        ...

    async def commit(self, commit: Commit) -> None:
        """Raises OwnershipLost; Unstorable and KnownKey (rolled back); anything else: outcome unknown."""
        ...

    async def events_after(self, shard: int, sequence: int, limit: int) -> list[StoredRow]:
        """Committed events of a shard in order, from `sequence` + 1. Raises Damaged."""
        ...

    async def close(self) -> None:
        """Give up the session, and with it all locks."""
        ...


class Broker(Protocol):
    """Kafka as the worker uses it: no consumer group, no offset of its own."""

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def leaderless(self, shards: Collection[int]) -> set[int]:
        """Those whose commands or events have no leader now: to ask for them only takes time."""
        ...

    async def commands_at(self, positions: Mapping[int, int]) -> dict[int, bytes]:
        """The value at each shard's offset; absent where the log has no such record."""
        ...

    async def commands_begin(self, shards: Sequence[int]) -> dict[int, int]:
        """First offset that each shard's log still has."""
        ...

    def assign(self, next_offsets: Mapping[int, int]) -> None:
        """Read these shards from these offsets, and no others."""
        ...

    async def fetch(self, timeout_seconds: float, records_max: int) -> list[CommandRecord]:
        """What has arrived, in order within each shard; empty after the time-out."""
        ...

    def reply(self, partition: int, value: bytes) -> None:
        """Hand over a reply; it may be lost, never reordered before the commit it speaks of."""
        ...

    async def dead_letter(self, key: bytes, value: bytes) -> None:
        """Returns when Kafka has it. Raises NotKept."""
        ...

    async def publish(self, shard: int, events: Sequence[StoredRow]) -> int:
        """Append to `ledger.events` as one batch, acknowledged by all replicas; the first offset."""
        ...

    async def renew_publisher(self) -> None:
        """Throw the publishing producer and all it has queued away, and start a new one."""
        ...

    def events_from(
        self, offsets: Mapping[int, int], unwanted: Collection[int] = ()
    ) -> AsyncIterator[tuple[int, int, bytes]]:
        """(shard, offset, value) of `ledger.events` from these offsets to the ends known at the call.

        Shards that the caller adds to `unwanted` meanwhile are read no further.
        """
        ...
