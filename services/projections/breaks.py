"""Shards that cannot go on, remembered over restarts: the third time at one place is an alarm, not a restart."""

from collections.abc import Iterable, Mapping

import psycopg

from services.projections.chain import Break, Checkpoint

TIMES_MAX = 3


class Breaks:
    """`halted` shards get nothing more from this process; others go on. A restart tries each of them again."""

    def __init__(self) -> None:
        self.known: dict[int, int] = {}
        self.halted: dict[int, Break] = {}

    def load(self, connection: psycopg.Connection) -> None:
        rows = connection.execute("SELECT shard, sequence FROM chain_breaks").fetchall()
        self.known = dict(rows)

    def note(self, connection: psycopg.Connection, found: Iterable[Break]) -> bool:
        """Count each break; true if one was met fewer than three times, so that reading again may still help."""
        again = False
        for shard, sequence, reason in found:
            row = connection.execute(
                """
                INSERT INTO chain_breaks AS old (shard, sequence, reason, times, seen_at)
                VALUES (%s, %s, %s, 1, now())
                ON CONFLICT (shard) DO UPDATE SET
                    times = CASE WHEN old.sequence = excluded.sequence THEN old.times + 1 ELSE 1 END,
                    sequence = excluded.sequence, reason = excluded.reason, seen_at = excluded.seen_at
                RETURNING times
                """,
                [shard, sequence, reason],
            ).fetchone()
            assert row is not None
            self.known[shard] = sequence
            if row[0] >= TIMES_MAX:
                self.halted[shard] = Break(shard, sequence, reason)
            else:
                again = True
        return again

    def healed(self, connection: psycopg.Connection) -> list[int]:
        """Halted shards whose break is gone from the table: read models were made anew."""
        if not self.halted:
            return []
        left = connection.execute("SELECT shard FROM chain_breaks").fetchall()
        return sorted(self.halted.keys() - {shard for (shard,) in left})

    def passed(self, connection: psycopg.Connection, moved: Mapping[int, Checkpoint]) -> None:
        """Within the batch's transaction: forget breaks that these checkpoints have left behind."""
        if done := self._left_behind(moved):
            connection.execute("DELETE FROM chain_breaks WHERE shard = ANY(%s)", [done])

    def forget(self, moved: Mapping[int, Checkpoint]) -> None:
        """That transaction is true."""
        for shard in self._left_behind(moved):
            del self.known[shard]

    def _left_behind(self, moved: Mapping[int, Checkpoint]) -> list[int]:
        return [shard for shard in moved if moved[shard].sequence >= self.known.get(shard, 2**63)]
