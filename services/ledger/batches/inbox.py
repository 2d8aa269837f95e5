"""Commands that were fetched and not yet taken, by shard: what a busy shard has waiting delays no other one."""

from collections import deque
from collections.abc import Sequence

from services.ledger.ports import CommandRecord

INBOX_BYTES = 4 * 1024 * 1024
RECORD_BYTES = 150
"""What a record takes in memory besides its value."""
LARGE_BYTES = 2048
ENTRY_BYTES = 160
"""A large record counts for as many commands as a bulk record of its size has entries, without decoding it."""
FACT_BYTES = 1200
"""What upstream says is larger than an entry."""
_HEAD_BYTES = 512
_FACT_TYPES = (b'.record_in_bulk.v1"', b'.record.v1"')


class Inbox:
    """Bounded by wanting more only below a share of `INBOX_BYTES`. Shards stand in the order of their turns."""

    def __init__(self) -> None:
        self._waiting: dict[int, deque[CommandRecord]] = {}
        self._bytes: dict[int, int] = {}
        self._commands: dict[int, int] = {}
        self._passed_over: int | None = None

    def __len__(self) -> int:
        return sum(len(waiting) for waiting in self._waiting.values())

    def wants(self, shard: int) -> bool:
        """Whether more of this shard should be fetched; always so while nothing of it waits."""
        return self._bytes.get(shard, 0) < INBOX_BYTES // (len(self._waiting) + 1)

    def put(self, shard: int, records: Sequence[CommandRecord]) -> None:
        """What comes after all that waits of this shard."""
        if not records:
            return
        self._waiting.setdefault(shard, deque()).extend(records)
        self._bytes[shard] = self._bytes.get(shard, 0) + _size(records)
        self._commands[shard] = self._commands.get(shard, 0) + sum(map(_commands, records))

    def take(self, commands_max: int) -> list[CommandRecord]:
        """A batch: all of those shards that have little waiting, then long runs of the others, in turn.

        Short runs of all would be as fair, but dearer: a shard in a batch costs a row and a publish of its own.
        A record that is more than there is room for keeps its turn; alone it may be more than `commands_max`. Where
        those with little left no room for it they are later by one batch: else they would be in its way for ever.
        """
        quota = commands_max // max(1, len(self._waiting))
        room = commands_max
        taken: list[CommandRecord] = []
        first, self._passed_over = self._passed_over, None
        for shard in sorted(self._waiting, key=lambda one: (one != first, self._commands[one] > quota)):
            run: list[CommandRecord] = []
            waiting = self._waiting[shard]
            while waiting and (_commands(waiting[0]) <= room or not (taken or run)):
                room -= _commands(waiting[0])
                run.append(waiting.popleft())
            if not run:
                if room >= quota:  # less is left by another one's long run: then it is only not its turn
                    self._passed_over = shard
                break
            taken += run
            self._forget(shard, run)
        return taken

    def _forget(self, shard: int, run: Sequence[CommandRecord]) -> None:
        """What is left of the shard stands behind the others."""
        self._bytes[shard] -= _size(run)
        self._commands[shard] -= sum(map(_commands, run))
        if waiting := self._waiting.pop(shard):
            self._waiting[shard] = waiting
        else:
            del self._bytes[shard], self._commands[shard]

    def clear(self) -> None:
        """All of it is read again."""
        self._waiting.clear()
        self._bytes.clear()
        self._commands.clear()
        self._passed_over = None


def _size(records: Sequence[CommandRecord]) -> int:
    return sum([len(record.value) for record in records]) + RECORD_BYTES * len(records)


def _commands(record: CommandRecord) -> int:
    size = len(record.value)
    if size < LARGE_BYTES:
        return 1
    head = record.value[:_HEAD_BYTES]
    return size // (FACT_BYTES if any(kind in head for kind in _FACT_TYPES) else ENTRY_BYTES)
