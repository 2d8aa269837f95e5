"""Commands that were fetched and not yet taken, by shard: what a busy shard has waiting delays no other one."""

from collections import deque
from collections.abc import Sequence

from services.ledger.ports import CommandRecord

INBOX_BYTES = 4 * 1024 * 1024
RECORD_BYTES = 150
"""What a record takes in memory besides its value."""


class Inbox:
    """Bounded by wanting more only below a share of `INBOX_BYTES`. Shards stand in the order of their turns."""

    def __init__(self) -> None:
        self._waiting: dict[int, deque[CommandRecord]] = {}
        self._bytes: dict[int, int] = {}

    def __len__(self) -> int:
        return sum(len(waiting) for waiting in self._waiting.values())

    def wants(self, shard: int) -> bool:
        """Whether more of this shard should be fetched; always so while nothing of it waits."""
        return self._bytes.get(shard, 0) < INBOX_BYTES // (len(self._waiting) + 1)

    def put(self, shard: int, records: Sequence[CommandRecord]) -> None:
        """What comes after all that waits of this shard."""
        self._waiting.setdefault(shard, deque()).extend(records)
        self._bytes[shard] = self._bytes.get(shard, 0) + _size(records)

    def take(self, records_max: int) -> list[CommandRecord]:
        """A batch: all of those shards that have little waiting, then long runs of the others, in turn.

        Short runs of all would be as fair, but dearer: a shard in a batch costs a row and a publish of its own.
        """
        quota = records_max // max(1, len(self._waiting))
        taken: list[CommandRecord] = []
        for shard in sorted(self._waiting, key=lambda shard: len(self._waiting[shard]) > quota):
            if len(taken) == records_max:
                break
            waiting = self._waiting.pop(shard)
            run = [waiting.popleft() for _ in range(min(len(waiting), records_max - len(taken)))]
            taken += run
            self._bytes[shard] -= _size(run)
            if waiting:
                self._waiting[shard] = waiting  # behind the others
            else:
                del self._bytes[shard]
        return taken

    def clear(self) -> None:
        """All of it is read again."""
        self._waiting.clear()
        self._bytes.clear()


def _size(records: Sequence[CommandRecord]) -> int:
    return sum([len(record.value) for record in records]) + RECORD_BYTES * len(records)
