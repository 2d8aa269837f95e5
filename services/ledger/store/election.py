"""Who is there and who holds which shard, on the very session that commits. It blocks: for the store's thread."""

from collections.abc import Collection, Sequence

from psycopg import Connection
from psycopg.rows import TupleRow

from services.ledger.ports import Peers, ShardRow
from services.ledger.store import statements
from services.sessions import columns

LOCK_CLASS = 0x57414C  # "WAL"


class Election:
    """`worker` is the name under which others see this one: no two processes have the same."""

    def __init__(self, session: Connection[TupleRow], worker: str) -> None:
        self._session = session
        self._worker = worker

    def claim(self, shards: Sequence[int], most: int) -> list[ShardRow]:
        """See `ports.Store.claim`."""
        session = self._session
        found = session.execute(statements.TRY_LOCK, [list(shards), LOCK_CLASS, most]).fetchall()
        locked = [shard for (shard,) in found]
        if not locked:
            return []
        rows = [ShardRow(*row) for row in session.execute(statements.NEXT_EPOCH, [locked]).fetchall()]
        moved = sorted(set(locked) - {row.shard for row in rows})
        if moved:  # not active on this server: give the lock back
            session.execute(statements.UNLOCK, [LOCK_CLASS, moved])
        return rows

    def release(self, rows: Sequence[ShardRow]) -> None:
        """See `ports.Store.release`."""
        self._note_published(rows)
        self._session.execute(statements.UNLOCK, [LOCK_CLASS, [row.shard for row in rows]])

    def heartbeat(self, rows: Sequence[ShardRow], refused: Collection[int], forget_before: int) -> int:
        """See `ports.Store.heartbeat`."""
        self._note_published(rows)
        self._session.execute(statements.PRUNE_ATTEMPTS, [forget_before])
        beat = [self._worker, self._worker, sorted(refused)]
        ((micros,),) = self._session.execute(statements.BEAT, beat).fetchall()
        return int(micros)

    def peers(self) -> Peers:
        """See `ports.Store.peers`. This one counts even where its heartbeat is old: it asks."""
        refused: dict[str, list[int]] = dict(self._session.execute(statements.PEERS).fetchall())
        mine = set(refused.pop(self._worker, ()))
        others = frozenset(shard for shards in refused.values() for shard in shards)
        return Peers(len(refused) + 1, sum(name < self._worker for name in refused), others - mine)

    def leave(self) -> None:
        """See `ports.Store.leave`."""
        self._session.execute(statements.LEAVE, [self._worker])

    def _note_published(self, rows: Sequence[ShardRow]) -> None:
        published = [(row.shard, row.epoch, row.published_sequence, row.published_offset) for row in rows]
        self._session.execute(statements.NOTE_PUBLISHED, columns(published, 4))
