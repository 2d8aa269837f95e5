"""PostgreSQL in memory: one database, sessions that hold locks, and the promises of `ports.Store`."""

import asyncio
import contextlib
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from contextvars import Context
from operator import attrgetter
from uuid import UUID

from msgspec.structs import replace

from events.codec import Malformed, decode_envelope, genesis
from services.ledger.batches.receipts import Receipt, ReceiptKey, ReceiptRow
from services.ledger.batches.snapshots import Snapshot
from services.ledger.failures import Damaged, KnownKey, OwnershipLost, Unstorable
from services.ledger.ports import Attempt, AttemptRow, Commit, Loaded, Peers, ShardRow, StoredRow, Tried
from tests.fakes.gate import Gate
from tests.fakes.simulation import START_MICROS

LEASE_SECONDS = 4.0


class SessionLost(Exception):
    """The server ended the session, or the wire is cut: as psycopg.OperationalError."""


class Conflict(Exception):
    """A unique index says no: as psycopg.IntegrityError."""


FINISH_SECONDS = 0.4


class Orphan:
    """A transaction whose client is gone while the server commits it: until then its locks are held."""

    def idle_seconds(self) -> float:
        return 0.0


class MemoryDatabase:
    """What survives its sessions."""

    def __init__(self, shards: int, ledger_id: str = "memory") -> None:
        self.rows = {
            shard: ShardRow(shard, 0, -1, "", 0, genesis(ledger_id, shard), 0, 0, -1)
            for shard in range(shards)
        }
        self.moved: set[int] = set()
        self.locks: dict[int, MemoryStore | Orphan] = {}
        self.events: dict[int, list[StoredRow]] = defaultdict(list)
        self.streams: dict[UUID, dict[int, StoredRow]] = defaultdict(dict)
        self.snapshots: dict[UUID, Snapshot] = {}
        self.receipts: dict[ReceiptKey, ReceiptRow] = {}
        self.attempts: dict[tuple[int, int, int], AttemptRow] = {}
        self.workers: dict[str, tuple[MemoryStore, frozenset[int]]] = {}
        """By name, from the first heartbeat: the session, and the shards that it refuses."""
        self.refused: set[UUID] = set()
        """Streams whose events this database cannot store."""

    def damage(self, shard: int, sequence: int, value: bytes | None) -> None:
        """Somebody changes an event by hand; `None`: takes it away."""
        rows = self.events[shard]
        place = bisect_left(rows, sequence, key=attrgetter("sequence"))
        found = rows.pop(place)
        stream = self.streams[found.stream]
        del stream[found.version]
        if value is not None:
            stream[found.version] = found._replace(value=value)
            rows.insert(place, stream[found.version])

    def misplace(self, shard: int, sequence: int) -> None:
        """Somebody changes a receipt and its attempt by hand: they point at no event."""
        for key, receipt in self.receipts.items():
            if (receipt.shard, receipt.sequence) == (shard, sequence):
                self.receipts[key] = receipt._replace(sequence=999)
        for at, row in list(self.attempts.items()):
            if at[:2] == (shard, sequence):
                del self.attempts[at]
                self.attempts[shard, 999, row.attempt] = row._replace(sequence=999)

    def event(self, shard: int, sequence: int) -> bytes:
        """Empty where there is none."""
        rows = self.events[shard]
        place = bisect_left(rows, sequence, key=attrgetter("sequence"))
        found = place < len(rows) and rows[place].sequence == sequence
        return rows[place].value if found else b""

    def end(self, session: "MemoryStore | Orphan") -> None:
        """What a server does to a session: its locks are free at once, or when its COMMIT is done."""
        if isinstance(session, MemoryStore):
            session.alive = False
            commit, session.midway = session.midway, None
            if commit is not None:
                self._adopt(session, commit)
        self.locks = {shard: holder for shard, holder in self.locks.items() if holder is not session}
        self.workers = {name: known for name, known in self.workers.items() if known[0] is not session}

    def apply(self, commit: Commit) -> None:
        """A transaction, whole or not at all."""
        self._fence(commit)
        self._check(commit)
        for after in commit.after:  # the fence has compared the epoch: it stays as it is
            self.rows[after.shard] = after
        for event in commit.events:
            self.events[event.shard].append(event)
            self.streams[event.stream][event.version] = event
        for receipt in commit.receipts:
            self.receipts[receipt.key] = receipt
        for attempt in commit.attempts:
            self.attempts[attempt.shard, attempt.sequence, attempt.attempt] = attempt

    def backup(self) -> "MemoryDatabase":
        """A copy as of now, without sessions."""
        copy = MemoryDatabase(0)
        copy.rows, copy.moved, copy.refused = dict(self.rows), set(self.moved), set(self.refused)
        copy.events.update({shard: list(rows) for shard, rows in self.events.items()})
        copy.streams.update({stream: dict(rows) for stream, rows in self.streams.items()})
        copy.receipts, copy.attempts = dict(self.receipts), dict(self.attempts)
        copy.snapshots = dict(self.snapshots)
        return copy

    def restore(self, backup: "MemoryDatabase") -> None:
        """Everything since the backup is gone, and every session with it."""
        self.end_all()
        self.locks, self.workers = {}, {}
        self.rows, self.events, self.streams = backup.rows, backup.events, backup.streams
        self.receipts, self.attempts = backup.receipts, backup.attempts
        self.snapshots = backup.snapshots

    def _adopt(self, session: "MemoryStore", commit: Commit) -> None:
        orphan = Orphan()
        self.locks = {shard: orphan if holder is session else holder for shard, holder in self.locks.items()}

        def finish() -> None:
            if orphan in self.locks.values():  # else the server itself died
                with contextlib.suppress(OwnershipLost, Conflict, KnownKey, Unstorable):
                    self.apply(commit)
            self.end(orphan)

        asyncio.get_running_loop().call_later(FINISH_SECONDS, finish, context=Context())

    def _fence(self, commit: Commit) -> None:
        for before in commit.before:
            found = self.rows[before.shard]
            same = (found.epoch, found.position, found.sequence, found.head) == (
                before.epoch,
                before.position,
                before.sequence,
                before.head,
            )
            if not same or before.shard in self.moved:
                raise OwnershipLost(f"shard {before.shard} moved without us")

    def _check(self, commit: Commit) -> None:
        """Types and unique indexes, before anything is written: a transaction is whole or not at all."""
        places: set[tuple[UUID | int, int]] = set()
        for event in commit.events:
            if event.stream in self.refused or "\x00" in event.type:
                raise Unstorable("DataError")
            taken = event.version in self.streams[event.stream] or event.sequence <= len(
                self.events[event.shard]
            )
            if taken or {(event.stream, event.version), (event.shard, event.sequence)} & places:
                raise Conflict("stored_events")
            places |= {(event.stream, event.version), (event.shard, event.sequence)}
        keys = [receipt.key for receipt in commit.receipts]
        if len(set(keys)) < len(keys) or any(key in self.receipts for key in keys):
            raise KnownKey
        if any((one.shard, one.sequence, one.attempt) in self.attempts for one in commit.attempts):
            raise Conflict("keyless_attempts")

    def end_all(self) -> None:
        """`pg_terminate_backend` for everyone."""
        for session in self._sessions():
            self.end(session)

    def end_the_idle(self) -> None:
        """`idle_session_timeout`: the lease is the server's."""
        for session in self._sessions():
            if session.idle_seconds() > LEASE_SECONDS:
                self.end(session)

    def _sessions(self) -> "dict[MemoryStore | Orphan, None]":
        """In the order of their shards: the same in each run."""
        return dict.fromkeys([*self.locks.values(), *(session for session, _ in self.workers.values())])


class MemoryStore:
    """Implements `ports.Store`: one session at a time on a MemoryDatabase."""

    def __init__(self, database: MemoryDatabase, gate: Gate | None = None, worker: str = "") -> None:
        self.database = database
        self.gate = gate or Gate()
        self.worker = worker
        self.alive = False
        self.midway: Commit | None = None
        """What the server is about to commit."""
        self._used = 0.0

    def idle_seconds(self) -> float:
        return asyncio.get_running_loop().time() - self._used

    async def open(self) -> None:
        await self.gate.before("open")
        self.database.end(self)
        self.alive = True
        self._used = asyncio.get_running_loop().time()
        await self.gate.after("open")

    async def close(self) -> None:
        self.database.end(self)

    async def claim(self, shards: Sequence[int], most: int) -> list[ShardRow]:
        await self._begin("claim")
        database = self.database
        here = [shard for shard in sorted(shards) if shard in database.rows.keys() - database.moved]
        free = [shard for shard in here if database.locks.get(shard, self) is self][:most]
        for shard in free:
            database.locks[shard] = self
            database.rows[shard] = replace(database.rows[shard], epoch=database.rows[shard].epoch + 1)
        await self.gate.after("claim")
        return [database.rows[shard] for shard in free]

    async def release(self, rows: Sequence[ShardRow]) -> None:
        await self._begin("release")
        self._note_published(rows)
        for row in rows:
            if self.database.locks.get(row.shard) is self:
                del self.database.locks[row.shard]
        await self.gate.after("release")

    async def heartbeat(self, rows: Sequence[ShardRow], refused: Collection[int], forget_before: int) -> int:
        await self._begin("heartbeat")
        self._note_published(rows)
        self.database.workers[self.worker] = self, frozenset(refused)
        attempts = self.database.attempts
        self.database.attempts = {at: row for at, row in attempts.items() if row.recorded >= forget_before}
        await self.gate.after("heartbeat")
        return START_MICROS + round(asyncio.get_running_loop().time() * 1e6)

    async def peers(self) -> Peers:
        await self._begin("peers")
        others = {
            name: refused for name, (_, refused) in self.database.workers.items() if name != self.worker
        }
        mine = self.database.workers.get(self.worker, (self, frozenset()))[1]
        await self.gate.after("peers")
        refused = frozenset(shard for shards in others.values() for shard in shards)
        return Peers(len(others) + 1, sum(name < self.worker for name in others), refused - mine)

    async def leave(self) -> None:
        await self._begin("leave")
        self.database.workers.pop(self.worker, None)
        await self.gate.after("leave")

    async def load(
        self, streams: Sequence[UUID], keys: Sequence[ReceiptKey], attempts: Sequence[Attempt], since: int
    ) -> Loaded:
        await self._begin("load")
        database = self.database
        snapshots = {one: database.snapshots[one] for one in streams if one in database.snapshots}
        receipts = {key: self._receipt(row) for key in keys if (row := database.receipts.get(key))}
        found: dict[Attempt, list[Tried]] = defaultdict(list)
        for (shard, sequence, _), tried in sorted(database.attempts.items()):
            attempt = Attempt(tried.stream, tried.request_hash, tried.attempt)
            if attempt in attempts and tried.recorded >= since:
                event = database.event(shard, sequence)
                receipt = Receipt(tried.request_hash, shard, sequence, event)
                found[attempt].append(Tried(tried.command_id, receipt))
        await self.gate.after("load")
        return Loaded(snapshots, receipts, found)

    async def histories(
        self, starts: Mapping[UUID, int], limit: int, take: Callable[[UUID, int, bytes], None]
    ) -> int:
        await self._begin("histories")
        found = [
            (stream, row.version, row.value)
            for stream, start in starts.items()
            for _, row in sorted(self.database.streams[stream].items())
            if row.version >= start
        ][:limit]
        for one in found:
            take(*one)
        await self.gate.after("histories")
        return len(found)

    async def keep(self, snapshots: Sequence[Snapshot]) -> None:
        await self._begin("keep")
        self.database.snapshots |= {one.stream: one for one in snapshots}
        await self.gate.after("keep")

    async def commit(self, commit: Commit) -> None:
        await self._begin("commit")
        self.midway = commit
        await self.gate.during("commit")
        self.midway = None
        self.database.apply(commit)
        await self.gate.after("commit")

    async def events_after(self, shard: int, sequence: int, limit: int) -> list[StoredRow]:
        await self._begin("events_after")
        stored = self.database.events[shard]
        start = bisect_right(stored, sequence, key=attrgetter("sequence"))
        rows = stored[start : start + limit]
        for expected, row in enumerate(rows, sequence + 1):
            if row.sequence != expected or not _readable(row.value):
                raise Damaged(expected)
        await self.gate.after("events_after")
        return rows

    async def _begin(self, call: str) -> None:
        await self.gate.before(call)
        self.database.end_the_idle()
        if not self.alive:
            raise SessionLost(call)
        self._used = asyncio.get_running_loop().time()

    def _receipt(self, row: ReceiptRow) -> Receipt:
        return Receipt(
            row.request_hash, row.shard, row.sequence, self.database.event(row.shard, row.sequence)
        )

    def _note_published(self, rows: Sequence[ShardRow]) -> None:
        for row in rows:
            found = self.database.rows[row.shard]
            if found.epoch == row.epoch and found.published_sequence < row.published_sequence:
                self.database.rows[row.shard] = replace(
                    found,
                    published_sequence=row.published_sequence,
                    published_offset=row.published_offset,
                )


def _readable(value: bytes) -> bool:
    try:
        decode_envelope(value)
    except Malformed:
        return False
    return True
